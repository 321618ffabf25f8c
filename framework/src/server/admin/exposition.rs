//! The page of metrics.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::CloseReason;
use crate::metrics::custom::Value;
use crate::metrics::histogram::{TURN_BOUNDS, TurnReading};
#[cfg(feature = "tls")]
use crate::metrics::tls::HandshakeFailure;
use crate::metrics::{Counter, Snapshot};
use crate::net::listener::queued_at;
use crate::server::admin::process;
use crate::server::admin::text_format::Exposition;
use crate::server::view::View;

/// The whole page.
pub(super) fn page(view: &View) -> String {
    let mut to = Exposition::default();
    let shards: Vec<Snapshot> = view.shards.iter().map(|shard| shard.read()).collect();
    let mut sum = Snapshot::default();
    shards.iter().for_each(|shard| sum.add(shard));
    server(&mut to, view);
    memory(&mut to, view);
    per_shard(&mut to, view, &shards);
    turns(&mut to, view);
    summed(&mut to, &sum);
    upstreams(&mut to, &sum);
    #[cfg(feature = "tls")]
    handshakes(&mut to, &sum);
    process::expose(&mut to);
    custom(&mut to, view);
    to.into_text()
}

fn server(to: &mut Exposition, view: &View) {
    to.gauge(
        "corelane_build_info",
        "1, with the framework's version as a label.",
    )
    .labelled(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    to.gauge(
        "corelane_ready",
        "1 while the server may be given work, as /readyz says.",
    )
    .value(u8::from(view.readiness.get().is_ok()));
    to.gauge(
        "corelane_connections_max",
        "Connections that the server holds at most.",
    )
    .value(view.connections_max);
    to.counter(
        "corelane_log_lines_dropped_total",
        "Log lines that could not be written.",
    )
    .value(view.log_lines_dropped.get());
    listeners(to, view);
    tls(to, view);
}

/// Each of these has a line for each listener.
fn listeners(to: &mut Exposition, view: &View) {
    let mut accepted = to.counter(
        "corelane_listener_accepted_total",
        "Connections accepted by each listener, those turned away among them.",
    );
    for (place, listener) in view.listeners.iter().enumerate() {
        accepted.labelled(&[("listener", &listener.name)], view.accepted_by(place));
    }
    let queued = view.listeners.iter().filter_map(|listener| {
        let queued = queued_at(&listener.endpoint)?;
        Some((&listener.name, queued))
    });
    let queued: Vec<_> = queued.collect();
    if queued.is_empty() {
        return;
    }
    let mut waiting = to.gauge(
        "corelane_accept_queue",
        "Clients that wait in the kernel until they are accepted.",
    );
    for (name, queued) in queued {
        waiting.labelled(&[("listener", name)], queued);
    }
}

/// Nothing where neither a listener nor an upstream has TLS.
fn tls(to: &mut Exposition, view: &View) {
    let seen = &view.tls;
    let expiries = seen.expires.iter().map(Counter::get);
    let listeners = view.listeners.iter().zip(expiries);
    let listeners = listeners.map(|(listener, expires)| ("listener", &listener.name, expires));
    let upstreams = seen.upstreams.iter();
    let upstreams = upstreams.map(|(name, expires)| ("upstream", name, expires.get()));
    let expiries = listeners.chain(upstreams);
    let expiries: Vec<_> = expiries.filter(|(.., expires)| *expires > 0).collect();
    if expiries.is_empty() && seen.upstreams.is_empty() {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let mut left = to.gauge(
        "corelane_tls_certificate_expires_seconds",
        "Seconds until the first certificate of the listener expires, or the one that the upstream is shown, less than 0 once it has.",
    );
    for (label, name, expires) in expiries {
        let left_seconds = i128::from(expires) - i128::from(now);
        left.labelled(&[(label, name)], left_seconds);
    }
    to.counter(
        "corelane_tls_reloads_total",
        "Times that other certificates were put into force, and that files could not be.",
    )
    .labelled(&[("outcome", &"changed")], view.tls.changed.get())
    .labelled(&[("outcome", &"failed")], view.tls.failed.get());
}

/// How near the end of the memory is. What is not known has no line.
fn memory(to: &mut Exposition, view: &View) {
    let [process, sockets] = view.memory_bound;
    to.gauge(
        "corelane_memory_bound_bytes",
        "Memory that the settings let the process take at most.",
    )
    .value(process);
    to.gauge(
        "corelane_memory_bound_sockets_bytes",
        "Estimate of what the sockets of all connections take in the kernel beside it.",
    )
    .value(sockets);
    let seen = &view.memory;
    to.gauge(
        "corelane_memory_short",
        "1 while the machine or a control group has hardly any memory left, and nobody new is let in.",
    )
    .value(seen.short.get());
    let rooms = [("machine", &seen.machine), ("group", &seen.group)];
    let known = rooms.into_iter().filter(|(_, room)| room.most.get() > 0);
    let mut limits = to.gauge(
        "corelane_memory_limit_bytes",
        "Memory of the machine, and the bound of the control group that has the smallest part left.",
    );
    for (of, room) in known.clone() {
        limits.labelled(&[("of", &of)], room.most.get());
    }
    let mut left = to.gauge(
        "corelane_memory_left_bytes",
        "Memory that is left of it, for whoever asks first.",
    );
    for (of, room) in known {
        left.labelled(&[("of", &of)], room.left.get());
    }
}

/// Each of these has a line for each shard.
fn per_shard(to: &mut Exposition, view: &View, shards: &[Snapshot]) {
    to.gauge(
        "corelane_connections",
        "Accepted connections that are open.",
    )
    .by_shard(shards.iter().map(|shard| shard.connections));
    to.counter(
        "corelane_connections_accepted_total",
        "Connections accepted, those turned away among them.",
    )
    .by_shard(shards.iter().map(|shard| shard.accepted));
    to.gauge("corelane_tasks", "Tasks of handlers.")
        .by_shard(shards.iter().map(|shard| shard.tasks));
    to.counter(
        "corelane_stalls_total",
        "Times that the shard was found blocked.",
    )
    .by_shard(shards.iter().map(|shard| shard.stalls));
    let count = u64::from(view.config.buffers.count);
    let mut buffers = to.gauge("corelane_buffers", "Receive buffers.");
    for (number, shard) in shards.iter().enumerate() {
        let in_use = shard.buffers_in_use;
        buffers.labelled(&[("shard", &number), ("state", &"used")], in_use);
        buffers.labelled(
            &[("shard", &number), ("state", &"free")],
            count.saturating_sub(in_use),
        );
    }
}

fn turns(to: &mut Exposition, view: &View) {
    let readings: Vec<TurnReading> = view.shards.iter().map(|shard| shard.turns.read()).collect();
    let mut busy = to.counter(
        "corelane_busy_seconds_total",
        "Time that the shard has spent in turns.",
    );
    for (number, reading) in readings.iter().enumerate() {
        busy.labelled(&[("shard", &number)], reading.sum.as_secs_f64());
    }
    let mut all = TurnReading::default();
    readings.iter().for_each(|reading| all.add(reading));
    let bounds = TURN_BOUNDS.map(|bound| bound.as_secs_f64());
    to.family(
        "corelane_turn_duration_seconds",
        "How long the turns of all shards lasted.",
        "histogram",
    )
    .histogram(&bounds, &all.ranges, all.sum.as_secs_f64());
}

/// What would be too many lines for each shard, or is of no use there.
fn summed(to: &mut Exposition, sum: &Snapshot) {
    let mut closed = to.counter(
        "corelane_connections_closed_total",
        "Accepted connections that have ended, by reason.",
    );
    for reason in CloseReason::ALL {
        closed.labelled(&[("reason", &reason)], sum.closed(reason));
    }
    to.counter(
        "corelane_accept_failures_total",
        "Accepts that failed: the peer had left, or descriptors or memory ran out.",
    )
    .labelled(&[("kind", &"aborted")], sum.accepts_aborted)
    .labelled(&[("kind", &"exhausted")], sum.accepts_failed);
    let counters: [(&str, &str, u64); 14] = [
        (
            "corelane_received_bytes_total",
            "Bytes received.",
            sum.bytes_in,
        ),
        (
            "corelane_sent_bytes_total",
            "Bytes that the kernel has taken for sending.",
            sum.bytes_out,
        ),
        (
            "corelane_messages_received_total",
            "Chunks and frames that handlers have read.",
            sum.messages,
        ),
        (
            "corelane_buffers_exhausted_total",
            "Receives that found no free buffer.",
            sum.buffers_exhausted,
        ),
        (
            "corelane_copied_out_total",
            "Receives that were copied out because buffers ran short.",
            sum.copied_out,
        ),
        (
            "corelane_copied_back_total",
            "Buffers that came free because what they held was copied out.",
            sum.copied_back,
        ),
        (
            "corelane_held_back_total",
            "Times that a connection was not read from because it held most in a shortage.",
            sum.held_back,
        ),
        (
            "corelane_log_lines_held_back_total",
            "Log lines held back because there were enough of their kind.",
            sum.log_lines_held_back,
        ),
        (
            "corelane_mailbox_sent_total",
            "Messages that handlers have sent to shards.",
            sum.mail_sent,
        ),
        (
            "corelane_mailbox_received_total",
            "Messages that handlers were given.",
            sum.mail_received,
        ),
        (
            "corelane_mailbox_full_total",
            "Messages that found a mailbox full.",
            sum.mail_full,
        ),
        (
            "corelane_publications_total",
            "Publications that were delivered, once for each shard.",
            sum.published,
        ),
        (
            "corelane_deliveries_total",
            "Subscribers for whom a publication was queued.",
            sum.deliveries,
        ),
        (
            "corelane_deliveries_dropped_total",
            "Subscribers who did not get a publication because they were behind.",
            sum.deliveries_dropped,
        ),
    ];
    for (name, help, value) in counters {
        to.counter(name, help).value(value);
    }
    to.gauge(
        "corelane_mailbox_depth",
        "Messages that shards left for their next turn.",
    )
    .value(sum.mail_depth);
    to.gauge(
        "corelane_unread_bytes",
        "Bytes received that handlers have not read.",
    )
    .value(sum.unread_bytes);
    to.gauge(
        "corelane_unsent_bytes",
        "Bytes written that the kernel has not taken.",
    )
    .value(sum.unsent_bytes);
}

/// Handshakes of accepted connections.
#[cfg(feature = "tls")]
fn handshakes(to: &mut Exposition, sum: &Snapshot) {
    let tls = &sum.tls;
    to.counter(
        "corelane_tls_handshakes_total",
        "TLS handshakes of accepted connections that were completed.",
    )
    .labelled(&[("kind", &"full")], tls.handshakes_full)
    .labelled(&[("kind", &"resumed")], tls.handshakes_resumed);
    let mut failed = to.counter(
        "corelane_tls_handshakes_failed_total",
        "TLS handshakes of accepted connections that were not, by reason.",
    );
    for why in HandshakeFailure::ALL {
        failed.labelled(&[("reason", &why)], tls.handshakes_failed(why));
    }
    to.gauge(
        "corelane_tls_handshakes_waiting",
        "Connections that wait for a turn in which their handshake goes on.",
    )
    .value(tls.handshakes_waiting);
    to.gauge(
        "corelane_tls_handshake_steps_per_turn",
        "The most steps of handshakes that a shard has computed in one turn.",
    )
    .value(tls.handshake_steps_per_turn);
}

/// Connections that the shards have opened. A server without upstreams may have its own connectors.
fn upstreams(to: &mut Exposition, sum: &Snapshot) {
    to.counter("corelane_connects_total", "Connects that succeeded.")
        .value(sum.connected);
    to.gauge(
        "corelane_outbound_connections",
        "Connections that the shards have opened.",
    )
    .labelled(
        &[("state", &"used")],
        sum.outbound - sum.outbound_idle.min(sum.outbound),
    )
    .labelled(&[("state", &"idle")], sum.outbound_idle);
    if sum.by_upstream().is_empty() {
        return;
    }
    let mut connections = to.gauge(
        "corelane_upstream_connections",
        "Connections of an upstream's pools in use, and requests that wait for one.",
    );
    for (name, reading) in sum.by_upstream() {
        connections.labelled(&[("upstream", name), ("state", &"used")], reading.in_use);
        connections.labelled(
            &[("upstream", name), ("state", &"waiting")],
            reading.waiting,
        );
    }
    let mut failures = to.counter(
        "corelane_upstream_failures_total",
        "Failures of an upstream that requests were told of.",
    );
    for (name, reading) in sum.by_upstream() {
        failures.labelled(&[("upstream", name)], reading.failed);
    }
}

/// What handlers count.
fn custom(to: &mut Exposition, view: &View) {
    let mut sums = BTreeMap::new();
    view.shards
        .iter()
        .for_each(|shard| shard.custom.read_into(&mut sums));
    for (name, reading) in sums {
        let mut family = to.family(name, reading.help, reading.value.kind());
        match reading.value {
            Value::Counter(value) => drop(family.value(value)),
            Value::Gauge(value) => drop(family.value(value)),
            Value::Histogram {
                bounds,
                counts,
                sum,
            } => family.histogram(&bounds, &counts, sum),
        }
    }
}
