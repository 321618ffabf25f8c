//! The `[app]` section of the ping server.

use corelane::AppSettings;

use crate::forward::UPSTREAM;
use crate::resp::Limits;

/// What is said of one key, and which values it takes.
struct Bound {
    key: &'static str,
    about: &'static str,
    unit: &'static str,
    min: u32,
    max: u32,
    of: fn(&PingSettings) -> u32,
}

const BOUNDS: [Bound; 3] = [
    Bound {
        key: "inline_max",
        about: "Longest inline request, and longest length header.",
        unit: "bytes",
        min: 64,
        max: 1024 * 1024,
        of: |settings| settings.inline_max,
    },
    Bound {
        key: "bulk_max",
        about: "Bytes in all the arguments of one request together.",
        unit: "bytes",
        min: 64,
        max: 64 * 1024 * 1024,
        of: |settings| settings.bulk_max,
    },
    Bound {
        key: "arguments_max",
        about: "Arguments of one request.",
        unit: "arguments",
        min: 1,
        max: 1024 * 1024,
        of: |settings| settings.arguments_max,
    },
];

/// Bounds of one request; past any of them the client is told so and the connection closed.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PingSettings {
    inline_max: u32,
    bulk_max: u32,
    arguments_max: u32,
}

impl PingSettings {
    /// The same bounds, as the parser wants them.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            inline_max: self.inline_max,
            bulk_max: self.bulk_max,
            arguments_max: self.arguments_max,
        }
    }
}

impl Default for PingSettings {
    fn default() -> Self {
        Self {
            inline_max: 64 * 1024, // Redis's own `PROTO_INLINE_MAX_SIZE`
            bulk_max: 1024 * 1024,
            arguments_max: 1024,
        }
    }
}

impl AppSettings for PingSettings {
    const NAME: &'static str = "ping";
    const ABOUT: &'static str = "Answers PING, ECHO and QUIT as a Redis server does";
    const LISTEN: &'static str = "127.0.0.1:7379";
    const LIVE: &'static [&'static str] = &["inline_max", "bulk_max", "arguments_max"];
    const UPSTREAMS: &'static [(&'static str, &'static str)] = &[(
        UPSTREAM,
        "With an upstream of this name ping passes PING on to it, and answers with the time that it took: +PONG 123 us. \
        Any server that answers PING as Redis does will do. Each shard has a pool of connections of its own.",
    )];

    fn check(&self) -> Vec<(&'static str, String)> {
        let value = |bound: &Bound| (bound.of)(self);
        BOUNDS
            .iter()
            .filter(|bound| !(bound.min..=bound.max).contains(&value(bound)))
            .map(|bound| {
                let Bound { key, min, max, .. } = bound;
                (*key, format!("is {}, must be {min} to {max}", value(bound)))
            })
            .collect()
    }

    fn explain() -> Vec<(&'static str, String, String)> {
        let explain = |bound: &Bound| {
            let Bound { unit, min, max, .. } = bound;
            let range = format!("a whole number of {unit} from {min} to {max}");
            (bound.key, bound.about.to_owned(), range)
        };
        BOUNDS.iter().map(explain).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        assert!(PingSettings::default().check().is_empty());
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let settings = PingSettings {
            inline_max: 0,
            bulk_max: u32::MAX,
            arguments_max: 0,
        };
        let keys: Vec<_> = settings.check().into_iter().map(|(key, _)| key).collect();
        assert_eq!(keys, ["inline_max", "bulk_max", "arguments_max"]);
    }
}
