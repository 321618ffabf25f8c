//! Why a WebSocket was closed, in a number (RFC 6455, 7.4).

use std::fmt;

/// A close code that may be sent: 1000 to 1003, 1007 to 1014, and 3000 to 4999, which are for
/// libraries and applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(u16);

impl Code {
    /// All is done.
    pub const NORMAL: Self = Self(1000);
    /// The server shuts down, or the page is left.
    pub const GOING_AWAY: Self = Self(1001);
    /// A frame that the protocol does not allow.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// A kind of message that is not taken.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// A message that is not what its kind says, as text that is no UTF-8.
    pub const INVALID_PAYLOAD: Self = Self(1007);
    /// A message that breaks a rule which no other code names.
    pub const POLICY_VIOLATION: Self = Self(1008);
    /// A message that is too large.
    pub const TOO_BIG: Self = Self(1009);
    /// The server has not agreed to an extension that the client needs.
    pub const MISSING_EXTENSION: Self = Self(1010);
    /// Something has failed in the server.
    pub const INTERNAL_ERROR: Self = Self(1011);
    /// The server restarts; the client may come again.
    pub const SERVICE_RESTART: Self = Self(1012);
    /// The server has too much to do; the client may come again later.
    pub const TRY_AGAIN_LATER: Self = Self(1013);

    /// The code of that number; none if it may not be sent.
    pub const fn new(number: u16) -> Option<Self> {
        match number {
            1000..=1003 | 1007..=1014 | 3000..=4999 => Some(Self(number)),
            _ => None,
        }
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A rule that the peer's bytes break: the code that it is told, and the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) code: Code,
    pub(super) why: &'static str,
}

impl Violation {
    pub(super) const fn protocol(why: &'static str) -> Self {
        let code = Code::PROTOCOL_ERROR;
        Self { code, why }
    }

    pub(super) const fn payload(why: &'static str) -> Self {
        let code = Code::INVALID_PAYLOAD;
        Self { code, why }
    }

    pub(super) const fn too_big(why: &'static str) -> Self {
        let code = Code::TOO_BIG;
        Self { code, why }
    }
}
