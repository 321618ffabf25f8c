//! Middle and extent of a few measurements.

use serde::Serialize;

/// Median, least and greatest of a set of values. All zero if there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle value; between the middle two if their number is even.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (sorted.first(), sorted.last()) else {
            return Self::default();
        };
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        };
        Self { median, min, max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_of_the_sorted_values() {
        assert_eq!(
            Spread::of([3.0, 1.0, 9.0]),
            Spread {
                median: 3.0,
                min: 1.0,
                max: 9.0
            }
        );
        assert_eq!(
            Spread::of([4.0, 1.0, 2.0, 8.0]),
            Spread {
                median: 3.0,
                min: 1.0,
                max: 8.0
            }
        );
        assert_eq!(
            Spread::of([5.0]),
            Spread {
                median: 5.0,
                min: 5.0,
                max: 5.0
            }
        );
        assert_eq!(Spread::of([]), Spread::default());
    }
}
