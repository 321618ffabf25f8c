//! What the settings allow, as requests are judged by it. A reload makes another.

use std::rc::Rc;
use std::time::Duration;

use corelane::http::{Limits, Request};
use corelane::websocket::Options;

use crate::origin::{self, Origin};
use crate::settings::GatewaySettings;
use crate::tokens::{Right, TokenFile, Verdict};

/// The subprotocol that a token comes with: browsers let no script set header fields of a WebSocket, and
/// a token in a URL comes to be in logs and histories.
const BEARER: &str = "bearer";

/// Longest message of a subscriber, who has none to send, in bytes.
const SUBSCRIBERS_MESSAGE_MAX: u32 = 1024;

/// What is judged by.
pub(crate) struct Policy {
    pub(crate) limits: Rc<Limits>,
    pub(crate) options: Rc<Options>,
    pub(crate) message_max: usize,
    pub(crate) retained: u16,
    pub(crate) heartbeat: Duration,
    tokens: TokenFile,
    origins: Vec<String>,
}

impl Policy {
    pub(crate) fn new(settings: &GatewaySettings) -> Self {
        let mut limits = Limits::default();
        limits.body_max = settings.message_max.into();
        let mut options = Options::default();
        options.message_max = SUBSCRIBERS_MESSAGE_MAX;
        options.ping_interval = Some(settings.heartbeat);
        options.origins = vec!["*".to_owned()]; // it is judged here, for all requests alike
        options.subprotocols = vec![BEARER.to_owned()];
        Self {
            limits: Rc::new(limits),
            options: Rc::new(options),
            message_max: settings.message_max as usize,
            retained: settings.retained_messages,
            heartbeat: settings.heartbeat,
            tokens: settings.tokens_file.clone(),
            origins: settings.origins.clone(),
        }
    }

    /// Whose page asks.
    pub(crate) fn origin(&self, request: &Request<'_>) -> Origin {
        let values = request.header_values("origin");
        origin::judge(values, request.host().unwrap_or_default(), &self.origins)
    }

    /// Whether who asks may do it.
    pub(crate) fn judge(&self, request: &Request<'_>, right: Right) -> Verdict {
        let is_websocket = request.wants_upgrade("websocket");
        let token = match one(request.header_values("authorization")) {
            Some(value) => behind_scheme(value),
            None if is_websocket => behind_bearer(request.header_values("sec-websocket-protocol")),
            None => None,
        };
        self.tokens.judge(token, right)
    }
}

/// The only one.
fn one<'v>(mut values: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
    values.next().filter(|_| values.next().is_none())
}

/// Of `Authorization: Bearer TOKEN` (RFC 6750, 2.1).
pub(crate) fn behind_scheme(value: &[u8]) -> Option<&[u8]> {
    let end = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, token) = value.split_at(end);
    let is_bearer = scheme.eq_ignore_ascii_case(BEARER.as_bytes());
    is_bearer.then(|| token.trim_ascii())
}

/// Of `Sec-WebSocket-Protocol: bearer, TOKEN`: `new WebSocket(url, ["bearer", token])`.
pub(crate) fn behind_bearer<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
    let members = values.flat_map(|value| value.split(|byte| *byte == b','));
    let mut members = members.map(<[u8]>::trim_ascii);
    members.find(|member| *member == BEARER.as_bytes())?;
    members.next()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_token_is_found_where_it_may_stand() {
        assert_eq!(behind_scheme(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(behind_scheme(b"bearer  abc "), Some(&b"abc"[..]));
        for other in [&b"Basic abc"[..], b"Bearer", b"abc", b"", b"Bearerabc"] {
            assert_eq!(behind_scheme(other), None);
        }
        let of = |values: &[&'static str]| {
            let values = values.iter().map(|value| value.as_bytes());
            behind_bearer(values.collect::<Vec<_>>().into_iter())
        };
        assert_eq!(of(&["bearer, abc"]), Some(&b"abc"[..]));
        assert_eq!(of(&["v1,bearer", "abc , v2"]), Some(&b"abc"[..]));
        for other in [&["abc"][..], &["bearer"], &["abc, bearer"], &[]] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn of_several_fields_none_counts() {
        assert_eq!(one([&b"a"[..]].into_iter()), Some(&b"a"[..]));
        assert_eq!(one([&b"a"[..], b"a"].into_iter()), None);
    }

    proptest! {
        #[test]
        fn of_any_field_a_token_is_a_part_or_there_is_none(
            value in "(Bearer|bearer|BEARER|Basic|)[ ,]{0,2}\\PC{0,8}[ ,]{0,2}(bearer|)[, ]{0,2}[a-z]{0,3}",
        ) {
            let bytes = value.as_bytes();
            for token in [behind_scheme(bytes), behind_bearer([bytes].into_iter())].into_iter().flatten() {
                prop_assert!(bytes.windows(token.len().max(1)).any(|part| part == token) || token.is_empty());
                prop_assert_eq!(token, token.trim_ascii());
            }
        }
    }
}
