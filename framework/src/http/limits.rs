//! The bounds of HTTP, each with a name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What a peer may take of a server by HTTP. The defaults are in force as they stand; an application
/// that leaves them to its operator has a field of this type in its `[app]`, where a duration is
/// written as everywhere in the settings:
///
/// ```toml
/// [app.http]
/// body_max = 10485760
/// header_timeout = "5s"
/// ```
///
/// A table that an operator writes stands for all of it: what it leaves out has the default of here,
/// and not what an application has in its own `Default`.
///
/// What is bounded for every connection alike stays in `[timeouts]` and `[limits]`: silence between
/// two requests by `timeouts.idle`, a peer that takes nothing by `timeouts.write`, the whole of a
/// request by `timeouts.request`, unread replies by `limits.write_queue_max`.
///
/// ```
/// use corelane::http::Limits;
///
/// let mut limits = Limits::default();
/// limits.body_max = 10 << 20;
/// assert!(limits.check().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of a request's head, from its first to the empty line at its end: 8192, at most 65535.
    /// Past it the answer is 431, or 414 if not even the request line has ended. Chunk extensions of
    /// a body, in sum, and its trailers have the same bound.
    pub head_max: u32,
    /// Header fields of a request: 64, at most 128. Past it the answer is 431.
    pub fields_max: u32,
    /// Bytes of a request's body, chunks in sum: 1048576. Past it the answer is 413, before anything
    /// of it is read if its length is told. 0: no bodies are taken at all.
    pub body_max: u64,
    /// From the first byte of a head to its last: 10 s. Past it the connection is reset
    /// ([`ReadTimeout`](crate::CloseReason::ReadTimeout)).
    #[serde(with = "as_text")]
    pub header_timeout: Duration,
    /// How long a body may be waited for: 30 s. What comes wins time back, at `body_rate_min`, up to
    /// this again. So it bounds silence, and whoever is slower than the rate ends within a time. The
    /// handler's own work does not count. Past it the connection is reset.
    #[serde(with = "as_text")]
    pub body_timeout: Duration,
    /// Bytes of a body per second that a peer may be as slow as for ever: 1024.
    pub body_rate_min: u32,
    /// Silence between two requests; none, as at first, `"off"` in a file: `timeouts.idle`. A time of
    /// its own takes some 60 bytes of memory a connection.
    #[serde(with = "as_text_or_none")]
    pub keep_alive: Option<Duration>,
    /// Requests of a connection; none, as at first: any number. The last one is answered with
    /// `Connection: close`.
    pub requests_max: Option<u32>,
    /// Requests that a peer sends ahead and that are answered before any of these answers is on its
    /// way: 64, at most 255. Then they are sent before the next is read.
    pub pipelined_max: u8,
    /// Bytes of a body that its handler has not read, and that are read and thrown away so that the
    /// connection can go on: 65536. With more to come the answer says `Connection: close`.
    pub unread_body_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_max: 8192,
            fields_max: 64,
            body_max: 1 << 20,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            body_rate_min: 1024,
            keep_alive: None,
            requests_max: None,
            pipelined_max: 64,
            unread_body_max: 64 * 1024,
        }
    }
}

/// What places in a head are told by.
const HEAD_MAX: u32 = u16::MAX as u32;
/// What there is room for while a head is parsed.
pub(super) const FIELDS_MAX: usize = 128;

