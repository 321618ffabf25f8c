//! What a shard counts. One writer, the shard; any reader; no read-modify-write.

pub(crate) mod counter;
pub(crate) mod custom;
pub(crate) mod histogram;
#[cfg(feature = "tls")]
pub(crate) mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::error::CloseReason;
pub(crate) use crate::metrics::counter::Counter;
use crate::metrics::custom::Registry;
use crate::metrics::histogram::TurnDurations;

/// One shard's counters, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Metrics {
    /// Connections accepted since the start.
    pub(crate) accepted: Counter,
    /// Connections open now.
    pub(crate) connections: Counter,
    /// Connections that the shard has opened itself, now.
    pub(crate) outbound: Counter,
    /// Of those, the ones that lie in a pool and nobody uses.
    pub(crate) outbound_idle: Counter,
    /// Connects that succeeded since the start.
    pub(crate) connected: Counter,
    /// Handler tasks alive now.
    pub(crate) tasks: Counter,
    /// Connections closed, by reason.
    pub(crate) closed: [Counter; CloseReason::ALL.len()],
    /// Chunks and frames that handlers have read.
    pub(crate) messages: Counter,
    /// Bytes received.
    pub(crate) bytes_in: Counter,
    /// Bytes the kernel has taken for sending.
    pub(crate) bytes_out: Counter,
    /// Accepts that failed because the peer had left.
    pub(crate) accepts_aborted: Counter,
    /// Accepts that failed for want of descriptors or memory.
    pub(crate) accepts_failed: Counter,
    /// Receives that found no free buffer.
    pub(crate) buffers_exhausted: Counter,
    /// Receives copied out because buffers ran short.
    pub(crate) copied_out: Counter,
    /// Connections that were not read from because they held most while the shard was short of
    /// something.
    pub(crate) held_back: Counter,
    /// Buffers that came free because what they held was copied out later.
    pub(crate) copied_back: Counter,
    /// When the turn that runs now began, in milliseconds since the server's start, plus one; 0
    /// while the shard waits.
    pub(crate) busy_since: Counter,
    /// The connection whose handler was polled last.
    pub(crate) serving: Counter,
    /// Log lines held back because there were enough of their kind.
    pub(crate) log_lines_held_back: Counter,
    /// Times the watchdog found the shard blocked. Written by the watchdog, not the shard.
    pub(crate) stalls: Counter,
    /// Messages that the shard has sent, and that it has received, of other shards, itself and
    /// threads.
    pub(crate) mail_sent: Counter,
    pub(crate) mail_received: Counter,
    /// Messages that found a mailbox full.
    pub(crate) mail_full: Counter,
    /// Messages that the shard left for the next turn when it last received some.
    pub(crate) mail_depth: Counter,
    /// Publications that were delivered to the shard's subscribers, for how many each was queued,
    /// and for how many it was not because they were behind.
    pub(crate) published: Counter,
    pub(crate) deliveries: Counter,
    pub(crate) deliveries_dropped: Counter,
    /// Bytes received and not yet read, bytes written and not yet sent, and receive buffers in use,
    /// as of the last turn.
    pub(crate) unread: Counter,
    pub(crate) unsent: Counter,
    pub(crate) buffers_in_use: Counter,
    /// Slots that were looked at for the admin server.
    pub(crate) surveyed_slots: Counter,
    /// How long turns have lasted, where somebody asked for it.
    pub(crate) turns: TurnDurations,
    /// Handshakes of TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: tls::TlsCounters,
    /// Of each listener, in the order of the settings.
    pub(crate) listeners: Vec<ListenerCounters>,
    /// By the upstream's name.
    pub(crate) upstreams: BTreeMap<String, Arc<UpstreamCounters>>,
    /// What the handler counts.
    pub(crate) custom: Registry,
}

/// One shard's counters of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounters {
    /// Connections accepted since the start.
    pub(crate) accepted: Counter,
}

/// One shard's counters of one upstream's pool.
#[derive(Debug, Default)]
pub(crate) struct UpstreamCounters {
    /// Connections in use now, or being made.
    pub(crate) in_use: Counter,
    /// Requests that wait for one now.
    pub(crate) waiting: Counter,
    /// Failures that requests were told of since the start.
    pub(crate) failed: Counter,
}

