//! Decisions from faked facts: a good machine, and one thing wrong with it at a time.

#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{Endpoint, ListenerSettings, Server, Upstream};
use crate::handler::AppBytes;
use crate::preflight::facts::Before;
use crate::preflight::inherited::Moved;
use crate::proxy::Versions;
use crate::ring::ProbeError;
use crate::settings::Settings;

fn settings(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    change(&mut config);
    config
}

/// The one problem of a machine with the default settings.
fn refusal(facts: Facts) -> String {
    refusal_of(&Config::default(), facts)
}

fn refusal_of(config: &Config, facts: Facts) -> String {
    let problems = plan(config, &facts).expect_err("refused");
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems[0].to_string()
}

/// The default listener cannot listen.
fn unable(errno: i32) -> Vec<(ListenerSettings, io::Error)> {
    let listener = Config::default().listeners().remove(0);
    vec![(listener, io::Error::from_raw_os_error(errno))]
}

fn ring_refused(errno: i32, io_uring_disabled: Option<u32>) -> Facts {
    let ring = Err(ProbeError::SetupRefused(io::Error::from_raw_os_error(
        errno,
    )));
    Facts {
        ring,
        io_uring_disabled,
        ..Facts::good()
    }
}

#[test]
fn a_good_machine_gets_one_shard_per_core_and_all_its_descriptors() {
    let plan = plan(&Config::default(), &Facts::good()).unwrap();
    assert_eq!(plan.connections_max, 80_000);
    let shards: Vec<_> = plan
        .shards
        .iter()
        .map(|shard| (shard.id, shard.cpu(), shard.connections_max))
        .collect();
    assert_eq!(
        shards,
        [
            (0, None, 20_000),
            (1, None, 20_000),
            (2, None, 20_000),
            (3, None, 20_000)
        ]
    );
    assert!(plan.warnings.is_empty(), "{:?}", plan.warnings);
}

#[test]
fn shares_add_up_exactly() {
    for (connections_max, shards) in [(10, 3), (3, 3), (1_000_000, 60), (7, 1)] {
        let config = settings(|config| {
            config.limits.connections_max = Some(connections_max);
            config.server.shards = shards;
        });
        let plan = plan(&config, &Facts::good()).unwrap();
        let shares: Vec<u32> = plan
            .shards
            .iter()
            .map(|shard| shard.connections_max)
            .collect();
        assert_eq!(shares.iter().sum::<u32>(), connections_max);
        assert!(shares[0] - shares[shares.len() - 1] <= 1, "{shares:?}");
    }
}

#[test]
fn sixty_shards_on_four_cores_hold_a_million_with_one_warning() {
    let plan = plan(
        &settings(|config| config.server.shards = 60),
        &Facts::good(),
    )
    .unwrap();
    assert_eq!(plan.connections_max, 1 << 20);
    assert_eq!(plan.warnings, ["60 shards share cores 0-3"]);
}

#[test]
fn named_cores_are_used_in_their_order() {
    let plan = plan(
        &settings(|config| config.server.cpus = vec![3, 1]),
        &Facts::good(),
    )
    .unwrap();
    assert_eq!(
        plan.shards.iter().map(ShardPlan::cpu).collect::<Vec<_>>(),
        [Some(3), Some(1)]
    );
}

#[test]
fn shards_are_pinned_where_that_was_asked_for_or_their_cores_were_named() {
    let affinities = |pin: Option<bool>, cpus: &[usize]| {
        let config = settings(|config| {
            (config.server.pin, config.server.cpus, config.server.shards) = (pin, cpus.to_vec(), 3)
        });
        plan(&config, &Facts::good())
            .unwrap()
            .shards
            .into_iter()
            .map(|shard| shard.affinity)
            .collect::<Vec<_>>()
    };
    let own = |cores: [usize; 3]| cores.map(|core| Some(vec![core]));
    assert_eq!(affinities(None, &[]), [None, None, None]);
    assert_eq!(affinities(None, &[2, 1]), own([2, 1, 2]));
    assert_eq!(affinities(Some(true), &[]), own([0, 1, 2]));
    assert_eq!(affinities(Some(true), &[2, 1]), own([2, 1, 2]));
    assert_eq!(affinities(Some(false), &[]), [None, None, None]);
    assert_eq!(
        affinities(Some(false), &[2, 1]),
        [(); 3].map(|()| Some(vec![2, 1]))
    );
}

