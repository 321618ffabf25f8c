//! What is on its way between a connection and its peer, and what the peer has seen.

use std::collections::VecDeque;
use std::task::Waker;

use crate::error::CloseReason;

/// Both directions of one connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Sent by the peer and not received.
    pub(super) inbound: VecDeque<u8>,
    /// The peer has sent its FIN, or a reset.
    pub(super) peer_ended: bool,
    pub(super) peer_reset: bool,
    /// Sent by the server, and not read by the peer.
    pub(super) outbound: VecDeque<u8>,
    /// Bytes that the peer takes before it reads some; none: any number.
    pub(super) window: Option<usize>,
    /// The server has sent its FIN, or a reset.
    pub(super) server_ended: bool,
    pub(super) server_reset: bool,
    /// Why the connection is closed, once it is.
    pub(super) closed: Option<CloseReason>,
    /// The peer's script, while it waits.
    pub(super) waiting: Option<Waker>,
}

impl Wire {
    /// Bytes that the peer would take now.
    pub(super) fn room(&self) -> usize {
        self.window.map_or(usize::MAX, |window| {
            window.saturating_sub(self.outbound.len())
        })
    }

    /// Something has happened that the peer may wait for.
    pub(super) fn wake(&mut self) {
        self.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// Whether the server says no more.
    pub(super) fn is_over(&self) -> bool {
        self.server_ended || self.server_reset || self.closed.is_some()
    }
}
