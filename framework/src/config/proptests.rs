//! Settings of every sort: those an operator meant well, those he mistyped, and bytes that are no
//! settings at all.

use std::fmt::Write;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::checked::Config;
use super::duration;
use super::listeners;
use super::properties::hold_for;
use crate::proptests::cases;

const SHIPPED: [&str; 2] = [
    include_str!("../../../configs/echo.toml"),
    include_str!("../../../configs/ping.toml"),
];
/// Values of every sort, some of which fit some keys.
const VALUES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "16",
    "64",
    "100",
    "1000",
    "4096",
    "65536",
    "1048577",
    "-1",
    "9223372036854775808",
    "0x10",
    "1_000",
    "1.5",
    "nan",
    "true",
    "false",
    "\"off\"",
    "\"any\"",
    "\"\"",
    "\"1s\"",
    "\"100ms\"",
    "\"5m\"",
    "\"2h\"",
    "\"365d\"",
    "\"366d\"",
    "\"5 minutes\"",
    "\"30\"",
    "\"127.0.0.1:0\"",
    "\"[::1]:7\"",
    "\"::1\"",
    "\"10.0.0.1\"",
    "\"redis:6379\"",
    "\"large\"",
    "\"json\"",
    "\"debug\"",
    "\"\\u001b[31m\"",
    "\"\u{e4}\"",
    "[]",
    "[0]",
    "[0, 1, 0]",
    "[true]",
    "[[]]",
    "{}",
    "{ a = 1 }",
    "1979-05-27",
    "\"never ends",
    "[1,",
    "'x'",
    "\"\"\"\nx\n\"\"\"",
];

/// Every key with its section and its default.
fn keys() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for section in Config::sections()
        .into_iter()
        .chain([Config::named_section(), Config::upstream_tls_section()])
    {
        let name = section.name.replace("upstream.NAME", "upstream.next");
        let name = match &*name {
            "upstream" => "upstream.next",
            name => name,
        };
        for entry in section.entries {
            found.push((name.to_owned(), entry.key.to_owned(), entry.default));
        }
    }
    found.extend(
        ["text", "count", "perhaps", "flags", "nested.depth"]
            .map(|key| ("app".to_owned(), key.to_owned(), "1".to_owned())),
    );
    found
}

/// A line of settings: of a known key more often than not, with a value that fits as often as not.
fn setting() -> impl Strategy<Value = (String, String, String)> {
    let known = proptest::sample::select(keys());
    let value = prop_oneof![Just(None), proptest::sample::select(VALUES).prop_map(Some)];
    let typed = prop_oneof![9 => Just(None), 1 => "[a-z_.\"]{0,12}".prop_map(Some)];
    (known, value, typed).prop_map(|((section, key, shown), value, typed)| {
        (
            section,
            typed.unwrap_or(key),
            value.map_or(shown, str::to_owned),
        )
    })
}

/// A file of such lines under their sections, and a few arguments.
fn settings() -> impl Strategy<Value = Vec<u8>> {
    (
        proptest::collection::vec(setting(), 0..8),
        proptest::collection::vec(setting(), 0..3),
        any::<bool>(),
    )
        .prop_map(|(file, sets, bom)| {
            let mut file = file;
            file.sort();
            file.dedup_by(|a, b| (&a.0, &a.1) == (&b.0, &b.1));
            let mut text = if bom {
                "\u{feff}".to_owned()
            } else {
                String::new()
            };
            let mut current = String::new();
            for (section, key, value) in file {
                if section != current {
                    writeln!(text, "[{section}]").expect("a text takes all");
                    current = section;
                }
                writeln!(text, "{key} = {value}").expect("a text takes all");
            }
            for (section, key, value) in sets {
                write!(text, "\0{section}.{key}={value}").expect("a text takes all");
            }
            text.into_bytes()
        })
}

