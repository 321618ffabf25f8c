//! Settings in, messages out.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use super::rig::{ECHO, Greeter, Written, refusals};
use crate::config::load::{load, load_from};

#[test]
fn mistakes_in_an_upstream_are_named_with_their_place() {
    let addr = "expected an IP address and a port, like \"127.0.0.1:6379\" or \"[::1]:6379\"";
    let table = [
        ("[upstream.a]\nidle_max = 1", format!("t.toml:1:1: upstream.a.addr: is missing, {addr}")),
        ("[upstream.a]\naddr = \"redis:6379\"", format!("t.toml:2:8: upstream.a.addr: found \"redis:6379\", {addr}\n    help: names are not looked up: write an address of it, as `getent hosts redis` tells, and :6379")),
        ("[upstream.a]\nadr = \"127.0.0.1:1\"", "t.toml:2:1: upstream.a.adr: no such key\n    help: did you mean upstream.a.addr?".to_owned()),
        ("[upstream]\naddr = \"127.0.0.1:1\"", "t.toml:2:1: upstream.addr: found string, expected a section\n    help: its keys stand in sections with a name: [upstream.NAME]".to_owned()),
        ("[upstream.\"a\\r\\nb\"]\naddr = \"127.0.0.1:1\"", "t.toml:1:11: upstream.a\\r\\nb: not a name, expected 1 to 64 letters, digits, - and _".to_owned()),
        ("[upsteam.a]\naddr = \"127.0.0.1:1\"", "t.toml:1:2: upsteam: no such section\n    help: did you mean [upstream.NAME]?".to_owned()),
        ("upstream = 1", "t.toml:1:1: upstream: found integer, expected the section [upstream.NAME]".to_owned()),
        ("[upstream.a]\naddr = \"127.0.0.1:1\"\nconnect_timeout = \"off\"", "t.toml:3:19: upstream.a.connect_timeout: found \"off\", expected a duration from 100ms to 365d, like \"30s\" or \"5m\"".to_owned()),
        ("[upstream.a]\naddr = \"127.0.0.1:1\"\nsource = \"eth0\"", "t.toml:3:10: upstream.a.source: found \"eth0\", expected an IP address, or \"any\" for the kernel's choice".to_owned()),
        ("[upstream.a]\naddr = \"127.0.0.1:1\"\nsource = \"::1\"", "t.toml:3:10: upstream.a.source: 127.0.0.1:1 cannot be reached from ::1: one is IPv4, the other IPv6\n    help: give both of one kind".to_owned()),
        ("[upstream.a]\naddr = \"127.0.0.1:1\"\nidle_max = 9", "t.toml:3:12: upstream.a.idle_max: 9 idle connections, but no more than 8 are open (upstream.a.connections_max)\n    help: lower idle_max, or raise connections_max".to_owned()),
    ];
    for (text, message) in table {
        assert_eq!(refusals(text, &[]), [message], "{text}");
    }
    let many = (0..9)
        .map(|name| {
            format!("[upstream.u{name}]\naddr = \"127.0.0.1:1\"\nconnections_max = 65536\n")
        })
        .collect::<String>();
    let found = refusals(&many, &[]);
    assert!(
        found.len() == 1 && found[0].contains("a shard is to open 589824 connections"),
        "{found:#?}"
    );
    let both = refusals(
        "[upstream.a]\nwaiting_max = -1\n[upstream.b]\naddr = 1\n",
        &["upstream.c.idle_max=-1"],
    );
    assert_eq!(both.len(), 5, "{both:#?}");
}

