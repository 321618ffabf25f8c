//! The deltas of all shards, added up.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::observe::Machine;
use crate::data::{
    Connections, Fanout, Generator, Handshakes, Quantiles, Report, Requests, Sample, ShardShare,
};
use crate::failure::Failures;
use crate::generator::{Counts, Delta, Event, Times, times};
use crate::machine;
use crate::plan::{Mode, Plan};

/// Points per halving of the distance to 100 % in a latency distribution.
const CURVE_TICKS: u32 = 4;

pub(super) struct Totals {
    mode: Mode,
    /// Shards that are through with the ramp, that have no connection left, to which nothing is
    /// owed, and that are through with everything.
    pub(super) ramped: u32,
    pub(super) deserted: u32,
    pub(super) settled: u32,
    pub(super) done: u32,
    pub(super) all: Counts,
    /// Of requests that belong to the window.
    measured: Counts,
    failures: Failures,
    /// By publication of the window, how long it took to the last.
    last: BTreeMap<u32, Duration>,
    connect: Histogram<u64>,
    /// Of the requests that were due in the window; of all in the modes that have no such.
    latency: Histogram<u64>,
    lag: Histogram<u64>,
    /// When the last sample was taken, the counts by then, and the latencies since.
    sampled: (Duration, Counts),
    recent: Histogram<u64>,
    /// How long the ramp was, and the window, once each is over.
    pub(super) ramp: Duration,
    pub(super) window: Duration,
    shards: Vec<ShardShare>,
    timeline: Vec<Sample>,
}

