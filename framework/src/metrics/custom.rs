//! What a handler counts itself: metrics of one writer, the shard on which they were made.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What names of ours begin with.
const RESERVED: [&str; 2] = ["corelane_", "process_"];

/// A number that only grows, of one shard; [`ShardContext::counter`](crate::ShardContext::counter)
/// makes it. The sum over the shards is what is served. Cloned it is the same.
#[derive(Clone, Debug)]
pub struct Counter {
    cell: Arc<AtomicU64>,
    /// It has one writer: a store behind a load is enough.
    on_this_thread: PhantomData<Rc<()>>,
}

/// A number that goes up and down, of one shard;
/// [`ShardContext::gauge`](crate::ShardContext::gauge) makes it. The sum over the shards is what is
/// served. Cloned it is the same.
#[derive(Clone, Debug)]
pub struct Gauge {
    cell: Arc<AtomicU64>,
    on_this_thread: PhantomData<Rc<()>>,
}

/// How often values fell into each of a few ranges, on one shard;
/// [`ShardContext::histogram`](crate::ShardContext::histogram) makes it. The sum over the shards is
/// what is served. Cloned it is the same.
#[derive(Clone, Debug)]
pub struct Histogram {
    cells: Arc<Ranges>,
    on_this_thread: PhantomData<Rc<()>>,
}

#[derive(Debug)]
struct Ranges {
    bounds: Box<[f64]>,
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

impl Counter {
    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts so many.
    pub fn add(&self, amount: u64) {
        add(&self.cell, amount);
    }

    /// What this shard has counted since the start.
    pub fn get(&self) -> u64 {
        self.cell.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: i64) {
        self.cell.store(value.cast_unsigned(), Ordering::Relaxed);
    }

    /// Adds to it; a negative amount takes away.
    pub fn add(&self, amount: i64) {
        self.set(self.get().wrapping_add(amount));
    }

    /// What it was set to last on this shard.
    pub fn get(&self) -> i64 {
        self.cell.load(Ordering::Relaxed).cast_signed()
    }
}

impl Histogram {
    /// Counts `value` in its range: the first whose bound is not below it. One that is not a number
    /// is not counted.
    pub fn observe(&self, value: f64) {
        if value.is_nan() {
            return;
        }
        let Ranges {
            bounds,
            counts,
            sum,
        } = &*self.cells;
        add(&counts[bounds.partition_point(|bound| *bound < value)], 1);
        let sum_before = f64::from_bits(sum.load(Ordering::Relaxed));
        sum.store((sum_before + value).to_bits(), Ordering::Relaxed);
    }
}

fn add(cell: &AtomicU64, amount: u64) {
    cell.store(
        cell.load(Ordering::Relaxed).wrapping_add(amount),
        Ordering::Relaxed,
    );
}

/// What the handler of one shard counts, by name. The lock is for making them and for reading all of
/// them; who counts takes none.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<BTreeMap<&'static str, Metric>>);

#[derive(Clone, Debug)]
struct Metric {
    help: &'static str,
    cells: Cells,
}

#[derive(Clone, Debug)]
enum Cells {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Ranges>),
}

/// A handler's metric at an instant, of all shards that have it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reading {
    pub(crate) help: &'static str,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Counter(u64),
    Gauge(i64),
    /// The bounds, how often each range was met, one more than bounds, and the sum of the values.
    Histogram {
        bounds: Box<[f64]>,
        counts: Vec<u64>,
        sum: f64,
    },
}

impl Registry {
    pub(crate) fn counter(&self, name: &'static str, help: &'static str) -> Counter {
        assert!(
            name.ends_with("_total"),
            "the name of the counter {name} must end in \"_total\""
        );
        let made = self.metric(name, help, || Cells::Counter(Arc::default()));
        let Cells::Counter(cell) = made else {
            panic!("{name} was made as another kind of metric")
        };
        Counter {
            cell,
            on_this_thread: PhantomData,
        }
    }

    pub(crate) fn gauge(&self, name: &'static str, help: &'static str) -> Gauge {
        let made = self.metric(name, help, || Cells::Gauge(Arc::default()));
        let Cells::Gauge(cell) = made else {
            panic!("{name} was made as another kind of metric")
        };
        Gauge {
            cell,
            on_this_thread: PhantomData,
        }
    }

    pub(crate) fn histogram(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &[f64],
    ) -> Histogram {
        let is_rising = bounds.iter().is_sorted_by(|one, next| one < next);
        assert!(
            is_rising && bounds.iter().all(|bound| bound.is_finite()),
            "the bounds of {name} must be finite, each above the one before"
        );
        let made = self.metric(name, help, || {
            Cells::Histogram(Arc::new(Ranges {
                bounds: bounds.into(),
                counts: (0..=bounds.len()).map(|_| AtomicU64::default()).collect(),
                sum: AtomicU64::default(),
            }))
        });
        match made {
            Cells::Histogram(cells) if *cells.bounds == *bounds => Histogram {
                cells,
                on_this_thread: PhantomData,
            },
            _ => panic!("{name} was made as another kind of metric, or with other bounds"),
        }
    }

