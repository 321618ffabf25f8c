//! What the shards have told, added up.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::observe::{Look, Machine};
use crate::data::{
    Connections, FailureCount, Generator, Quantiles, Report, Requests, Sample, ShardShare,
};
use crate::failure::Failures;
use crate::generator::{Delta, Event, times};
use crate::machine;
use crate::plan::{Mode, Plan};

/// Points per halving of the distance to 100 % in a latency distribution.
const CURVE_TICKS: u32 = 4;

pub(super) struct Totals {
    /// Shards that are through with the ramp, that have no connection left, to which nothing is
    /// owed, and that are through with everything.
    pub(super) ramped: u32,
    pub(super) deserted: u32,
    pub(super) settled: u32,
    pub(super) done: u32,
    wanted: Option<u64>,
    pub(super) begun: u64,
    pub(super) established: u64,
    pub(super) served: u64,
    ended: u64,
    requests: u64,
    window_requests: u64,
    window_offered: u64,
    unanswered: u64,
    pub(super) failures: Failures,
    connect: Histogram<u64>,
    /// Of the requests that were due in the window, but of all where there are none to speak of.
    latency: Histogram<u64>,
    lag: Histogram<u64>,
    is_idle: bool,
    /// Since the last sample.
    recent: Recent,
    ramp: Option<Duration>,
    /// How long the window was, once it has closed.
    window: Option<Duration>,
    shards: Vec<ShardShare>,
    timeline: Vec<Sample>,
}

struct Recent {
    since: Duration,
    established: u64,
    requests: u64,
    latency: Histogram<u64>,
}

