//! What differs between two settings, and which of it a running server can change.
#![allow(clippy::unwrap_used)]

use std::process::Command;

use super::rig::{Greeter, Written, changes};
use crate::config::load::load_again;

#[test]
fn a_change_is_a_key_whose_value_differs_however_it_is_written() {
    let same = "[timeouts]\nidle = \"300s\"\n[app]\nrepeat = 1\n";
    assert!(changes("", same).is_empty());
    let other = "[limits]\nwatchdog = \"off\"\nconnections_max = 7\n[timeouts]\nidle = \"10s\"\n";
    assert_eq!(
        changes("", other),
        [
            ("limits.connections_max 0 -> 7".to_owned(), false),
            ("limits.watchdog \"100ms\" -> \"off\"".to_owned(), true),
            ("timeouts.idle \"5m\" -> \"10s\"".to_owned(), true),
        ]
    );
}

#[test]
fn an_application_says_which_of_its_keys_change_while_it_runs() {
    let other =
        "[app]\ngreeting = \"good day\"\nrepeat = 2\nname = \"you\"\n[app.nested]\ndepth = 1\n";
    assert_eq!(
        changes("", other),
        [
            ("app.greeting \"hello\" -> \"good day\"".to_owned(), true),
            ("app.name not set -> \"you\"".to_owned(), false),
            (
                "app.nested { depth = 0 } -> { depth = 1 }".to_owned(),
                false
            ),
            ("app.repeat 1 -> 2".to_owned(), false),
        ]
    );
}

#[test]
fn an_upstream_changes_but_neither_comes_nor_goes() {
    let upstream = |name: &str, addr: &str| format!("[upstream.{name}]\naddr = \"{addr}\"\n");
    let (one, moved) = (
        upstream("one", "127.0.0.1:1"),
        upstream("one", "127.0.0.1:2"),
    );
    assert_eq!(
        changes(&one, &moved),
        [(
            "upstream.one.addr \"127.0.0.1:1\" -> \"127.0.0.1:2\"".to_owned(),
            true
        )]
    );
    for (before, after) in [("", &*one), (&*one, "")] {
        let changes = changes(before, after);
        assert!(changes.len() > 5, "every key of it: {changes:?}");
        assert!(changes.iter().all(|(_, is_live)| !is_live), "{changes:?}");
    }
}

#[test]
fn a_file_is_read_again_and_nothing_else_is() {
    let file = Written::new("again", "[timeouts]\nidle = \"7s\"\n");
    let loaded = load_again::<Greeter>(&file.path(), &["timeouts.read=\"8s\"".to_owned()]);
    let timeouts = loaded.unwrap().config.timeouts;
    assert_eq!(
        (
            timeouts.idle.unwrap().as_secs(),
            timeouts.read.unwrap().as_secs()
        ),
        (7, 8)
    );

    let pipe = file.0.join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for path in [file.0.clone(), pipe, file.0.join("missing")] {
        let refused = load_again::<Greeter>(&path, &[]).unwrap_err();
        assert_eq!(refused.len(), 1, "{refused:?}");
    }
}
