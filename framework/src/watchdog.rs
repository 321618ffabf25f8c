//! Finds shards that a handler blocks: they cannot speak for themselves.

use std::time::{Duration, Instant};

use crate::metrics::Metrics;
use crate::shard::ShardId;

/// Looks per threshold: a stall is named within one and a half thresholds.
const LOOKS: u32 = 2;

/// Compares when each shard's turn began with the clock.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// A turn may last this long; none: nobody looks.
    threshold: Option<Duration>,
    started: Instant,
    next: Instant,
    /// Turns that were named already, by their beginning.
    named: Vec<u64>,
}

impl Watchdog {
    pub(crate) fn new(threshold: Option<Duration>, started: Instant) -> Self {
        Self { threshold, started, next: started, named: Vec::new() }
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.threshold.map(|_| self.next)
    }

    /// Names every shard whose turn has lasted too long, once per turn.
    pub(crate) fn look<'a>(&mut self, now: Instant, shards: impl Iterator<Item = (ShardId, &'a Metrics)>) {
        let Some(threshold) = self.threshold.filter(|_| now >= self.next) else { return };
        self.next = now + threshold / LOOKS;
        let now_ms = now.saturating_duration_since(self.started).as_millis() as u64;
        for (index, (shard, metrics)) in shards.enumerate() {
            if self.named.len() <= index {
                self.named.push(0);
            }
            let since = metrics.busy_since.get();
            let Some(blocked_ms) = stalled(since, now_ms, threshold) else { continue };
            if self.named[index] != since {
                self.named[index] = since;
                metrics.stalls.add(1);
                let (slot, generation) = (metrics.serving.get() >> 32, metrics.serving.get() & 0xffff_ffff);
                tracing::warn!(%shard, blocked_ms, conn = format_args!("{shard}.{slot}.{generation}"), "a handler blocks its shard");
            }
        }
    }
}

/// For how long a turn that began at `since` (milliseconds plus one; 0: the shard rests) has exceeded its threshold.
fn stalled(since: u64, now_ms: u64, threshold: Duration) -> Option<u64> {
    let lasted = now_ms.checked_sub(since.checked_sub(1)?)?;
    (u128::from(lasted) > threshold.as_millis()).then_some(lasted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resting_shard_is_not_stalled() {
        let threshold = Duration::from_millis(100);
        assert_eq!(stalled(0, 10_000, threshold), None);
        assert_eq!(stalled(1, 100, threshold), None);
        assert_eq!(stalled(1, 101, threshold), Some(101));
        assert_eq!(stalled(5_001, 4_000, threshold), None, "a turn that began after the look");
    }
}