impl Totals {
    pub(super) fn new(plan: &Plan) -> Self {
        let wanted = match plan.mode {
            Mode::Storm { cycles } => cycles,
            _ => Some(plan.connections.into()),
        };
        Self {
            ramped: 0,
            deserted: 0,
            settled: 0,
            done: 0,
            wanted,
            begun: 0,
            established: 0,
            served: 0,
            ended: 0,
            requests: 0,
            window_requests: 0,
            window_offered: 0,
            unanswered: 0,
            failures: Failures::default(),
            connect: times(),
            latency: times(),
            lag: times(),
            is_idle: matches!(plan.mode, Mode::Idle | Mode::Slow { .. }),
            recent: Recent {
                since: Duration::ZERO,
                established: 0,
                requests: 0,
                latency: times(),
            },
            ramp: None,
            window: None,
            shards: (0..plan.shards)
                .map(|shard| ShardShare {
                    shard,
                    connections: 0,
                    requests: 0,
                })
                .collect(),
            timeline: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, event: Event) {
        match event {
            Event::Delta(shard, delta) => self.add(shard, &delta),
            Event::Ramped => self.ramped += 1,
            Event::Deserted => self.deserted += 1,
            Event::Settled => self.settled += 1,
            Event::Done => self.done += 1,
        }
    }

    fn add(&mut self, shard: u32, delta: &Delta) {
        self.begun += delta.begun;
        self.established += delta.established;
        self.served += delta.served;
        self.ended += delta.ended;
        self.requests += delta.requests;
        self.recent.established += delta.established;
        self.recent.requests += delta.requests;
        self.failures.merge(&delta.failures);
        if let Some(share) = self.shards.get_mut(shard as usize) {
            share.connections += delta.established;
            share.requests += delta.requests;
        }
        self.window_requests += delta.within_window;
        if delta.is_measured {
            self.window_offered += delta.offered;
        }
        merge(&mut self.connect, delta.connect.as_ref());
        merge(&mut self.recent.latency, delta.latency.as_ref());
        if delta.is_measured || self.is_idle {
            self.unanswered += delta.unanswered;
            merge(&mut self.latency, delta.latency.as_ref());
            merge(&mut self.lag, delta.lag.as_ref());
        }
    }

    pub(super) fn ramp_ended(&mut self, now: Duration) {
        self.ramp = Some(now);
    }

    pub(super) fn window_closed(&mut self, opened: Duration, closed: Duration) {
        self.window = Some(closed.saturating_sub(opened));
    }

    /// Connections that are open now, as far as the shards have told.
    pub(super) fn open(&self) -> u64 {
        self.established.saturating_sub(self.ended)
    }

    /// Adds a sample to the timeline.
    pub(super) fn sample(&mut self, now: Duration, look: &Look) -> &Sample {
        let seconds = now
            .saturating_sub(self.recent.since)
            .as_secs_f64()
            .max(1e-3);
        let quantiles = quantiles(&self.recent.latency);
        self.timeline.push(Sample {
            at_s: now.as_secs_f64(),
            connections: self.open(),
            connects_per_s: self.recent.established as f64 / seconds,
            requests_per_s: self.recent.requests as f64 / seconds,
            failures: self.failures.total(),
            p50_us: quantiles.p50,
            p90_us: quantiles.p90,
            p99_us: quantiles.p99,
            p99_9_us: quantiles.p99_9,
            max_us: quantiles.max,
            memory_used_bytes: look.memory_used_bytes,
            server_resident_bytes: look.server_resident_bytes,
            generator_resident_bytes: look.generator_resident_bytes,
        });
        self.recent.latency.reset();
        (
            self.recent.since,
            self.recent.established,
            self.recent.requests,
        ) = (now, 0, 0);
        self.timeline.last().expect("one was just added")
    }

    pub(super) fn wanted(&self) -> u64 {
        self.wanted.unwrap_or(self.begun)
    }

    pub(super) fn report(self, plan: &Plan, machine: &Machine) -> Report {
        let window_s = self.window.map_or(0.0, |window| window.as_secs_f64());
        let per_second = |count: u64| {
            if window_s > 0.0 {
                count as f64 / window_s
            } else {
                0.0
            }
        };
        let ramp_s = self.ramp.map_or(0.0, |ramp| ramp.as_secs_f64());
        let is_storm = matches!(plan.mode, Mode::Storm { .. });
        let connects_s = if is_storm { window_s } else { ramp_s };
        Report {
            command: plan.command.clone(),
            began: machine.began(),
            machine: machine::about(),
            load: plan.shape(),
            connections: Connections {
                wanted: self.wanted(),
                established: self.established,
                served: self.served,
                ramp_s,
                connects_per_s: if connects_s > 0.0 {
                    self.established as f64 / connects_s
                } else {
                    0.0
                },
            },
            connect_us: quantiles(&self.connect),
            latency_us: quantiles(&self.latency),
            latency_curve: curve(&self.latency),
            requests: Requests {
                total: self.requests,
                window_s,
                offered_per_s: matches!(plan.mode, Mode::Open { .. })
                    .then(|| per_second(self.window_offered)),
                achieved_per_s: per_second(self.window_requests),
                unanswered: self.unanswered,
            },
            failures: self.failures.counts(),
            generator: Generator {
                lag_us: quantiles(&self.lag),
                shards: plan.shards,
                ..machine.generator()
            },
            server: machine.server(self.window_requests),
            memory: machine.memory(self.established.min(plan.connections.into())),
            rest: machine.rest(),
            timeline: self.timeline,
            shards: self.shards,
            server_shards: machine.server_shards(),
            interrupted: false,
            void: None,
        }
    }
}

fn merge(into: &mut Histogram<u64>, from: Option<&crate::generator::Times>) {
    // Counters of different sizes, so not `Histogram::add`.
    for bucket in from.into_iter().flat_map(|from| from.iter_recorded()) {
        into.saturating_record_n(bucket.value_iterated_to(), bucket.count_at_value().into());
    }
}

/// In microseconds.
fn quantiles(times: &Histogram<u64>) -> Quantiles {
    if times.is_empty() {
        return Quantiles::default();
    }
    let at = |quantile: f64| microseconds(times.value_at_quantile(quantile));
    Quantiles {
        count: times.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p99_9: at(0.999),
        p99_99: at(0.9999),
        max: microseconds(times.max()),
    }
}

/// Percentile and microseconds, ever denser towards 100 %.
fn curve(times: &Histogram<u64>) -> Vec<(f64, f64)> {
    let points = times.iter_quantiles(CURVE_TICKS);
    points
        .map(|point| {
            (
                100.0 * point.quantile_iterated_to(),
                microseconds(point.value_iterated_to().min(times.max())),
            )
        })
        .collect()
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

impl Failures {
    /// As the report wants them.
    fn counts(&self) -> Vec<FailureCount> {
        let count = |(kind, count, examples): (_, u64, &[String])| FailureCount {
            kind,
            count,
            examples: examples.to_vec(),
        };
        self.iter().map(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_microseconds_and_the_curve_ends_with_the_longest() {
        let mut times: Histogram<u64> = times();
        for microsecond in 1..=10_000_u64 {
            times.record(microsecond * 1000).expect("within bounds");
        }
        let found = quantiles(&times);
        assert_eq!(found.count, 10_000);
        for (found, wanted) in [
            (found.p50, 5_000.0),
            (found.p99, 9_900.0),
            (found.p99_9, 9_990.0),
            (found.max, 10_000.0),
        ] {
            assert!((found / wanted - 1.0).abs() < 0.002, "{found} for {wanted}");
        }
        let curve = curve(&times);
        assert!(
            curve
                .windows(2)
                .all(|pair| pair[0].0 <= pair[1].0 && pair[0].1 <= pair[1].1),
            "{curve:?}"
        );
        assert_eq!(curve.last().map(|point| point.0), Some(100.0));
    }

    #[test]
    fn nothing_measured_is_all_zeros() {
        assert_eq!(quantiles(&times()).max, 0.0);
        assert!(curve(&times()).len() <= 1);
    }
}
