//! A series of any length, thinned to the points that a plot of so many pixels can show.

/// A value over its place on the axis; none where there was nothing to measure.
pub type Point = (f64, Option<f64>);

/// The points of one pixel column, summed up.
#[derive(Debug, Clone, Copy, Default)]
struct Column {
    least: Option<Numbered>,
    greatest: Option<Numbered>,
    has_gap: bool,
}

/// A point and its number in the series.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    number: usize,
    x: f64,
    y: f64,
}

/// Runs of points without a gap, at most two points per pixel column between `from` and `to`: the
/// least and the greatest, in their order. So no peak is lost, however narrow. A column ends a run
/// if all of it is gap. Points outside, or not finite, are left out.
pub(super) fn thin(points: &[Point], from: f64, to: f64, columns: usize) -> Vec<Vec<(f64, f64)>> {
    let mut runs = vec![Vec::new()];
    for column in bucket(points, from, to, columns) {
        match (column.least, column.greatest, runs.last_mut()) {
            (Some(least), Some(greatest), Some(run)) => run.extend(in_order(least, greatest)),
            _ if column.has_gap => runs.push(Vec::new()),
            _ => {}
        }
    }
    runs.retain(|run| !run.is_empty());
    runs
}

fn bucket(points: &[Point], from: f64, to: f64, columns: usize) -> Vec<Column> {
    let mut buckets = vec![Column::default(); columns.max(1)];
    for (number, &(x, y)) in points.iter().enumerate() {
        let Some(index) = column_of(x, from, to, buckets.len()) else {
            continue;
        };
        let column = &mut buckets[index];
        let Some(y) = y.filter(|y| y.is_finite()) else {
            column.has_gap = true;
            continue;
        };
        let point = Numbered { number, x, y };
        if column.least.is_none_or(|least| y < least.y) {
            column.least = Some(point);
        }
        if column.greatest.is_none_or(|greatest| y > greatest.y) {
            column.greatest = Some(point);
        }
    }
    buckets
}

fn column_of(x: f64, from: f64, to: f64, columns: usize) -> Option<usize> {
    let share = (x - from) / (to - from);
    // Not a number is in no range either.
    (0.0..=1.0)
        .contains(&share)
        .then(|| ((share * columns as f64) as usize).min(columns - 1))
}

fn in_order(least: Numbered, greatest: Numbered) -> impl Iterator<Item = (f64, f64)> {
    let (first, second) = if least.number <= greatest.number {
        (least, greatest)
    } else {
        (greatest, least)
    };
    let second = (second.number != first.number).then_some(second);
    [Some(first), second]
        .into_iter()
        .flatten()
        .map(|point| (point.x, point.y))
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
            thin(&points, 0.0, 2.0, 100),
            [vec![(0.0, 1.0), (1.0, 3.0), (2.0, 2.0)]]
        );
    }

    #[test]
    fn a_long_series_keeps_its_peaks_and_its_order() {
        let points =
            numbered((0..100_000).map(|x| Some(if x == 31_415 { 1e6 } else { f64::from(x % 7) })));
        let runs = thin(&points, 0.0, 99_999.0, 500);
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
            thin(&points, 0.0, 3.0, 100),
            [vec![(0.0, 1.0)], vec![(2.0, 2.0), (3.0, 3.0)]]
        );
        let flicker = numbered((0..100_000).map(|x| (x % 2 == 0).then_some(1.0)));
        assert_eq!(thin(&flicker, 0.0, 99_999.0, 500).len(), 1);
    }

    #[test]
    fn what_no_plot_can_show_is_left_out() {
        let points = [
            (0.0, Some(f64::NAN)),
            (f64::NAN, Some(1.0)),
            (5.0, Some(f64::INFINITY)),
            (99.0, Some(1.0)),
        ];
        assert!(thin(&points, 0.0, 10.0, 10).is_empty());
        assert!(thin(&[], 0.0, 0.0, 0).is_empty());
        assert!(
            thin(&[(1.0, Some(1.0))], 1.0, 1.0, 5).is_empty(),
            "an axis without length"
        );
    }
}
