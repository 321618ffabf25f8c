//! `[upstream.NAME.tls]`.
#![allow(clippy::unwrap_used)]

use super::rig::{accepted, changes, refusals};
use crate::config::keys::{TlsVersion, UpstreamTls};
use crate::config::paths::Roots;

const BARE: &str = "
[upstream.next]
addr = '127.0.0.1:6380'
[upstream.next.tls]
";
const WHOLE: &str = "
[upstream.tls]
addr = '127.0.0.1:6379'
[upstream.next]
addr = '127.0.0.1:6380'
[upstream.next.tls]
ca = '/ca.pem'
server_name = 'redis.test'
certificate = '/me.crt'
key = '/me.key'
alpn = ['x']
versions = ['1.3']
tickets = false
";

#[test]
fn the_table_turns_it_on_and_its_keys_say_more() {
    let config = accepted(BARE, &[]).config;
    assert_eq!(*config.upstream_tls["next"], UpstreamTls::default());
    assert_eq!(config.upstream_tls["next"].ca, Roots::Web);
    let config = accepted(WHOLE, &["upstream.next.tls.ca='system'"]).config;
    let expected = UpstreamTls {
        ca: Roots::System,
        server_name: Some("redis.test".to_owned()),
        certificate: Some("/me.crt".into()),
        key: Some("/me.key".into()),
        alpn: vec!["x".to_owned()],
        versions: vec![TlsVersion::V1_3],
        tickets: false,
    };
    assert_eq!(*config.upstream_tls["next"], expected);
    assert_eq!(config.upstream_tls.len(), 1, "the one called tls is plain");
    assert_eq!(config.upstreams.len(), 2);
    let plain = "[upstream.next]\naddr = '127.0.0.1:6380'\n";
    for set in ["upstream.next.tls={}", "upstream.next.tls.tickets=true"] {
        let config = accepted(plain, &[set]).config;
        assert_eq!(*config.upstream_tls["next"], UpstreamTls::default());
    }
    assert!(accepted(plain, &[]).config.upstream_tls.is_empty());
}

#[test]
fn what_is_printed_loads_as_the_same() {
    for text in [BARE, WHOLE] {
        let loaded = accepted(text, &[]);
        let printed = loaded.to_toml();
        assert!(
            printed.contains("\n[upstream.next.tls]\nca = "),
            "{printed}"
        );
        assert_eq!(accepted(&printed, &[]), loaded, "{printed}");
    }
}

#[test]
fn its_keys_change_by_a_reload_and_the_table_as_such_does_not() {
    for (from, to, told) in [
        ("'/ca.pem'", "'web'", r#"ca "/ca.pem" -> "web""#),
        (
            "'redis.test'",
            "'auto'",
            r#"server_name "redis.test" -> "auto""#,
        ),
        ("'/me.crt'", "'/x'", r#"certificate "/me.crt" -> "/x""#),
        ("'/me.key'", "'/x'", r#"key "/me.key" -> "/x""#),
        ("['x']", "[]", r#"alpn ["x"] -> []"#),
        ("['1.3']", "['1.2']", r#"versions ["1.3"] -> ["1.2"]"#),
        ("= false", "= true", "tickets false -> true"),
    ] {
        let other = WHOLE.replace(from, to);
        let told = format!("upstream.next.tls.{told}");
        assert_eq!(changes(WHOLE, &other), [(told, true)]);
    }
    let plain = BARE.replace("[upstream.next.tls]", "");
    let told = r#"upstream.next.tls.ca not set -> "web""#;
    assert_eq!(changes(&plain, BARE), [(told.to_owned(), false)]);
    let told = r#"upstream.next.tls.ca "web" -> not set"#;
    assert_eq!(changes(BARE, &plain), [(told.to_owned(), false)]);
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let bare = |keys: &str| format!("{BARE}{keys}\n");
    for (text, told) in [
        (
            bare("certificate = '/a'"),
            "t.toml:5:15: upstream.next.tls.certificate: a certificate without its key\n    help: name its file in key",
        ),
        (
            bare("key = '/a'"),
            "t.toml:5:7: upstream.next.tls.key: a key without its certificate\n    help: name its file in certificate",
        ),
        (
            bare("server_name = 'redis.test:6379'"),
            "t.toml:5:15: upstream.next.tls.server_name: found \"redis.test:6379\", expected a DNS name, an IP address, or \"auto\"\n    help: write \"redis.test\", without the port",
        ),
        (
            bare("ca = true"),
            "t.toml:5:6: upstream.next.tls.ca: found true, expected the path of a file, \"web\" or \"system\"",
        ),
        (
            bare("cas = '/a'"),
            "t.toml:5:1: upstream.next.tls.cas: no such key\n    help: did you mean upstream.next.tls.ca?",
        ),
        (
            BARE.replace("[upstream.next.tls]", "[upstream.next.tsl]"),
            "t.toml:4:16: upstream.next.tsl: no such key\n    help: the keys of [upstream.next] are addr, source, connections_max, idle_max, waiting_max, connect_timeout, request_timeout, idle_timeout, tls",
        ),
        (
            BARE.replace("[upstream.next.tls]", "server_name = 'x'"),
            "t.toml:4:1: upstream.next.server_name: no such key\n    help: did you mean upstream.next.tls.server_name?",
        ),
        (
            BARE.replace("[upstream.next.tls]", "tls = true"),
            "t.toml:4:1: upstream.next.tls: found boolean, expected the section [upstream.next.tls]\n    help: the table turns TLS on, even an empty one",
        ),
        (
            "[upstream.next.tls]\nca = '/a'\n".to_owned(),
            "t.toml:1:11: upstream.next.addr: is missing",
        ),
    ] {
        let found = refusals(&text, &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(told), "{found:#?}");
    }
}
