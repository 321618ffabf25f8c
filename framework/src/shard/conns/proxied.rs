//! What PROXY headers have said of connections, beside the table: nothing where none are read.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use crate::config::{ListenerSettings, Network};
use crate::id::{ListenerIndex, SlotIndex};
use crate::proxy::{Proxied, Versions};

/// Bytes of what is kept of one header, beside its values.
pub(crate) const BYTES: u64 =
    (size_of::<Option<Header>>() + 2 * size_of::<usize>() + size_of::<Proxied>()) as u64;

/// Whose headers are believed, and what they may be.
#[derive(Debug)]
pub(crate) struct ProxyRule {
    pub(crate) versions: Versions,
    /// None: all, for they come by a Unix socket.
    trusted: Option<Vec<Network>>,
    pub(crate) within: Duration,
    pub(crate) header_max: usize,
}

impl ProxyRule {
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let contain = |networks: &Vec<Network>| {
            let mut networks = networks.iter();
            networks.any(|network| network.contains(address))
        };
        self.trusted.as_ref().is_none_or(contain)
    }
}

/// One that was read.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub(super) proxied: Rc<Proxied>,
    /// The client is served; else it is one above the cap of its address.
    pub(super) is_admitted: bool,
}

/// The headers of a shard's connections.
#[derive(Debug)]
pub(crate) struct Proxies {
    /// Of each listener. None: its connections begin with what their peers have to say.
    rules: Vec<Option<Rc<ProxyRule>>>,
    /// Connections of some listener begin with headers.
    is_on: bool,
    by_slot: Vec<Option<Header>>,
}

impl Proxies {
    pub(crate) fn new(listeners: &[ListenerSettings]) -> Self {
        let rules: Vec<_> = listeners.iter().map(rule).collect();
        Self {
            is_on: rules.iter().any(Option::is_some),
            rules,
            by_slot: Vec::new(),
        }
    }

    /// Whether connections of some listener begin with headers.
    pub(crate) fn are_on(&self) -> bool {
        self.is_on
    }

    /// None: no headers are read there.
    pub(crate) fn rule(&self, listener: ListenerIndex) -> Option<&Rc<ProxyRule>> {
        self.rules.get(listener.place())?.as_ref()
    }

    /// A connection begins or ends.
    pub(super) fn reset(&mut self, slot: SlotIndex) {
        if !self.is_on {
            return;
        }
        if self.by_slot.len() <= slot.0 as usize {
            self.by_slot.resize(slot.0 as usize + 1, None);
        }
        self.by_slot[slot.0 as usize] = None;
    }

    pub(super) fn of(&self, slot: SlotIndex) -> Option<&Header> {
        self.by_slot.get(slot.0 as usize)?.as_ref()
    }

    /// The header was read.
    pub(super) fn set(&mut self, slot: SlotIndex, proxied: Proxied, is_admitted: bool) {
        if let Some(place) = self.by_slot.get_mut(slot.0 as usize) {
            *place = Some(Header {
                proxied: Rc::new(proxied),
                is_admitted,
            });
        }
    }

    /// Of the connection in `slot`, which has come by `listener`.
    pub(super) fn client_of(&self, slot: SlotIndex, listener: ListenerIndex) -> Client {
        let header = self.of(slot);
        match header.and_then(|header| Some((header.proxied.source()?, header.is_admitted))) {
            Some((source, is_admitted)) => Client::Named {
                source,
                is_admitted,
            },
            None if self.rule(listener).is_some() => Client::Unknown,
            None => Client::Peer,
        }
    }

    /// Of an accepted connection: whether its header has not been read.
    pub(super) fn is_awaited(&self, slot: SlotIndex, listener: ListenerIndex) -> bool {
        self.rule(listener).is_some() && self.of(slot).is_none()
    }
}

fn rule(listener: &ListenerSettings) -> Option<Rc<ProxyRule>> {
    let queue = &listener.queue;
    let rule = ProxyRule {
        versions: queue.proxy?,
        trusted: (!listener.is_unix()).then(|| queue.proxy_trusted.clone()),
        within: queue.proxy_timeout,
        header_max: queue.proxy_header_max as usize,
    };
    Some(Rc::new(rule))
}

/// Who the client is of an accepted connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Its peer.
    Peer,
    /// Nobody that is known: its header has not come, or names nobody.
    Unknown,
    /// Whom a header names, served or turned away.
    Named {
        source: SocketAddr,
        is_admitted: bool,
    },
}

impl Client {
    /// Whom the cap of an address counts; `peer` is the connection's.
    pub(crate) fn counted(self, peer: SocketAddr) -> Option<SocketAddr> {
        match self {
            Self::Peer => Some(peer),
            Self::Named {
                source,
                is_admitted: true,
            } => Some(source),
            Self::Unknown | Self::Named { .. } => None,
        }
    }

    /// Whom a proxy has named.
    pub(crate) fn named(self) -> Option<SocketAddr> {
        match self {
            Self::Named { source, .. } => Some(source),
            Self::Peer | Self::Unknown => None,
        }
    }
}