/// A file of several listeners, each with a few of its keys, and an argument for one of them.
fn several_listeners() -> impl Strategy<Value = Vec<u8>> {
    const ADDRESSES: [&str; 6] = [
        "127.0.0.1:0",
        "[::]:7",
        "0.0.0.0:8",
        "unix:/x",
        "unix:x",
        "7",
    ];
    let keys = listeners::entries().into_iter();
    let keys: Vec<_> = keys.map(|entry| (entry.key, entry.default)).collect();
    let key = (
        proptest::sample::select(keys),
        proptest::sample::select(VALUES),
        any::<bool>(),
    );
    let key = key.prop_map(|((key, shown), value, is_shown)| {
        (key, if is_shown { shown } else { value.to_owned() })
    });
    let table = (
        proptest::sample::select(&ADDRESSES[..]),
        proptest::option::of(key),
    );
    let sets = proptest::collection::vec("listener(\\.[12x]){0,2}(\\.backlog)?=[0-9]", 0..2);
    (proptest::collection::vec(table, 0..4), sets).prop_map(|(tables, sets)| {
        let mut text = String::new();
        for (address, keys) in tables {
            writeln!(text, "[[listener]]\nlisten = \"{address}\"").expect("a text takes all");
            if let Some((key, value)) = keys {
                writeln!(text, "{key} = {value}").expect("a text takes all");
            }
        }
        for set in sets {
            write!(text, "\0{set}").expect("a text takes all");
        }
        text.into_bytes()
    })
}

/// A shipped file with a piece of it replaced.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let file = proptest::sample::select(&SHIPPED[..]);
    let piece = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..6),
        "[\\[\\]{}=\"'\n.,# 0-9a]{0,6}".prop_map(String::into_bytes)
    ];
    (file, any::<prop::sample::Index>(), 0..80_usize, piece).prop_map(
        |(file, at, length, piece)| {
            let (mut bytes, at) = (file.as_bytes().to_vec(), at.index(file.len()));
            bytes.splice(at..(at + length).min(file.len()), piece);
            bytes
        },
    )
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn settings_are_refused_with_their_place_or_print_as_what_reads_back(bytes in settings()) {
        hold_for(&bytes);
    }

    #[test]
    fn listeners_are_refused_with_their_place_or_print_as_what_reads_back(bytes in several_listeners()) {
        hold_for(&bytes);
    }

    #[test]
    fn any_text_is_refused_with_its_place(text in "[\\[\\]{}=\"'\\\\\n\r\t.,#_ 0-9a-f\u{e4}\u{1f600}\0-]{0,60}") {
        hold_for(text.as_bytes());
    }

    #[test]
    fn any_bytes_are_refused_with_their_place(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        hold_for(&bytes);
    }

    #[test]
    fn a_duration_reads_back_as_it_is_written(millis in prop_oneof![any::<u64>(), 0..10_000_000_u64, (0..1000_u64).prop_map(|n| n * 86_400_000)]) {
        let time = std::time::Duration::from_millis(millis);
        prop_assert_eq!(duration::parse(&duration::format(time)), Some(time));
        let days = u128::from(millis) * 86_400_000;
        let expected = u64::try_from(days).ok().map(std::time::Duration::from_millis);
        prop_assert_eq!(duration::parse(&format!("{millis}d")), expected, "a number of days that cannot be counted in milliseconds is refused");
    }

    #[test]
    fn a_duration_is_digits_and_a_unit_and_a_guess_is_one(text in prop_oneof!["[0-9]{0,21}(ms|s|m|h|d|)", "\\PC{0,12}", " ?[0-9]{1,3} ?[a-zA-Z]{1,8} ?"]) {
        if let Some(time) = duration::parse(&text) {
            prop_assert!(text.starts_with(|first: char| first.is_ascii_digit()) && text.ends_with(['s', 'm', 'h', 'd']));
            prop_assert_eq!(duration::parse(&duration::format(time)), Some(time));
        }
        if let Some(guess) = duration::guess(&text) {
            prop_assert!(duration::parse(&guess).is_some());
        }
    }
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn a_damaged_file_is_refused_with_its_place(bytes in damaged()) {
        hold_for(&bytes);
    }
}

#[test]
fn some_of_those_settings_are_accepted_and_some_are_not() {
    let mut runner = TestRunner::new(cases(1));
    let drawn = (0..400).map(|_| {
        settings()
            .new_tree(&mut runner)
            .expect("nothing is filtered")
            .current()
    });
    let accepted = drawn.filter(|bytes| hold_for(bytes)).count();
    assert!((40..360).contains(&accepted), "{accepted} of 400");
}
