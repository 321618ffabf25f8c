//! The applications of these tests, and how they load settings.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::in_force::InForce;
use crate::config::load::{Loaded, load_from};
use crate::config::problem::Problem;
use crate::config::settings::AppSettings;

pub(super) const ECHO: &str = include_str!("../../../../configs/echo.toml");
pub(super) const PING: &str = include_str!("../../../../configs/ping.toml");
pub(super) const LOADTEST: &str = include_str!("../../../../configs/loadtest.toml");

/// An application with keys of its own. It leaves `deny_unknown_fields` out, as an author may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Greeter {
    greeting: String,
    repeat: u8,
    name: Option<String>,
    nested: Nested,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Nested {
    depth: u32,
}

impl Default for Greeter {
    fn default() -> Self {
        Self {
            greeting: "hello".to_owned(),
            repeat: 1,
            name: None,
            nested: Nested::default(),
        }
    }
}

impl AppSettings for Greeter {
    const NAME: &'static str = "greeter";
    const ABOUT: &'static str = "Greets";
    const LISTEN: &'static str = "127.0.0.1:7007";
    const LIVE: &'static [&'static str] = &["greeting"];
    const UPSTREAMS: &'static [(&'static str, &'static str)] = &[("next", "Asked for the rest.")];

    fn explain() -> Vec<(&'static str, String, String)> {
        let words = "a text";
        vec![("greeting", "What is said.".to_owned(), words.to_owned())]
    }

    fn check(&self) -> Vec<(&'static str, String)> {
        let silent = (
            "repeat",
            "found 0, expected a whole number from 1 to 255".to_owned(),
        );
        // As a table's own check names it.
        let deep = ("depth", "found 10, expected 9 at most".to_owned());
        let wrong = [(self.repeat == 0, silent), (self.nested.depth == 10, deep)];
        let told = wrong.into_iter().filter(|(is_wrong, _)| *is_wrong);
        told.map(|(_, told)| told).collect()
    }
}

/// An application that takes any key, for the files of applications that are not known here.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Any {
    #[serde(flatten)]
    keys: BTreeMap<String, toml::Value>,
}

impl AppSettings for Any {
    const NAME: &'static str = "any";
    const ABOUT: &'static str = "Takes any key";
    const LISTEN: &'static str = "127.0.0.1:7007";
}

/// A file in a directory of its own, gone with the value.
pub(super) struct Written(pub(super) PathBuf);

impl Written {
    pub(super) fn new(test: &str, contents: impl AsRef<[u8]>) -> Self {
        let directory =
            std::env::temp_dir().join(format!("corelane-config-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("test.toml"), contents).unwrap();
        Self(directory)
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.join("test.toml")
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn sets(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub(super) fn load_text<S: AppSettings>(
    text: &str,
    words: &[&str],
) -> Result<Loaded<S>, Vec<Problem>> {
    let words = sets(words);
    load_from(Some(("t.toml", text)), &words)
}

/// The messages of a file and arguments that must be refused, with "t.toml" for the name of the
/// file.
pub(super) fn refusals(text: &str, words: &[&str]) -> Vec<String> {
    let problems = load_text::<Greeter>(text, words).expect_err("refused");
    problems.iter().map(Problem::to_string).collect()
}

/// The settings of a file and arguments that must be accepted.
pub(super) fn accepted(text: &str, words: &[&str]) -> Loaded<Greeter> {
    load_text(text, words).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The changes from one file to another, each with whether it can be made.
pub(super) fn changes(before: &str, after: &str) -> Vec<(String, bool)> {
    let [before, after] = [before, after].map(in_force);
    let changes = before.changes_to(&after).into_iter();
    changes
        .map(|change| (change.to_string(), change.is_live))
        .collect()
}

fn in_force(text: &str) -> InForce {
    accepted(text, &[]).into_force().0
}