#[test]
fn an_old_kernel_is_named_and_nothing_that_follows_from_it() {
    let ring = Err(ProbeError::SetupRefused(io::Error::from_raw_os_error(
        libc::EINVAL,
    )));
    let message = refusal(Facts {
        release: "5.15.0-91-generic".to_owned(),
        ring,
        ..Facts::good()
    });
    assert_eq!(
        message,
        "the kernel is Linux 5.15.0-91-generic, its io_uring lacks what a shard needs before Linux 6.1: boot Linux 6.1 or later"
    );
}

#[test]
fn a_rate_that_this_kernel_cannot_measure_is_refused() {
    let message = refusal(Facts {
        release: "6.1.0".to_owned(),
        tells_unacknowledged: Some(false),
        ..Facts::good()
    });
    assert_eq!(
        message,
        "limits.send_rate_min cannot be measured, io_uring tells what peers have taken (SOCKET_URING_OP_SIOCOUTQ) since Linux 6.7, \
         and this is Linux 6.1.0: set it to 0, or boot Linux 6.7 or later"
    );
}

#[test]
fn each_cause_of_a_forbidden_ring_has_its_own_message() {
    let every = refusal(ring_refused(libc::EPERM, Some(2)));
    assert!(
        every.contains("io_uring_disabled is 2: run `sysctl -w kernel.io_uring_disabled=0`"),
        "{every}"
    );
    let user = refusal(ring_refused(libc::EPERM, Some(1)));
    assert!(
        user.contains("io_uring_disabled is 1") && user.contains("io_uring_group"),
        "{user}"
    );
    for disabled in [None, Some(0)] {
        let seccomp = refusal(ring_refused(libc::EPERM, disabled));
        assert!(
            seccomp.contains("seccomp filter") && seccomp.contains("--security-opt seccomp="),
            "{seccomp}"
        );
    }
    let absent = refusal(ring_refused(libc::ENOSYS, None));
    assert!(
        absent.contains("ENOSYS") && absent.contains("CONFIG_IO_URING=y"),
        "{absent}"
    );
    let memory = refusal(ring_refused(libc::ENOMEM, Some(0)));
    assert!(
        memory.contains("ENOMEM") && memory.contains("ulimit -l unlimited"),
        "{memory}"
    );
    let other = refusal(ring_refused(libc::EMFILE, Some(0)));
    assert!(
        other.starts_with("an io_uring was refused") && other.contains("ulimit -n"),
        "{other}"
    );
}

#[test]
fn a_missing_feature_is_named_with_the_version_that_brought_it() {
    let feature = Err(ProbeError::MissingFeature {
        name: "IORING_FEAT_EXT_ARG",
        since: "5.11",
    });
    let message = refusal(Facts {
        ring: feature,
        ..Facts::good()
    });
    assert!(
        message
            .starts_with("io_uring feature IORING_FEAT_EXT_ARG is missing, Linux 5.11 brought it"),
        "{message}"
    );
    let operation = Err(ProbeError::MissingOperation {
        name: "IORING_OP_SEND",
        since: "5.6",
    });
    let message = refusal(Facts {
        ring: operation,
        ..Facts::good()
    });
    assert!(
        message.starts_with("io_uring operation IORING_OP_SEND is missing, Linux 5.6 brought it"),
        "{message}"
    );
    let buffers = Err(ProbeError::BufferRingRefused(io::Error::from_raw_os_error(
        libc::ENOMEM,
    )));
    assert!(
        refusal(Facts {
            ring: buffers,
            ..Facts::good()
        })
        .starts_with("a ring of receive buffers was refused")
    );
}

