//! Judgements from faked facts: a good machine, and one thing wrong with it at a time.

#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::machine::{PortList, destinations};

/// A machine on which everything is in order for what `few` asks.
fn good() -> Facts {
    Facts {
        nofile: Some(20_000),
        files_unlimited: Some(false),
        nr_open: Some(1_048_576),
        file_max: Some(2_466_174),
        files_open: Some(208),
        port_range: "32768 60999".parse().ok(),
        ports_reserved: Some(PortList::default()),
        port_unprivileged_first: Some(1024),
        tcp_mem: "287898 383866 575796".parse().ok(),
        page_bytes: Some(4096),
        memory_available: Some(24 << 30),
        memory_max: None,
        conntrack_max: Some(262_144),
        conntrack_count: Some(0),
        netdev_backlog_max: Some(1000),
        somaxconn: Some(4096),
        syn_backlog_max: Some(2048),
        syncookies: Some(1),
        time_wait_reuse: Some(2),
    }
}

/// Ten thousand connections to this machine.
fn few() -> Demand {
    Demand {
        connections: 10_000,
        shards: 2,
        targets: vec![[127, 0, 0, 1].into()],
        port: 7007,
        sources: Vec::new(),
        target_is_local: true,
        payload_bytes: 64,
        connects_in_flight_max: 256,
        is_storm: false,
        silence: Duration::from_secs(3),
    }
}

/// A million, spread as `destinations` does it; each speaks every second.
fn million(facts: &Facts) -> Demand {
    let target: SocketAddr = "127.0.0.1:7007".parse().unwrap();
    let targets = destinations(target, 1_000_000, facts)
        .iter()
        .map(SocketAddr::ip)
        .collect();
    Demand {
        connections: 1_000_000,
        shards: 60,
        targets,
        ..few()
    }
}

/// To the one address of another machine.
fn remote(connections: u32) -> Demand {
    Demand {
        connections: connections.into(),
        shards: 60,
        targets: vec![[192, 0, 2, 1].into()],
        target_is_local: false,
        ..few()
    }
}

/// The one problem, and no warning.
fn problem(demand: &Demand, facts: &Facts) -> String {
    let findings = judge(demand, facts);
    assert!(
        findings.problems.len() == 1 && findings.warnings.is_empty(),
        "{findings:#?}"
    );
    findings.problems[0].clone()
}

/// The one warning, and no problem.
fn warning(demand: &Demand, facts: &Facts) -> String {
    let findings = judge(demand, facts);
    assert!(
        findings.warnings.len() == 1 && findings.problems.is_empty(),
        "{findings:#?}"
    );
    findings.warnings[0].clone()
}

fn is_quiet(demand: &Demand, facts: &Facts) -> bool {
    judge(demand, facts) == Findings::default()
}

/// Whether the user is told to type this as root.
fn tells_to_type(problem: &str, command: &str) -> bool {
    problem.contains(&format!("run `{command}` as root"))
}

#[test]
fn a_good_machine_is_not_spoken_of() {
    assert!(is_quiet(&few(), &good()));
}

#[test]
fn what_is_not_known_is_no_problem() {
    let demand = Demand {
        connections: u32::MAX.into(),
        is_storm: true,
        connects_in_flight_max: u32::MAX.into(),
        ..few()
    };
    assert!(is_quiet(&demand, &Facts::default()));
}

#[test]
fn a_million_on_a_plain_machine_needs_only_what_it_warns_of() {
    let findings = judge(&million(&good()), &good());
    assert_eq!(findings.problems, [""; 0]);
    let heads: Vec<&str> = findings
        .warnings
        .iter()
        .filter_map(|warning| Some(warning.split_once(", ")?.0))
        .collect();
    assert_eq!(
        heads,
        [
            "unread requests of all connections at once are 2000000 pages",
            "1000000 connections and 0 tracked already need 1000000 entries of the tracker",
        ]
    );
    for (warning, command) in findings.warnings.iter().zip([
        "sysctl -w net.ipv4.tcp_mem=\"1500000 2000000 3000000\"",
        "sysctl -w net.netfilter.nf_conntrack_max=1000000",
    ]) {
        assert!(tells_to_type(warning, command), "{warning}");
    }
}

