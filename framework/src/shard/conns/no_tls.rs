//! A build without the feature `tls`: connections are plain.

use crate::id::{ListenerIndex, SlotIndex};
use crate::ring::buffers::{BufRef, BufferPool};
use crate::shard::conns::conn_mut::{ConnMut, Conns};
use crate::time::Tick;
use crate::tls::Acceptances;

/// Of no session.
pub(crate) const BYTES: u64 = 0;

/// No sessions.
#[derive(Debug)]
pub(crate) struct Sessions;

impl Sessions {
    pub(crate) fn new(_acceptances: &Acceptances) -> Self {
        Self
    }

    pub(crate) fn renew(&mut self, _acceptances: &Acceptances) {}

    pub(crate) fn acceptance(&self, _listener: ListenerIndex) -> Option<()> {
        None
    }

    pub(super) fn begin(&mut self, _slot: SlotIndex, _listener: ListenerIndex) {}

    pub(super) fn end(&mut self, _slot: SlotIndex, _buffers: &BufferPool) -> u32 {
        0
    }

    pub(super) fn has(&self, _slot: SlotIndex) -> bool {
        false
    }

    pub(super) fn has_sealed(&self, _slot: SlotIndex, _bytes: u32) -> bool {
        false
    }

    pub(super) fn unsealed(&self, _slot: SlotIndex, _bytes: u32) -> u32 {
        0
    }

    pub(super) fn is_over(&self, _slot: SlotIndex) -> bool {
        false
    }

    pub(super) fn is_ending(&self, _slot: SlotIndex) -> bool {
        false
    }

    pub(super) fn has_partial(&self, _slot: SlotIndex) -> bool {
        false
    }

    pub(super) fn partial_deadline(&self, _slot: SlotIndex) -> Tick {
        Tick::NEVER
    }

    pub(crate) fn waiting(&self) -> usize {
        0
    }
}

impl Conns {
    pub(crate) fn grant_handshakes(&mut self) {}
}

impl ConnMut<'_> {
    pub(super) fn awaits_handshake(&self) -> bool {
        false
    }

    pub(super) fn open_input(&mut self, buffer: BufRef) {
        self.shared.buffers.release(buffer);
    }

    pub(crate) fn end_session(&mut self) {}

    pub(super) fn seal_output(&mut self) -> bool {
        true
    }

    pub(super) fn keeps_alert(&mut self) -> bool {
        false
    }

    pub(super) fn sealed_were_sent(&mut self, _count: u32) {}
}
