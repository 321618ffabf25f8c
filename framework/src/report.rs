//! The line of statistics.

use std::time::{Duration, Instant};

use crate::metrics::Reading;
use crate::shard::ShardId;

/// Logs what happened since the last report, whole and per shard.
#[derive(Debug)]
pub(crate) struct Reporter {
    interval: Option<Duration>,
    next: Instant,
    last: Instant,
    /// Each shard's reading at the last report.
    before: Vec<Reading>,
}

impl Reporter {
    pub(crate) fn new(interval: Option<Duration>, started: Instant) -> Self {
        Self { interval, next: interval.map_or(started, |interval| started + interval), last: started, before: Vec::new() }
    }

    /// When the next report is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.interval.map(|_| self.next)
    }

    /// Logs if it is time to.
    pub(crate) fn report(&mut self, now: Instant, log_lines_dropped: u64, shards: impl Iterator<Item = (ShardId, Reading)>) {
        let Some(interval) = self.interval.filter(|_| now >= self.next) else { return };
        let seconds = now.saturating_duration_since(self.last).as_secs_f64().max(f64::EPSILON);
        (self.last, self.next) = (now, now + interval);
        let (mut whole, mut whole_before) = (Reading::default(), Reading::default());
        for (index, (shard, reading)) in shards.enumerate() {
            if self.before.len() <= index {
                self.before.push(Reading::default());
            }
            let before = std::mem::replace(&mut self.before[index], reading.clone());
            whole.add(&reading);
            whole_before.add(&before);
            log_shard(shard, &reading, &before, seconds);
        }
        log_whole(&whole, &whole_before, seconds, log_lines_dropped);
    }
}

fn per_second(now: u64, before: u64, seconds: f64) -> u64 {
    (now.saturating_sub(before) as f64 / seconds).round() as u64
}

fn log_shard(shard: ShardId, now: &Reading, before: &Reading, seconds: f64) {
    tracing::info!(
        shard = shard.0,
        connections = now.connections,
        accepted = now.accepted,
        closed = now.closed_total(),
        tasks = now.tasks,
        messages_per_second = per_second(now.messages, before.messages, seconds),
        bytes_per_second = per_second(now.bytes, before.bytes, seconds),
        stalls = now.stalls,
        held_back = now.held_back,
        copied_back = now.copied_back,
        accepts_aborted = now.accepts_aborted,
        accepts_failed = now.accepts_failed,
        reasons = %now.reasons(),
        "shard stats"
    );
}

fn log_whole(now: &Reading, before: &Reading, seconds: f64, log_lines_dropped: u64) {
    tracing::info!(
        connections = now.connections,
        accepted = now.accepted,
        closed = now.closed_total(),
        tasks = now.tasks,
        messages_per_second = per_second(now.messages, before.messages, seconds),
        bytes_per_second = per_second(now.bytes, before.bytes, seconds),
        log_lines_dropped,
        resident_bytes = resident_bytes().unwrap_or(0),
        stalls = now.stalls,
        held_back = now.held_back,
        copied_back = now.copied_back,
        accepts_aborted = now.accepts_aborted,
        accepts_failed = now.accepts_failed,
        reasons = %now.reasons(),
        "stats"
    );
}

/// The process's resident memory: the second field of /proc/self/statm, in pages (proc(5)).
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