#[test]
fn connections_that_do_not_fit_the_rings_name_the_shards_that_would_hold_them() {
    let demand = Demand {
        shards: 2,
        ..million(&good())
    };
    let facts = Facts {
        tcp_mem: None,
        conntrack_max: None,
        ..good()
    };
    assert_eq!(
        problem(&demand, &facts).to_string(),
        "1000000 connections over 2 shards are 500000 each, a ring has 20000 descriptors (RLIMIT_NOFILE is 20000): add \
         --shards 50, or run `ulimit -n 500000` as root first, or lower to --connections 40000"
    );
    assert!(is_quiet(
        &Demand {
            shards: 50,
            ..demand
        },
        &facts
    ));
}

#[test]
fn a_limit_beyond_nr_open_needs_that_too() {
    let demand = Demand { shards: 1, ..few() };
    let problem = problem(
        &demand,
        &Facts {
            nofile: Some(1000),
            nr_open: Some(4096),
            ..good()
        },
    );
    let text = problem.to_string();
    assert!(
        text.contains(
            "add --shards 10, or run `sysctl -w fs.nr_open=10000 && ulimit -n 10000` as root first"
        ),
        "{text}"
    );
}

#[test]
fn a_ring_has_its_own_bound() {
    let demand = Demand {
        connections: 3 << 20,
        shards: 2,
        targets: vec![[127, 0, 0, 1].into(); 256],
        ..few()
    };
    let facts = Facts {
        nofile: Some(u64::MAX),
        file_max: None,
        memory_available: None,
        tcp_mem: None,
        conntrack_max: None,
        ..good()
    };
    let text = problem(&demand, &facts).to_string();
    assert!(
        text.contains("a ring has 1048576 descriptors")
            && text.contains("add --shards 3, or lower"),
        "{text}"
    );
}

#[test]
fn the_descriptors_of_the_shards_themselves_are_counted() {
    let demand = Demand {
        connections: 1000,
        shards: 60,
        ..few()
    };
    assert_eq!(
        problem(
            &demand,
            &Facts {
                nofile: Some(256),
                ..good()
            }
        )
        .to_string(),
        "descriptor limit is 256, 60 shards of 8 and 64 for the rest need 544: lower to --shards 24, or run `ulimit -n 544` \
         as root first"
    );
    assert!(is_quiet(
        &demand,
        &Facts {
            nofile: Some(544),
            ..good()
        }
    ));
}

#[test]
fn open_files_of_both_ends_count_against_the_machine() {
    let facts = Facts {
        file_max: Some(20_000),
        ..good()
    };
    let refused = problem(&few(), &facts);
    assert_eq!(
        refused.to_string(),
        "20000 sockets and 208 files open already need 20288 on this machine, fs.file-max is 20000 and open(2) and socket(2) \
         stop there: run `sysctl -w fs.file-max=20288` as root"
    );
    assert!(is_quiet(
        &Demand {
            shards: 60,
            ..remote(10_000)
        },
        &facts
    ));
    let privileged = warning(
        &few(),
        &Facts {
            files_unlimited: Some(true),
            ..facts
        },
    );
    assert!(
        privileged
            .to_string()
            .contains("a server without CAP_SYS_ADMIN stops there"),
        "{privileged}"
    );
}

#[test]
fn more_connections_than_ports_are_refused_with_the_arithmetic() {
    let refused = problem(&remote(50_000), &good());
    assert_eq!(
        refused.to_string(),
        "50000 connections need as many local ports, 1 pair of addresses (destinations 1 x sources 1) have 28232 each \
         (net.ipv4.ip_local_port_range is 32768 60999), 28232 in all: run `sysctl -w net.ipv4.ip_local_port_range=\"1024 \
         65535\"` as root, or name 2 local addresses (--source), or lower to --connections 28232"
    );
    let sources: Vec<IpAddr> = (1..=4).map(|host| [198, 51, 100, host].into()).collect();
    assert!(is_quiet(
        &Demand {
            sources,
            ..remote(50_000)
        },
        &good()
    ));
}

#[test]
fn a_range_that_would_not_do_either_is_not_widened() {
    let refused = problem(&remote(100_000), &good());
    assert!(
        refused
            .to_string()
            .contains("28232 in all: name 4 local addresses (--source), or lower"),
        "{refused}"
    );
    assert!(!refused.to_string().contains("sysctl"), "{refused}");
}

#[test]
fn reserved_ports_are_not_counted() {
    let facts = Facts {
        ports_reserved: "40000-59999".parse().ok(),
        ..good()
    };
    let text = problem(&remote(20_000), &facts).to_string();
    assert!(text.contains("have 8232 each"), "{text}");
}

