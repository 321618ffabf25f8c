//! When the next connect may begin, when each connection's next request is due, and from when its
//! latency counts.
//!
//! In an open loop requests have intended times that do not depend on the replies. Latency counts
//! from the intended time: a request that could not be sent because the one before it was not yet
//! answered has been waiting nevertheless, as its sender would have been. So a server that stalls
//! is seen to stall by everyone who wanted something meanwhile, and not only by those who happened
//! to have asked (coordinated omission).

use std::time::Duration;

/// How far behind its rate it may fall before it forgets the rest: catching up all at once
/// would be the very burst that a rate is to prevent.
const ARREARS_MAX: Duration = Duration::from_millis(20);

/// The turns of the connections of one shard, spread evenly over the interval so that they do not
/// all speak at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    /// When the load begins. Every time here is since the run's beginning.
    pub(super) begins: Duration,
    /// Between two requests of a connection.
    pub(super) interval: Duration,
    /// Connections of the whole run.
    pub(super) connections: u64,
    /// This shard has every so-many-th connection, and this one is its first.
    pub(super) shards: u64,
    pub(super) first: u64,
}

impl Schedule {
    /// When connection `index` of the shard is to send its request number `round`.
    pub(super) fn due(&self, index: u32, round: u64) -> Duration {
        self.due_of(self.number(index), round)
    }

    /// The same of connection `number` of the run.
    pub(super) fn due_of(&self, number: u64, round: u64) -> Duration {
        let place = u128::from(number);
        let phase = self.interval.as_nanos() * place / u128::from(self.connections.max(1));
        let rounds = self.interval.as_nanos() * u128::from(round);
        self.begins + Duration::from_nanos(u64::try_from(phase + rounds).unwrap_or(u64::MAX))
    }

    /// How many requests of connection `index` are due before `time`: all with a smaller number
    /// than this one.
    pub(super) fn rounds_before(&self, index: u32, time: Duration) -> u64 {
        self.rounds_before_of(self.number(index), time)
    }

    /// The same of connection `number` of the run.
    pub(super) fn rounds_before_of(&self, number: u64, time: Duration) -> u64 {
        let since_first = time.saturating_sub(self.due_of(number, 0)).as_nanos();
        u64::try_from(since_first.div_ceil(self.interval.as_nanos().max(1))).unwrap_or(u64::MAX)
    }

    fn number(&self, index: u32) -> u64 {
        u64::from(index) * self.shards + self.first
    }
}

/// Walks over a shard's turns in the order of their times.
#[derive(Debug)]
pub(super) struct Cursor {
    schedule: Schedule,
    count: u32,
    index: u32,
    round: u64,
}

impl Cursor {
    pub(super) fn new(schedule: Schedule, count: u32) -> Self {
        Self {
            schedule,
            count,
            index: 0,
            round: 0,
        }
    }

    /// When the next turn is; none without connections.
    pub(super) fn due(&self) -> Option<Duration> {
        (self.count > 0).then(|| self.schedule.due(self.index, self.round))
    }

    /// The connection whose turn has come by `now`, and when it came; once for each turn.
    pub(super) fn take(&mut self, now: Duration) -> Option<(u32, Duration)> {
        let due = self.due().filter(|due| *due <= now)?;
        let index = self.index;
        self.index += 1;
        if self.index == self.count {
            (self.index, self.round) = (0, self.round + 1);
        }
        Some((index, due))
    }
}

/// Latency of a request that was intended for `intended` and answered `now`. In a closed
/// loop a request is intended for whenever it is sent.
pub(super) fn latency(intended: Duration, now: Duration) -> Duration {
    now.saturating_sub(intended)
}

/// How late the load tester itself is with a request that is sent `now`, on a connection that has
/// been free since `free`; none if the connection was still waiting for a reply at the intended
/// time, for then the server is late.
pub(super) fn lag(intended: Duration, free: Duration, now: Duration) -> Option<Duration> {
    (free <= intended).then(|| now.saturating_sub(intended))
}

/// Hands out places in a stream of so many per second. Times are since the run's beginning.
#[derive(Debug)]
pub(super) struct ConnectRate {
    interval: Duration,
    next: Duration,
}

