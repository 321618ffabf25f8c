//! A plot of lines or bars over an axis. A series of any length is thinned to the points that so many
//! pixels can show.

use maud::Markup;

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Colour, Form, LINE_WIDTH};
use super::document::Drawing;

/// Ticks are as many pixels apart at least, on the horizontal and on the vertical axis.
const X_TICKS_APART: f64 = 64.0;
const Y_TICKS_APART: f64 = 34.0;
/// For the labels of the vertical axis.
const LEFT: f64 = 60.0;
/// The right margin, and the same where lines have their names.
const RIGHT: f64 = 16.0;
const RIGHT_NAMED: f64 = 64.0;
/// Above the plot: the title of the vertical axis, and the names of moments below it.
const TOP: f64 = 26.0;
const TOP_WITH_MOMENTS: f64 = 42.0;
/// A line that goes up and down within a pixel would be a band: it is drawn thinner, down to this.
const LINE_WIDTH_MIN: f64 = 0.75;
/// So many pixels up and down per pixel of width make it half as wide.
const DENSE: f64 = 4.0;
/// Names at the ends of lines keep this distance.
const NAMES_APART: f64 = 16.0;
/// The name of a line is as high as so many of its last points on average: it may end in a peak.
const END_POINTS: usize = 12;
/// Labels of dots beyond this share of the width stand on the left.
const LABELS_LEFT_FROM: f64 = 0.8;
/// Share of a bar's width that is left free on either side.
const BAR_INSET: f64 = 0.14;

/// A plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Horizontal.
    pub x: Axis,
    /// Vertical.
    pub y: Axis,
    /// One alone is tinted down to the axis.
    pub lines: Vec<Line>,
    /// Heights of bars, side by side from the number zero, and their colour.
    pub bars: (Vec<f64>, Colour),
    /// Values asked for, or an even share, and their names: horizontal, dashed.
    pub levels: Vec<(&'static str, f64)>,
    /// When something happened, and its name: vertical, dashed.
    pub moments: Vec<(&'static str, f64)>,
    /// Points that are worth reading off, and their values in words.
    pub dots: Vec<(f64, f64, String)>,
}

/// A value over its place on the axis; none where there was nothing to measure.
pub type Point = (f64, Option<f64>);

/// A series: its name, which stands at its end and is empty if the plot has but one, its colour, and
/// its points in order of the horizontal axis.
#[derive(Debug, Clone)]
pub struct Line(pub &'static str, pub Colour, pub Vec<Point>);

impl Plot {
    /// An empty one.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self {
            x,
            y,
            lines: Vec::new(),
            bars: (Vec::new(), Colour::SOFT),
            levels: Vec::new(),
            moments: Vec::new(),
            dots: Vec::new(),
        }
    }

    fn margins(&self) -> (f64, f64, f64) {
        let has_names = self.lines.iter().any(|line| !line.0.is_empty());
        let has_moments = !self.moments.is_empty();
        let right = if has_names { RIGHT_NAMED } else { RIGHT };
        let top = if has_moments { TOP_WITH_MOMENTS } else { TOP };
        (LEFT, right, top)
    }

    fn draw_bars(&self, canvas: &mut Canvas) {
        let (bars, colour) = &self.bars;
        for (number, height) in bars.iter().enumerate() {
            if let Some(height) = self.y.place(*height) {
                let (left, right) = (number as f64 + BAR_INSET, (number + 1) as f64 - BAR_INSET);
                let (sides, top) = ((canvas.x(left), canvas.x(right)), canvas.y(height));
                canvas.bar(sides, top, *colour);
            }
        }
    }

    fn draw_marks(&self, canvas: &mut Canvas) {
        for (name, value) in &self.moments {
            if let Some(place) = self.x.place(*value) {
                canvas.moment(place, name);
            }
        }
        for (name, value) in &self.levels {
            if let Some(place) = self.y.place(*value) {
                let (left, right, y) = (canvas.left, canvas.right, canvas.y(place));
                canvas.line((left, y), (right, y), Colour::RULE, 1.0);
                let end = (right - 4.0, y - 3.0);
                canvas.text(name, end, Colour::SOFT, Anchor::ABOVE_LEFT);
            }
        }
    }

    fn draw_lines(&self, canvas: &mut Canvas) {
        let (mut ends, mut heights) = (Vec::new(), Vec::new());
        for line in &self.lines {
            let runs = self.runs(line, canvas);
            for run in &runs {
                draw_run(canvas, run, line.1, self.lines.len() == 1);
            }
            if let Some(run) = runs.last() {
                let last = &run[run.len().saturating_sub(END_POINTS)..];
                heights.push(last.iter().map(|point| point.1).sum::<f64>() / last.len() as f64);
                ends.push(line);
            }
        }
        let heights = apart(&heights, NAMES_APART, (canvas.top, canvas.bottom));
        for (line, y) in ends.into_iter().zip(heights) {
            let beside = (canvas.right + 7.0, y);
            canvas.text(line.0, beside, line.1, Anchor::RIGHT);
        }
    }

    /// In pixels.
    fn runs(&self, line: &Line, canvas: &Canvas) -> Vec<Vec<(f64, f64)>> {
        let place = |&(x, y): &Point| Some((self.x.place(x)?, y.and_then(|y| self.y.place(y))));
        let places: Vec<Point> = line.2.iter().filter_map(place).collect();
        let mut runs = thin(&places, (self.x.low, self.x.high), canvas.size().0 as usize);
        for (x, y) in runs.iter_mut().flatten() {
            (*x, *y) = (canvas.x(*x), canvas.y(*y));
        }
        runs
    }

    fn draw_dots(&self, canvas: &mut Canvas) {
        for (x, y, label) in &self.dots {
            let (Some(x), Some(y)) = (self.x.place(*x), self.y.place(*y)) else {
                continue;
            };
            let (x, y) = (canvas.x(x), canvas.y(y));
            canvas.circle((x, y), Colour::BLUE);
            let (place, anchor) = if x - canvas.left > LABELS_LEFT_FROM * canvas.size().0 {
                ((x - 8.0, y - 2.0), Anchor::ABOVE_LEFT)
            } else {
                ((x + 6.0, y + 6.0), Anchor::BELOW_RIGHT)
            };
            canvas.text(label, place, Colour::BLUE, anchor);
        }
    }
}

