//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches, Parser};

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
