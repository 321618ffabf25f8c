//! `[[listener]]`: what several listeners are, what they take from other sections, and what is
//! refused of them.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use super::rig::{Greeter, accepted, changes, refusals};
use crate::config::endpoint::Endpoint;
use crate::config::listeners;
use crate::config::reference::reference;

const THREE: &str = r#"
[socket]
keepalive_idle = "30s"
[limits]
accepts_per_second_max = 100
[[listener]]
name = "public"
listen = "0.0.0.0:7007"
nodelay = false
accepts_per_second_max = 0
[[listener]]
listen = "[::]:7008"
v6_only = true
backlog = 7
proxy = "v2"
proxy_trusted = ["10.0.0.0/8"]
[[listener]]
name = "private"
listen = "unix:/run/greeter.sock"
mode = "0660"
proxy = "any"
"#;

#[test]
fn each_has_what_it_says_and_the_rest_as_the_sections_say() {
    let config = accepted(THREE, &[]).config;
    let [public, second, private] = &config.listeners()[..] else {
        panic!("three");
    };
    let names = [public, second, private].map(|listener| listener.name());
    assert_eq!(names, ["public", "2", "private"]);
    let address = |text: &str| Endpoint::Tcp(text.parse::<SocketAddr>().unwrap());
    assert_eq!(public.bind.listen, address("0.0.0.0:7007"));
    assert_eq!(second.bind.listen, address("[::]:7008"));
    assert_eq!(
        private.bind.listen,
        Endpoint::Unix("/run/greeter.sock".into())
    );
    assert_eq!((second.bind.v6_only, private.bind.mode), (true, 0o660));
    assert_eq!(
        (public.socket.nodelay, second.socket.nodelay),
        (false, true)
    );
    let idle = [public, second].map(|listener| listener.socket.keepalive_idle.as_secs());
    assert_eq!(idle, [30, 30]);
    let rates = [public, second, private].map(|listener| listener.clients.accepts_per_second_max);
    assert_eq!(rates, [None, Some(100), Some(100)]);
    let backlogs = [public, second, private].map(|listener| listener.queue.backlog);
    assert_eq!(backlogs, [4096, 7, 4096]);
    let proxies = [public, second, private].map(|listener| listener.queue.proxy.is_some());
    assert_eq!(proxies, [false, true, true]);
}

#[test]
fn without_tables_there_is_the_one_of_server_listen() {
    let config = accepted("[listener]\nbacklog = 5\n[socket]\nnodelay = false\n", &[]).config;
    let only = &config.listeners()[..];
    assert_eq!(only.len(), 1);
    assert_eq!((only[0].name(), only[0].queue.backlog), ("1", 5));
    assert_eq!(only[0].bind.listen, Endpoint::Tcp(config.server.listen));
    assert!(!only[0].socket.nodelay);
    assert_eq!(only[0].key("listen"), "server.listen");
    assert_eq!(only[0].key("backlog"), "listener.backlog");
    assert_eq!(only[0].socket_key("nodelay"), "socket.nodelay");
}

#[test]
fn an_argument_reaches_a_listener_by_its_name_and_a_list_replaces_them_all() {
    let sets = [
        "listener.public.backlog=3",
        "listener.2.proxy=\"off\"",
        "listener.2.proxy_trusted=[]",
    ];
    let config = accepted(THREE, &sets).config;
    let listeners = config.listeners();
    assert_eq!(
        (listeners[0].queue.backlog, listeners[1].queue.proxy),
        (3, None)
    );
    let sets = [
        "listener=[{listen=\"127.0.0.1:1\"},{listen=\"unix:/x\"}]",
        "listener.2.mode=\"0666\"",
    ];
    let listeners = accepted(THREE, &sets).config.listeners();
    assert_eq!((listeners.len(), listeners[1].bind.mode), (2, 0o666));
}

#[test]
fn what_is_printed_loads_as_the_same() {
    let loaded = accepted(THREE, &["server.shards=3"]);
    let printed = loaded.to_toml();
    assert_eq!(printed.matches("\n[[listener]]\n").count(), 3, "{printed}");
    assert!(
        !printed.contains("\n[listener]\n") && !printed.contains("7007\"\nshards"),
        "{printed}"
    );
    assert_eq!(accepted(&printed, &[]), loaded, "{printed}");
}