impl Totals {
    pub(super) fn new(plan: &Plan) -> Self {
        let share = |shard| ShardShare {
            shard,
            ..ShardShare::default()
        };
        Self {
            mode: plan.mode,
            ramped: 0,
            deserted: 0,
            settled: 0,
            done: 0,
            all: Counts::default(),
            measured: Counts::default(),
            failures: Failures::default(),
            last: BTreeMap::new(),
            connect: times(),
            latency: times(),
            lag: times(),
            sampled: (Duration::ZERO, Counts::default()),
            recent: times(),
            ramp: Duration::ZERO,
            window: Duration::ZERO,
            shards: (0..plan.shards).map(share).collect(),
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
        self.all += delta.counts;
        self.failures.merge(&delta.failures);
        if let Some(share) = self.shards.get_mut(shard as usize) {
            share.connections += delta.counts.established;
            share.requests += delta.counts.requests;
        }
        merge(&mut self.connect, delta.connect.as_ref());
        merge(&mut self.recent, delta.latency.as_ref());
        if delta.is_measured || matches!(self.mode, Mode::Idle | Mode::Slow) {
            self.measured += delta.counts;
            merge(&mut self.latency, delta.latency.as_ref());
            merge(&mut self.lag, delta.lag.as_ref());
            for (publication, took) in &delta.last {
                let last = self.last.entry(*publication).or_default();
                *last = (*last).max(*took);
            }
        }
    }

    /// Adds a sample to the timeline, of which the memory is known.
    pub(super) fn sample(&mut self, now: Duration, memory: Sample) -> &Sample {
        let (since, before) = std::mem::replace(&mut self.sampled, (now, self.all));
        let seconds = now.saturating_sub(since).as_secs_f64().max(1e-3);
        let quantiles = quantiles(&self.recent);
        self.timeline.push(Sample {
            at_s: now.as_secs_f64(),
            connections: self.all.established.saturating_sub(self.all.ended),
            connects_per_s: (self.all.established - before.established) as f64 / seconds,
            requests_per_s: (self.all.requests - before.requests) as f64 / seconds,
            failures: self.failures.total(),
            p50_us: quantiles.p50,
            p90_us: quantiles.p90,
            p99_us: quantiles.p99,
            p99_9_us: quantiles.p99_9,
            max_us: quantiles.max,
            ..memory
        });
        self.recent.reset();
        self.timeline.last().expect("one was just added")
    }

    pub(super) fn report(self, plan: &Plan, machine: &Machine) -> Report {
        let (all, measured) = (self.all, self.measured);
        let offered = per_second(measured.offered, self.window);
        Report {
            command: plan.command.clone(),
            began: machine.began.clone(),
            machine: machine::about(),
            load: plan.shape(),
            connections: self.connections(plan),
            handshakes: plan.tls.is_some().then(|| self.handshakes(plan, machine)),
            connect_us: quantiles(&self.connect),
            latency_us: quantiles(&self.latency),
            latency_curve: curve(&self.latency),
            requests: Requests {
                total: all.requests,
                window_s: self.window.as_secs_f64(),
                offered_per_s: (plan.mode == Mode::Open || plan.mode.has_rooms())
                    .then_some(offered),
                achieved_per_s: per_second(all.within_window, self.window),
                unanswered: measured.unanswered,
            },
            fanout: plan.mode.has_rooms().then(|| self.fanout(plan, machine)),
            failures: self.failures.counts(),
            generator: Generator {
                lag_us: quantiles(&self.lag),
                shards: plan.shards,
                ..machine.generator()
            },
            server: machine.server(all.within_window),
            memory: machine.memory(all.established.min(plan.connections.into())),
            rest: machine.rest(),
            timeline: self.timeline,
            shards: self.shards,
            server_shards: machine.server_shards(),
            interrupted: false,
            void: None,
        }
    }

    fn fanout(&self, plan: &Plan, machine: &Machine) -> Fanout {
        let within = self.all.within_window;
        let cores = machine.server(within).map(|server| server.cpu_cores);
        let per_core = |cores: &f64| per_second(within, self.window) / cores;
        let mut last: Histogram<u64> = times();
        for took in self.last.values() {
            last.saturating_record(took.as_nanos() as u64);
        }
        let last_us = quantiles(&last);
        let is_known = last_us.count > 0;
        Fanout {
            rooms: plan.rooms().rooms,
            said: self.measured.said,
            deliveries_per_core_s: cores.filter(|cores| *cores > 0.0).as_ref().map(per_core),
            deliveries_on_way_s: is_known
                .then(|| f64::from(plan.connections) / (last_us.p50.max(1.0) / 1e6)),
            last_us,
        }
    }

    /// How long connections were opened for.
    fn connected_in(&self) -> Duration {
        match self.mode {
            Mode::Storm => self.window,
            _ => self.ramp,
        }
    }

    fn handshakes(&self, plan: &Plan, machine: &Machine) -> Handshakes {
        let (full, resumed) = (self.all.full, self.all.resumed);
        let (connected_in, is_storm) = (self.connected_in(), plan.mode == Mode::Storm);
        let server = machine.server(self.all.within_window);
        let cores = server.map(|server| server.cpu_cores);
        let cores = cores.filter(|cores| is_storm && *cores > 0.0);
        Handshakes {
            full,
            resumed,
            full_per_s: per_second(full, connected_in),
            resumed_per_s: per_second(resumed, connected_in),
            per_core_s: cores.map(|cores| per_second(full + resumed, connected_in) / cores),
        }
    }

    fn connections(&self, plan: &Plan) -> Connections {
        let connected_in = self.connected_in();
        let wanted = match plan.mode {
            Mode::Storm => plan.cycles.unwrap_or(self.all.begun),
            _ => plan.connections.into(),
        };
        Connections {
            wanted,
            established: self.all.established,
            served: self.all.served,
            ramp_s: self.ramp.as_secs_f64(),
            connects_per_s: per_second(self.all.established, connected_in),
        }
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    match time.is_zero() {
        true => 0.0,
        false => count as f64 / time.as_secs_f64(),
    }
}

fn merge(into: &mut Histogram<u64>, from: Option<&Times>) {
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
    let points = times.iter_quantiles(CURVE_TICKS).map(|point| {
        let us = microseconds(point.value_iterated_to().min(times.max()));
        (100.0 * point.quantile_iterated_to(), us)
    });
    points.collect()
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
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
