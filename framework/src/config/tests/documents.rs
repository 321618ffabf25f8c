//! What the table of keys says in the example and in the reference.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use super::rig::{Greeter, accepted};
use crate::config::checked::Config;
use crate::config::entry::Section;
use crate::config::example::example;
use crate::config::keys::Upstream;
use crate::config::load::load;
use crate::config::names;
use crate::config::reference::reference;
use crate::config::settings::AppSettings;

/// Every section of the table, with the keys of an upstream and its TLS.
fn sections() -> Vec<Section> {
    let named = [Config::named_section(), Config::upstream_tls_section()];
    Config::sections().into_iter().chain(named).collect()
}

#[test]
fn every_key_is_explained() {
    for section in sections() {
        assert!(!section.about.is_empty(), "[{}]", section.name);
        for entry in section.entries {
            let full = format!("{}.{}", section.name, entry.key);
            let about = entry.about.concat();
            let is_sentence = about.starts_with(char::is_uppercase) && about.ends_with('.');
            assert!(is_sentence, "{full}: {about}");
            assert!(!entry.expected.is_empty(), "{full}");
        }
    }
}

#[test]
fn the_reference_shows_every_key_with_its_value_and_its_default() {
    let reference = reference::<Greeter>();
    for section in sections() {
        let name = names::placed(section.name);
        assert!(reference.contains(&format!("\n## [{name}]\n")), "[{name}]");
        for entry in section.entries {
            let heading = format!("\n### {name}.{}\n", entry.key);
            let (_, text) = reference.split_once(&heading).expect(&heading);
            let text = text.split("\n#").next().unwrap().replace("\n  ", " ");
            let value = format!("\n- Value: {}.\n", entry.expected);
            assert!(text.contains(&value), "{heading}{text}");
            let default = match (entry.required, section.name, entry.key) {
                (true, ..) => "- Default: none, it must be set.".to_owned(),
                (false, "server", "listen") => format!("- Default: `\"{}\"`\n", Greeter::LISTEN),
                (false, ..) => format!("- Default: `{}`\n", entry.default),
            };
            assert!(text.contains(&default), "{heading}{text}");
            let change = match entry.live {
                true => "- Change: by a reload.\n",
                false => "- Change: needs a restart.\n",
            };
            assert!(text.contains(change), "{heading}{text}");
        }
    }
    for line in reference.lines() {
        let marker = line.split(' ').next().unwrap();
        let facts = ["- Value: ", "- Default: ", "- Change: "];
        let is_fact = facts.iter().any(|fact| line.starts_with(fact));
        let makes_a_list = ["-", "+", "*", ">"].contains(&marker)
            || marker
                .strip_suffix(['.', ')'])
                .is_some_and(|number| number.parse::<u32>().is_ok());
        assert!(is_fact || !makes_a_list, "a paragraph breaks at {line}");
    }
    let app = "What is said.\n\n- Value: a text.\n- Default: `\"hello\"`\n- Change: by a reload.\n";
    let app = format!("\n### app.greeting\n\n{app}");
    assert!(reference.contains(&app), "{reference}");
    assert!(reference.contains("\n### app.name\n\n\n- Default: not set.\n"));
}

#[test]
fn the_example_shows_the_shipped_keys_with_their_defaults_and_changes_nothing() {
    let example = example::<Greeter>();
    let built_in = load::<Greeter>(None, &[]).unwrap();
    assert_eq!(accepted(&example, &[]), built_in, "{example}");
    let lines: Vec<&str> = example.lines().collect();
    for section in Config::sections() {
        let shipped = section.entries.iter().filter(|entry| entry.shipped);
        let header = format!("[{}]", section.name);
        assert_eq!(
            lines.contains(&header.as_str()),
            shipped.clone().next().is_some(),
            "{header}"
        );
        for entry in shipped {
            let is_key = |line: &&str| line.starts_with(&format!("{} = ", entry.key));
            let at = lines.iter().position(is_key);
            let at = at.unwrap_or_else(|| panic!("{}.{} is missing", section.name, entry.key));
            assert!(
                lines[at - 1].starts_with("# "),
                "{} is not explained",
                lines[at]
            );
        }
    }
    assert!(example.contains("# What is said.\n# A text.\ngreeting = \"hello\"\n"));
    assert!(example.lines().all(|line| line.chars().count() <= 100));
}

/// The sections with names of the operator's choice are shown as comments; uncommented they hold the
/// defaults.
#[test]
fn the_keys_of_an_upstream_are_explained_and_shown_with_their_defaults() {
    let settings = shown_settings("upstream.next", &Config::named_section());
    let upstreams = accepted(&settings, &[]).config.upstreams;
    assert_eq!(
        upstreams["next"],
        Upstream::at("127.0.0.1:6379".parse().unwrap())
    );
    let tls = shown_settings("upstream.next.tls", &Config::upstream_tls_section());
    assert_eq!(
        tls,
        "[upstream.next.tls]\nca = \"web\"\nserver_name = \"auto\"\n"
    );
}

/// What the example shows of a section as comments, uncommented.
fn shown_settings(name: &str, section: &Section) -> String {
    let example = example::<Greeter>();
    let (_, shown) = example.split_once(&format!("# [{name}]\n")).unwrap();
    let lines: Vec<&str> = shown
        .lines()
        .map_while(|line| line.strip_prefix("# "))
        .collect();
    let is_key = |line: &str, key: &str| line.starts_with(&format!("{key} = "));
    let entries = &section.entries;
    let keys: Vec<&str> = entries.iter().map(|entry| entry.key).collect();
    for entry in entries.iter().filter(|entry| entry.shipped) {
        let key = entry.key;
        let at = lines
            .iter()
            .position(|line| is_key(line, key))
            .unwrap_or_else(|| panic!("{key} is missing"));
        assert!(
            at > 0 && !keys.iter().any(|other| is_key(lines[at - 1], other)),
            "{key} is not explained"
        );
    }
    let settings = lines
        .iter()
        .filter(|line| keys.iter().any(|key| is_key(line, key)));
    settings.fold(format!("[{name}]\n"), |text, line| text + line + "\n")
}

/// The default of each key in the table, read back, is the setting without it.
#[test]
fn every_default_in_the_table_is_the_one_in_force() {
    let mut text = String::new();
    let sections = Config::sections().into_iter();
    for section in sections.chain([Config::named_section()]) {
        let name = match section.name {
            "upstream" => "upstream.next",
            name => name,
        };
        let shown = section.entries.iter().filter(|entry| {
            // They would override the profile; its own default is theirs.
            section.name != "buffers" || entry.key == "profile"
        });
        let keys = shown.map(|entry| format!("{} = {}\n", entry.key, entry.default));
        text += &format!("[{name}]\n{}", keys.collect::<String>());
    }
    let config = accepted(&text, &[]).config;
    let upstreams = Arc::clone(&config.upstreams);
    assert_eq!(
        config,
        Config {
            upstreams: Arc::clone(&upstreams),
            ..Config::default()
        }
    );
    assert_eq!(upstreams["next"], Upstream::default());
}
