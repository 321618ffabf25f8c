//! The command line.

use std::fmt;
use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};

use crate::config::AppSettings;

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// Settings to start with; without it, the built-in defaults
    #[arg(value_name = "CONFIG.toml")]
    pub config: Option<PathBuf>,

    /// Set one key, over the file; may be given several times
    ///
    /// VALUE is a TOML value, so a text needs quotes that the shell leaves alone:
    /// --set server.shards=2 --set 'server.cpus=[0, 1]' --set 'timeouts.idle="off"'
    #[arg(long = "set", value_name = "section.key=VALUE")]
    pub sets: Vec<String>,

    /// Check the settings, say what is wrong, and exit
    #[arg(long)]
    pub check: bool,

    /// Say what this machine carries with these settings, what binds, and what mends it
    ///
    /// Connections, memory, descriptors, ports and queues, with a forecast. Opens and changes nothing.
    /// Exits with 2 where something is short.
    #[arg(long)]
    pub doctor: bool,

    /// Ask the server that runs with these settings whether it is ready, or live
    ///
    /// By its admin server: exits with 0 for yes, else with 1 and the reason.
    #[arg(long, value_enum, value_name = "QUESTION", num_args = 0..=1, require_equals = true,
          default_missing_value = "ready")]
    pub probe: Option<Question>,

    /// Print the settings that would be used, as a settings file, and exit
    #[arg(long)]
    pub print_config: bool,

    /// Print a settings file to start from: the keys that people set, each explained
    #[arg(long)]
    pub print_example: bool,

    /// Print every key with its explanation, its range and its default, as Markdown
    #[arg(long)]
    pub print_reference: bool,
}

/// What a running server is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Question {
    /// Whether it may be given work
    Ready,
    /// Whether all its shards live
    Live,
}

impl fmt::Display for Question {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Ready => "ready",
            Self::Live => "live",
        })
    }
}

/// Read the command line of the application `S`.
///
/// # Errors
///
/// What is to be told instead: `--help`, `--version`, a usage error.
pub(crate) fn parse<S: AppSettings>() -> Result<Arguments, clap::Error> {
    read::<S>(std::env::args_os())
}

fn read<S: AppSettings>(
    words: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>,
) -> Result<Arguments, clap::Error> {
    let command = Arguments::command().name(S::NAME).about(S::ABOUT);
    Arguments::from_arg_matches(&command.try_get_matches_from(words)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::error::ErrorKind;
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Default, Serialize, Deserialize)]
    struct Sample {}

    impl AppSettings for Sample {
        const NAME: &'static str = "sample";
        const ABOUT: &'static str = "Says nothing to anyone";
        const LISTEN: &'static str = "127.0.0.1:7007";
    }

    fn refusal(words: &[&str]) -> clap::Error {
        read::<Sample>(["sample"].iter().chain(words)).unwrap_err()
    }

    #[test]
    fn everything_is_optional() {
        let nothing = Arguments {
            config: None,
            sets: Vec::new(),
            check: false,
            doctor: false,
            probe: None,
            print_config: false,
            print_example: false,
            print_reference: false,
        };
        assert_eq!(read::<Sample>(["sample"]).unwrap(), nothing);
    }

    #[test]
    fn sets_keep_their_order_and_their_text() {
        let words = [
            "sample",
            "--set",
            "server.shards=-1",
            "a.toml",
            "--check",
            "--set=timeouts.idle=\"off\"",
        ];
        let arguments = read::<Sample>(words).unwrap();
        assert_eq!(
            arguments.sets,
            ["server.shards=-1", "timeouts.idle=\"off\""]
        );
        assert_eq!(arguments.config, Some(PathBuf::from("a.toml")));
        assert!(arguments.check && !arguments.print_config);
    }

    #[test]
    fn a_probe_asks_whether_it_is_ready_unless_told_otherwise() {
        for (words, question) in [
            (&["--probe", "a.toml"][..], Some(Question::Ready)),
            (&["a.toml", "--probe"], Some(Question::Ready)),
            (&["--probe=ready", "a.toml"], Some(Question::Ready)),
            (&["a.toml", "--probe=live"], Some(Question::Live)),
            (&["a.toml"], None),
        ] {
            let arguments = read::<Sample>(["sample"].iter().chain(words)).unwrap();
            assert_eq!(arguments.probe, question, "{words:?}");
            assert_eq!(arguments.config, Some(PathBuf::from("a.toml")));
        }
        assert_eq!(refusal(&["--probe=well"]).exit_code(), 2);
    }

    #[test]
    fn help_and_version_name_the_application() {
        let help = refusal(&["-h"]);
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
        assert!(
            help.to_string().contains("Says nothing to anyone"),
            "{help}"
        );
        assert!(
            help.to_string()
                .contains("Usage: sample [OPTIONS] [CONFIG.toml]"),
            "{help}"
        );
        assert!(refusal(&["--version"]).to_string().starts_with("sample 0."));
    }

    #[test]
    fn bad_usage_exits_with_2() {
        for words in [&["--bogus"][..], &["a.toml", "b.toml"], &["--set"]] {
            assert_eq!(refusal(words).exit_code(), 2, "{words:?}");
        }
    }
}
