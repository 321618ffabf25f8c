//! The `[app]` section of the ping server.

use std::ops::RangeInclusive;

use corelane::AppSettings;

use crate::resp::Limits;

/// The default of `inline_max` is Redis's own `PROTO_INLINE_MAX_SIZE`.
const INLINE_MAX: u32 = 64 * 1024;
const INLINE_MAX_RANGE: RangeInclusive<u32> = 64..=1024 * 1024;
const BULK_MAX: u32 = 1024 * 1024;
const BULK_MAX_RANGE: RangeInclusive<u32> = 64..=64 * 1024 * 1024;
const ARGUMENTS_MAX: u32 = 1024;
const ARGUMENTS_MAX_RANGE: RangeInclusive<u32> = 1..=1024 * 1024;

/// Bounds of one request; past any of them the client is told so and the connection closed.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PingSettings {
    /// Longest inline request and longest length header, in bytes.
    inline_max: u32,
    /// Most bytes in all the bulk strings of one request together.
    bulk_max: u32,
    /// Most bulk strings in one request.
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
            inline_max: INLINE_MAX,
            bulk_max: BULK_MAX,
            arguments_max: ARGUMENTS_MAX,
        }
    }
}

impl AppSettings for PingSettings {
    const NAME: &'static str = "ping";
    const ABOUT: &'static str = "Answers PING, ECHO and QUIT as a Redis server does";
    const LISTEN: &'static str = "127.0.0.1:7379";

    fn check(&self) -> Vec<(&'static str, String)> {
        [
            ("inline_max", self.inline_max, INLINE_MAX_RANGE),
            ("bulk_max", self.bulk_max, BULK_MAX_RANGE),
            ("arguments_max", self.arguments_max, ARGUMENTS_MAX_RANGE),
        ]
        .into_iter()
        .filter(|(_, value, range)| !range.contains(value))
        .map(|(key, value, range)| {
            (
                key,
                format!("is {value}, must be {} to {}", range.start(), range.end()),
            )
        })
        .collect()
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