impl Drawing for Plot {
    fn svg(&self, form: Form, name: &str) -> Markup {
        let mut canvas = Canvas::new(form, [&self.x, &self.y], self.margins());
        let (width, height) = canvas.size();
        canvas.horizontal_grid(&self.y.ticks(height, Y_TICKS_APART));
        canvas.x_ticks(&self.x.ticks(width, X_TICKS_APART));
        canvas.titles(&self.x.title, &self.y.title);
        self.draw_bars(&mut canvas);
        self.draw_marks(&mut canvas);
        self.draw_lines(&mut canvas);
        self.draw_dots(&mut canvas);
        canvas.finish(name)
    }
}

/// Points that belong together; a lone one is a dot.
fn draw_run(canvas: &mut Canvas, run: &[(f64, f64)], colour: Colour, is_filled: bool) {
    let [first, .., last] = run else {
        return run.iter().for_each(|at| canvas.circle(*at, colour));
    };
    let up_and_down = run.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs());
    let density = up_and_down.sum::<f64>() / (last.0 - first.0).max(1.0);
    let width = (LINE_WIDTH / (1.0 + density / DENSE)).max(LINE_WIDTH_MIN);
    if is_filled {
        canvas.area(run, colour);
    }
    canvas.path(run, colour, width);
}

/// The heights moved as little as keeps `distance` between neighbours; in the order given, within
/// the limits if there is room.
fn apart(heights: &[f64], distance: f64, (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|one, other| heights[*one].total_cmp(&heights[*other]));
    let mut moved = heights.to_vec();
    let (mut free_from, mut free_to) = (top, bottom);
    for index in &order {
        moved[*index] = moved[*index].max(free_from);
        free_from = moved[*index] + distance;
    }
    for index in order.iter().rev() {
        moved[*index] = moved[*index].min(free_to);
        free_to = moved[*index] - distance;
    }
    moved
}

/// Runs of points without a gap, at most two points per pixel column between `from` and `to`: the
/// least and the greatest, in their order. So no peak is lost, however narrow. A column ends a run
/// if all of it is gap. Points outside, or not finite, are left out.
fn thin(points: &[Point], (from, to): (f64, f64), columns: usize) -> Vec<Vec<(f64, f64)>> {
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

    #[test]
    fn names_that_would_overlap_are_pushed_apart() {
        assert_eq!(
            apart(&[90.0, 50.0, 10.0], 15.0, (0.0, 100.0)),
            [90.0, 50.0, 10.0],
            "enough room"
        );
        assert_eq!(
            apart(&[50.0, 50.0, 50.0], 15.0, (0.0, 100.0)),
            [50.0, 65.0, 80.0]
        );
        assert_eq!(
            apart(&[99.0, 98.0, 97.0], 15.0, (0.0, 100.0)),
            [100.0, 85.0, 70.0],
            "the lower edge pushes upwards"
        );
        assert!(apart(&[], 15.0, (0.0, 100.0)).is_empty());
    }

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