/// The counters of one shard at an instant, or of several together. Read from any thread; no two of
/// them are of quite the same instant.
///
/// ```
/// use corelane::{CloseReason, Snapshot};
///
/// fn is_quiet(stats: &Snapshot) -> bool {
///     stats.connections == 0 && stats.closed(CloseReason::HandlerPanicked) == 0
/// }
/// # assert!(is_quiet(&Snapshot::default()));
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Snapshot {
    /// Connections accepted since the start, those turned away among them.
    pub accepted: u64,
    /// Accepted connections that are open now.
    pub connections: u64,
    /// Handlers' tasks that are alive now.
    pub tasks: u64,
    pub(crate) closed: [u64; CloseReason::ALL.len()],
    /// Chunks and frames that handlers have read.
    pub messages: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the kernel has taken for sending.
    pub bytes_out: u64,
    /// Times that the shard was found blocked.
    pub stalls: u64,
    /// Connections that were not read from because they held most while the shard was short of
    /// memory or buffers.
    pub held_back: u64,
    /// Buffers that came free because what they held was copied out.
    pub copied_back: u64,
    /// Connections that the shard has opened itself and that are open now.
    pub outbound: u64,
    /// Of those, the ones that lie unused in a pool.
    pub outbound_idle: u64,
    /// Connects that succeeded since the start.
    pub connected: u64,
    /// Accepts that failed because the peer had left.
    pub accepts_aborted: u64,
    /// Accepts that failed for want of descriptors or memory.
    pub accepts_failed: u64,
    /// Receives that found no free buffer.
    pub buffers_exhausted: u64,
    /// Receives that were copied out because buffers ran short.
    pub copied_out: u64,
    /// Log lines held back because there were enough of their kind.
    pub log_lines_held_back: u64,
    /// Messages that handlers have sent to shards.
    pub mail_sent: u64,
    /// Messages that handlers were given, of shards and of threads.
    pub mail_received: u64,
    /// Messages that found a mailbox full.
    pub mail_full: u64,
    /// Messages that the shard left for the next turn when it last received some.
    pub mail_depth: u64,
    /// Publications that were delivered to the subscribers of a shard; of several shards together
    /// each counts once for each shard.
    pub published: u64,
    /// Subscribers for whom one of them was queued.
    pub deliveries: u64,
    /// Subscribers who did not get one because they were behind.
    pub deliveries_dropped: u64,
    /// Bytes received that handlers have not read yet, as of the last turn.
    pub unread_bytes: u64,
    /// Bytes that handlers have written and the kernel has not taken yet, as of the last turn.
    pub unsent_bytes: u64,
    /// Receive buffers that hold something, as of the last turn.
    pub buffers_in_use: u64,
    /// Handshakes of TLS.
    #[cfg(feature = "tls")]
    pub tls: tls::TlsSnapshot,
    upstreams: BTreeMap<String, UpstreamReading>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UpstreamReading {
    pub(crate) in_use: u64,
    pub(crate) waiting: u64,
    pub(crate) failed: u64,
}

impl Metrics {
    /// With counters for each of the upstreams, and of so many listeners.
    pub(crate) fn of<U>(upstreams: &BTreeMap<String, U>, listeners: usize) -> Self {
        let upstreams = upstreams.keys().map(|name| (name.clone(), Arc::default()));
        Self {
            listeners: (0..listeners)
                .map(|_| ListenerCounters::default())
                .collect(),
            upstreams: upstreams.collect(),
            ..Self::default()
        }
    }

    pub(crate) fn read(&self) -> Snapshot {
        Snapshot {
            accepted: self.accepted.get(),
            connections: self.connections.get(),
            tasks: self.tasks.get(),
            closed: std::array::from_fn(|reason| self.closed[reason].get()),
            messages: self.messages.get(),
            bytes_in: self.bytes_in.get(),
            bytes_out: self.bytes_out.get(),
            stalls: self.stalls.get(),
            held_back: self.held_back.get(),
            copied_back: self.copied_back.get(),
            outbound: self.outbound.get(),
            outbound_idle: self.outbound_idle.get(),
            connected: self.connected.get(),
            accepts_aborted: self.accepts_aborted.get(),
            accepts_failed: self.accepts_failed.get(),
            buffers_exhausted: self.buffers_exhausted.get(),
            copied_out: self.copied_out.get(),
            log_lines_held_back: self.log_lines_held_back.get(),
            mail_sent: self.mail_sent.get(),
            mail_received: self.mail_received.get(),
            mail_full: self.mail_full.get(),
            mail_depth: self.mail_depth.get(),
            published: self.published.get(),
            deliveries: self.deliveries.get(),
            deliveries_dropped: self.deliveries_dropped.get(),
            unread_bytes: self.unread.get(),
            unsent_bytes: self.unsent.get(),
            buffers_in_use: self.buffers_in_use.get(),
            #[cfg(feature = "tls")]
            tls: self.tls.read(),
            upstreams: self
                .upstreams
                .iter()
                .map(|(name, counters)| (name.clone(), counters.read()))
                .collect(),
        }
    }
}

impl UpstreamCounters {
    fn read(&self) -> UpstreamReading {
        UpstreamReading {
            in_use: self.in_use.get(),
            waiting: self.waiting.get(),
            failed: self.failed.get(),
        }
    }
}

impl Snapshot {
    /// Connections that have ended for `reason` since the start.
    pub fn closed(&self, reason: CloseReason) -> u64 {
        self.closed[reason as usize]
    }

    /// Connections that have ended since the start.
    pub fn closed_total(&self) -> u64 {
        self.closed.iter().sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes_in + self.bytes_out
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.connections += other.connections;
        self.tasks += other.tasks;
        self.messages += other.messages;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.stalls += other.stalls;
        self.held_back += other.held_back;
        self.copied_back += other.copied_back;
        self.outbound += other.outbound;
        self.outbound_idle += other.outbound_idle;
        self.connected += other.connected;
        self.accepts_aborted += other.accepts_aborted;
        self.accepts_failed += other.accepts_failed;
        self.buffers_exhausted += other.buffers_exhausted;
        self.copied_out += other.copied_out;
        self.log_lines_held_back += other.log_lines_held_back;
        self.mail_sent += other.mail_sent;
        self.mail_received += other.mail_received;
        self.mail_full += other.mail_full;
        self.mail_depth += other.mail_depth;
        self.published += other.published;
        self.deliveries += other.deliveries;
        self.deliveries_dropped += other.deliveries_dropped;
        self.unread_bytes += other.unread_bytes;
        self.unsent_bytes += other.unsent_bytes;
        self.buffers_in_use += other.buffers_in_use;
        #[cfg(feature = "tls")]
        self.tls.add(&other.tls);
        for (name, more) in &other.upstreams {
            let sum = self.upstreams.entry(name.clone()).or_default();
            sum.in_use += more.in_use;
            sum.waiting += more.waiting;
            sum.failed += more.failed;
        }
        for (sum, more) in self.closed.iter_mut().zip(other.closed) {
            *sum += more;
        }
    }

    /// What is counted of each upstream, by its name.
    pub(crate) fn by_upstream(&self) -> &BTreeMap<String, UpstreamReading> {
        &self.upstreams
    }

    /// Every upstream with what its pool counts; none without upstreams.
    pub(crate) fn upstreams(&self) -> Option<String> {
        let of_one = |(
            name,
            UpstreamReading {
                in_use,
                waiting,
                failed,
            },
        ): (&String, &UpstreamReading)| {
            format!("{name}: in_use={in_use} waiting={waiting} failed={failed}")
        };
        let all: Vec<String> = self.upstreams.iter().map(of_one).collect();
        (!all.is_empty()).then(|| all.join(", "))
    }

    /// The reasons that occurred, as `word=count`.
    pub(crate) fn reasons(&self) -> impl fmt::Display {
        let counts = CloseReason::ALL
            .iter()
            .zip(self.closed)
            .filter(|(_, count)| *count > 0);
        counts
            .map(|(reason, count)| format!("{reason}={count}"))
            .collect::<Vec<_>>()
            .join(" ")
    }
}