#[test]
fn each_wrong_value_is_named_with_its_place_and_what_was_expected() {
    let duration = "expected a duration from 100ms to 365d, like \"30s\" or \"5m\"";
    let or_off = format!("{duration}, or \"off\" for none");
    let table = [
        ("[server]\nshards = -1", "t.toml:2:10: server.shards: found -1, expected a whole number of shards from 1 to 1024, or 0 for one per allowed core".to_owned()),
        ("[server]\nshards = 1.5", "t.toml:2:10: server.shards: found 1.5, expected a whole number of shards from 1 to 1024, or 0 for one per allowed core".to_owned()),
        ("[limits]\nrecv_queue_max = 0", "t.toml:2:18: limits.recv_queue_max: found 0, expected a whole number of buffers from 1 to 1024".to_owned()),
        ("[limits]\nwrite_queue_max = 99999999999999999999", "t.toml:2:19: limits.write_queue_max: found 99999999999999999999, expected a whole number of bytes from 4096 to 67108864".to_owned()),
        ("[limits]\nsend_rate_min = 1073741825", "t.toml:2:17: limits.send_rate_min: found 1073741825, expected a whole number of bytes per second from 1 to 1073741824, or 0 for off".to_owned()),
        ("[limits]\nreceive_rate_min = \"1k\"", "t.toml:2:20: limits.receive_rate_min: found \"1k\", expected a whole number of bytes per second from 1 to 1073741824, or 0 for off".to_owned()),
        ("[limits]\nrate_window = \"100ms\"", "t.toml:2:15: limits.rate_window: found \"100ms\", expected a duration from 1s to 1h, like \"30s\" or \"5m\"".to_owned()),
        ("[timeouts]\nidle = \"30 sec\"", format!("t.toml:2:8: timeouts.idle: found \"30 sec\", {or_off}\n    help: write \"30s\"")),
        ("[timeouts]\n  idle = 30", format!("t.toml:2:10: timeouts.idle: found 30, {or_off}\n    help: write \"30s\"")),
        ("[timeouts]\nidle = \"0s\"", format!("t.toml:2:8: timeouts.idle: found \"0s\", {or_off}")),
        ("[timeouts]\nidle = false", format!("t.toml:2:8: timeouts.idle: found false, {or_off}\n    help: write \"off\"")),
        ("[timeouts]\nrequest = \"50ms\"", format!("t.toml:2:11: timeouts.request: found \"50ms\", {or_off}")),
        ("[timeouts]\ndrain = \"off\"", format!("t.toml:2:9: timeouts.drain: found \"off\", {duration}")),
        ("[timeouts]\ndrain = 2024-01-01", format!("t.toml:2:9: timeouts.drain: found a table or a date, {duration}")),
        ("[socket]\nkeepalive_idle = \"10h\"", "t.toml:2:18: socket.keepalive_idle: found \"10h\", expected a duration of whole seconds from 1s to 32767s, like \"30s\" or \"5m\"".to_owned()),
        ("[socket]\nkeepalive_idle = \"1500ms\"", "t.toml:2:18: socket.keepalive_idle: found \"1500ms\", expected a duration of whole seconds from 1s to 32767s, like \"30s\" or \"5m\"".to_owned()),
        ("[limits]\non_full = \"wiat\"", "t.toml:2:11: limits.on_full: found \"wiat\", expected one of \"wait\", \"refuse\"\n    help: did you mean \"wait\"?".to_owned()),
        ("[limits]\nrefuse_with = 5", "t.toml:2:15: limits.refuse_with: found 5, expected a text of at most 1024 bytes".to_owned()),
        ("[limits]\nreclaim = 1", "t.toml:2:11: limits.reclaim: found 1, expected true or false".to_owned()),
        ("[limits]\naddress_prefix_v6 = 0", "t.toml:2:21: limits.address_prefix_v6: found 0, expected a whole number of bits from 1 to 128".to_owned()),
        ("[limits]\nconnections_per_address_max = -1", "t.toml:2:31: limits.connections_per_address_max: found -1, expected a whole number of connections from 1 to 1048576, or 0 for no cap".to_owned()),
        ("[limits]\naccepts_per_second_max = 1e9", "t.toml:2:26: limits.accepts_per_second_max: found 1000000000.0, expected a whole number of accepts from 1 to 10000000, or 0 for no bound".to_owned()),
        ("[limits]\naccepts_burst_max = \"\"", "t.toml:2:21: limits.accepts_burst_max: found \"\", expected a whole number of accepts from 1 to 10000000, or 0 for as many as accepts_per_second_max".to_owned()),
        ("[socket]\nnodelay = \"yes\"", "t.toml:2:11: socket.nodelay: found \"yes\", expected true or false".to_owned()),
        ("[buffers]\ncount = 1000", "t.toml:2:9: buffers.count: found 1000, expected a whole number of buffers from 16 to 32768, and a power of two".to_owned()),
        ("[log]\nformat = \"jso\"", "t.toml:2:10: log.format: found \"jso\", expected one of \"text\", \"json\"\n    help: did you mean \"json\"?".to_owned()),
        ("[server]\nlisten = \"localhost:80\"", "t.toml:2:10: server.listen: found \"localhost:80\", expected an IP address and a port, like \"127.0.0.1:7007\" or \"[::]:7007\"\n    help: write \"127.0.0.1:80\" for this machine alone, \"0.0.0.0:80\" for every interface".to_owned()),
        ("[server]\ncpus = [0, 2, 0]", "t.toml:2:15: server.cpus: names core 0 twice".to_owned()),
        ("[server]\ncpus = [\n  0,\n  -3,\n]", "t.toml:4:3: server.cpus: found -3, expected the number of a core from 0 to 1023".to_owned()),
        ("[server]\npin = \"yes\"", "t.toml:2:7: server.pin: found \"yes\", expected true, false or \"auto\"".to_owned()),
        ("[server]\npin = \"true\"", "t.toml:2:7: server.pin: found \"true\", expected true, false or \"auto\"\n    help: write true without quotes".to_owned()),
        ("[limits]\nblocking_threads_per_shard_max = 0", "t.toml:2:34: limits.blocking_threads_per_shard_max: found 0, expected a whole number of threads from 1 to 1024".to_owned()),
        ("[server]\nspin = \"51ms\"", "t.toml:2:8: server.spin: found \"51ms\", expected a duration from 1ms to 50ms, like \"30s\" or \"5m\", or \"off\" for none".to_owned()),
        ("[listener]\nproxy = \"V2\"", "t.toml:2:9: listener.proxy: found \"V2\", expected one of \"off\", \"v1\", \"v2\", \"any\"\n    help: did you mean \"v2\"?".to_owned()),
        ("[listener]\nproxy_trusted = [\n  \"::1\",\n  \"10.0.0.1/8\",\n]", "t.toml:4:3: listener.proxy_trusted: found \"10.0.0.1/8\", expected a network, like \"10.0.0.0/8\", or an address\n    help: write \"10.0.0.0/8\" for the network that it lies in".to_owned()),
        ("[listener]\nproxy_trusted = \"::1\"", "t.toml:2:17: listener.proxy_trusted: found \"::1\", expected a list of at most 64, each a network, like \"10.0.0.0/8\", or an address".to_owned()),
        ("[listener]\nproxy_header_max = 107", "t.toml:2:20: listener.proxy_header_max: found 107, expected a whole number of bytes from 232 to 65551".to_owned()),
        ("[server]\ncpus = 0", "t.toml:2:8: server.cpus: found 0, expected a list, each the number of a core from 0 to 1023".to_owned()),
    ];
    for (text, message) in table {
        assert_eq!(refusals(text, &[]), [message], "{text}");
    }
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let table = [
        (
            "[sever]\nshards = 1",
            "t.toml:1:2: sever: no such section\n    help: did you mean [server]?",
        ),
        (
            "[server]\nshard = 1",
            "t.toml:2:1: server.shard: no such key\n    help: did you mean server.shards?",
        ),
        (
            "[server]\nbacklog = 1",
            "t.toml:2:1: server.backlog: no such key\n    help: did you mean listener.backlog?",
        ),
        (
            "backlog = 1",
            "t.toml:1:1: backlog: no such section\n    help: did you mean listener.backlog?",
        ),
        (
            "[log]\ncolour = 1",
            "t.toml:2:1: log.colour: no such key\n    help: the keys of [log] are level, format, stats_interval, lines_per_reason_max",
        ),
        (
            "log = 1",
            "t.toml:1:1: log: found integer, expected the section [log]",
        ),
        (
            "[[log]]\n",
            "t.toml:1:3: log: found array, expected the section [log]",
        ),
        (
            "[app]\ngreting = 1",
            "t.toml:2:1: app.greting: no such key\n    help: did you mean app.greeting?",
        ),
    ];
    for (text, message) in table {
        assert_eq!(refusals(text, &[]), [message], "{text}");
    }
}

