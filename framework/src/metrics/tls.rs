//! What is counted of TLS.

use std::fmt;

use crate::metrics::counter::Counter;

/// Why a handshake has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HandshakeFailure {
    /// It was not over in time.
    Timeout,
    /// What came was no TLS.
    NotTls,
    /// The ends have no version, suite, group or protocol in common.
    NoSharedProtocol,
    /// A certificate was missing, or one end did not accept the other's.
    Certificate,
    /// The peer has left, or whatever else.
    Other,
}

impl HandshakeFailure {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Timeout,
        Self::NotTls,
        Self::NoSharedProtocol,
        Self::Certificate,
        Self::Other,
    ];

    /// Its word, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotTls => "not_tls",
            Self::NoSharedProtocol => "no_shared_protocol",
            Self::Certificate => "certificate",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for HandshakeFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// One shard's counters.
#[derive(Debug, Default)]
pub(crate) struct TlsCounters {
    pub(crate) full: Counter,
    pub(crate) resumed: Counter,
    failed: [Counter; HandshakeFailure::ALL.len()],
    /// Connections that wait for a turn in which their handshake goes on, as of this one.
    pub(crate) waiting: Counter,
    /// Steps that were computed, and the most in one turn.
    pub(crate) steps: Counter,
    pub(crate) steps_per_turn: Counter,
}

/// Handshakes of TLS, of accepted connections since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsSnapshot {
    /// Those that agreed on keys by certificates.
    pub handshakes_full: u64,
    /// Those that went on from an earlier session.
    pub handshakes_resumed: u64,
    failed: [u64; HandshakeFailure::ALL.len()],
    /// Connections that wait now for a turn of their shard in which their handshake goes on
    /// (`listener.tls.handshakes_per_turn_max`).
    pub handshakes_waiting: u64,
    /// Steps that were computed: a handshake is two or three.
    pub handshake_steps: u64,
    /// The most of them that a shard has computed in one turn.
    pub handshake_steps_per_turn: u64,
}

impl TlsCounters {
    pub(crate) fn count_failed(&self, why: HandshakeFailure) {
        self.failed[why as usize].add(1);
    }

    /// A turn has computed so many.
    pub(crate) fn turned(&self, steps: u64) {
        if steps > self.steps_per_turn.get() {
            self.steps_per_turn.set(steps);
        }
    }

    pub(super) fn read(&self) -> TlsSnapshot {
        TlsSnapshot {
            handshakes_full: self.full.get(),
            handshakes_resumed: self.resumed.get(),
            failed: std::array::from_fn(|why| self.failed[why].get()),
            handshakes_waiting: self.waiting.get(),
            handshake_steps: self.steps.get(),
            handshake_steps_per_turn: self.steps_per_turn.get(),
        }
    }
}

impl TlsSnapshot {
    /// Handshakes that have failed for that.
    pub fn handshakes_failed(&self, why: HandshakeFailure) -> u64 {
        self.failed[why as usize]
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.handshakes_full += other.handshakes_full;
        self.handshakes_resumed += other.handshakes_resumed;
        self.handshakes_waiting += other.handshakes_waiting;
        self.handshake_steps += other.handshake_steps;
        let most = self
            .handshake_steps_per_turn
            .max(other.handshake_steps_per_turn);
        self.handshake_steps_per_turn = most;
        for (sum, more) in self.failed.iter_mut().zip(other.failed) {
            *sum += more;
        }
    }
}