/// What is said of `kib` of locked memory under Linux 6.14, which counts rings.
fn memlock_told(kib: u64, change: impl FnOnce(&mut Facts), config: &Config) -> Option<String> {
    let mut facts = Facts {
        release: "6.14.0".to_owned(),
        memlock: kib * 1024,
        ..Facts::good()
    };
    change(&mut facts);
    let problems = plan(config, &facts).err()?;
    assert_eq!(problems.len(), 1, "{problems:#?}");
    Some(problems[0].to_string())
}

#[test]
fn too_little_locked_memory_says_have_need_and_remedy() {
    let told = |kib| memlock_told(kib, |_| (), &Config::default());
    let message = told(512).expect("refused");
    let is = "memlock limit is 512 KiB, 4 shards of 480 KiB need 1952 KiB without CAP_IPC_LOCK, and all processes of a user share it: \
              run `ulimit -l 1952` as root, or set LimitMEMLOCK=1952K in the unit, or start fewer shards (server.shards)";
    assert_eq!(message, is);
    assert!(told(1951).is_some());
    assert_eq!(told(1952), None);
    assert_eq!(told(u64::MAX / 1024), None);
    let one = settings(|config| config.server.shards = 1);
    assert_eq!(memlock_told(512, |_| (), &one), None);
}

#[test]
fn admin_servers_and_the_process_before_have_their_part_of_locked_memory() {
    let told = |kib, shards: Option<Option<u64>>| {
        let before = shards.map(|shards| Before { shards, admins: 1 });
        let config = settings(|config| {
            config.server.shards = 1;
            config.admin.listen = Some(Endpoint::Unix("/run/a".into()));
            config.buffers.count = 1024;
        });
        memlock_told(kib, |facts| facts.before = before, &config)
    };
    let message = told(512, None).expect("refused");
    let is = "memlock limit is 512 KiB, 1 shard of 284 KiB and an admin server of 256 KiB need 572 KiB without";
    assert!(message.starts_with(is), "{message}");
    assert_eq!(told(572, None), None);
    let message = told(572, Some(Some(2))).expect("refused");
    let is = "256 KiB, beside 856 KiB of the process before, need 1428 KiB without";
    assert!(message.contains(is), "{message}");
    assert_eq!(told(1428, Some(Some(2))), None);
    // Behind a Unix socket there are as many as here, for all that is known.
    let message = told(1143, Some(None)).expect("refused");
    assert!(message.contains("need 1144 KiB without"), "{message}");
    assert_eq!(told(1144, Some(None)), None);
}

#[test]
fn whoever_may_lock_all_and_an_older_kernel_need_what_an_executor_asks_for() {
    let older = |facts: &mut Facts| facts.release = "6.13.9".to_owned();
    let may_all = |facts: &mut Facts| facts.memlock_is_free = true;
    for free in [older, may_all] {
        let told = |kib| memlock_told(kib, free, &Config::default());
        assert_eq!(
            told(64).expect("refused"),
            "memlock limit is 64 KiB, a shard's executor needs 512 KiB: run `ulimit -l 512` as root, or set LimitMEMLOCK=512K in the unit"
        );
        assert_eq!(told(512), None);
    }
}

#[test]
fn few_descriptors_mean_few_connections() {
    let plan = plan(
        &Config::default(),
        &Facts {
            nofile: 256,
            ..Facts::good()
        },
    )
    .unwrap();
    assert_eq!(plan.connections_max, 4 * 256);
}

#[test]
fn descriptors_that_do_not_even_hold_the_shards_are_refused() {
    let config = settings(|config| config.server.shards = 60);
    assert_eq!(
        refusal_of(
            &config,
            Facts {
                nofile: 256,
                ..Facts::good()
            }
        ),
        "descriptor limit is 256, 60 shards of 9 and 64 for the rest need 604: run `ulimit -n 604` as root, or set \
         LimitNOFILE=604 in the unit, or start fewer shards (server.shards)"
    );
}