#[test]
fn mistakes_of_syntax_are_all_reported_and_hide_nothing_after_them() {
    let text = "[server\nshards = 1\n[timeouts]\nidle = 30s\nread = \"5m\nwrite\nidle = \"0s\"\n[log]\nlevel = 1\n";
    let found = refusals(text, &[]);
    let places: Vec<&str> = found
        .iter()
        .map(|message| message.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "t.toml:1:8:",
            "t.toml:4:8:",
            "t.toml:5:11:",
            "t.toml:6:6:",
            "t.toml:7:8:",
            "t.toml:9:9:"
        ]
    );
    assert!(
        found[1].ends_with("help: the line is `idle = 30s`"),
        "{}",
        found[1]
    );
}

#[test]
fn a_duplicate_key_is_refused() {
    let found = refusals("[server]\nshards = 1\nshards = 2\n", &[]);
    assert_eq!(
        found,
        ["t.toml:3:1: not TOML: duplicate key\n    help: the line is `shards = 2`"]
    );
}

#[test]
fn a_wrong_argument_is_named_whole() {
    let off = "--set timeouts.idle=off: `off` is not a TOML value\n    help: a text needs quotes: --set 'timeouts.idle=\"off\"'";
    assert_eq!(refusals("", &["timeouts.idle=off"]), [off]);
    for words in [
        "server.shards",
        "=1",
        "",
        "# a comment = 1",
        "server..shards=1",
    ] {
        let expected = format!(
            "--set {words}: expected section.key=VALUE\n    help: for example --set server.shards=2"
        );
        assert_eq!(refusals("", &[words]), [expected]);
    }
    let found = refusals(
        "[server]\nshards = 2\n",
        &[
            "log.level=\"info\"",
            "server.shards=-1",
            "server.cpus=[1, 1]",
        ],
    );
    assert_eq!(
        found[0].split(", expected").next(),
        Some("--set server.shards=-1: server.shards: found -1")
    );
    assert_eq!(
        found[1],
        "--set server.cpus=[1, 1]: server.cpus: names core 1 twice"
    );
}

