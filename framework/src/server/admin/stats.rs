//! The server's numbers as one JSON object, for pages and programs that look again and again.

use std::env;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use crate::error::CloseReason;
use crate::metrics::histogram::TurnReading;
use crate::metrics::{Metrics, Snapshot, UpstreamReading};
use crate::net::listener::{queued, queued_at};
use crate::server::admin::connections::seconds;
use crate::server::report::resident_bytes;
use crate::server::view::View;

pub(super) const CONTENT_TYPE: &str = "application/json";

/// Makes them. What is told of a time is told of that since the sample before, and at first of all
/// since the server's start: `window_seconds`.
pub(super) struct Sampler {
    started: Instant,
    last: Instant,
    /// Of each shard at that time.
    before: Vec<Work>,
}

/// What a shard had done at an instant.
#[derive(Clone, Default)]
struct Work {
    turns: TurnReading,
    /// In turns, the one that ran then among them.
    busy: Duration,
}

impl Work {
    fn read(metrics: &Metrics, uptime: Duration) -> Self {
        let turns = metrics.turns.read();
        let began = metrics.busy_since.get().checked_sub(1);
        let running = began.map(|began| uptime.saturating_sub(Duration::from_millis(began)));
        Self {
            busy: turns.sum + running.unwrap_or_default(),
            turns,
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            turns: self.turns.since(&before.turns),
            busy: self.busy.saturating_sub(before.busy),
        }
    }

    fn add(&mut self, other: &Self) {
        self.turns.add(&other.turns);
        self.busy += other.busy;
    }
}

impl Sampler {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            last: started,
            before: Vec::new(),
        }
    }

    pub(super) fn sample(&mut self, view: &View, now: Instant) -> Value {
        let uptime = now.saturating_duration_since(self.started);
        let window = now.saturating_duration_since(self.last);
        let buffers = u64::from(view.config.buffers.count);
        let (mut sum, mut work_of_all) = (Snapshot::default(), Work::default());
        self.before.resize(view.shards.len(), Work::default());
        let mut shards = Vec::new();
        for (number, (metrics, before)) in view.shards.iter().zip(&mut self.before).enumerate() {
            let (reading, work) = (metrics.read(), Work::read(metrics, uptime));
            let done = work.since(before);
            *before = work;
            let mut shard = counts(&reading, &done, window, buffers);
            shard.insert("shard".to_owned(), number.into());
            shards.push(shard);
            sum.add(&reading);
            work_of_all.add(&done);
        }
        let count = view.shards.len() as u32;
        let total = counts(
            &sum,
            &work_of_all,
            window * count,
            buffers * u64::from(count),
        );
        self.last = now;
        let ready = view.readiness.get();
        json!({
            "time": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            "program": program(),
            "version": env!("CARGO_PKG_VERSION"),
            "address": view.first().endpoint.to_string(),
            "listeners": listeners(view),
            "uptime_seconds": seconds(uptime),
            "window_seconds": seconds(window),
            "ready": ready.is_ok(),
            "unready_because": ready.err().map(|reason| reason.told()),
            "connections_max": view.connections_max,
            "accept_queue": queued(&view.listeners),
            "resident_bytes": resident_bytes(),
            "log_lines_dropped": view.log_lines_dropped.get(),
            "total": total,
            "shards": shards,
            "closed_by_reason": closed_by_reason(&sum),
            "connects": sum.connected,
            "outbound_used": sum.outbound.saturating_sub(sum.outbound_idle),
            "outbound_idle": sum.outbound_idle,
            "upstreams": upstreams(&sum),
        })
    }
}

/// What there is of each shard and of all together; `window`: of all of them together, too.
fn counts(reading: &Snapshot, work: &Work, window: Duration, buffers: u64) -> Map<String, Value> {
    let busy = work.busy.as_secs_f64() / window.as_secs_f64().max(f64::EPSILON);
    let at_most = |percent| work.turns.at_most(percent).map(|turn| turn.as_secs_f64());
    let counts = json!({
        "connections": reading.connections,
        "tasks": reading.tasks,
        "accepted": reading.accepted,
        "closed": reading.closed_total(),
        "messages": reading.messages,
        "received_bytes": reading.bytes_in,
        "sent_bytes": reading.bytes_out,
        "buffers": buffers,
        "buffers_used": reading.buffers_in_use,
        "unread_bytes": reading.unread_bytes,
        "unsent_bytes": reading.unsent_bytes,
        "stalls": reading.stalls,
        "busy": (busy.min(1.0) * 1e4).round() / 1e4,
        "turns": work.turns.count(),
        // Turns are counted by ranges: what is known of them is the end of the range.
        "turn_seconds_at_most": {
            "p50": at_most(50),
            "p99": at_most(99),
            "max": at_most(100),
        },
    });
    match counts {
        Value::Object(counts) => counts,
        _ => Map::new(),
    }
}

/// Each with where it listens, and what came by it.
fn listeners(view: &View) -> Vec<Value> {
    let each = view.listeners.iter().enumerate().map(|(place, listener)| {
        json!({
            "name": listener.name,
            "address": listener.endpoint.to_string(),
            "accepted": view.accepted_by(place),
            "accept_queue": queued_at(&listener.endpoint),
        })
    });
    each.collect()
}

/// Those that occurred.
fn closed_by_reason(sum: &Snapshot) -> Map<String, Value> {
    let reasons = CloseReason::ALL.into_iter();
    let counts = reasons.map(|reason| (reason.to_string(), sum.closed(reason)));
    let occurred = counts.filter(|(_, count)| *count > 0);
    occurred
        .map(|(reason, count)| (reason, count.into()))
        .collect()
}

fn upstreams(sum: &Snapshot) -> Map<String, Value> {
    let of_one = |(name, reading): (&String, &UpstreamReading)| {
        let counts = json!({
            "used": reading.in_use,
            "waiting": reading.waiting,
            "failed": reading.failed,
        });
        (name.clone(), counts)
    };
    sum.by_upstream().iter().map(of_one).collect()
}

/// By what name it was started.
fn program() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}