#[test]
fn more_connections_than_descriptors_are_refused_with_the_arithmetic() {
    let config = settings(|config| config.limits.connections_max = Some(100_000));
    assert_eq!(
        refusal_of(&config, Facts::good()),
        "limits.connections_max is 100000, 4 shards of 20000 connections (the descriptor limit of 20000) hold 80000: run \
         `ulimit -n 25000` as root, or set LimitNOFILE=25000 in the unit, or start 5 shards (server.shards=5), or lower \
         limits.connections_max"
    );
    let config = settings(|config| config.limits.connections_per_shard_max = Some(30_000));
    assert!(
        refusal_of(&config, Facts::good())
            .contains("is 30000, the descriptor limit of 20000 allows a shard 20000: run")
    );
}

#[test]
fn a_limit_per_shard_bounds_the_whole() {
    let mut config = settings(|config| config.limits.connections_per_shard_max = Some(100));
    assert_eq!(plan(&config, &Facts::good()).unwrap().connections_max, 400);
    config.limits.connections_max = Some(401);
    let message = refusal_of(&config, Facts::good());
    assert!(
        message.contains(
            "4 shards of 100 connections (limits.connections_per_shard_max) hold 400: set"
        ),
        "{message}"
    );
    config.limits.connections_max = Some(3);
    assert!(
        refusal_of(&config, Facts::good())
            .contains("over 4 shards that leaves some shard without any")
    );
}

#[test]
fn what_a_shard_opens_itself_has_its_part_of_the_descriptors() {
    let with = |outbound, connections| {
        settings(|config| {
            config.limits.outbound_per_shard_max = outbound;
            let upstream = |number: u16| Upstream {
                connections_max: connections,
                ..Upstream::at(([127, 0, 0, 1], number).into())
            };
            config.upstreams =
                Arc::new([("a".to_owned(), upstream(1)), ("b".to_owned(), upstream(2))].into());
        })
    };
    assert_eq!(
        plan(&with(100, 450), &Facts::good()).unwrap().shards[0].connections_max,
        19_000
    );
    let mut config = with(100, 450);
    config.limits.connections_max = Some(80_000);
    let message = refusal_of(&config, Facts::good());
    assert!(
        message.contains(
            "the descriptor limit of 20000 less 1000 for limits.outbound_per_shard_max, the upstreams and those who are turned away"
        ),
        "{message}"
    );
    assert!(message.contains("run `ulimit -n 21000`"), "{message}");
    let message = refusal_of(&with(0, 10_000), Facts::good());
    assert!(
        message.contains("a shard is to have 20000 places beside its clients'")
            && message.contains("`ulimit -n 20001`"),
        "{message}"
    );
}

#[test]
fn an_unlimited_descriptor_limit_is_bounded_by_the_ring() {
    let facts = Facts {
        nofile: u64::MAX,
        ..Facts::good()
    };
    let config = settings(|config| config.limits.connections_max = Some(4 << 20));
    assert_eq!(
        plan(&config, &facts).unwrap().shards[0].connections_max,
        1 << 20
    );
    assert_eq!(
        plan(&Config::default(), &facts).unwrap().connections_max,
        1 << 20
    );
}

#[test]
fn a_core_that_is_not_allowed_is_refused() {
    let config = settings(|config| config.server.cpus = vec![0, 5]);
    let message = refusal_of(&config, Facts::good());
    assert!(
        message
            .starts_with("server.cpus names core 5, this process may run only on cores 0-3: take"),
        "{message}"
    );
    let message = refusal(Facts {
        cores: Vec::new(),
        ..Facts::good()
    });
    assert!(message.starts_with("no core to run on"), "{message}");
}