#[test]
fn a_wider_range_keeps_the_port_of_a_local_server_out_of_it() {
    let demand = Demand {
        connections: 40_000,
        shards: 4,
        ..few()
    };
    let refused = problem(&demand, &good());
    let line = "sysctl -w net.ipv4.ip_local_reserved_ports=7007 net.ipv4.ip_local_port_range=\"1024 65535\"";
    assert!(tells_to_type(&refused, line), "{refused}");
    let privileged = problem(
        &demand,
        &Facts {
            port_unprivileged_first: Some(8000),
            ..good()
        },
    );
    // The port is below the range.
    assert!(
        tells_to_type(
            &privileged,
            "sysctl -w net.ipv4.ip_local_port_range=\"8000 65535\""
        ),
        "{privileged}"
    );
}

#[test]
fn nothing_is_lowered() {
    let facts = Facts {
        port_range: "1000 60999".parse().ok(),
        ports_reserved: "80,7000-7006,9000-9009".parse().ok(),
        tcp_mem: "115000 118000 119999".parse().ok(),
        ..good()
    };
    let demand = Demand {
        connections: 60_000,
        shards: 4,
        ..few()
    };
    let Findings { problems, warnings } = judge(&demand, &facts);
    let reserved = "net.ipv4.ip_local_reserved_ports=80,7000-7006,7007,9000-9009";
    let range = "net.ipv4.ip_local_port_range=\"1000 65535\"";
    let command = format!("sysctl -w {reserved} {range}");
    assert!(tells_to_type(&problems[0], &command), "{problems:#?}");
    let command = "sysctl -w net.ipv4.tcp_mem=\"115000 120000 180000\"";
    assert!(
        warnings
            .iter()
            .any(|warning| tells_to_type(warning, command)),
        "{warnings:#?}"
    );
}

