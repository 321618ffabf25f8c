//! `[listener.tls]`, of the one listener or of each.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::Duration;

use super::rig::{accepted, changes, refusals};
use crate::config::keys::{Tls, TlsVersion};

const ONE: &str = r#"
[listener]
backlog = 7
[listener.tls]
certificate = "/a.crt"
key = "/a.key"
"#;

const TWO: &str = r#"
[[listener]]
name = "public"
listen = "0.0.0.0:7007"
[listener.tls]
certificate = ["/a.crt", "/b.crt"]
key = ["/a.key", "/b.key"]
client_ca = "/ca.crt"
client_required = false
alpn = ["h2"]
versions = ["1.3"]
ticket_key_file = "/tickets"
[[listener]]
listen = "127.0.0.1:7008"
"#;

#[test]
fn each_listener_has_the_table_that_stands_behind_it() {
    let config = accepted(ONE, &["listener.tls.alpn=['x']"]).config;
    let only = &config.listeners()[0];
    let tls = only.tls.as_ref().unwrap();
    let expected = Tls {
        certificate: vec![PathBuf::from("/a.crt")],
        key: vec![PathBuf::from("/a.key")],
        alpn: vec!["x".to_owned()],
        ..Tls::default()
    };
    assert_eq!(**tls, expected);
    assert_eq!(only.queue.backlog, 7);
    assert_eq!(only.tls_key("key"), "listener.tls.key");
    assert_eq!(only.tls_section(), "listener.tls");

    let config = accepted(TWO, &["listener.public.tls.handshake_timeout='1s'"]).config;
    let [public, second] = &config.listeners()[..] else {
        panic!("two");
    };
    assert!(second.tls.is_none());
    let tls = public.tls.as_ref().unwrap();
    assert_eq!((tls.certificate.len(), tls.key.len()), (2, 2));
    assert_eq!(tls.versions, [TlsVersion::V1_3]);
    assert_eq!(tls.handshake_timeout, Duration::from_secs(1));
    assert!(!tls.requires_certificate() && tls.tickets);
    assert_eq!(public.tls_key("key"), "listener.public.tls.key");
    assert!(accepted("", &[]).config.listeners()[0].tls.is_none());
}

#[test]
fn what_is_printed_loads_as_the_same() {
    for text in [ONE, TWO] {
        let loaded = accepted(text, &[]);
        let printed = loaded.to_toml();
        assert_eq!(
            printed.matches("\n[listener.tls]\n").count(),
            1,
            "{printed}"
        );
        assert_eq!(accepted(&printed, &[]), loaded, "{printed}");
    }
    assert!(!accepted("", &[]).to_toml().contains("tls"));
}

#[test]
fn its_keys_change_by_a_reload_and_the_table_as_such_does_not() {
    let other = TWO.replace("[\"h2\"]", "[]");
    let told = r#"listener.public.tls.alpn ["h2"] -> []"#;
    assert_eq!(changes(TWO, &other), [(told.to_owned(), true)]);
    let other = ONE.replace("/a.crt", "/b.crt");
    let told = r#"listener.tls.certificate "/a.crt" -> "/b.crt""#;
    assert_eq!(changes(ONE, &other), [(told.to_owned(), true)]);
    let told = r#"listener.tls.certificate not set -> "/a.crt""#;
    assert_eq!(
        changes("[listener]\nbacklog = 7\n", ONE),
        [(told.to_owned(), false)]
    );
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (from, to, told) in [
        (
            "key = [\"/a.key\", \"/b.key\"]",
            "key = \"/a.key\"",
            "t.toml:7:7: listener.public.tls.key: certificates: 2, keys: 1",
        ),
        (
            "client_ca = \"/ca.crt\"",
            "",
            "t.toml:9:19: listener.public.tls.client_required: no client is asked for a certificate, for client_ca is \"off\"",
        ),
        (
            "alpn",
            "tickets = false\nalpn",
            "t.toml:13:19: listener.public.tls.ticket_key_file: there are no tickets to keep keys of",
        ),
        (
            "certificate = [\"/a.crt\", \"/b.crt\"]",
            "",
            "t.toml:5:1: listener.public.tls.certificate: is missing, expected the path of a file, or a list of 1 to 64 of them",
        ),
    ] {
        let found = refusals(&TWO.replace(from, to), &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(told), "{found:#?}");
    }
}

#[test]
fn what_is_misspelt_is_told_with_its_place() {
    for (text, told) in [
        (
            "[listener.tls]\ncertificates = \"/a\"\n",
            "t.toml:2:1: listener.tls.certificates: no such key\n    help: did you mean listener.tls.certificate?",
        ),
        (
            "[listener]\ncertificate = \"/a\"\n",
            "t.toml:2:1: listener.certificate: no such key\n    help: did you mean listener.tls.certificate?",
        ),
        (
            "[listener]\ntls = true\n",
            "t.toml:2:1: listener.tls: found boolean, expected the section [listener.tls]\n    help: it names the files: certificate and key",
        ),
        (
            "[[listener]]\nname = \"tls\"\nlisten = \"127.0.0.1:1\"\n",
            "t.toml:2:8: listener.1.name: found \"tls\", expected a name",
        ),
        ("[tls]\nkey = \"/a\"\n", "t.toml:1:2: tls: no such section"),
    ] {
        let found = refusals(text, &[]);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(told), "{found:#?}");
    }
}

#[test]
fn what_is_wrong_in_a_list_is_told_with_its_place() {
    let all = "a list of some of \"1.2\", \"1.3\", one at least and none twice";
    let texts = "a list of at most 16 names of protocols, each a text of 1 to 255 bytes";
    let files = "the path of a file, or a list of 1 to 64 of them";
    for (from, to, told) in [
        ("[\"1.3\"]", "[\"1.3\", \"1.4\"]", vec!["11:20: listener.public.tls.versions: found \"1.4\", expected one of \"1.2\", \"1.3\"".to_owned()]),
        ("[\"1.3\"]", "[1.3]", vec!["11:13: listener.public.tls.versions: found 1.3, expected one of \"1.2\", \"1.3\"\n    help: write \"1.3\"".to_owned()]),
        ("[\"1.3\"]", "[\"1.3\", \"1.3\"]", vec!["11:20: listener.public.tls.versions: names \"1.3\" twice".to_owned()]),
        ("[\"1.3\"]", "[]", vec![format!("11:12: listener.public.tls.versions: found an empty list, expected {all}")]),
        ("[\"h2\"]", "[\n  \"h2\",\n  \"\",\n  7,\n]", vec![
            "12:3: listener.public.tls.alpn: found \"\", expected a text of 1 to 255 bytes".to_owned(),
            "13:3: listener.public.tls.alpn: found 7, expected a text of 1 to 255 bytes".to_owned(),
        ]),
        ("[\"h2\"]", &format!("[{}]", "\"x\",".repeat(17)), vec![format!("10:8: listener.public.tls.alpn: found a list of 17, expected {texts}")]),
        ("[\"/a.key\", \"/b.key\"]", "[\"/a.key\", false]", vec!["7:18: listener.public.tls.key: found false, expected the path of a file".to_owned()]),
        ("[\"/a.key\", \"/b.key\"]", "[]", vec![format!("7:7: listener.public.tls.key: found an empty list, expected {files}")]),
    ] {
        let told: Vec<String> = told.iter().map(|told| format!("t.toml:{told}")).collect();
        assert_eq!(refusals(&TWO.replace(from, to), &[]), told, "{to}");
    }
}
