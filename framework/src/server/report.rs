//! The line of statistics.

use std::time::{Duration, Instant};

use procfs::FromRead;
use procfs::process::StatM;

use crate::id::ShardId;
use crate::metrics::Snapshot;
use crate::net::listener::{ListenerAddr, queued};

/// What the lines tell of beside the shards' counters.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Whole<'a> {
    pub(crate) listeners: &'a [ListenerAddr],
    pub(crate) ready: bool,
    pub(crate) log_lines_dropped: u64,
}

/// Logs what happened since the last report, whole and per shard.
#[derive(Debug)]
pub(crate) struct Reporter {
    interval: Option<Duration>,
    next: Instant,
    last: Instant,
    /// Each shard's reading at the last report.
    before: Vec<Snapshot>,
}

impl Reporter {
    pub(crate) fn new(interval: Option<Duration>, started: Instant) -> Self {
        Self {
            interval,
            next: interval.map_or(started, |interval| started + interval),
            last: started,
            before: Vec::new(),
        }
    }

    /// From `now` on there is one each `interval`.
    pub(crate) fn set_interval(&mut self, interval: Option<Duration>, now: Instant) {
        if self.interval != interval {
            self.interval = interval;
            self.next = interval.map_or(now, |interval| now + interval);
        }
    }

    /// When the next report is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.interval.map(|_| self.next)
    }

    /// Logs if it is time to.
    pub(crate) fn report(
        &mut self,
        now: Instant,
        whole: Whole<'_>,
        shards: impl Iterator<Item = (ShardId, Snapshot)>,
    ) {
        let Some(interval) = self.interval.filter(|_| now >= self.next) else {
            return;
        };
        let seconds = now
            .saturating_duration_since(self.last)
            .as_secs_f64()
            .max(f64::EPSILON);
        self.last = now;
        self.next = now + interval;
        let (mut all, mut all_before) = (Snapshot::default(), Snapshot::default());
        for (index, (shard, reading)) in shards.enumerate() {
            if self.before.len() <= index {
                self.before.push(Snapshot::default());
            }
            let before = std::mem::replace(&mut self.before[index], reading.clone());
            all.add(&reading);
            all_before.add(&before);
            Line {
                shard: Some(shard),
                whole: None,
                now: &reading,
                before: &before,
                seconds,
            }
            .log();
        }
        Line {
            shard: None,
            whole: Some(whole),
            now: &all,
            before: &all_before,
            seconds,
        }
        .log();
    }
}

/// One line of statistics: a shard's, or the whole process's.
struct Line<'a> {
    shard: Option<ShardId>,
    whole: Option<Whole<'a>>,
    now: &'a Snapshot,
    before: &'a Snapshot,
    seconds: f64,
}

impl Line<'_> {
    /// What is 0 in most servers stands in the line only when it is not.
    fn log(&self) {
        let Self {
            shard,
            whole,
            now,
            before,
            seconds,
        } = self;
        let per_second =
            |now: u64, before: u64| (now.saturating_sub(before) as f64 / seconds).round() as u64;
        let upstreams = now.upstreams();
        tracing::info!(
            shard = shard.map(|shard| shard.0),
            ready = whole.map(|whole| whole.ready),
            connections = now.connections,
            queued = whole.and_then(|whole| some(queued(whole.listeners)?)),
            accepted = now.accepted,
            closed = now.closed_total(),
            tasks = now.tasks,
            messages_per_second = per_second(now.messages, before.messages),
            bytes_per_second = per_second(now.bytes(), before.bytes()),
            log_lines_dropped = whole.map(|whole| whole.log_lines_dropped),
            log_lines_held_back = some(now.log_lines_held_back),
            resident_bytes = whole.map(|_| resident_bytes().unwrap_or(0)),
            stalls = now.stalls,
            held_back = now.held_back,
            copied_back = now.copied_back,
            accepts_aborted = now.accepts_aborted,
            accepts_failed = now.accepts_failed,
            buffers_exhausted = some(now.buffers_exhausted),
            copied_out = some(now.copied_out),
            outbound = some(now.outbound),
            outbound_idle = some(now.outbound_idle),
            connected = some(now.connected),
            upstreams = upstreams.map(tracing::field::display),
            reasons = %now.reasons(),
            "{}",
            if shard.is_some() { "shard stats" } else { "stats" }
        );
    }
}

fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

/// The process's resident memory, which /proc/self/statm has in pages (proc(5)).
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = StatM::from_file("/proc/self/statm").ok()?;
    Some(statm.resident * rustix::param::page_size() as u64)
}
