//! What a WebSocket may take, and what it agrees to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http::limits::{as_text, as_text_or_none};

/// The bounds of a WebSocket and what is agreed to in its handshake. The defaults are in force as
/// they stand; an application that leaves them to its operator has a field of this type in its
/// `[app]`:
///
/// ```toml
/// [app.websocket]
/// message_max = 65536
/// ping_interval = "30s"
/// ```
///
/// A table that an operator writes stands for all of it: what it leaves out has the default of here,
/// and not what an application has in its own `Default`.
///
/// What is bounded for every connection alike stays in `[timeouts]` and `[limits]`: silence between
/// two messages by `timeouts.idle`, a frame's head by `timeouts.read`, a peer that takes nothing by
/// `timeouts.write`, frames that are read in a turn by `limits.reads_per_turn_max`.
///
/// ```
/// use corelane::websocket::Options;
///
/// let mut options = Options::default();
/// options.message_max = 64 * 1024;
/// options.subprotocols = vec!["chat.v2".to_owned(), "chat.v1".to_owned()];
/// assert!(options.check().is_empty());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Options {
    /// Bytes of a message, its fragments in sum, and inflated: 1048576, at most 1073741824. Past it
    /// the peer is told 1009, before anything of the frame that passes it is read. What is kept of a
    /// message is what has come of it, in a buffer that doubles.
    pub message_max: u32,
    /// Frames of a message, empty ones too: 1024. Past it the peer is told 1009.
    pub fragments_max: u32,
    /// From a message's first bytes to its last: 30 s. Past it the connection is reset
    /// ([`ReadTimeout`](crate::CloseReason::ReadTimeout)).
    #[serde(with = "as_text")]
    pub message_timeout: Duration,
    /// How long [`close`](super::WebSocket::close) waits for the peer's close frame: 5 s. Past it
    /// the connection is reset.
    #[serde(with = "as_text")]
    pub close_timeout: Duration,
    /// How often the peer is pinged; none, as at first, `"off"` in a file: never. It is while
    /// [`next`](super::WebSocket::next) is waited for, and takes some 70 bytes of memory a
    /// connection.
    #[serde(with = "as_text_or_none")]
    pub ping_interval: Option<Duration>,
    /// How long a pinged peer may say nothing at all: 10 s. Past it the connection is reset.
    #[serde(with = "as_text")]
    pub pong_timeout: Duration,
    /// Of a server: the pages whose scripts may connect, as browsers tell them in `Origin`:
    /// `https://example.org`, or `*` for all. None, as at first: those of the same host. Who names
    /// no page, as no program but a browser does, may connect. Others get 403.
    pub origins: Vec<String>,
    /// The subprotocols that are spoken (RFC 6455, 1.9), at most 255. A server takes the client's
    /// first that is among them, and none if there is none; a client offers all.
    pub subprotocols: Vec<String>,
    /// Messages are compressed (permessage-deflate, RFC 7692) if the peer will, each for itself: no
    /// context is kept from one to the next. False, as at first. Without the feature
    /// `websocket-deflate` it has no effect.
    pub deflate: bool,
}

/// So that sums of lengths stay far below 4 GiB.
const MESSAGE_MAX: u32 = 1 << 30;

impl Default for Options {
    fn default() -> Self {
        Self {
            message_max: 1 << 20,
            fragments_max: 1024,
            message_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(5),
            ping_interval: None,
            pong_timeout: Duration::from_secs(10),
            origins: Vec::new(),
            subprotocols: Vec::new(),
            deflate: false,
        }
    }
}

impl Options {
    /// What is wrong with them, as [`AppSettings::check`](crate::AppSettings::check) tells it: the
    /// field's name, and what was found and expected. Where nobody asks, a `message_max` or
    /// `fragments_max` out of range is taken for the nearest one in it.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        let ranges = [
            ("message_max", self.message_max, MESSAGE_MAX),
            ("fragments_max", self.fragments_max, u32::MAX),
        ];
        let numbers = ranges
            .into_iter()
            .filter(|(_, found, most)| !(1..=*most).contains(found))
            .map(|(name, found, most)| (name, format!("found {found}, expected 1 to {most}")));
        let times = [
            ("message_timeout", Some(self.message_timeout)),
            ("close_timeout", Some(self.close_timeout)),
            ("ping_interval", self.ping_interval),
            ("pong_timeout", Some(self.pong_timeout)),
        ];
        let times = times
            .into_iter()
            .filter(|(_, found)| *found == Some(Duration::ZERO))
            .map(|(name, _)| (name, "found 0s, expected more than that".to_owned()));
        let spoken = &self.subprotocols;
        let is_bad = spoken.len() > usize::from(u8::MAX) || !spoken.iter().all(|one| is_token(one));
        let names = is_bad.then(|| {
            let why = format!("found {spoken:?}, expected at most 255 tokens (RFC 9110, 5.6.2)");
            ("subprotocols", why)
        });
        numbers.chain(times).chain(names).collect()
    }

    pub(super) fn message_max(&self) -> u64 {
        self.message_max.clamp(1, MESSAGE_MAX).into()
    }

    pub(super) fn fragments_max(&self) -> u32 {
        self.fragments_max.max(1)
    }

    pub(super) fn may_deflate(&self) -> bool {
        self.deflate && cfg!(feature = "websocket-deflate")
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(crate::http::field::is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_written_and_read_as_settings_are() {
        let options = Options {
            ping_interval: Some(Duration::from_secs(30)),
            origins: vec!["https://example.org".to_owned()],
            ..Options::default()
        };
        let written = toml::to_string(&options).expect("they are a table");
        assert!(written.contains("ping_interval = \"30s\""), "{written}");
        assert_eq!(toml::from_str::<Options>(&written), Ok(options));
        assert!(toml::from_str::<Options>("message_maximum = 1").is_err());
    }

    #[test]
    fn what_is_out_of_range_is_told() {
        let wrong = Options {
            message_max: 0,
            fragments_max: 0,
            pong_timeout: Duration::ZERO,
            subprotocols: vec!["a b".to_owned()],
            ..Options::default()
        };
        let told: Vec<_> = wrong.check().into_iter().map(|(name, _)| name).collect();
        let names = [
            "message_max",
            "fragments_max",
            "pong_timeout",
            "subprotocols",
        ];
        assert_eq!(told, names);
        assert_eq!((wrong.message_max(), wrong.fragments_max()), (1, 1));
        assert_eq!(Options::default().check(), []);
    }
}
