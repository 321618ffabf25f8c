//! A connection as tests see it.

use crate::error::CloseReason;
use crate::id::Key;
use crate::shard::conns::conn_mut::Conns;
use crate::shard::conns::interest::Waits;
use crate::shard::conns::slot::{Origin, PeerState, Phase, RecvState, SendState};
use crate::time::Tick;

/// What a slot says at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) phase: Phase,
    pub(crate) recv: RecvState,
    pub(crate) send: SendState,
    pub(crate) waits: Waits,
    pub(crate) origin: Origin,
    pub(crate) peer_state: PeerState,
    pub(crate) failed: Option<CloseReason>,
    pub(crate) reason: CloseReason,
    pub(crate) opened: Tick,
    pub(crate) frame_deadline: Tick,
    /// Segments of the input as the slot counts them, and as they are.
    pub(crate) input_count: usize,
    pub(crate) input_segments: usize,
    pub(crate) input_bytes: u64,
    /// Bytes of the output as the slot counts them, and as they are.
    pub(crate) output_bytes: u32,
    pub(crate) output_segment_bytes: u32,
    pub(crate) is_unsent: bool,
}

#[cfg(test)]
impl Snapshot {
    pub(crate) fn is_sending(&self) -> bool {
        self.send == SendState::InFlight
    }

    pub(crate) fn is_outbound(&self) -> bool {
        self.origin == Origin::Outbound
    }
}

impl Conns {
    /// None: the connection of `key` is over.
    pub(crate) fn snapshot(&self, key: Key) -> Option<Snapshot> {
        let slot = self.table.get(key)?;
        let segments = &self.shared.segments;
        let bytes = |queue| segments.iter(queue).map(|buffer| buffer.len()).sum::<u32>();
        Some(Snapshot {
            phase: slot.phase,
            recv: slot.recv,
            send: slot.send,
            waits: slot.waits,
            origin: slot.origin,
            peer_state: slot.peer_state,
            failed: slot.failed,
            reason: slot.reason,
            opened: slot.opened,
            frame_deadline: slot.frame_deadline,
            input_count: usize::from(slot.input_count),
            input_segments: segments.iter(slot.input).count(),
            input_bytes: u64::from(bytes(slot.input)),
            output_bytes: slot.output_bytes,
            output_segment_bytes: bytes(slot.output),
            is_unsent: !slot.output.is_empty(),
        })
    }
}