impl Limits {
    /// What is wrong with them, as [`AppSettings::check`](crate::AppSettings::check) tells it: the
    /// field's name, and what was found and expected.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let ranges: [(_, u64, u64, u64); 5] = [
            ("head_max", self.head_max.into(), 64, HEAD_MAX.into()),
            ("fields_max", self.fields_max.into(), 1, FIELDS_MAX as u64),
            (
                "body_rate_min",
                self.body_rate_min.into(),
                1,
                u32::MAX.into(),
            ),
            (
                "pipelined_max",
                self.pipelined_max.into(),
                1,
                u8::MAX.into(),
            ),
            (
                "requests_max",
                self.requests_max.unwrap_or(1).into(),
                1,
                u32::MAX.into(),
            ),
        ];
        let numbers = ranges
            .into_iter()
            .filter(|(_, found, least, most)| !(least..=most).contains(&found))
            .map(|(name, found, least, most)| {
                (name, format!("found {found}, expected {least} to {most}"))
            });
        let times = [
            ("header_timeout", Some(self.header_timeout)),
            ("body_timeout", Some(self.body_timeout)),
            ("keep_alive", self.keep_alive),
        ];
        let times = times
            .into_iter()
            .filter(|(_, found)| *found == Some(Duration::ZERO))
            .map(|(name, _)| (name, "found 0s, expected more than that".to_owned()));
        numbers.chain(times).collect()
    }

    /// As they are kept to, whatever was written: those that were not checked are cut to their
    /// ranges.
    pub(super) fn clamped(&self) -> Self {
        Self {
            head_max: self.head_max.clamp(64, HEAD_MAX),
            fields_max: self.fields_max.clamp(1, FIELDS_MAX as u32),
            body_rate_min: self.body_rate_min.max(1),
            pipelined_max: self.pipelined_max.max(1),
            requests_max: self.requests_max.map(|most| most.max(1)),
            ..self.clone()
        }
    }
}

/// A duration as the settings have it: "250ms", "30s".
pub(crate) mod as_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::config::{format_duration, parse_duration};

    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&format_duration(*time))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text).ok_or_else(|| {
            de::Error::custom(format!("found {text:?}, expected a duration, as \"30s\""))
        })
    }
}

/// The same, where there may be none: `"off"`, as everywhere in the settings.
pub(crate) mod as_text_or_none {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::config::{format_duration, parse_duration};

    const OFF: &str = "off";

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.serialize_str(&format_duration(*time)),
            None => to.serialize_str(OFF),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(from)?;
        if text == OFF {
            return Ok(None);
        }
        parse_duration(&text).map(Some).ok_or_else(|| {
            de::Error::custom(format!(
                "found {text:?}, expected a duration, as \"30s\", or \"off\" for none"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_and_read_as_settings_are() {
        let limits = Limits {
            keep_alive: Some(Duration::from_secs(5)),
            requests_max: Some(100),
            ..Limits::default()
        };
        let written = toml::to_string(&limits).expect("they are a table");
        assert!(written.contains("header_timeout = \"10s\""), "{written}");
        assert!(written.contains("keep_alive = \"5s\""), "{written}");
        assert_eq!(toml::from_str::<Limits>(&written).as_ref(), Ok(&limits));
        let written = toml::to_string(&Limits::default()).expect("they are a table");
        assert!(written.contains("keep_alive = \"off\""), "{written}");
        assert_eq!(toml::from_str::<Limits>(&written), Ok(Limits::default()));
        let wrong = toml::from_str::<Limits>("keep_alive = \"never\"").map_err(|e| e.to_string());
        assert!(wrong.is_err_and(|why| why.contains("or \"off\" for none")));
        let wrong = toml::from_str::<Limits>("body_timeout = \"soon\"").map_err(|e| e.to_string());
        assert!(wrong.is_err_and(|why| why.contains("expected a duration")));
        assert!(toml::from_str::<Limits>("head_maximum = 1").is_err());
        let wrong = toml::from_str::<Limits>("pipelined_max = 256").map_err(|e| e.to_string());
        assert!(wrong.is_err_and(|why| why.contains("256")));
    }

    #[test]
    fn what_is_out_of_range_is_told_and_cut() {
        let wrong = Limits {
            head_max: 70_000,
            fields_max: 0,
            pipelined_max: 0,
            requests_max: Some(0),
            header_timeout: Duration::ZERO,
            body_timeout: Duration::ZERO,
            keep_alive: Some(Duration::ZERO),
            ..Limits::default()
        };
        let told: Vec<_> = wrong.check().into_iter().map(|(name, _)| name).collect();
        let names = [
            "head_max",
            "fields_max",
            "pipelined_max",
            "requests_max",
            "header_timeout",
            "body_timeout",
            "keep_alive",
        ];
        assert_eq!(told, names);
        let cut = Limits {
            header_timeout: Duration::from_secs(1),
            body_timeout: Duration::from_secs(1),
            keep_alive: None,
            ..wrong.clamped()
        };
        assert_eq!(cut.check(), []);
        assert_eq!(Limits::default().check(), []);
        assert_eq!(Limits::default().clamped(), Limits::default());
    }
}
