//! What was heard: the last event, how much came since the one before, and the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use crate::events::News;
use crate::stats::{Counts, Stats};

/// Events whose numbers are kept for the sparklines.
const POINTS_MAX: usize = 300;
/// A longer window is that of a stream's first event: all the time since the server's start.
const WINDOW_SECONDS_MAX: f64 = 5.0;

/// All that is shown.
#[derive(Debug)]
pub(crate) struct History {
    /// Where it is heard.
    pub(crate) place: String,
    pub(crate) link: Link,
    pub(crate) last: Option<Sample>,
    pub(crate) points: VecDeque<Point>,
}

/// Whether the server is heard.
#[derive(Debug)]
pub(crate) enum Link {
    Connecting,
    Heard,
    /// Since when, and why.
    Gone(Instant, String),
}

/// An event, and how fast its numbers grow.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) stats: Stats,
    /// None: it is the first.
    pub(crate) rates: Option<Rates>,
}

/// Per second.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) total: Rate,
    pub(crate) shards: Vec<Rate>,
    pub(crate) closed_by_reason: BTreeMap<String, f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rate {
    pub(crate) accepted: f64,
    pub(crate) messages: f64,
    pub(crate) received_bytes: f64,
    pub(crate) sent_bytes: f64,
}

/// What the sparklines show of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Point {
    pub(crate) connections: u64,
    pub(crate) messages: Option<u64>,
    pub(crate) turn_p99_micros: Option<u64>,
}

impl History {
    pub(crate) fn new(place: String) -> Self {
        Self {
            place,
            link: Link::Connecting,
            last: None,
            points: VecDeque::new(),
        }
    }

    pub(crate) fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Stats(stats) => {
                self.link = Link::Heard;
                self.add(*stats);
            }
            News::Gone(why) => {
                let since = match &self.link {
                    Link::Gone(since, _) => *since,
                    Link::Connecting | Link::Heard => now,
                };
                self.link = Link::Gone(since, why);
            }
        }
    }

    fn add(&mut self, stats: Stats) {
        let before = self.last.take().map(|sample| sample.stats);
        let rates = before.and_then(|before| Rates::of(&stats, &before));
        let is_recent = stats.window_seconds <= WINDOW_SECONDS_MAX;
        let p99 = stats.total.turn_seconds_at_most.p99;
        self.points.push_back(Point {
            connections: stats.total.connections,
            messages: rates.as_ref().map(|rates| rates.total.messages as u64),
            turn_p99_micros: p99
                .filter(|_| is_recent)
                .map(|seconds| (seconds * 1e6) as u64),
        });
        if self.points.len() > POINTS_MAX {
            self.points.pop_front();
        }
        self.last = Some(Sample { stats, rates });
    }
}

impl Rates {
    /// None: `before` is of another server.
    fn of(now: &Stats, before: &Stats) -> Option<Self> {
        let seconds = now.uptime_seconds - before.uptime_seconds;
        if seconds <= 0.0 {
            return None;
        }
        let per_second = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let rate = |now: &Counts, before: &Counts| Rate {
            accepted: per_second(now.accepted, before.accepted),
            messages: per_second(now.messages, before.messages),
            received_bytes: per_second(now.received_bytes, before.received_bytes),
            sent_bytes: per_second(now.sent_bytes, before.sent_bytes),
        };
        let shards = now.shards.iter().zip(&before.shards);
        let closed = now.closed_by_reason.iter().map(|(reason, count)| {
            let before = before.closed_by_reason.get(reason);
            let rate = per_second(*count, before.copied().unwrap_or_default());
            (reason.clone(), rate)
        });
        Some(Self {
            total: rate(&now.total, &before.total),
            shards: shards.map(|(now, before)| rate(now, before)).collect(),
            closed_by_reason: closed.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(uptime_seconds: f64, messages: u64) -> News {
        let total = Counts {
            messages,
            ..Counts::default()
        };
        News::Stats(Box::new(Stats {
            uptime_seconds,
            total,
            ..Stats::default()
        }))
    }

    #[test]
    fn rates_are_of_the_time_between_and_never_of_two_servers() {
        let (mut history, now) = (History::new(String::new()), Instant::now());
        let mut rates = Vec::new();
        for (uptime, messages) in [(10.0, 100), (12.0, 400), (0.5, 7), (1.5, 8)] {
            history.hear(stats(uptime, messages), now);
            let last = history.last.as_ref();
            rates.push(last.and_then(|sample| Some(sample.rates.as_ref()?.total.messages)));
        }
        assert_eq!(rates, [None, Some(150.0), None, Some(1.0)]);
    }

    #[test]
    fn the_last_points_are_kept() {
        let mut history = History::new(String::new());
        (0..POINTS_MAX as u64 + 5).for_each(|number| {
            history.hear(stats(number as f64, number), Instant::now());
        });
        assert_eq!(history.points.len(), POINTS_MAX);
    }

    #[test]
    fn it_is_gone_since_it_was_first_missed() {
        let (mut history, first) = (History::new(String::new()), Instant::now());
        history.hear(News::Gone("a".to_owned()), first);
        history.hear(News::Gone("b".to_owned()), Instant::now());
        assert!(matches!(&history.link, Link::Gone(since, why) if *since == first && why == "b"));
        history.hear(stats(1.0, 0), Instant::now());
        assert!(matches!(history.link, Link::Heard));
    }
}
