//! Settings in code: text and single keys, which go through the checks that an operator's go
//! through.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::config::{self, AppSettings, Config, Problem};
use crate::start_error::{ProblemKind, StartError};

/// The settings of a server that is started by [`Server::builder`](crate::Server::builder): those
/// of a settings file, `[app]` excepted, for an embedding program has settings of its own.
///
/// What is not set has its default. Nothing is judged before the server is bound: then every
/// problem is told at once. Two defaults differ from a file's: `server.listen` is `127.0.0.1:0`, a
/// free port, and nothing of `[log]` but `lines_per_reason_max` and `stats_interval` has an effect,
/// because the log is the program's.
///
/// ```
/// use std::time::Duration;
///
/// use corelane::Settings;
///
/// let settings = Settings::from_toml("[timeouts]\nidle = \"5m\"\n")
///     .set("server.shards", 2)
///     .set("limits.connections_max", 1000)
///     .set("timeouts.read", Duration::from_secs(10))
///     .set("timeouts.lifetime", "off");
/// settings.check().expect("all of it is allowed");
/// assert!(Settings::new().set("server.shard", 2).check().is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// TOML, as a settings file has it.
    text: String,
    /// Each `section.key=VALUE`, in the order in which they apply.
    sets: Vec<String>,
}

impl Settings {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of `text`, which is TOML as in a settings file.
    pub fn from_toml(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            sets: Vec::new(),
        }
    }

    /// With `key`, as `"limits.connections_max"`, set to `value`, over the text and what was set
    /// before.
    #[must_use]
    pub fn set(self, key: &str, value: impl Into<SettingValue>) -> Self {
        self.set_toml(format!("{key}={}", value.into()))
    }

    /// As [`Self::set`], with key and value in one: `section.key=VALUE` in TOML, as the command
    /// line's `--set` takes it.
    #[must_use]
    pub fn set_toml(mut self, set: impl Into<String>) -> Self {
        self.sets.push(set.into());
        self
    }

    /// Whether the settings are fine in themselves; whether the machine can carry them out is for
    /// the server to find out.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them: where, which key, what was found and what was expected.
    pub fn check(&self) -> Result<(), StartError> {
        self.load().map(drop)
    }

    pub(crate) fn load(&self) -> Result<Config, StartError> {
        let text = (!self.text.is_empty()).then_some(("settings", self.text.as_str()));
        match config::load_from::<NoSettings>(text, &self.sets) {
            Ok(loaded) => Ok(loaded.config),
            Err(problems) => Err(StartError::of(
                ProblemKind::Settings,
                problems.iter().map(parts),
            )),
        }
    }
}

/// What is wrong, and the remedy. The author of settings in code knows no command line.
fn parts(problem: &Problem) -> (String, Option<String>) {
    let text = problem.to_string();
    let text = text.strip_prefix("--set ").unwrap_or(&text);
    match text.split_once("\n    help: ") {
        Some((what, help)) => (what.to_owned(), Some(help.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// A value of a setting, in TOML. Made of numbers, texts, durations, addresses and lists of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingValue(String);

impl fmt::Display for SettingValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

macro_rules! as_it_prints {
    ($($number:ty),*) => {
        $(impl From<$number> for SettingValue {
            fn from(value: $number) -> Self {
                Self(value.to_string())
            }
        })*
    };
}

as_it_prints!(bool, i32, i64, u8, u16, u32, u64, usize);

impl From<&str> for SettingValue {
    fn from(text: &str) -> Self {
        Self(toml::Value::from(text).to_string())
    }
}

impl From<String> for SettingValue {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Whole milliseconds of it.
impl From<Duration> for SettingValue {
    fn from(duration: Duration) -> Self {
        Self::from(config::format_duration(duration))
    }
}

impl From<SocketAddr> for SettingValue {
    fn from(address: SocketAddr) -> Self {
        Self::from(address.to_string())
    }
}

impl From<IpAddr> for SettingValue {
    fn from(address: IpAddr) -> Self {
        Self::from(address.to_string())
    }
}

impl<T: Into<Self>> From<Vec<T>> for SettingValue {
    fn from(values: Vec<T>) -> Self {
        let values: Vec<String> = values.into_iter().map(|value| value.into().0).collect();
        Self(format!("[{}]", values.join(", ")))
    }
}

/// What the program around a server or a client sets is its own business.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct NoSettings {}

impl AppSettings for NoSettings {
    const NAME: &'static str = "corelane";
    const ABOUT: &'static str = "";
    const LISTEN: &'static str = "127.0.0.1:0";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sort_of_value_reaches_its_key() {
        let listen = SocketAddr::from(([127, 0, 0, 1], 7008));
        let settings = Settings::from_toml("[timeouts]\nidle = \"5m\"\nread = \"1s\"\n")
            .set("timeouts.read", Duration::from_millis(2500))
            .set("timeouts.lifetime", "off")
            .set("server.listen", listen)
            .set("server.cpus", vec![0_u32])
            .set("limits.connections_max", 10)
            .set_toml("socket.nodelay=false");
        let config = settings.load().expect("fine settings");
        assert_eq!(config.timeouts.idle, Some(Duration::from_secs(300)));
        assert_eq!(config.timeouts.read, Some(Duration::from_millis(2500)));
        assert_eq!(config.timeouts.lifetime, None);
        assert_eq!(
            (config.server.listen, &*config.server.cpus),
            (listen, &[0][..])
        );
        assert_eq!(config.limits.connections_max, Some(10));
        assert!(!config.socket.nodelay);
        assert_eq!(
            Settings::new()
                .load()
                .expect("defaults")
                .server
                .listen
                .port(),
            0
        );
    }

    #[test]
    fn all_problems_come_at_once_and_name_the_key() {
        let settings = Settings::from_toml("[limits]\nconnections_max = true\n")
            .set("server.shard", 2)
            .set("timeouts.idle", -1);
        let error = settings.check().expect_err("three mistakes");
        let told: Vec<String> = error.problems().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:#?}");
        assert!(
            error
                .problems()
                .iter()
                .all(|problem| problem.kind == ProblemKind::Settings)
        );
        assert!(
            told[0].contains("settings:2:19: limits.connections_max"),
            "{told:#?}"
        );
        assert!(
            told[1] == "server.shard=2: server.shard: no such key: did you mean server.shards?",
            "{told:#?}"
        );
        assert!(told[2].contains("timeouts.idle"), "{told:#?}");
        assert!(Settings::new().set("app.name", "x").check().is_err());
    }
}
