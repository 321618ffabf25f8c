//! Settings in, settings out.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use super::rig::{Any, ECHO, Greeter, LOADTEST, PING, accepted, load_text};
use crate::config::checked::Config;
use crate::config::keys::Buffers;
use crate::config::load::{Loaded, load};

#[test]
fn without_file_and_arguments_the_settings_are_the_defaults() {
    let loaded = load::<Greeter>(None, &[]).unwrap();
    assert_eq!(
        loaded,
        Loaded {
            config: Config::default(),
            app: Greeter::default()
        }
    );
}

#[test]
fn the_shipped_files_hold_the_defaults() {
    assert_eq!(
        load_text::<Any>(ECHO, &[]).unwrap().config,
        Config::default()
    );
    let mut ping = load_text::<Any>(PING, &[]).unwrap().config;
    assert_eq!(ping.server.listen.to_string(), "127.0.0.1:7379");
    ping.server.listen = Config::default().server.listen;
    assert_eq!(ping, Config::default());
}

#[test]
fn the_load_test_file_is_patient() {
    let config = load_text::<Any>(LOADTEST, &[]).unwrap().config;
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:7007");
    assert_eq!(config.timeouts.first_byte, None);
    assert_eq!(config.timeouts.idle, Some(Duration::from_secs(600)));
    assert_eq!(
        (config.listener.backlog, config.limits.connections_max),
        (65_535, None)
    );
}

#[test]
fn upstreams_have_names_of_the_operators_choice() {
    let text = "[upstream.next]\naddr = \"127.0.0.1:1\"\nconnections_max = 3\n[upstream.Other_2-b]\naddr = \"[::1]:2\"\nsource = \"::1\"\n";
    let config = accepted(
        text,
        &[
            "upstream.next.idle_max=2",
            "upstream.next.request_timeout=\"off\"",
            "limits.outbound_per_shard_max=5",
        ],
    )
    .config;
    assert_eq!(
        config.upstreams.keys().collect::<Vec<_>>(),
        ["Other_2-b", "next"]
    );
    let next = &config.upstreams["next"];
    assert_eq!(
        (next.connections_max, next.idle_max, next.request_timeout),
        (3, 2, None)
    );
    assert_eq!(
        config.upstreams["Other_2-b"].source,
        Some("::1".parse().unwrap())
    );
    assert_eq!(config.outbound_per_shard(), 5 + 3 + 8);
    let alone = accepted(
        "",
        &[
            "upstream.a.addr=\"127.0.0.1:1\"",
            "upstream.a.connections_max=1",
        ],
    )
    .config;
    assert_eq!(
        alone.upstreams["a"].idle_max, 1,
        "what was not said follows what was"
    );
}

#[test]
fn printed_settings_load_as_the_same_settings() {
    let changes: [&[&str]; 10] = [
        &[
            "limits.on_full=\"refuse\"",
            "limits.refuse_with=\"busy, \\\"later\\\"\\r\\n\"",
            "limits.reclaim=true",
            "limits.connections_per_address_max=3",
            "limits.address_prefix_v6=56",
            "limits.accepts_per_second_max=100",
            "limits.accepts_burst_max=7",
        ],
        &[
            "upstream.next.addr=\"[::1]:6379\"",
            "upstream.next.idle_timeout=\"off\"",
            "upstream.b.addr=\"127.0.0.1:1\"",
            "upstream.b.source=\"127.0.0.2\"",
        ],
        &[],
        &[
            "limits.receive_rate_min=100",
            "limits.send_rate_min=1073741824",
            "limits.rate_window=\"30s\"",
        ],
        &[
            "socket.keepalive=false",
            "socket.user_timeout=\"off\"",
            "socket.send_buffer=8192",
        ],
        &[
            "buffers.profile=\"large\"",
            "server.cpus=[3, 1]",
            "server.listen=\"[::1]:0\"",
            "server.shards=7",
            "server.spin=\"5ms\"",
        ],
        &[
            "server.pin=true",
            "limits.blocking_threads_per_shard_max=3",
            "limits.blocking_waiting_per_shard_max=0",
        ],
        &["server.pin=false"],
        &[
            "timeouts.idle=\"1500ms\"",
            "timeouts.first_byte=\"off\"",
            "timeouts.lifetime=\"2d\"",
            "timeouts.request=\"90s\"",
            "limits.watchdog=\"off\"",
        ],
        &[
            "app.greeting=\"a \\\" b\"",
            "app.name=\"x\"",
            "app.nested.depth=3",
            "log.stats_interval=\"10s\"",
            "log.format=\"json\"",
        ],
    ];
    for change in changes {
        let loaded = accepted("", change);
        assert_eq!(accepted(&loaded.to_toml(), &[]), loaded, "{change:?}");
    }
}

#[test]
fn arguments_win_over_the_file_and_later_over_earlier() {
    let file = "[server]\nshards = 2\ncpus = [0]\n[timeouts]\nidle = \"1m\"\n";
    let loaded = accepted(
        file,
        &[
            "server.shards=3",
            "server.shards=4",
            "timeouts.idle=\"off\"",
        ],
    );
    assert_eq!(
        (loaded.config.server.shards, loaded.config.server.cpus),
        (4, vec![0])
    );
    assert_eq!(loaded.config.timeouts.idle, None);
}

#[test]
fn a_profile_sets_the_buffers_that_are_not_named() {
    let loaded = accepted("[buffers]\nprofile = \"medium\"\ncount = 64\n", &[]);
    assert_eq!(
        loaded.config.buffers,
        Buffers {
            size: 16_384,
            count: 64
        }
    );
}