#[test]
fn contradictions_are_refused_with_the_arithmetic() {
    let table: [(&[&str], &str); 12] = [
        (
            &["listener.proxy=\"any\""],
            "listener.proxy: with listener.proxy \"any\" every connection is refused, for nobody is trusted",
        ),
        (
            &["listener.proxy_trusted=[\"10.0.0.0/8\"]"],
            "listener.proxy_trusted: nobody's PROXY header is read, for listener.proxy is \"off\"",
        ),
        (
            &[
                "limits.connections_max=10",
                "limits.connections_per_shard_max=2",
                "server.shards=3",
            ],
            "limits.connections_max: 10 connections, but 3 shards of 2 connections hold 6",
        ),
        (
            &["limits.connections_max=2", "server.cpus=[0, 1, 2]"],
            "limits.connections_max: 2 connections over 3 shards leave some shard without any",
        ),
        (
            &["buffers.profile=\"large\"", "limits.write_queue_max=4096"],
            "limits.write_queue_max: a received chunk of 65536 bytes (buffers.size) does not fit a write queue of 4096",
        ),
        (
            &["buffers.size=1048576"],
            "buffers.size: a received chunk of 1048576 bytes (buffers.size) does not fit a write queue of 262144",
        ),
        (
            &["limits.recv_queue_max=9", "buffers.count=16"],
            "limits.recv_queue_max: one connection may hold 9 of the shard's 16 buffers, which is more than half",
        ),
        (
            &["limits.unread_per_shard_max=16384"],
            "limits.unread_per_shard_max: one connection may hold 8 buffers of 4096 bytes unread, which is 32768, but its shard only 16384",
        ),
        (
            &[
                "buffers.profile=\"large\"",
                "limits.unread_per_shard_max=65536",
            ],
            "limits.unread_per_shard_max: one connection may hold 8 buffers of 65536 bytes unread, which is 524288, but its shard only 65536",
        ),
        (
            &["limits.unsent_per_shard_max=65536"],
            "limits.unsent_per_shard_max: one connection may hold 262144 bytes unsent (limits.write_queue_max), but its shard only 65536",
        ),
        (
            &["timeouts.first_byte=\"1m\"", "timeouts.lifetime=\"30s\""],
            "timeouts.first_byte: a connection that lives 30s (timeouts.lifetime) cannot wait 1m for its first byte",
        ),
        (
            &["timeouts.accept_pause_min=\"2s\""],
            "timeouts.accept_pause_min: the first pause of accepting is 2s, the longest 1600ms",
        ),
    ];
    for (words, message) in table {
        let found = refusals("", words);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].contains(message), "{} lacks {message}", found[0]);
    }
}

#[test]
fn no_contradiction_is_found_with_a_value_that_is_wrong_or_misspelt() {
    assert_eq!(
        refusals(
            "[limits]\nwrite_queue_max = 1\n[buffers]\nsize = 1048576\n",
            &[]
        )
        .len(),
        1
    );
    assert_eq!(
        refusals(
            "[limits]\nwrite_queu_max = 2097152\n[buffers]\nsize = 1048576\n",
            &[]
        )
        .len(),
        1
    );
}

