//! Finds shards that a handler blocks: they cannot speak for themselves.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::id::{ConnId, ShardId};
use crate::metrics::Metrics;
use crate::shard::held_back::log_held_back;
use crate::shard::policy::log_limit::{LogKind, LogLimiter};
use crate::time::Tick;

/// Looks per threshold while a shard has something to do, and while all rest: a stall is named
/// within one and a half thresholds, also one that begins right after a look at shards that rested.
/// A look wakes a thread, which a quiet server should do seldom.
const LOOKS: u32 = 2;
const LOOKS_AT_REST: u32 = 1;

/// Compares when each shard's turn began with the clock.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// A turn that lasts longer is named; none: none is.
    threshold: Option<Duration>,
    /// A shard whose turn lasts longer makes the server unready; none: it never does.
    unready_after: Option<Duration>,
    /// From the settings.
    lines_per_reason_max: u32,
    started: Instant,
    next: Instant,
    /// This thread was held up until then, so what it missed before it does not hold against the
    /// shards.
    awake_since: Instant,
    seen: Vec<Seen>,
    stalled: Option<ShardId>,
}

/// What was found out about a shard.
#[derive(Debug)]
struct Seen {
    /// The beginning of the turn that was named last.
    named: u64,
    /// The beginning of the turn that last made the server unready.
    unready: u64,
    limiter: LogLimiter,
}

impl Watchdog {
    pub(crate) fn new(config: &Config, started: Instant) -> Self {
        Self {
            threshold: config.limits.watchdog,
            unready_after: config.limits.unready_after,
            lines_per_reason_max: config.log.lines_per_reason_max,
            started,
            next: started,
            awake_since: started,
            seen: Vec::new(),
            stalled: None,
        }
    }

    /// From the next look on it is under these settings.
    pub(crate) fn reload(&mut self, config: &Config) {
        self.threshold = config.limits.watchdog;
        self.unready_after = config.limits.unready_after;
        self.lines_per_reason_max = config.log.lines_per_reason_max;
        for seen in &mut self.seen {
            seen.limiter.set_lines_max(self.lines_per_reason_max);
        }
        self.next = self.started; // the look that is due may be far off
        if self.threshold_min().is_none() {
            self.stalled = None;
        }
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.threshold_min().map(|_| self.next)
    }

    /// The shard that has been stalled for too long for the server to be ready.
    pub(crate) fn stalled(&self) -> Option<ShardId> {
        self.stalled
    }

    fn threshold_min(&self) -> Option<Duration> {
        [self.threshold, self.unready_after]
            .into_iter()
            .flatten()
            .min()
    }

    /// Names every shard whose turn has lasted too long, once per turn.
    pub(crate) fn look<'a>(
        &mut self,
        now: Instant,
        shards: impl Iterator<Item = (ShardId, &'a Metrics)>,
    ) {
        let Some(threshold) = self.threshold_min().filter(|_| now >= self.next) else {
            return;
        };
        if now > self.next + threshold / LOOKS {
            self.awake_since = now;
        }
        self.stalled = None;
        let mut looks = LOOKS_AT_REST;
        for (index, (shard, metrics)) in shards.enumerate() {
            if self.seen.len() <= index {
                self.seen.push(Seen {
                    named: 0,
                    unready: 0,
                    limiter: LogLimiter::new(self.lines_per_reason_max),
                });
            }
            if metrics.busy_since.get() != 0 {
                looks = LOOKS;
            }
            self.look_at(index, shard, metrics, now);
        }
        self.next = now + threshold / looks;
    }

    fn look_at(&mut self, index: usize, shard: ShardId, metrics: &Metrics, now: Instant) {
        let since_start = |instant: Instant| instant.saturating_duration_since(self.started);
        let (began, tick) = (metrics.busy_since.get(), Tick::at(since_start(now)));
        let lasted = lasted(
            began,
            millis(since_start(now)),
            millis(since_start(self.awake_since)),
        );
        let exceeds = |bound: Option<Duration>| {
            lasted.filter(|lasted| bound.is_some_and(|bound| *lasted > millis(bound)))
        };
        let (blocked_ms, unready) = (
            exceeds(self.threshold),
            exceeds(self.unready_after).is_some(),
        );
        let seen = &mut self.seen[index];
        if unready {
            seen.unready = began;
        }
        // Once found it stays so until the shard moves on, whatever holds this thread up meanwhile.
        if began != 0 && seen.unready == began {
            self.stalled.get_or_insert(shard);
        }
        log_held_back(shard, seen.limiter.take_held_back(tick));
        let Some(blocked_ms) = blocked_ms.filter(|_| seen.named != began) else {
            return;
        };
        seen.named = began;
        metrics.stalls.add(1);
        if seen.limiter.pass(LogKind::ShardBlocked, tick) {
            let conn = ConnId::of_word(shard, metrics.serving.get());
            tracing::warn!(%shard, blocked_ms, conn = conn.map(tracing::field::display), "a handler blocks its shard");
        }
    }
}

