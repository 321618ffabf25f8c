//! What others send to a connection: it goes out behind what its handler has written, or lies in an
//! inbox for a handler that takes it. The only file that changes
//! [`Inboxes`](super::inboxes::Inboxes).

use std::sync::Arc;

use crate::id::ConnId;
use crate::ring::buffers::BufRef;
use crate::shard::conns::conn_mut::{ConnMut, Conns};
use crate::shard::conns::interest::Interest;
use crate::shard::conns::slot::Phase;

/// What a message takes in an inbox beside its bytes, so that there is a bound to empty ones.
const MESSAGE_BYTES: u64 = 32;

/// What has become of bytes that were sent to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// They are queued on the connection; if it fails before they are sent they are lost with it.
    Queued,
    /// There is no such connection any more, or nothing can be written to it.
    Gone,
    /// As much is queued as may be (`limits.write_queue_max`, or the shard's share), or its handler
    /// waits in a write.
    OverLimit,
    /// The mailbox of its shard was full (`mailbox.capacity`).
    MailboxFull,
}

impl Conns {
    /// Queues `bytes` on the connection of that name.
    pub(crate) fn deliver(&mut self, conn: ConnId, bytes: Arc<[u8]>) -> Delivery {
        match self.key_of(conn).and_then(|key| self.get(key)) {
            Some(mut conn) => conn.deliver(bytes),
            None => Delivery::Gone,
        }
    }
}

impl ConnMut<'_> {
    fn deliver(&mut self, bytes: Arc<[u8]>) -> Delivery {
        self.deliver_edition(&bytes, None)
    }

    /// Queues `bytes`, which lie in `buffer` if that is there already.
    pub(super) fn deliver_edition(
        &mut self,
        bytes: &Arc<[u8]>,
        buffer: Option<&BufRef>,
    ) -> Delivery {
        let is_closed = self.output_refusal().is_some() || self.awaits_handshake();
        if self.slot.phase != Phase::Serving || is_closed {
            return Delivery::Gone;
        }
        let slot = self.key.slot;
        if let Some(inbox) = self.shared.inboxes.by_slot.get_mut(&slot) {
            let queued = u64::from(self.slot.output_bytes) + inbox.bytes;
            let bounds = &self.shared.bounds;
            let is_full = queued >= u64::from(bounds.write_queue_max)
                || self.shared.unsent >= bounds.unsent_max;
            if is_full && queued > 0 {
                return Delivery::OverLimit;
            }
            let charged = bytes.len() as u64 + MESSAGE_BYTES;
            inbox.messages.push_back(Arc::clone(bytes));
            inbox.bytes += charged;
            self.shared.unsent += charged;
            self.fire(Interest::Input);
            return Delivery::Queued;
        }
        if !self.has_room() || self.shared.inboxes.writing.contains(&slot) {
            return Delivery::OverLimit;
        }
        if bytes.is_empty() {
            return Delivery::Queued;
        }
        let buffers = &self.shared.buffers;
        let buffer = match buffer {
            Some(buffer) => Some(buffers.again(buffer)),
            None => buffers.share(Arc::clone(bytes)),
        };
        match buffer {
            Some(buffer) => self.push_output(buffer),
            None => return Delivery::OverLimit,
        }
        Delivery::Queued
    }

    // ---- the handler's side ----

    /// The handler takes what others send from now on.
    pub(crate) fn take_messages(&mut self) {
        self.shared
            .inboxes
            .by_slot
            .entry(self.key.slot)
            .or_default();
    }

    /// The next message, if there is one.
    pub(crate) fn pop_message(&mut self) -> Option<Arc<[u8]>> {
        let inbox = self.shared.inboxes.by_slot.get_mut(&self.key.slot)?;
        let bytes = inbox.messages.pop_front()?;
        let charged = bytes.len() as u64 + MESSAGE_BYTES;
        inbox.bytes -= charged;
        self.shared.unsent -= charged;
        self.publications_may_go();
        Some(bytes)
    }

    /// Whether the server drains and the handler is to be told of it, once.
    pub(crate) fn hears_of_drain(&mut self) -> bool {
        let is_draining = self.shared.is_draining;
        let inbox = self.shared.inboxes.by_slot.get_mut(&self.key.slot);
        is_draining && inbox.is_some_and(|inbox| !std::mem::replace(&mut inbox.knows_drain, true))
    }

    /// The server begins to drain: a handler that takes messages is woken to be told.
    pub(crate) fn drain_begins(&mut self) {
        if self.shared.inboxes.by_slot.contains_key(&self.key.slot) {
            self.fire(Interest::Input);
        }
    }

    /// A write waits with a part of it queued, perhaps; or none does any more.
    pub(crate) fn set_writing(&mut self, is_writing: bool) {
        let writing = &mut self.shared.inboxes.writing;
        if is_writing {
            writing.insert(self.key.slot);
        } else if !writing.is_empty() && writing.remove(&self.key.slot) {
            self.publications_may_go();
        }
    }

    /// The connection has ended, or is about to: what others have sent is lost with it.
    pub(super) fn release_inbox(&mut self) {
        self.set_writing(false);
        if self.shared.inboxes.by_slot.is_empty() {
            return;
        }
        if let Some(inbox) = self.shared.inboxes.by_slot.remove(&self.key.slot) {
            self.shared.unsent -= inbox.bytes;
        }
    }
}
