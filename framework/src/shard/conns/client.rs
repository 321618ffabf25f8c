//! Who the client of a connection is: its peer, or whom a proxy has named ahead of all else.

use std::rc::Rc;

use crate::id::ListenerIndex;
use crate::proxy::Proxied;
use crate::shard::conns::conn_mut::ConnMut;
use crate::shard::conns::proxied::{Client, ProxyRule};

impl ConnMut<'_> {
    /// The header was read, and its client is served or not.
    pub(crate) fn set_proxied(&mut self, proxied: Proxied, is_admitted: bool) {
        let slot = self.key.slot;
        self.shared.proxies.set(slot, proxied, is_admitted);
    }

    /// What the header has said, of an accepted connection that had one.
    pub(crate) fn proxied(&self) -> Option<Rc<Proxied>> {
        let header = self.shared.proxies.of(self.key.slot)?;
        Some(Rc::clone(&header.proxied))
    }

    /// By which listener it has come, of an accepted one.
    pub(crate) fn entrance(&self) -> ListenerIndex {
        self.shared.entrances.of(self.key.slot)
    }

    /// Whose headers are believed where it has come in; none: it begins without one.
    pub(crate) fn proxy_rule(&self) -> Option<Rc<ProxyRule>> {
        let shared = &*self.shared;
        if !shared.proxies.are_on() {
            return None;
        }
        shared.proxies.rule(self.entrance()).cloned()
    }

    /// Whether what comes is still its header: no request, and nothing of its handler's.
    pub(super) fn awaits_header(&self) -> bool {
        let proxies = &self.shared.proxies;
        proxies.are_on()
            && !self.slot.is_outbound()
            && proxies.is_awaited(self.key.slot, self.entrance())
    }

    /// Whether something keeps it from its handler: a header that has not come or that names a client
    /// above its cap, a handshake that is not over.
    pub(super) fn is_kept_from_handler(&self) -> bool {
        let proxies = &self.shared.proxies;
        let header = proxies.of(self.key.slot);
        let is_announced = proxies.rule(self.entrance()).is_some();
        let is_kept = is_announced && header.is_none_or(|header| !header.is_admitted);
        is_kept || self.awaits_handshake()
    }

    pub(super) fn client(&self) -> Client {
        let proxies = &self.shared.proxies;
        proxies.client_of(self.key.slot, self.entrance())
    }
}
