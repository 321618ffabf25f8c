//! The PROXY protocol: what a proxy says, ahead of all else, of the connection that it passes on
//! (haproxy.org, doc/proxy-protocol.txt of 2020/03/05). [`parse`] takes a header whole and strictly
//! or not at all; [`v1`] is its form in text, [`v2`] the binary one.

mod crc32c;
mod kind;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
#[cfg(test)]
mod proptests;
mod proxied;
mod tlv;
mod v1;
mod v2;

pub use self::proxied::{Proxied, ProxyVersion};
pub use self::tlv::ProxySsl;
use crate::step::Step;

/// Bytes of the longest address block of version 2 and of what stands before it: a bound below this
/// would refuse headers that carry nothing else.
pub(crate) const HEADER_MIN: u32 = v2::ADDRESSES_END_MAX as u32;
/// Bytes of the longest header there can be, in version 2.
pub(crate) const HEADER_MAX: u32 = v2::LENGTH_MAX as u32;

/// The headers that are taken. No other is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Versions {
    V1,
    V2,
    Any,
}

impl Versions {
    /// The word for it in the settings.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Any => "any",
        }
    }
}

/// The header with which a connection begins, of at most `header_max` bytes. That there is one is
/// never concluded from the bytes: what is none is invalid, as soon as it shows.
pub(crate) fn parse(bytes: &[u8], versions: Versions, header_max: usize) -> Step<Proxied> {
    match bytes.first() {
        None => Step::NeedMore,
        Some(&v1::FIRST) if versions != Versions::V2 => v1::parse(bytes),
        Some(&v2::FIRST) if versions != Versions::V1 => v2::parse(bytes, header_max),
        Some(_) => Step::Invalid(match versions {
            Versions::V1 => "no PROXY header of version 1",
            Versions::V2 => "no PROXY header of version 2",
            Versions::Any => "no PROXY header",
        }),
    }
}