/// Whether every shard rests, or has begun its turn within `bound`.
pub(crate) fn all_progress<'a>(
    since_start: Duration,
    bound: Duration,
    mut shards: impl Iterator<Item = &'a Metrics>,
) -> bool {
    shards.all(|metrics| {
        let lasted = lasted(metrics.busy_since.get(), millis(since_start), 0);
        lasted.is_none_or(|lasted| lasted <= millis(bound))
    })
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

/// For how long the turn that began at `began` (milliseconds plus one; 0: the shard rests) has
/// lasted, as far as it was watched.
fn lasted(began: u64, now: u64, watched_since: u64) -> Option<u64> {
    now.checked_sub(began.checked_sub(1)?.max(watched_since))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn watchdog(started: Instant) -> Watchdog {
        let mut config = Config::default();
        config.limits.watchdog = Some(100 * MS);
        config.limits.unready_after = Some(1000 * MS);
        Watchdog::new(&config, started)
    }

    /// Looks at one shard every 50 ms of made-up time.
    fn look_until(watchdog: &mut Watchdog, metrics: &Metrics, from: u32, until: u32) {
        for at in (from..=until).step_by(50) {
            let now = watchdog.started + MS * at;
            watchdog.look(now, [(ShardId(7), metrics)].into_iter());
        }
    }

    #[test]
    fn a_resting_shard_is_not_stalled() {
        assert_eq!(lasted(0, 10_000, 0), None);
        assert_eq!(lasted(1, 100, 0), Some(100));
        assert_eq!(
            lasted(5_001, 4_000, 0),
            None,
            "a turn that began after the look"
        );
    }

    #[test]
    fn a_stall_is_counted_once_and_makes_unready_past_its_bound() {
        let (mut watchdog, metrics) = (watchdog(Instant::now()), Metrics::default());
        metrics.busy_since.set(1);
        look_until(&mut watchdog, &metrics, 0, 100);
        assert_eq!(metrics.stalls.get(), 0);
        look_until(&mut watchdog, &metrics, 150, 1000);
        assert_eq!((metrics.stalls.get(), watchdog.stalled()), (1, None));
        look_until(&mut watchdog, &metrics, 1050, 1050);
        assert_eq!(
            (metrics.stalls.get(), watchdog.stalled()),
            (1, Some(ShardId(7)))
        );
        metrics.busy_since.set(1052);
        look_until(&mut watchdog, &metrics, 1100, 1100);
        assert_eq!((metrics.stalls.get(), watchdog.stalled()), (1, None));
    }

    #[test]
    fn a_stall_is_named_in_time_whenever_it_begins_and_shards_at_rest_are_looked_at_less() {
        for begins in 0..200 {
            let (mut watchdog, metrics) = (watchdog(Instant::now()), Metrics::default());
            let (mut looks, mut named_at) = (0, None);
            for at in 0..1000 {
                if at == 500 + begins {
                    assert!((5..=8).contains(&looks), "{looks} looks in {at} ms of rest");
                    metrics.busy_since.set(u64::from(at) + 1);
                }
                let now = watchdog.started + MS * at;
                looks += u32::from(watchdog.due().is_some_and(|due| due <= now));
                watchdog.look(now, [(ShardId(7), &metrics)].into_iter());
                named_at = named_at.or((metrics.stalls.get() > 0).then_some(at));
            }
            let late = named_at.map(|at| at - 500 - begins);
            assert!(
                late.is_some_and(|late| (101..=151).contains(&late)),
                "named {late:?} ms after it began"
            );
        }
    }

    #[test]
    fn other_thresholds_hold_from_the_next_look_on() {
        let (mut watchdog, metrics) = (watchdog(Instant::now()), Metrics::default());
        let mut config = Config::default();
        (config.limits.watchdog, config.limits.unready_after) = (None, None);
        watchdog.reload(&config);
        metrics.busy_since.set(1);
        look_until(&mut watchdog, &metrics, 0, 5000);
        assert_eq!((metrics.stalls.get(), watchdog.due()), (0, None));
        config.limits.watchdog = Some(500 * MS);
        watchdog.reload(&config);
        look_until(&mut watchdog, &metrics, 5050, 5500);
        assert_eq!(metrics.stalls.get(), 0, "it is watched since 5050");
        look_until(&mut watchdog, &metrics, 5550, 6000);
        assert_eq!(metrics.stalls.get(), 1);
    }

    #[test]
    fn a_shard_that_rests_or_moves_on_makes_progress() {
        let (busy, rests) = (Metrics::default(), Metrics::default());
        busy.busy_since.set(1001);
        let progress = |at| all_progress(MS * at, 500 * MS, [&busy, &rests].into_iter());
        assert!(progress(1000) && progress(1500) && !progress(1501));
        busy.busy_since.set(1502);
        assert!(progress(1501));
    }

    #[test]
    fn a_pause_of_the_process_is_no_stall_of_a_shard() {
        let (mut watchdog, metrics) = (watchdog(Instant::now()), Metrics::default());
        look_until(&mut watchdog, &metrics, 0, 50);
        metrics.busy_since.set(61);
        look_until(&mut watchdog, &metrics, 10_000, 10_000); // stopped, and continued
        assert_eq!((metrics.stalls.get(), watchdog.stalled()), (0, None));
        look_until(&mut watchdog, &metrics, 10_050, 10_150);
        assert_eq!(metrics.stalls.get(), 1, "it does not go on");
    }

    #[test]
    fn a_pause_of_the_process_makes_no_stalled_shard_ready() {
        let (mut watchdog, metrics) = (watchdog(Instant::now()), Metrics::default());
        metrics.busy_since.set(1);
        look_until(&mut watchdog, &metrics, 0, 1100);
        look_until(&mut watchdog, &metrics, 5000, 5000);
        assert_eq!(watchdog.stalled(), Some(ShardId(7)));
    }
}
