//! A series of any length, thinned to the points that a plot of so many pixels can show.

/// A value over its place on the axis; none where there was nothing to measure.
pub type Point = (f64, Option<f64>);

/// Runs of points without a gap, at most two points per pixel column between `from` and `to`: the
/// least and the greatest, in their order. So no peak is lost, however narrow. A column ends a run
/// if all of it is gap. Points outside, or not finite, are left out.
pub(super) fn thin(
    points: &[Point],
    (from, to): (f64, f64),
    columns: usize,
) -> Vec<Vec<(f64, f64)>> {
    let mut buckets = vec![Vec::new(); columns.max(1)];
    for &(x, y) in points {
        let share = (x - from) / (to - from);
        // Not a number is in no range either.
        if (0.0..=1.0).contains(&share) {
            let column = (share * buckets.len() as f64) as usize;
            let last = buckets.len() - 1;
            buckets[column.min(last)].push((x, y.filter(|y| y.is_finite())));
        }
    }
    let mut runs = vec![Vec::new()];
    for bucket in buckets.iter().filter(|bucket| !bucket.is_empty()) {
        let extremes = extremes(bucket);
        match runs.last_mut() {
            Some(run) if !extremes.is_empty() => run.extend(extremes),
            _ => runs.push(extremes),
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

/// The first of the least and the first of the greatest, in their order; one if they are the same.
fn extremes(bucket: &[Point]) -> Vec<(f64, f64)> {
    let known = bucket.iter().filter_map(|&(x, y)| Some((x, y?)));
    let known: Vec<(f64, f64)> = known.collect();
    let order = |one: &usize, other: &usize| known[*one].1.total_cmp(&known[*other].1);
    let least = (0..known.len()).min_by(order);
    let greatest = (0..known.len()).rev().max_by(order);
    let mut both: Vec<usize> = least.into_iter().chain(greatest).collect();
    both.sort_unstable();
    both.dedup();
    both.into_iter().map(|index| known[index]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(ys: impl IntoIterator<Item = Option<f64>>) -> Vec<Point> {
        ys.into_iter()
            .enumerate()
            .map(|(x, y)| (x as f64, y))
            .collect()
    }

    #[test]
    fn a_short_series_is_left_as_it_is() {
        let points = numbered([1.0, 3.0, 2.0].map(Some));
        assert_eq!(
            thin(&points, (0.0, 2.0), 100),
            [vec![(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]]
        );
    }

    #[test]
    fn a_long_series_keeps_its_peaks_and_its_order() {
        let points =
            numbered((0..100_000).map(|x| Some(if x == 31_415 { 1e6 } else { f64::from(x % 7) })));
        let runs = thin(&points, (0.0, 99_999.0), 500);
        assert_eq!(runs.len(), 1);
        assert!(runs[0].len() <= 1000, "{}", runs[0].len());
        assert!(runs[0].contains(&(31_415.0, 1e6)));
        assert!(runs[0].iter().any(|point| point.1 == 0.0));
        assert!(runs[0].is_sorted_by_key(|point| point.0));
    }

    #[test]
    fn a_gap_ends_a_run_only_where_it_is_wide_enough_to_be_seen() {
        let points = numbered([Some(1.0), None, Some(2.0), Some(3.0)]);
        assert_eq!(
            thin(&points, (0.0, 3.0), 100),
            [vec![(0.0, 1.0)], vec![(2.0, 2.0), (3.0, 3.0)]]
        );
        let flicker = numbered((0..100_000).map(|x| (x % 2 == 0).then_some(1.0)));
        assert_eq!(thin(&flicker, (0.0, 99_999.0), 500).len(), 1);
    }

    #[test]
    fn what_no_plot_can_show_is_left_out() {
        let points = [
            (0.0, Some(f64::NAN)),
            (f64::NAN, Some(1.0)),
            (5.0, Some(f64::INFINITY)),
            (99.0, Some(1.0)),
        ];
        assert!(thin(&points, (0.0, 10.0), 10).is_empty());
        assert!(thin(&[], (0.0, 0.0), 0).is_empty());
        assert!(
            thin(&[(1.0, Some(1.0))], (1.0, 1.0), 5).is_empty(),
            "an axis without length"
        );
    }
}
