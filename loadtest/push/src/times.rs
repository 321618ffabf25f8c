//! Measured times, and ratios of them with the bounds that were promised.

use std::fmt;

use hdrhistogram::Histogram;

/// The longest time told from a longer one, in nanoseconds.
const TIME_MAX_NS: u64 = 60_000_000_000;

/// Times in nanoseconds.
pub type Times = Histogram<u64>;

/// None yet.
///
/// # Panics
///
/// Never: the histogram's bounds are constants that it allows.
#[must_use]
pub fn times() -> Times {
    Histogram::new_with_bounds(100, TIME_MAX_NS, 3)
        .expect("these constants are within the histogram's bounds")
}

/// In microseconds.
#[must_use]
pub fn quantile(times: &Times, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1e3
}

/// The middle of the sorted values; 0 of none.
#[must_use]
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match (sorted.len() % 2, sorted.get(middle)) {
        (_, None) => 0.0,
        (0, Some(upper)) => f64::midpoint(sorted[middle - 1], *upper),
        (_, Some(value)) => *value,
    }
}

/// What was promised of a ratio, ours to the other's.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// It is at most this: of times and costs.
    AtMost(f64),
    /// It is at least this: of what is done in a time.
    AtLeast(f64),
    /// Nothing: it is shown.
    None,
}

impl Bound {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(bound) => ratio <= bound,
            Self::AtLeast(bound) => ratio >= bound,
            Self::None => true,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, " <= {bound:.2}"),
            Self::AtLeast(bound) => write!(f, " >= {bound:.2}"),
            Self::None => Ok(()),
        }
    }
}

/// A figure of ours beside that of the other, a pair for each round.
#[derive(Debug)]
pub struct Figure {
    /// What it is of.
    pub what: String,
    /// Ours and the other's.
    pub pairs: Vec<(f64, f64)>,
    /// That of the ratio.
    pub bound: Bound,
}

impl Figure {
    /// Prints its line of the table: medians, and the median of the rounds' own ratios. True if
    /// that is within the bound.
    pub fn show(&self) -> bool {
        let ratio = median(self.pairs.iter().map(|(ours, other)| ours / other));
        let (ours, other) = (
            median(self.pairs.iter().map(|pair| pair.0)),
            median(self.pairs.iter().map(|pair| pair.1)),
        );
        let holds = self.bound.holds(ratio);
        let verdict = if holds { "" } else { "  MISSED" };
        println!(
            "{:<52} {ours:>10.1} {other:>10.1} {ratio:>7.2}{}{verdict}",
            self.what, self.bound
        );
        holds
    }
}

/// Prints the first line of a table.
pub fn header(what: &str, ours: &str, other: &str) {
    println!("{what:<52} {ours:>10} {other:>10}   ratio");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(
            [median([3.0, 1.0, 9.0]), median([4.0, 1.0]), median([])],
            [3.0, 2.5, 0.0]
        );
    }

    #[test]
    fn a_figure_is_judged_by_the_ratios_of_its_rounds() {
        let figure = |bound| Figure {
            what: String::new(),
            pairs: vec![(1.0, 1.0), (9.0, 6.0), (40.0, 20.0)],
            bound,
        };
        assert!(figure(Bound::AtMost(1.5)).show() && figure(Bound::AtLeast(1.5)).show());
        assert!(!figure(Bound::AtMost(1.4)).show() && !figure(Bound::AtLeast(1.6)).show());
        assert!(figure(Bound::None).show());
    }
}
