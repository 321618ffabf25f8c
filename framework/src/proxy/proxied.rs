//! What a header has said.

use std::fmt;
use std::net::SocketAddr;

use super::kind;
use super::tlv::{ProxySsl, Tlvs};

/// The form in which a PROXY header came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// What the PROXY header of a connection said, given by [`Conn::proxied`](crate::Conn::proxied).
///
/// Nothing in it is known to be true but that a trusted proxy has said it; the texts are the
/// client's own, so a log takes them through [`Escaped`](crate::Escaped).
#[derive(Clone, PartialEq, Eq)]
pub struct Proxied {
    pub(super) version: ProxyVersion,
    pub(super) addresses: Option<Addresses>,
    /// Well-formed.
    pub(super) tlvs: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
}

impl Proxied {
    /// The form in which it came.
    pub fn version(&self) -> ProxyVersion {
        self.version
    }

    /// The client's address. None where the proxy speaks for itself (`LOCAL`, as in a health
    /// check), does not know it (`UNKNOWN`, `UNSPEC`), or where it is none of TCP: then the
    /// connection is between the proxy and this server, and nothing else is known.
    pub fn source(&self) -> Option<SocketAddr> {
        self.addresses.map(|addresses| addresses.source)
    }

    /// The address to which the client has connected; there if [`source`](Self::source) is.
    pub fn destination(&self) -> Option<SocketAddr> {
        self.addresses.map(|addresses| addresses.destination)
    }

    /// The protocol that the client's TLS has negotiated (`PP2_TYPE_ALPN`).
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tlv(kind::ALPN)
    }

    /// The host name that the client has asked for, of TLS the SNI (`PP2_TYPE_AUTHORITY`). UTF-8,
    /// if the proxy keeps to the specification.
    pub fn authority(&self) -> Option<&[u8]> {
        self.tlv(kind::AUTHORITY)
    }

    /// The proxy's name for the connection, at most 128 bytes (`PP2_TYPE_UNIQUE_ID`).
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.tlv(kind::UNIQUE_ID)
    }

    /// The name of the network namespace in which the proxy was asked (`PP2_TYPE_NETNS`).
    pub fn netns(&self) -> Option<&[u8]> {
        self.tlv(kind::NETNS)
    }

    /// The client's TLS, which the proxy has ended (`PP2_TYPE_SSL`).
    pub fn ssl(&self) -> Option<ProxySsl<'_>> {
        ProxySsl::of(self.tlv(kind::SSL)?)
    }

    /// The first value of that type, as of a proxy's own (0xE0 to 0xEF).
    pub fn tlv(&self, kind: u8) -> Option<&[u8]> {
        self.tlvs()
            .find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// All that the header carries beside addresses: types and values, in its order.
    pub fn tlvs(&self) -> impl Iterator<Item = (u8, &[u8])> {
        Tlvs::of(&self.tlvs).map_while(Result::ok)
    }
}

impl fmt::Debug for Proxied {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Proxied")
            .field("version", &self.version)
            .field("source", &self.source())
            .field("destination", &self.destination())
            .field("tlvs_bytes", &self.tlvs.len())
            .finish()
    }
}
