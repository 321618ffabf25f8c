//! Who the client of a connection is: its peer, or whom a proxy has named ahead of all else.

use std::rc::Rc;

use crate::proxy::Proxied;
use crate::shard::conns::conn_mut::ConnMut;
use crate::shard::conns::proxied::Client;

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

    /// Whether what comes is still its header: no request, and nothing of its handler's.
    pub(super) fn awaits_header(&self) -> bool {
        !self.slot.is_outbound() && self.shared.proxies.is_awaited(self.key.slot)
    }

    /// Whether a header keeps it from its handler: one that has not come, or that names a client
    /// above its cap.
    pub(super) fn is_kept_from_handler(&self) -> bool {
        let proxies = &self.shared.proxies;
        let header = proxies.of(self.key.slot);
        proxies.is_on() && header.is_none_or(|header| !header.is_admitted)
    }

    pub(super) fn client(&self) -> Client {
        self.shared.proxies.client_of(self.key.slot)
    }
}