impl ConnectRate {
    /// `rate` per second; none: no bound.
    pub(super) fn new(rate: Option<f64>) -> Self {
        Self {
            interval: rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(1.0 / rate)),
            next: Duration::ZERO,
        }
    }

    /// When the caller may begin: now, or after the callers before it.
    pub(super) fn reserve(&mut self, now: Duration) -> Duration {
        let place = self.next.max(now.saturating_sub(ARREARS_MAX));
        self.next = place + self.interval;
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule(connections: u64, shards: u64, first: u64) -> Schedule {
        Schedule {
            begins: 100 * MS,
            interval: 1000 * MS,
            connections,
            shards,
            first,
        }
    }

    #[test]
    fn turns_are_spread_evenly_over_the_interval_and_the_shards() {
        let mut due: Vec<Duration> = Vec::new();
        for first in 0..3 {
            let mut cursor = Cursor::new(schedule(10, 3, first), (10 - first as u32).div_ceil(3));
            while let Some(at) = cursor.due().filter(|at| *at < 1100 * MS) {
                assert!(cursor.take(at).is_some());
                due.push(at);
            }
        }
        due.sort_unstable();
        let wanted: Vec<Duration> = (0..10).map(|place| 100 * MS + place * 100 * MS).collect();
        assert_eq!(due, wanted);
    }

    #[test]
    fn a_cursor_gives_every_turn_once_and_none_early() {
        let mut cursor = Cursor::new(schedule(4, 1, 0), 4);
        assert_eq!(cursor.take(99 * MS), None);
        let taken: Vec<(u32, Duration)> = std::iter::from_fn(|| cursor.take(1350 * MS)).collect();
        let wanted = [(0, 100), (1, 350), (2, 600), (3, 850), (0, 1100), (1, 1350)];
        assert_eq!(taken, wanted.map(|(index, due)| (index, MS * due)));
        assert_eq!(Cursor::new(schedule(4, 1, 0), 0).due(), None);
    }

    #[test]
    fn the_rounds_before_a_time_are_those_due_before_it() {
        let schedule = schedule(4, 2, 1);
        for index in 0..2 {
            for time in
                [0, 99, 100, 349, 350, 351, 850, 851, 1350, 1351, 9000].map(|time| MS * time)
            {
                let counted = (0..)
                    .take_while(|round| schedule.due(index, *round) < time)
                    .count() as u64;
                assert_eq!(
                    schedule.rounds_before(index, time),
                    counted,
                    "{index} before {time:?}"
                );
            }
        }
    }

    /// A server that answers after a millisecond, but for one second in every ten does nothing.
    fn stalling(asked: Duration) -> Duration {
        let within = asked.as_millis() % 10_000;
        if within < 1000 {
            asked + MS * (1000 - within) as u32 + MS
        } else {
            asked + MS
        }
    }

    /// The latencies of one connection that asks every 100 ms, for 100 seconds, on a scripted
    /// clock.
    fn latencies(open: bool) -> Vec<Duration> {
        let schedule = Schedule {
            begins: Duration::ZERO,
            interval: 100 * MS,
            connections: 1,
            shards: 1,
            first: 0,
        };
        let (mut free, mut latencies) = (Duration::ZERO, Vec::new());
        for round in 0.. {
            let intended = schedule.due(0, round);
            let now = intended.max(free);
            if now > 100_000 * MS {
                break;
            }
            free = stalling(now);
            latencies.push(latency(if open { intended } else { now }, free));
        }
        latencies.sort_unstable();
        latencies
    }

    fn percentile(sorted: &[Duration], percent: usize) -> Duration {
        sorted[(sorted.len() - 1) * percent / 100]
    }

    #[test]
    fn an_open_loop_sees_the_stall_that_a_closed_one_omits() {
        let (open, closed) = (latencies(true), latencies(false));
        assert!(
            percentile(&open, 99) > 850 * MS,
            "{:?}",
            percentile(&open, 99)
        );
        assert!(
            percentile(&open, 95) > 400 * MS,
            "{:?}",
            percentile(&open, 95)
        );
        assert_eq!(percentile(&open, 50), MS);
        assert_eq!(
            percentile(&closed, 98),
            MS,
            "one request in a hundred met the stall"
        );
    }

    #[test]
    fn lag_is_the_load_testers_own_lateness_and_not_the_servers() {
        assert_eq!(lag(10 * MS, 5 * MS, 12 * MS), Some(2 * MS));
        assert_eq!(
            lag(10 * MS, 11 * MS, 12 * MS),
            None,
            "the reply before it was late"
        );
        assert_eq!(latency(10 * MS, 15 * MS), 5 * MS);
    }

    #[test]
    fn a_rate_holds_and_arrears_are_bounded() {
        let mut rate = ConnectRate::new(Some(1000.0));
        let mut begun = |at: Duration| (0..10_000).take_while(|_| rate.reserve(at) <= at).count();
        assert_eq!(begun(Duration::ZERO), 1);
        // The one that was refused a place above has taken it all the same.
        assert_eq!(begun(5 * MS), 4);
        assert_eq!(begun(60_000 * MS), 21);
    }

    #[test]
    fn without_a_rate_there_is_no_bound() {
        let mut rate = ConnectRate::new(None);
        assert!((0..10_000).all(|_| rate.reserve(MS) <= MS));
    }
}
