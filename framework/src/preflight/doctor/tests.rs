//! Reports from faked facts: what is said of one thing that is short, and the arithmetic.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::{CONNECTIONS_MAX, Upstream};
use crate::preflight::plan;
use crate::proptests::cases;

const MIB: u64 = 1 << 20;

/// Where nothing binds that no start depends on.
fn host() -> Host {
    Host {
        files_max: Some(i64::MAX as u64),
        files_open: Some(1000),
        local_ports: Some((32_768, 60_999)),
        free_ports_from: Some(1024),
        ..Host::default()
    }
}

fn settings(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

fn asking(connections: u32) -> Config {
    settings(|config| config.limits.connections_max = Some(connections))
}

/// The rows that are short.
fn short(report: &Report) -> Vec<&Resource> {
    let rows = report.resources.iter();
    rows.filter(|row| matches!(row.state, State::Short | State::Cut))
        .collect()
}

fn the_short_one(report: &Report) -> &Resource {
    let short = short(report);
    assert!(short.len() == 1 && !report.is_carried(), "{report}");
    short[0]
}

#[test]
fn a_good_machine_is_told_with_what_binds_first() {
    let report = report(&Config::default(), &Facts::good(), &host());
    assert!(report.is_carried(), "{report}");
    let text = report.to_string();
    let head = "Linux 6.1.0, 4 shards on cores 0-3, 80000 connections (derived)\n";
    assert!(text.starts_with(head), "{text}");
    let squeezed = |line: &str| {
        let cells = line.split("  ").map(str::trim);
        cells
            .filter(|cell| !cell.is_empty())
            .collect::<Vec<_>>()
            .join("|")
    };
    let lines: Vec<String> = text.lines().map(squeezed).collect();
    for line in [
        "ok|connections of a shard|20000|20000|0|ulimit -n",
        "ok|memory, at most|11462 MiB|65536 MiB|54074 MiB|MemTotal of /proc/meminfo",
        "80000|connections of a shard (ulimit -n)",
        "at 80000|at 80000",
        "Not known here:",
    ] {
        assert!(
            lines.iter().any(|told| told == line),
            "no {line:?} in {lines:#?}"
        );
    }
    assert!(!text.contains("To mend"), "{text}");
}

#[test]
fn what_is_short_has_its_limit_and_its_remedy() {
    let facts = |change: fn(&mut Facts)| {
        let mut facts = Facts::good();
        change(&mut facts);
        facts
    };
    let cases: [(Config, Facts, &str, [&str; 4]); 8] = [
        (
            asking(100_000),
            Facts::good(),
            "connections of a shard",
            [
                "25000",
                "20000",
                "ulimit -n",
                "run `ulimit -n 25000` as root",
            ],
        ),
        (
            settings(|config| {
                config.limits.connections_max = Some(500);
                config.limits.connections_per_shard_max = Some(100);
            }),
            Facts::good(),
            "connections of a shard",
            [
                "125",
                "100",
                "limits.connections_per_shard_max",
                "set limits.connections_per_shard_max=125",
            ],
        ),
        (
            settings(|config| config.server.shards = 60),
            facts(|facts| facts.nofile = 256),
            "descriptors, process",
            ["604", "256", "ulimit -n", "run `ulimit -n 604` as root"],
        ),
        (
            Config::default(),
            facts(|facts| {
                facts.release = "6.14.0".to_owned();
                facts.memlock = 512 << 10;
            }),
            "locked memory",
            [
                "1952 KiB",
                "512 KiB",
                "ulimit -l, shared by",
                "run `ulimit -l 1952`",
            ],
        ),
        (
            asking(80_000),
            facts(|facts| facts.memory_total = Some(256 * MIB)),
            "memory, at most",
            [
                "MiB",
                "256 MiB",
                "/proc/meminfo",
                "lower limits.connections_max",
            ],
        ),
        (
            Config::default(),
            facts(|facts| facts.memory_available = Some(32 * MIB)),
            "receive buffers",
            ["65 MiB", "32 MiB", "MemAvailable", "lower buffers.count"],
        ),
        (
            settings(|config| config.listener.backlog = 65_535),
            Facts::good(),
            "listener.backlog",
            [
                "65535",
                "4096",
                "sysctl net.core.somaxconn",
                "run `sysctl -w net.core.somaxconn=65535`",
            ],
        ),
        (
            settings(|config| {
                let many = Upstream {
                    connections_max: 10_000,
                    ..Upstream::at(([127, 0, 0, 1], 1).into())
                };
                config.upstreams = Arc::new([("next".to_owned(), many)].into());
            }),
            Facts::good(),
            "ports to next",
            [
                "40000",
                "28232",
                "ip_local_port_range",
                "or lower upstream.next.connections_max to 7058",
            ],
        ),
    ];
    for (config, facts, name, [needs, has, limit, remedy]) in cases {
        let report = report(&config, &facts, &host());
        let row = the_short_one(&report);
        assert_eq!(row.name, name);
        let remedy_is = row.remedy.as_ref().unwrap();
        assert!(
            row.needs.contains(needs) && row.has == has && row.limit.contains(limit),
            "{row:?}"
        );
        assert!(remedy_is.contains(remedy), "{remedy_is}");
        let told = format!("\nTo mend:\n\n- {name}: ");
        assert!(report.to_string().contains(&told), "{report}");
    }
}

#[test]
fn what_no_start_asks_for_binds_too() {
    let few_files = Host {
        files_max: Some(11_000),
        ..host()
    };
    let report_of = |config: &Config, host: &Host| report(config, &Facts::good(), host);
    let report = report_of(&asking(20_000), &few_files);
    let row = the_short_one(&report);
    assert_eq!(
        row.remedy.as_deref(),
        Some("run `sysctl -w fs.file-max=21100`")
    );
    assert_eq!(report.forecast.connections, 10_000 - 100);
    let root = Host {
        files_are_free: true,
        ..few_files
    };
    assert!(report_of(&asking(20_000), &root).is_carried());

    let tracked = |count| Host {
        tracked_max: Some(10_000),
        tracked: Some(count),
        ..host()
    };
    let report = report_of(&asking(20_000), &tracked(10));
    let remedy = the_short_one(&report).remedy.clone().unwrap();
    assert!(
        remedy.starts_with("run `sysctl -w net.netfilter.nf_conntrack_max=20010`"),
        "{remedy}"
    );
    assert_eq!(report.forecast.connections, 9990);
    let report = report_of(&asking(20_000), &tracked(0));
    assert!(report.is_carried() && report.to_string().contains("no connection is tracked now"));

    let low = settings(|config| config.server.listen.set_port(80));
    let report = report_of(&low, &host());
    let remedy = the_short_one(&report).remedy.clone().unwrap();
    assert!(remedy.contains("CAP_NET_BIND_SERVICE"), "{remedy}");
    let may = Host {
        may_take_any_port: true,
        ..host()
    };
    assert!(report_of(&low, &may).is_carried());
}

#[test]
fn what_cannot_be_known_is_no_shortage_and_is_said() {
    let facts = Facts {
        memory_total: None,
        memory_available: None,
        somaxconn: None,
        ..Facts::good()
    };
    let report = report(&Config::default(), &facts, &Host::default());
    assert!(report.is_carried(), "{report}");
    let unknown = report
        .resources
        .iter()
        .filter(|row| row.state == State::Unknown);
    let names: Vec<&str> = unknown.map(|row| row.name.as_str()).collect();
    assert_eq!(
        names,
        ["memory, at most", "receive buffers", "listener.backlog"]
    );
    assert!(report.to_string().contains("gives no MemTotal"), "{report}");
}

#[test]
fn a_start_that_is_refused_whatever_the_connections_is_forecast_once_mended() {
    let facts = Facts {
        memlock: 1024,
        ..Facts::good()
    };
    let report = report(&Config::default(), &facts, &host());
    let text = report.to_string();
    assert!(
        text.contains("80000 connections with these settings, once what is short above is mended."),
        "{text}"
    );
    let fewer = report_text(&asking(100_000));
    assert!(
        fewer.contains("Forecast: 80000 connections with these settings. "),
        "{fewer}"
    );
}

fn report_text(config: &Config) -> String {
    report(config, &Facts::good(), &host()).to_string()
}

#[test]
fn the_group_that_binds_is_named_by_its_file() {
    let facts = Facts {
        memory_max: Some(512 * MIB),
        ..Facts::good()
    };
    let group = Host {
        memory_max_file: Some("/sys/fs/cgroup/a/memory.max".into()),
        ..host()
    };
    let config = settings(|config| config.server.shards = 2);
    let report = report(&config, &facts, &group);
    let row = report
        .resources
        .iter()
        .find(|row| row.name == "memory, at most")
        .unwrap();
    assert_eq!(
        (row.has.as_str(), row.limit.as_str()),
        ("512 MiB", "/sys/fs/cgroup/a/memory.max")
    );
    assert!(
        report.forecast.connections > report.connections,
        "a start leaves a part of it"
    );
    let binds = &report.forecast.by_resource[0].0;
    assert!(binds.contains("/sys/fs/cgroup/a/memory.max"), "{binds}");
}

#[test]
fn what_is_no_row_is_noted() {
    let config = settings(|config| {
        config.server.listen.set_port(40_000);
        config.server.shards = 9;
        config.listener.backlog = 128;
    });
    let taken = Host {
        ports_taken: vec![40_000],
        ..host()
    };
    let report = report(&config, &Facts::good(), &taken);
    assert!(report.is_carried(), "{report}");
    let text = report.to_string();
    for note in [
        "\n- 9 shards share cores 0-3\n",
        "\n- somebody listens on port 40000 now; unless that is this server",
        "\n- port 40000 lies in net.ipv4.ip_local_port_range (32768 60999)",
        "`sysctl -w net.ipv4.ip_local_reserved_ports=40000`",
        "\n- the accept queue holds 128 clients of each of 9 shards",
    ] {
        assert!(text.contains(note), "no {note:?} in {text}");
    }
}

/// What a machine has of what the number of connections depends on.
#[derive(Debug, Clone, Copy)]
struct Limits {
    nofile: u64,
    memory: u64,
    files: u64,
    tracked: u64,
}

impl Limits {
    fn machine(self) -> (Facts, Host) {
        let facts = Facts {
            nofile: self.nofile,
            memory_max: Some(self.memory),
            ..Facts::good()
        };
        let host = Host {
            files_max: Some(self.files),
            files_open: Some(0),
            tracked_max: Some(self.tracked),
            tracked: Some(1),
            ..host()
        };
        (facts, host)
    }
}

fn limits() -> impl Strategy<Value = Limits> {
    let some = |from: u64, bits: u32| (0..=bits).prop_flat_map(move |bit| from..=(from << bit));
    (
        some(300, 14),
        some(200 * MIB, 7),
        some(2000, 12),
        some(1000, 12),
    )
        .prop_map(|(nofile, memory, files, tracked)| Limits {
            nofile,
            memory,
            files,
            tracked,
        })
}

fn sized() -> impl Strategy<Value = Config> {
    (1u32..9, 64u32..=4096, 0u32..100, any::<bool>()).prop_map(
        |(shards, count, outbound, is_admin_on)| {
            settings(|config| {
                config.server.shards = shards;
                config.buffers.count = count.next_power_of_two();
                config.limits.outbound_per_shard_max = outbound;
                let admin = crate::config::Endpoint::Unix("/run/a".into());
                config.admin.listen = is_admin_on.then_some(admin);
            })
        },
    )
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn more_of_anything_is_never_fewer_connections(config in sized(), some in limits(), add in 0u64..1 << 34, which in 0..4) {
        let mut more = some;
        let raised = match which {
            0 => &mut more.nofile,
            1 => &mut more.memory,
            2 => &mut more.files,
            _ => &mut more.tracked,
        };
        *raised += add;
        let forecast = |limits: Limits| {
            let (facts, host) = limits.machine();
            report(&config, &facts, &host).forecast.connections
        };
        prop_assert!(forecast(some) <= forecast(more), "{some:?}, {more:?}");
    }

    #[test]
    fn the_forecast_is_carried_and_one_connection_more_is_not(config in sized(), limits in limits()) {
        let (facts, host) = limits.machine();
        let forecast = report(&config, &facts, &host).forecast;
        let with = |connections| {
            let mut config = config.clone();
            config.limits.connections_max = Some(connections);
            let report = report(&config, &facts, &host);
            (report.is_carried(), plan::plan(&config, &facts))
        };
        if forecast.connections >= config.server.shards {
            let (is_carried, plan) = with(forecast.connections);
            let plan = plan.map(|plan| plan.connections_max);
            prop_assert_eq!((is_carried, plan), (true, Ok(forecast.connections)));
        }
        prop_assert!(forecast.connections < CONNECTIONS_MAX);
        let (is_carried, plan) = with(forecast.connections + 1);
        prop_assert!(!is_carried, "{:?}", forecast);
        let (binds, _) = &forecast.by_resource[0];
        let is_of_a_start = ["connections of", "memory"].iter().any(|name| binds.starts_with(name));
        prop_assert!(plan.is_err() || !is_of_a_start, "{:?}", forecast);
    }
}
