//! `[limits]`, but for the keys of admission.

use std::time::Duration;

use crate::config::declare::section;
use crate::config::numbers::Whole;
use crate::config::times::Times;

use super::admission::Admission;
use super::units::{KIB, MIB, SHARD_CONNECTIONS_MAX, hours, millis, secs};

// Sixteen full shards: many times what the addresses of one machine are ever asked to hold.
pub(crate) const CONNECTIONS_MAX: u32 = 16 * SHARD_CONNECTIONS_MAX;
const CONNECTIONS: Whole =
    Whole::of("connections", 1, CONNECTIONS_MAX).or_zero("what the descriptor limit allows");
const SHARD_CONNECTIONS: Whole =
    Whole::of("connections", 1, SHARD_CONNECTIONS_MAX).or_zero("an equal share");
const OUTBOUND: Whole = Whole::of("connections", 0, SHARD_CONNECTIONS_MAX / 2);
const CONNECTS_WAITING: Whole = Whole::of("connects", 0, SHARD_CONNECTIONS_MAX);
const BLOCKING_WAITING: Whole = Whole::of("calls", 0, SHARD_CONNECTIONS_MAX);
const SHARD_BYTES: Whole = Whole::of("bytes", 4 * KIB, 2048 * MIB).or_zero("a share of the memory");
// A gigabyte a second is more than one connection is ever asked to keep up.
const RATE: Whole = Whole::of("bytes per second", 1, 1024 * MIB).or_zero("off");
const ENDED: Whole = Whole::of("connections", 1, 65_536);
const WATCHDOG: Times = Times::from(millis(10), secs(60)).or("off");
const UNREADY: Times = Times::from(millis(100), hours(1)).or("off");

section! {
    /// How much the process, a shard or a connection may hold, and which clients are let in.
    struct Limits {
        /// Connections of the whole process. Clients beyond it wait in the backlog.
        shipped connections_max: Option<u32> = CONNECTIONS, None;

        /// Connections of one shard. 0 is an equal share of `connections_max`.
        documented connections_per_shard_max: Option<u32> = SHARD_CONNECTIONS, None;

        /// Connections that the handlers of one shard may open (`Connector`), beside the accepted
        /// ones.
        documented outbound_per_shard_max: u32 = OUTBOUND, 0;

        /// Connects of one shard that are on their way at the same time. Further ones wait for
        /// their turn.
        documented connects_in_flight_max: u32 = Whole::of("connects", 1, 1024), 64;

        /// Connects of one shard that may wait for their turn. One more fails at once.
        documented connects_waiting_max: u32 = CONNECTS_WAITING, 65_536;

        /// Threads of one shard for calls that block (`unblock`). A thread ends when it has nothing
        /// to do.
        documented blocking_threads_per_shard_max: u32 = Whole::of("threads", 1, 1024), 16;

        /// Blocking calls of one shard that may wait for a thread. One more fails at once.
        documented blocking_waiting_per_shard_max: u32 = BLOCKING_WAITING, 1024;

        /// Accepts that a shard keeps posted to the kernel, and so the most that a turn accepts.
        /// With more of them a storm of connects costs the established connections more latency.
        /// Several listeners share them out evenly.
        documented accepts_in_flight_max: u32 = Whole::of("accepts", 1, 1024), 16;

        /// Receive buffers that a connection may hold unread before its shard stops receiving from
        /// it. No more than half of `buffers.count`.
        documented recv_queue_max: u32 = Whole::of("buffers", 1, 1024), 8, live;

        /// Bytes of output that a connection may hold because its peer has not taken them. At this
        /// bound the server reads no more requests until the peer has taken half of it.
        ///
        /// A client that writes its whole pipeline before it reads has room for this many bytes of
        /// answers, beside what the kernel's buffers hold at both ends. With more answers than that
        /// both ends wait for each other, and `timeouts.write` ends the connection. Raise the bound
        /// to the answers of the longest pipeline, or let the client read while it writes or send
        /// its pipeline in parts.
        shipped write_queue_max: u32 = Whole::of("bytes", 4 * KIB, 64 * MIB), 256 * KIB, live;

        /// Bytes received and not yet read that all connections of one shard may hold. No less than
        /// `recv_queue_max` times `buffers.size`. 0 is a sixth of the memory that the other settings
        /// leave, over all shards. At this bound a shard reads from a connection only while the
        /// handler waits for input and has nothing unread.
        documented unread_per_shard_max: Option<u32> = SHARD_BYTES, None;

        /// Bytes of output that all connections of one shard may hold. No less than
        /// `write_queue_max`. 0 is a sixth of the memory that the other settings leave, over all
        /// shards. At this bound a connection may write only when it has nothing unsent.
        documented unsent_per_shard_max: Option<u32> = SHARD_BYTES, None;

        /// Least rate at which a peer must deliver the rest of a request that has begun. The server
        /// closes a connection that stays below it over a whole `rate_window`. It judges no
        /// connection between requests, nor while the server itself is the slow one.
        documented receive_rate_min: Option<u32> = RATE, None, live;

        /// Least rate at which a peer must take output that waits for it. The server closes a
        /// connection that stays below it over a whole `rate_window`. Where the rate is low the
        /// window is longer, so that it comes to 65536 bytes: a receiver makes room in steps. Needs
        /// Linux 6.7.
        documented send_rate_min: Option<u32> = RATE, None, live;

        /// Time over which the server measures the two rates. The window in which a request or
        /// output began to wait does not count.
        documented rate_window: Duration = Times::from(secs(1), hours(1)), secs(10), live;

        /// Completions that a shard handles before its tasks run.
        documented turn_completions_max: u32 = Whole::of("completions", 64, 65_536), 1024;

        /// Completions that a shard waits for at a time under dense traffic, and no more than one
        /// for each eight busy connections. More saves processor time and costs a message 50
        /// microseconds on average, 200 at worst. 1 serves each message at once. Sparse traffic
        /// never waits, nor does a shard that another thread has woken within a second.
        documented gather_completions_max: u32 = Whole::of("completions", 1, 8), 8, live;

        /// Frames or chunks that a handler reads in a turn while it has more. Then the others of
        /// the shard have their turn. Fewer keep the others' latency lower while one peer floods;
        /// more cost less processor time.
        documented reads_per_turn_max: u32 = Whole::of("frames", 1, 65_536), 128, live;

        /// Connections that a turn ends because their deadlines have passed. An end costs several
        /// times what a reply does, and connections that came together are due together. The shard
        /// ends more than these evenly over 125 ms, which keeps the latency of the others low.
        documented expired_per_turn_max: u32 = ENDED, 4, live;

        /// Connections that a shard closes at one look when `timeouts.overload` has passed. It
        /// looks eight times a second, and closes no more than it takes to free an eighth of what
        /// the largest holders hold.
        documented overloaded_per_look_max: u32 = ENDED, 256, live;

        /// Reports a handler that keeps its shard busy for longer.
        documented watchdog: Option<Duration> = WATCHDOG, Some(millis(100)), live;

        /// Makes the server not ready while a shard does not move on for longer.
        documented unready_after: Option<Duration> = UNREADY, Some(secs(1)), live;

        ..admission: Admission
    }
}