#[test]
fn a_change_names_the_listener_and_the_set_of_them_needs_a_restart() {
    let changed = |from: &str, to: &str| changes(THREE, &THREE.replace(from, to));
    assert_eq!(
        changed("accepts_per_second_max = 0", "accepts_per_second_max = 9"),
        [(
            "listener.public.accepts_per_second_max 0 -> 9".to_owned(),
            true
        )]
    );
    assert_eq!(
        changed("backlog = 7", "backlog = 8"),
        [("listener.2.backlog 7 -> 8".to_owned(), false)]
    );
    assert_eq!(
        changed("name = \"private\"", "name = \"local\""),
        [
            (
                "listener.local.listen not set -> \"unix:/run/greeter.sock\"".to_owned(),
                false
            ),
            (
                "listener.private.listen \"unix:/run/greeter.sock\" -> not set".to_owned(),
                false
            ),
        ]
    );
    let shared = changed(
        "accepts_per_second_max = 100",
        "accepts_per_second_max = 101",
    );
    let keys: Vec<&str> = shared
        .iter()
        .map(|(told, _)| told.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            "limits.accepts_per_second_max",
            "listener.2.accepts_per_second_max",
            "listener.private.accepts_per_second_max",
        ]
    );
}

#[test]
fn what_does_not_go_together_is_refused_where_it_stands() {
    let tcp = "[[listener]]\nlisten = \"127.0.0.1:1\"\n";
    let unix = "[[listener]]\nname = \"u\"\nlisten = \"unix:/run/x.sock\"\n";
    let long = format!("[[listener]]\nlisten = \"unix:/{}\"\n", "x".repeat(107));
    for (text, expected) in [
        (
            format!("[server]\nlisten = \"127.0.0.1:2\"\n{tcp}"),
            "t.toml:2:10: server.listen: the addresses are those of [[listener]]\n    help: leave server.listen out, or write",
        ),
        (
            format!("[listener]\nbacklog = 1\n{tcp}"),
            "t.toml:3:3: not TOML: duplicate key\n    help: write either [listener] once, or [[listener]] for each listener",
        ),
        (
            format!("{tcp}[listener]\nbacklog = 1\n"),
            "t.toml:3:2: not TOML: duplicate key\n    help: write either [listener] once, or [[listener]] for each listener",
        ),
        (
            "[[listener]]\nbacklog = 1\n".to_owned(),
            "t.toml:1:1: listener.1.listen: is missing, expected an IP address and a port",
        ),
        (
            format!("{tcp}[[listener]]\nlisten = \"127.0.0.1:1\"\n"),
            "t.toml:4:10: listener.2.listen: 127.0.0.1:1 is listened on by the listener 1 already\n",
        ),
        (
            format!("{unix}{}", unix.replace("\"u\"", "\"v\"")),
            "t.toml:6:10: listener.v.listen: unix:/run/x.sock is listened on by the listener u already\n",
        ),
        (
            format!("{unix}{}", unix.replace("x.sock", "y.sock")),
            "t.toml:5:8: listener.u.name: another listener is called that, too\n    help: give each a name of its own",
        ),
        (
            format!("{tcp}name = \"admin\"\n"),
            "t.toml:3:8: listener.1.name: found \"admin\", expected a name of 1 to 32 letters, digits, - and _, other than",
        ),
        (
            format!("{tcp}colour = 1\n"),
            "t.toml:3:1: listener.1.colour: no such key\n    help: the keys of [listener.1] are name, listen, v6_only, mode, backlog, proxy",
        ),
        (
            format!("{tcp}backlogs = 1\n"),
            "t.toml:3:1: listener.1.backlogs: no such key\n    help: did you mean listener.1.backlog?",
        ),
        (
            format!("{tcp}mode = \"0600\"\n"),
            "t.toml:3:8: listener.1.mode: only a Unix socket has a file\n",
        ),
        (
            format!("{tcp}v6_only = true\n"),
            "t.toml:3:11: listener.1.v6_only: it listens on IPv4\n",
        ),
        (
            format!("{unix}mode = 600\n"),
            "t.toml:4:8: listener.u.mode: found 600, expected permissions in octal digits, like \"0600\" or \"0660\"\n    help: write \"0600\"",
        ),
        (
            format!("{unix}nodelay = true\n"),
            "t.toml:4:11: listener.u.nodelay: it is an option of TCP, and this listener is a Unix socket\n    help: leave it out",
        ),
        (
            format!("{unix}proxy = \"v1\"\nproxy_trusted = [\"::1\"]\n"),
            "t.toml:5:17: listener.u.proxy_trusted: whoever may open a Unix socket is trusted\n",
        ),
        (
            format!("{tcp}proxy = \"v1\"\n"),
            "t.toml:3:9: listener.1.proxy: with listener.1.proxy \"v1\" every connection is refused",
        ),
        (long, "t.toml:2:10: listener.1.listen: found \"unix:/xxx"),
        (
            "[[listener]]\nlisten = \"unix:run/x\"\n".to_owned(),
            "t.toml:2:10: listener.1.listen: found \"unix:run/x\", expected an IP address and a port",
        ),
        (
            "listener = []\n".to_owned(),
            "t.toml:1:1: listener: found 0 listeners, expected 1 to 16",
        ),
        (
            tcp.repeat(17),
            "t.toml:1:3: listener: found 17 listeners, expected 1 to 16",
        ),
        (
            "listener = [1]\n".to_owned(),
            "t.toml:1:13: listener: found integer, expected a table\n    help: write a table [[listener]] for each listener",
        ),
        (
            format!("[admin]\nlisten = \"127.0.0.1:1\"\n{tcp}"),
            "t.toml:2:10: admin.listen: 127.0.0.1:1 is listened on by the listener 1 already\n",
        ),
        (
            format!("[admin]\nsteer_listen = \"unix:/run/x.sock\"\n{unix}"),
            "t.toml:2:16: admin.steer_listen: unix:/run/x.sock is listened on by the listener u already\n",
        ),
        (
            format!("[limits]\naccepts_in_flight_max = 1\n{tcp}{unix}"),
            "t.toml:2:25: limits.accepts_in_flight_max: 1 accepts in flight leave some of 2 listeners without one\n    help: set it to at least 2",
        ),
        (
            "[listener]\nlisten = \"127.0.0.1:1\"\n".to_owned(),
            "t.toml:2:1: listener.listen: no such key\n    help: write a table [[listener]] for each listener, or server.listen for one",
        ),
    ] {
        let found = refusals(&text, &[]);
        assert!(
            found[0].starts_with(expected),
            "{text}{found:#?}\n{expected}"
        );
    }
    let help = "    help: the path has 108 bytes: choose a directory nearer to /";
    let long = format!("[[listener]]\nlisten = \"unix:/{}\"\n", "x".repeat(107));
    assert!(refusals(&long, &[])[0].ends_with(help));
}

#[test]
fn an_argument_for_no_listener_is_refused() {
    for set in ["listener.secret.backlog=3", "listener.backlog=3"] {
        let found = refusals(THREE, &[set]);
        let name = set.split(['.', '=']).nth(1).unwrap();
        let expected = format!(
            "--set {set}: listener.{name}: no [[listener]] is called that\n    help: with [[listener]] write listener.NAME.key"
        );
        assert_eq!(found, [expected]);
    }
}

#[test]
fn the_reference_tells_of_every_key_that_they_alone_have() {
    let reference = reference::<Greeter>();
    let (_, text) = reference.split_once("\n## [[listener]]\n").unwrap();
    let section = listeners::section();
    for entry in section.entries {
        let heading = format!("\n### listener.NAME.{}\n", entry.key);
        let (_, told) = text.split_once(&heading).expect(&heading);
        assert!(
            told.contains(entry.expected.split(' ').next().unwrap()),
            "{heading}"
        );
    }
    for clients in ["refuse_with", "accepts_burst_max", "[socket]"] {
        assert!(text.contains(clients), "{clients}");
    }
}
