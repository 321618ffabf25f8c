//! The `[app]` section of the gateway.

use std::time::Duration;

use corelane::AppSettings;

use crate::origin;
use crate::tokens::TokenFile;

/// Largest of the largest messages: a message is in memory as a whole, on each shard.
const MESSAGE_MAX: u32 = 1024 * 1024;
/// Most messages that are retained: a stream that comes again has them gone through.
const RETAINED_MAX: u16 = 1024;
const HEARTBEAT_MIN: Duration = Duration::from_secs(1);
const HEARTBEAT_MAX: Duration = Duration::from_secs(3600);

#[derive(Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GatewaySettings {
    pub(crate) tokens_file: TokenFile,
    pub(crate) origins: Vec<String>,
    pub(crate) message_max: u32,
    pub(crate) retained_messages: u16,
    #[serde(with = "as_text")]
    pub(crate) heartbeat: Duration,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            tokens_file: TokenFile::default(),
            origins: Vec::new(),
            message_max: 16 * 1024,
            retained_messages: 16,
            heartbeat: Duration::from_secs(15),
        }
    }
}

impl AppSettings for GatewaySettings {
    const NAME: &'static str = "gateway";
    const ABOUT: &'static str =
        "Passes on what is published by HTTP to WebSockets and event streams";
    const LISTEN: &'static str = "127.0.0.1:7080";
    // Topics that nobody is subscribed to stay for what they retain until others need the place: it is
    // what bounds their memory.
    const DEFAULTS: &'static str = "[topic]\ntopics_per_shard_max = 1024\n";
    const LIVE: &'static [&'static str] = &[
        "tokens_file",
        "origins",
        "message_max",
        "retained_messages",
        "heartbeat",
    ];

    fn check(&self) -> Vec<(&'static str, String)> {
        let tokens = self.tokens_file.fault().map(|why| ("tokens_file", why));
        let origins = self.origins.iter().filter_map(|one| origin::fault(one));
        let origins = origins.map(|why| ("origins", why));
        let (size, kept, beat) = (self.message_max, self.retained_messages, self.heartbeat);
        let message = (!(1..=MESSAGE_MAX).contains(&size)).then(|| {
            (
                "message_max",
                format!("is {size}, must be 1 to {MESSAGE_MAX}"),
            )
        });
        let retained = (kept > RETAINED_MAX).then(|| {
            let what = format!("is {kept}, must be 0 to {RETAINED_MAX}");
            ("retained_messages", what)
        });
        let heartbeat = (!(HEARTBEAT_MIN..=HEARTBEAT_MAX).contains(&beat))
            .then(|| ("heartbeat", "must be 1s to 1h".to_owned()));
        let all = tokens.into_iter().chain(origins).chain(message);
        all.chain(retained).chain(heartbeat).collect()
    }

    fn warnings(&self) -> Vec<(&'static str, String)> {
        let warning = self.tokens_file.warning();
        let warning = warning.map(|what| ("tokens_file", what));
        warning.into_iter().collect()
    }

    fn file_marks(&self) -> Vec<(&'static str, String)> {
        let mark = self.tokens_file.mark();
        mark.into_iter().map(|mark| ("tokens_file", mark)).collect()
    }

    fn explain() -> Vec<(&'static str, String, String)> {
        let keys = [
            (
                "tokens_file",
                "A file of bearer tokens, a line each: NAME TOKEN RIGHTS, where RIGHTS is publish, \
                subscribe or publish,subscribe, and # begins a comment. The name is for people. A token \
                has 16 to 256 letters, digits, '-', '.', '_' and '~'. The file is read at the start and \
                with each reload; a wrong one refuses either. Without one everybody who can connect may \
                publish and subscribe.",
                "a path, or empty for none",
            ),
            (
                "origins",
                "Pages of other hosts whose scripts may publish and subscribe, as browsers tell them in \
                Origin. The server's own page may. \"*\" is any page: with tokens alone.",
                "a list, each an origin like \"https://example.org\", or \"*\"",
            ),
            (
                "message_max",
                "Longest message.",
                "a whole number of bytes from 1 to 1048576",
            ),
            (
                "retained_messages",
                "Messages of a topic that each shard keeps for event streams that come again with \
                Last-Event-ID. Together with message_max and topic.topics_per_shard_max it bounds \
                what is kept.",
                "a whole number of messages from 0 to 1024",
            ),
            (
                "heartbeat",
                "How often an event stream gets a comment and a WebSocket a ping, so that proxies keep \
                them open and vanished peers are found.",
                "a duration from 1s to 1h",
            ),
        ];
        let owned =
            |(key, about, range): (_, &str, &str)| (key, about.to_owned(), range.to_owned());
        keys.map(owned).into()
    }
}

/// A duration as the settings have it: "15s".
mod as_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&humantime::format_duration(*time).to_string())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        let told =
            |_| de::Error::custom(format!("found {text:?}, expected a duration, as \"15s\""));
        humantime::parse_duration(&text).map_err(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        assert!(GatewaySettings::default().check().is_empty());
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        for (size, beat) in [(0, 0), (MESSAGE_MAX + 1, 3601)] {
            let settings = GatewaySettings {
                origins: vec!["example.org".to_owned()],
                message_max: size,
                retained_messages: RETAINED_MAX + 1,
                heartbeat: Duration::from_secs(beat),
                ..GatewaySettings::default()
            };
            let keys: Vec<_> = settings.check().into_iter().map(|(key, _)| key).collect();
            assert_eq!(
                keys,
                ["origins", "message_max", "retained_messages", "heartbeat"]
            );
        }
    }

    #[test]
    fn every_key_is_explained_and_changes_by_a_reload() {
        let keys: Vec<_> = GatewaySettings::explain()
            .into_iter()
            .map(|(key, ..)| key)
            .collect();
        assert_eq!(keys, GatewaySettings::LIVE);
    }
}
