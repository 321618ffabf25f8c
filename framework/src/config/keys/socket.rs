//! `[socket]`.

use std::time::Duration;

use crate::config::choices::Flag;
use crate::config::declare::section;
use crate::config::numbers::Whole;
use crate::config::times::Times;

use super::units::{KIB, MIB, days, millis, secs};

// The kernel's bound on TCP_KEEPIDLE and TCP_KEEPINTVL (MAX_TCP_KEEPIDLE), which count seconds.
const KEEPALIVE: Times = Times::from(secs(1), secs(32_767)).in_whole_seconds();
// The kernel's bound on TCP_KEEPCNT (MAX_TCP_KEEPCNT).
const KEEPALIVE_COUNT: Whole = Whole::of("probes", 1, 127);
// TCP_USER_TIMEOUT is an `int` of milliseconds: 24 days and a bit.
const USER_TIMEOUT: Times = Times::from(millis(100), days(24)).or("off");
const KERNEL_BUFFER: Whole =
    Whole::of("bytes", 4 * KIB, 64 * MIB).or_zero("the kernel's own tuning");

section! {
    /// Socket options. The server sets them on the listener, every accepted connection inherits
    /// them, and connections that a shard opens get them too.
    struct Socket {
        /// Sends small segments at once (TCP_NODELAY).
        documented nodelay: bool = Flag, true;

        /// Probes idle connections (TCP keepalive). The kernel finds a peer that vanished after
        /// `keepalive_idle`, and then `keepalive_count` times `keepalive_interval`.
        documented keepalive: bool = Flag, true;

        /// Silence before the first probe.
        documented keepalive_idle: Duration = KEEPALIVE, secs(60);

        /// Time between two probes.
        documented keepalive_interval: Duration = KEEPALIVE, secs(10);

        /// Unanswered probes that end the connection.
        documented keepalive_count: u32 = KEEPALIVE_COUNT, 6;

        /// How long sent data may stay unacknowledged (TCP_USER_TIMEOUT). `"off"` leaves it to the
        /// kernel's retries. This finds a peer that vanished while the server was sending, which
        /// keepalive does not.
        ///
        /// With keepalive on, set no less than the time after which keepalive finds such a peer, by
        /// default 120 s. Past this time the first lost probe ends the connection (tcp(7)).
        documented user_timeout: Option<Duration> = USER_TIMEOUT, Some(secs(120));

        /// Size of the kernel's receive buffer of a connection (SO_RCVBUF).
        documented receive_buffer: Option<u32> = KERNEL_BUFFER, None;

        /// Size of the kernel's send buffer of a connection (SO_SNDBUF).
        documented send_buffer: Option<u32> = KERNEL_BUFFER, None;
    }
}

/// TCP keepalive (tcp(7)). An idle peer that vanished is found after `idle + interval * count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keepalive {
    /// Silence before the first probe, in whole seconds.
    pub idle: Duration,
    /// Time between probes, in whole seconds.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub count: u32,
}

impl Socket {
    /// Probing of idle connections; `None` when off.
    pub(crate) fn keepalive(&self) -> Option<Keepalive> {
        self.keepalive.then_some(Keepalive {
            idle: self.keepalive_idle,
            interval: self.keepalive_interval,
            count: self.keepalive_count,
        })
    }
}
