//! `[timeouts]`.

use std::time::Duration;

use crate::config::declare::section;
use crate::config::times::Times;

use super::units::{days, hours, millis, secs};

// Deadlines are swept a few times a second; a shorter one would mean nothing.
pub(super) const TIMEOUT: Times = Times::from(millis(100), days(365));
pub(super) const TIMEOUT_OR_OFF: Times = TIMEOUT.or("off");
// A longer pause would leave clients waiting for what has long come free.
const ACCEPT_PAUSE: Times = Times::from(millis(100), hours(1));

section! {
    /// How long a peer may keep the server waiting.
    struct Timeouts {
        /// Time from accept to the first byte. No more than `lifetime`.
        shipped first_byte: Option<Duration> = TIMEOUT_OR_OFF, Some(secs(30)), live;

        /// Time from the first byte of a frame to its last.
        shipped read: Option<Duration> = TIMEOUT_OR_OFF, Some(secs(30)), live;

        /// Time from the first byte of a request until its answer is sent, the handler's own work
        /// included. A frame is a request. Where a handler frames for itself, a request lasts until
        /// the handler reads again after it has written something.
        shipped request: Option<Duration> = TIMEOUT_OR_OFF, None, live;

        /// How long output may wait for a peer that does not read.
        shipped write: Option<Duration> = TIMEOUT_OR_OFF, Some(secs(30)), live;

        /// How long a peer may be silent between frames.
        shipped idle: Option<Duration> = TIMEOUT_OR_OFF, Some(secs(300)), live;

        /// Age at which the server closes a connection, busy or not.
        shipped lifetime: Option<Duration> = TIMEOUT_OR_OFF, None, live;

        /// How long a shard may be out of room before it closes the connections that hold most
        /// (`overloaded`). Out of room is a shard at `limits.unread_per_shard_max` or
        /// `limits.unsent_per_shard_max`, or short of memory. With `"off"` it closes none, and the
        /// deadlines above end such connections.
        documented overload: Option<Duration> = TIMEOUT_OR_OFF, Some(secs(1)), live;

        /// How long a server that was told to stop lets its connections finish.
        shipped drain: Duration = TIMEOUT, secs(10), live;

        /// How long a stopping server still listens to a silent connection, since a request may be
        /// on its way. Set more than a round trip to the clients.
        documented drain_quiet: Duration = TIMEOUT, millis(250), live;

        /// How long a new process may take, after SIGUSR2, until it serves in this one's place.
        /// Past it this one ends it and serves on.
        documented restart: Duration = TIMEOUT, secs(30), live;

        /// How long a finished connection waits for the peer to close too.
        documented close: Duration = TIMEOUT, secs(2), live;

        /// How long a new peer may be silent before `limits.reclaim` may close it: its first bytes
        /// are on their way.
        documented reclaim: Duration = TIMEOUT, millis(250), live;

        /// The first pause of accepting when the machine is out of descriptors or memory.
        documented accept_pause_min: Duration = ACCEPT_PAUSE, millis(100), live;

        /// The longest pause of accepting. Each pause that follows another without an accept
        /// between them is twice as long, up to this. No less than `accept_pause_min`.
        documented accept_pause_max: Duration = ACCEPT_PAUSE, millis(1600), live;
    }
}