#[test]
fn an_application_has_its_own_problems_in_the_same_list() {
    let text =
        "[app]\nrepeat = 300\ngreeting = 5\n[app.nested]\ndepht = 1\n[server]\nshards = -1\n";
    let found = refusals(text, &[]);
    assert_eq!(
        found[0],
        "t.toml:2:10: app.repeat: invalid value: integer `300`, expected u8"
    );
    assert_eq!(
        found[1],
        "t.toml:3:12: app.greeting: invalid type: integer `5`, expected a string"
    );
    assert_eq!(
        found[2],
        "t.toml:5:1: app.nested.depht: unknown field `depht`, expected `depth`"
    );
    assert!(
        found[3].starts_with("t.toml:7:10: server.shards"),
        "{}",
        found[3]
    );
    let check = "app.repeat: found 0, expected a whole number from 1 to 255";
    assert_eq!(
        refusals("[app]\nrepeat = 0", &[]),
        [format!("t.toml:2:10: {check}")]
    );
    assert_eq!(
        refusals("", &["app.repeat=0"]),
        [format!("--set app.repeat=0: {check}")]
    );
    let check = "app.nested.depth: found 10, expected 9 at most";
    assert_eq!(
        refusals("[app.nested]\ndepth = 10", &[]),
        [format!("t.toml:2:9: {check}")]
    );
    assert_eq!(
        refusals("", &["app.nested.depth=10"]),
        [format!("--set app.nested.depth=10: {check}")]
    );
}

#[test]
fn every_problem_of_a_file_is_reported_at_once() {
    let text = "[server]\nshards = -1\nlisten = 5\n[timeouts]\nidle = 1\nread = \"0s\"\nwhite = 1\n[logs]\n[limits]\n\
                recv_queue_max = 0\nconnections_max = -1\nwatchdog = []\n[app]\nrepeat = -1\n";
    let found = refusals(text, &["log.level=5", "oops"]);
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_name() {
    let file = |test: &str, contents: &[u8]| Written::new(test, contents);
    let first = |path: &Path| load::<Greeter>(Some(path), &[]).expect_err("refused")[0].to_string();
    let missing = Written::new("missing", "");
    let nowhere = missing.0.join("nowhere.toml");
    assert!(first(&nowhere).starts_with(&format!(
        "{}: cannot be read: No such file",
        nowhere.display()
    )));
    assert!(first(&missing.0).contains("cannot be read: Is a directory"));
    let latin = file("latin", b"[server]\n# gr\xfc\xdfe\n");
    assert!(first(&latin.path()).contains("line 2 is not UTF-8 text"));
    let huge = file("huge", &vec![b'\n'; 1024 * 1024 + 1]);
    assert!(first(&huge.path()).contains("longer than 1048576 bytes"));
    let endless = Path::new("/dev/zero");
    assert!(first(endless).contains("longer than 1048576 bytes"));
}

#[test]
fn a_file_may_start_with_a_byte_order_mark_and_end_its_lines_as_it_likes() {
    let marked = Written::new("marked", "\u{feff}[server]\r\nshards = 2\r\n");
    assert_eq!(
        load::<Greeter>(Some(&marked.path()), &[])
            .unwrap()
            .config
            .server
            .shards,
        2
    );
    let wrong = Written::new("wrong", "\u{feff}[server]\r\nshards = -2\r\n");
    let path = wrong.path();
    let found = load::<Greeter>(Some(&path), &[]).unwrap_err()[0].to_string();
    assert!(
        found.starts_with(&format!("{}:2:10: server.shards", path.display())),
        "{found}"
    );
    let first = Written::new("first", "\u{feff}[sever]\n");
    let path = first.path();
    let found = load::<Greeter>(Some(&path), &[]).unwrap_err()[0].to_string();
    assert!(
        found.starts_with(&format!("{}:1:2: sever", path.display())),
        "the mark is no column: {found}"
    );
}

/// Pieces of TOML in random order with random characters between, and the shipped file with one
/// character changed.
#[test]
fn no_text_makes_it_panic() {
    const PIECES: [&str; 25] = [
        "[",
        "]",
        "[[",
        "\n",
        "=",
        " = ",
        "server",
        "[app]\n",
        "[limits]\n",
        "[upstream.a]\n",
        ".",
        ",",
        "\"",
        "'",
        "\"\"\"",
        "{",
        "}",
        "0x",
        "-1",
        "1e9",
        "shards",
        "off",
        "\u{feff}",
        "\u{e4}",
        "#",
    ];
    let mut random = fastrand::Rng::with_seed(0x2545_f491_4f6c_dd1d);
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..random.usize(..40) {
            match random.usize(..8) {
                0 => text.push(random.char(..'\u{300}')),
                _ => text.push_str(PIECES[random.usize(..PIECES.len())]),
            }
        }
        let words = [text.clone()];
        let _ = load_from::<Greeter>(Some(("t.toml", &text)), &words);
        let mut changed: Vec<char> = ECHO.chars().collect();
        let at = random.usize(..changed.len());
        changed[at] = random.char(..'\u{80}');
        let changed: String = changed.into_iter().collect();
        let _ = load_from::<Greeter>(Some(("t.toml", &changed)), &[]);
    }
}