#[test]
fn shards_that_share_a_core_may_not_spin() {
    let spinning = |shards| {
        settings(|config| {
            (config.server.spin, config.server.shards) = (Some(Duration::from_millis(1)), shards);
        })
    };
    assert_eq!(plan(&spinning(4), &Facts::good()).unwrap().shards.len(), 4);
    let message = refusal_of(&spinning(5), Facts::good());
    assert!(
        message.starts_with(
            "server.spin has 5 shards poll without a rest, they have cores 0-3: those"
        ),
        "{message}"
    );
}

#[test]
fn each_trouble_with_the_port_has_its_own_remedy() {
    let failed = |errno| Facts {
        unable: unable(errno),
        ..Facts::good()
    };
    let used = refusal(failed(libc::EADDRINUSE));
    assert!(
        used.starts_with("cannot listen on 127.0.0.1:7007, another program or another copy"),
        "{used}"
    );
    assert!(used.contains("ss -ltnp 'sport = :7007'"), "{used}");
    assert!(refusal(failed(libc::EACCES)).contains("AmbientCapabilities=CAP_NET_BIND_SERVICE"));
    assert!(refusal(failed(libc::EADDRNOTAVAIL)).contains("`ip address`"));
    assert!(
        refusal(failed(libc::EAFNOSUPPORT))
            .contains("the kernel says: Address family not supported")
    );
}

#[test]
fn buffers_that_do_not_fit_the_memory_are_refused_with_the_arithmetic() {
    let message = refusal(Facts {
        memory_available: Some(32 << 20),
        ..Facts::good()
    });
    let start = "the receive buffers take 65 MiB (4 shards x 4096 x 4160 bytes), the machine has 32 MiB: lower";
    assert!(message.starts_with(start), "{message}");
    let message = refusal(Facts {
        memory_max: Some(16 << 20),
        ..Facts::good()
    });
    assert!(
        message.contains("the control group's memory bound is 16 MiB"),
        "{message}"
    );
    assert!(
        plan(
            &Config::default(),
            &Facts {
                memory_available: None,
                ..Facts::good()
            }
        )
        .is_ok()
    );
}

#[test]
fn what_is_kept_of_proxy_headers_is_in_the_memory_bound() {
    let bound = |change: fn(&mut Config)| {
        let config = settings(|config| {
            config.limits.connections_max = Some(1000);
            config.limits.unread_per_shard_max = Some(1 << 20);
            config.limits.unsent_per_shard_max = Some(1 << 20);
            change(config);
        });
        plan(&config, &Facts::good()).unwrap().memory.bytes()
    };
    let without = bound(|config| config.listener.proxy_header_max = 4096);
    let with = bound(|config| {
        config.listener.proxy = Some(Versions::Any);
        config.listener.proxy_header_max = 4096;
    });
    let each = (with - without) / 1000;
    assert!((4096..4096 + 256).contains(&each), "{each} bytes each");
}

#[test]
fn what_nobody_asked_for_is_derived_to_fit() {
    const MIB: u64 = 1 << 20;
    for mib in [128, 256, 512, 1024, 16_384] {
        let facts = Facts {
            memory_max: Some(mib * MIB),
            nofile: u64::MAX,
            ..Facts::good()
        };
        let plan = plan(&settings(|config| config.server.shards = 2), &facts).unwrap();
        let bytes = plan.memory.bytes() + plan.memory.kernel_sockets_bytes;
        assert!(bytes <= mib * MIB, "{mib} MiB: {}", plan.memory);
        let share = plan.memory.share;
        assert!(
            share.unread_max >= 8 * 4096 && share.unsent_max >= 256 * 1024,
            "{mib} MiB: one connection's bounds: {share:?}"
        );
        assert!(
            plan.connections_max >= 500,
            "{mib} MiB: {} connections",
            plan.connections_max
        );
        assert_eq!(plan.shards[1].memory, share);
    }
    let plenty = plan(
        &Config::default(),
        &Facts {
            memory_total: Some(1 << 40),
            ..Facts::good()
        },
    )
    .unwrap();
    assert_eq!(
        (plenty.memory.share.unread_max, plenty.connections_max),
        (1 << 30, 80_000),
        "nor more than anybody wants"
    );
    let blind = plan(
        &Config::default(),
        &Facts {
            memory_total: None,
            ..Facts::good()
        },
    )
    .unwrap();
    assert_eq!(
        (blind.memory.share.unsent_max, blind.connections_max),
        (256 << 20, 80_000)
    );
    assert!(
        blind.warnings[0].contains("/proc/meminfo gives no MemTotal"),
        "{:?}",
        blind.warnings
    );
}