#[test]
fn past_half_of_the_ports_connects_are_slow() {
    assert!(is_quiet(&remote(14_116), &good()));
    let slow = warning(&remote(14_117), &good()).to_string();
    assert!(slow.starts_with("14117 connections per pair of addresses take more than half of 28232 ports, connect() is"), "{slow}");
    assert!(
        slow.contains(
            "`sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"` as root, or name 2 local"
        ),
        "{slow}"
    );
}

#[test]
fn the_server_port_among_the_ports_of_connections_is_warned_of() {
    let demand = Demand {
        port: 40_000,
        ..few()
    };
    assert_eq!(
        warning(&demand, &good()).to_string(),
        "port 40000 lies in net.ipv4.ip_local_port_range, that is 32768 60999, and a connection may take the port while the \
         server is not listening: let the server listen on a port outside of it, or run `sysctl -w \
         net.ipv4.ip_local_reserved_ports=40000` as root"
    );
    assert!(is_quiet(
        &demand,
        &Facts {
            ports_reserved: "40000".parse().ok(),
            ..good()
        }
    ));
    assert!(is_quiet(
        &Demand {
            port: 40_000,
            ..remote(100)
        },
        &good()
    ));
}

#[test]
fn a_storm_through_time_wait_is_warned_of_with_its_rate() {
    let storm = Demand {
        is_storm: true,
        ..remote(100)
    };
    let slow = warning(&storm, &good()).to_string();
    assert!(slow.contains("28232 ports then last for 470 connections per second: run `sysctl -w net.ipv4.tcp_tw_reuse=1`"), "{slow}");
    assert!(is_quiet(
        &storm,
        &Facts {
            time_wait_reuse: Some(1),
            ..good()
        }
    ));
    let local = Demand {
        is_storm: true,
        ..few()
    };
    assert!(is_quiet(&local, &good()));
    warning(
        &local,
        &Facts {
            time_wait_reuse: Some(0),
            ..good()
        },
    );
}

#[test]
fn sockets_that_do_not_fit_the_memory_are_refused_with_the_number_that_does() {
    assert_eq!(
        problem(
            &few(),
            &Facts {
                memory_available: Some(64 << 20),
                ..good()
            }
        )
        .to_string(),
        "both ends of 10000 connections take 100 MiB of kernel memory, the machine has 64 MiB: free memory, or lower to \
         --connections 6452"
    );
    let group = problem(
        &remote(10_000),
        &Facts {
            memory_max: Some(16 << 20),
            ..good()
        },
    )
    .to_string();
    assert!(
        group.starts_with("10000 connections take 50 MiB")
            && group.contains("memory.max is 16 MiB"),
        "{group}"
    );
    assert!(group.ends_with("--connections 3226"), "{group}");
}

#[test]
fn unread_data_beyond_the_high_mark_is_warned_of() {
    let demand = Demand {
        payload_bytes: 16 << 10,
        ..few()
    };
    assert!(is_quiet(
        &demand,
        &Facts {
            tcp_mem: "1 2 80000".parse().ok(),
            ..good()
        }
    ));
    let facts = Facts {
        tcp_mem: "30000 40000 79999".parse().ok(),
        ..good()
    };
    let unread = warning(&demand, &facts);
    assert!(
        unread
            .to_string()
            .contains("are 80000 pages, TCP drops data from 79999 on"),
        "{unread}"
    );
    assert!(
        tells_to_type(&unread, "sysctl -w net.ipv4.tcp_mem=\"60000 80000 120000\""),
        "{unread}"
    );
    let poor = warning(
        &demand,
        &Facts {
            memory_available: Some(300 << 20),
            ..facts
        },
    );
    assert!(
        poor.to_string()
            .ends_with(": let them not all speak at once (--rate)"),
        "{poor}"
    );
}

#[test]
fn a_tracker_with_too_few_entries_is_warned_of() {
    let facts = Facts {
        conntrack_max: Some(10_000),
        conntrack_count: Some(1),
        ..good()
    };
    let tracker = warning(&few(), &facts).to_string();
    assert!(
        tracker.contains("need 10001 entries") && tracker.contains("nf_conntrack_max=10001`"),
        "{tracker}"
    );
    assert!(is_quiet(
        &few(),
        &Facts {
            conntrack_max: None,
            ..facts
        }
    ));
}

#[test]
fn more_connects_in_flight_than_the_accept_queue_holds_are_warned_of() {
    let demand = Demand {
        connects_in_flight_max: 5000,
        ..few()
    };
    assert_eq!(
        warning(&demand, &good()).to_string(),
        "5000 connects may be in flight, a listener queues 4096 at most (net.core.somaxconn) and the rest wait a second to \
         try again: add --connects-in-flight 4096, or run `sysctl -w net.core.somaxconn=5000` as root, before \
         the server starts"
    );
    assert!(is_quiet(
        &Demand {
            connects_in_flight_max: 5000,
            ..remote(10_000)
        },
        &good()
    ));
}

#[test]
fn the_syn_backlog_counts_only_without_cookies() {
    let demand = Demand {
        connects_in_flight_max: 1537,
        ..few()
    };
    assert!(is_quiet(&demand, &good()));
    let facts = Facts {
        syncookies: Some(0),
        ..good()
    };
    let backlog = warning(&demand, &facts).to_string();
    assert!(
        backlog.contains("without SYN cookies 1536 handshakes are let in"),
        "{backlog}"
    );
    assert!(
        backlog.contains("sysctl -w net.ipv4.tcp_max_syn_backlog=2052`"),
        "{backlog}"
    );
    assert!(is_quiet(
        &Demand {
            connects_in_flight_max: 1536,
            ..few()
        },
        &facts
    ));
}

#[test]
fn probes_of_silent_connections_beyond_the_loopbacks_queue_are_warned_of() {
    let silent = Demand {
        silence: Duration::from_secs(47),
        ..few()
    };
    let burst = warning(&silent, &good());
    assert_eq!(
        burst.to_string(),
        "10000 connections are silent for 47 s, and a server with keepalive may probe them in one burst, a core's loopback queue drops \
         all but 1000 packets of it (net.core.netdev_max_backlog) and who loses every probe is closed: let the server not probe \
         (Corelane: socket.keepalive = false), or run `sysctl -w net.core.netdev_max_backlog=10000` as root"
    );
    assert!(is_quiet(
        &silent,
        &Facts {
            netdev_backlog_max: Some(10_000),
            ..good()
        }
    ));
    assert!(
        is_quiet(
            &Demand {
                silence: Duration::from_secs(14),
                ..few()
            },
            &good()
        ),
        "nobody probes so soon"
    );
    assert!(
        is_quiet(
            &Demand {
                silence: silent.silence,
                ..remote(10_000)
            },
            &good()
        ),
        "that queue is the loopback's"
    );
}

#[test]
fn everything_is_found_at_once_and_nothing_twice() {
    let facts = Facts {
        nofile: Some(10),
        nr_open: Some(20),
        file_max: Some(9),
        memory_available: Some(1),
        ..good()
    };
    let findings = judge(
        &Demand {
            connections: 40_000,
            ..few()
        },
        &facts,
    );
    assert_eq!(findings.problems.len(), 5, "{findings:#?}");
    let mut told: Vec<String> = findings.problems.clone();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), 5, "none twice: {told:#?}");
}

#[test]
fn this_machine_is_judged_without_a_panic() {
    let _ = check(&few());
}