    fn metric(
        &self,
        name: &'static str,
        help: &'static str,
        make: impl FnOnce() -> Cells,
    ) -> Cells {
        check(name);
        let mut metrics = self.lock();
        let metric = metrics.entry(name).or_insert_with(|| Metric {
            help,
            cells: make(),
        });
        metric.cells.clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Metric>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what this shard has counted to `sums`. Where shards have made different kinds of one
    /// name, the first that was read counts.
    pub(crate) fn read_into(&self, sums: &mut BTreeMap<&'static str, Reading>) {
        let metrics = self.lock().clone();
        for (name, Metric { help, cells }) in metrics {
            let value = cells.read();
            match sums.get_mut(name) {
                Some(sum) => sum.value.add(&value),
                None => drop(sums.insert(name, Reading { help, value })),
            }
        }
    }
}

impl Cells {
    fn read(&self) -> Value {
        match self {
            Self::Counter(cell) => Value::Counter(cell.load(Ordering::Relaxed)),
            Self::Gauge(cell) => Value::Gauge(cell.load(Ordering::Relaxed).cast_signed()),
            Self::Histogram(cells) => Value::Histogram {
                bounds: cells.bounds.clone(),
                counts: cells
                    .counts
                    .iter()
                    .map(|count| count.load(Ordering::Relaxed))
                    .collect(),
                sum: f64::from_bits(cells.sum.load(Ordering::Relaxed)),
            },
        }
    }
}

impl Value {
    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counter(sum), Self::Counter(more)) => *sum = sum.wrapping_add(*more),
            (Self::Gauge(sum), Self::Gauge(more)) => *sum = sum.wrapping_add(*more),
            (
                Self::Histogram {
                    bounds,
                    counts,
                    sum,
                },
                Self::Histogram {
                    bounds: same,
                    counts: more,
                    sum: further,
                },
            ) if bounds == same => {
                counts
                    .iter_mut()
                    .zip(more)
                    .for_each(|(count, more)| *count += more);
                *sum += further;
            }
            _ => {}
        }
    }

    /// The word of the text format.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Histogram { .. } => "histogram",
        }
    }
}

/// Names as Prometheus has them, and none of ours.
///
/// # Panics
///
/// For any other.
fn check(name: &str) {
    let is_first = |byte: &u8| byte.is_ascii_alphabetic() || b"_:".contains(byte);
    let is_name = name.as_bytes().first().is_some_and(is_first)
        && name
            .bytes()
            .all(|byte| is_first(&byte) || byte.is_ascii_digit());
    assert!(
        is_name,
        "{name:?} cannot name a metric: letters, digits, '_' and ':', no digit first"
    );
    let reserved = RESERVED.iter().find(|prefix| name.starts_with(**prefix));
    assert!(
        reserved.is_none(),
        "{name}: names that begin with {RESERVED:?} are taken"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up_and_a_name_is_one_metric() {
        let shards = [Registry::default(), Registry::default()];
        let mut sums = BTreeMap::new();
        for registry in &shards {
            registry.counter("lines_total", "Lines.").add(2);
            registry.counter("lines_total", "Lines.").increment();
            registry.gauge("rooms", "Rooms.").add(-4);
            let waits = registry.histogram("wait_seconds", "Waits.", &[0.1, 1.0]);
            for wait in [0.1, 0.5, f64::NAN, 7.0] {
                waits.observe(wait);
            }
            registry.read_into(&mut sums);
        }
        let values: Vec<_> = sums.into_values().map(|reading| reading.value).collect();
        let bounds = [0.1, 1.0].into();
        let waits = Value::Histogram {
            bounds,
            counts: vec![2; 3],
            sum: 15.2,
        };
        assert_eq!(values, [Value::Counter(6), Value::Gauge(-8), waits]);
    }

    #[test]
    fn what_cannot_be_a_metric_panics() {
        let makes: [fn(&Registry); 7] = [
            |registry| drop(registry.counter("lines", "")),
            |registry| drop(registry.gauge("a b", "")),
            |registry| drop(registry.gauge("1a", "")),
            |registry| drop(registry.gauge("", "")),
            |registry| drop(registry.gauge("corelane_ready", "")),
            |registry| drop(registry.histogram("a", "", &[1.0, 1.0])),
            |registry| drop((registry.gauge("a", ""), registry.histogram("a", "", &[1.0]))),
        ];
        for make in makes {
            std::panic::catch_unwind(|| make(&Registry::default())).expect_err("it is refused");
        }
    }
}