#[test]
fn connections_that_were_asked_for_leave_less_to_the_queues() {
    let with = |connections_max| {
        let config = settings(|config| {
            config.server.shards = 1;
            config.limits.connections_max = connections_max;
        });
        plan(
            &config,
            &Facts {
                memory_max: Some(256 << 20),
                ..Facts::good()
            },
        )
        .unwrap()
    };
    let (open, asked) = (with(None), with(Some(9000)));
    assert_eq!(asked.connections_max, 9000);
    assert!(
        open.connections_max < 9000 && asked.memory.share.unread_max < open.memory.share.unread_max
    );
    assert!(asked.memory.bytes() + asked.memory.kernel_sockets_bytes <= 256 << 20);
}

#[test]
fn settings_that_cannot_fit_are_refused_with_the_sum() {
    let facts = || Facts {
        memory_max: Some(256 << 20),
        ..Facts::good()
    };
    let one_shard = |change: fn(&mut Config)| {
        let mut config = settings(change);
        config.server.shards = 1;
        refusal_of(&config, facts())
    };
    let message = one_shard(|config| config.limits.connections_max = Some(20_000));
    let sum = "the settings can take 321 MiB of memory (243 MiB = 16 program + 2 shards (1 x 2 MiB) + 4 log queue + 17 receive buffers (1 x \
               4096 x 4160 bytes and spares) + 4 one turn's receives (1 x 4194304 bytes) + 1 mailboxes (2048 x 16 bytes) + 5 connections (20000 x 233 bytes) + 157 two buffers \
               each (20000 x 2 x 4096 bytes)";
    assert!(message.starts_with(sum), "{message}");
    let why = "the kernel's sockets 79 MiB more), the control group's memory bound is 256 MiB: lower limits.connections_max (now 20000 connections)";
    assert!(message.contains(why), "{message}");
    let message = one_shard(|config| config.limits.unread_per_shard_max = Some(1 << 30));
    assert!(
        message.contains("1024 unread (1 x 1073741824 bytes)"),
        "{message}"
    );
    let message = one_shard(|config| config.limits.unsent_per_shard_max = Some(1 << 30));
    assert!(
        message.contains("1024 unsent (1 x 1073741824 bytes)"),
        "{message}"
    );
    let message = one_shard(|config| config.limits.outbound_per_shard_max = 19_000);
    assert!(message.contains("(19001 x 2 x 4096 bytes)"), "{message}");
    let config = settings(|config| config.limits.unsent_per_shard_max = Some(1 << 31));
    let machine = refusal_of(
        &config,
        Facts {
            memory_total: Some(2 << 30),
            memory_available: Some(1 << 30),
            ..Facts::good()
        },
    );
    assert!(
        machine.contains("8192 unsent (4 x 2147483648 bytes)")
            && machine.contains("the machine has 2048 MiB"),
        "{machine}"
    );
}

#[test]
fn a_user_timeout_that_undercuts_keepalive_is_warned_of() {
    let warnings = |timeout| {
        let config = settings(|config| config.socket.user_timeout = timeout);
        plan(&config, &Facts::good()).unwrap().warnings
    };
    assert!(
        warnings(Some(Duration::from_secs(30)))
            .concat()
            .contains("user_timeout is 30s, keepalive grants a silent peer 120s")
    );
    assert!(warnings(Some(Duration::from_secs(120))).is_empty());
    assert!(warnings(None).is_empty());
}

#[test]
fn what_the_kernel_cuts_is_warned_of() {
    let config = settings(|config| {
        config.listener.backlog = 65_535;
        config.socket.receive_buffer = Some(1 << 20);
    });
    let warnings = plan(&config, &Facts::good()).unwrap().warnings;
    assert_eq!(
        warnings,
        [
            "listener.backlog is 65535, the kernel cuts it to 4096: run `sysctl -w net.core.somaxconn=65535`",
            "socket.receive_buffer is 1048576, the kernel cuts it to 212992: run `sysctl -w net.core.rmem_max=1048576`",
        ]
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    let facts = Facts {
        memlock: 0,
        memory_available: Some(1),
        unable: unable(libc::EADDRINUSE),
        nofile: 10,
        ..ring_refused(libc::EPERM, Some(2))
    };
    assert_eq!(
        plan(&Config::default(), &facts).expect_err("refused").len(),
        5
    );
}

#[test]
fn listeners_that_are_open_already_must_have_a_shard_each_and_the_address_of_the_settings() {
    let mut config = Config::default();
    config.server.shards = 2;
    let with = |inherited, moved| Facts {
        inherited,
        moved,
        ..Facts::good()
    };
    for fewer in 1..=2 {
        plan(&config, &with(fewer, Vec::new())).unwrap();
    }
    let problems = plan(&config, &with(3, Vec::new())).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "cannot take 3 sockets of one listener, server.shards comes to 2, and each socket needs a shard: set \
         server.shards to 3, or stop the server and start it instead of a restart"
    );
    let (from, to) = (([127, 0, 0, 1], 1), ([127, 0, 0, 1], 7007));
    let to = ("server.listen".to_owned(), Endpoint::Tcp(to.into()));
    for (to, why) in [
        (Some(to), "server.listen is 127.0.0.1:7007"),
        (None, "there is no listener public"),
    ] {
        let moved = Moved {
            name: "public".to_owned(),
            from: Endpoint::Tcp(from.into()),
            to,
        };
        let problems = plan(&config, &with(2, vec![moved])).unwrap_err();
        let told = format!("cannot take the listeners of 127.0.0.1:1 over, {why}: set it back");
        assert!(problems[0].to_string().starts_with(&told), "{problems:?}");
    }
}

#[test]
fn every_listener_is_judged_by_its_own_name() {
    let listeners = "
        [[listener]]
        name = 'public'
        listen = '127.0.0.1:1'
        backlog = 65535
        [[listener]]
        listen = 'unix:/run/two.sock'
    ";
    let config = Settings::from_toml(listeners).load().unwrap();
    let unable = config.listeners().into_iter().map(|listener| {
        let error = io::Error::from_raw_os_error(libc::EADDRINUSE);
        (listener, error)
    });
    let facts = Facts {
        unable: unable.collect(),
        ..Facts::good()
    };
    let problems = plan(&config, &facts).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(
        told[0].contains("another port in listener.public.listen"),
        "{told:?}"
    );
    let two = "cannot listen on unix:/run/two.sock (listener.2.listen), another program";
    assert!(told[1].starts_with(two), "{told:?}");
    let warnings = plan(&config, &Facts::good()).unwrap().warnings;
    assert!(
        warnings[0].starts_with("listener.public.backlog is 65535"),
        "{warnings:?}"
    );
}

#[test]
fn this_machine_is_judged_without_a_panic() {
    let server = Server {
        listen: ([127, 0, 0, 1], 0).into(),
        ..Server::default()
    };
    let _ = check(
        &Config {
            server,
            ..Config::default()
        },
        AppBytes {
            task: 100,
            parcel: 0,
        },
        &Inherited::default(),
    );
}
