//! A plot of lines or bars over an axis.

use maud::Markup;

use super::axis::Axis;
use super::canvas::{Canvas, Colour, Form, Margins};
use super::figure::Drawing;
use super::thin::{Point, thin};

/// Ticks are as many pixels apart at least, on the horizontal and on the vertical axis.
const X_TICKS_APART: f64 = 64.0;
const Y_TICKS_APART: f64 = 34.0;
/// The name of a line is as high as so many of its last points on average.
const END_POINTS: usize = 12;
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
    /// Values asked for, or an even share: horizontal.
    pub levels: Vec<Mark>,
    /// When something happened: vertical.
    pub moments: Vec<Mark>,
    /// Points that are worth reading off.
    pub dots: Vec<Dot>,
}

/// A series.
#[derive(Debug, Clone)]
pub struct Line {
    /// Stands at its end; empty if the plot has but one.
    pub name: &'static str,
    /// Its own.
    pub colour: Colour,
    /// In order of the horizontal axis.
    pub points: Vec<Point>,
}

/// A dashed line and its name.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Empty if it needs none.
    pub name: &'static str,
    /// Where it is.
    pub value: f64,
}

/// A point that is worth reading off.
#[derive(Debug, Clone)]
pub struct Dot {
    /// Horizontal.
    pub x: f64,
    /// Vertical.
    pub y: f64,
    /// The value in words.
    pub label: String,
}

impl Plot {
    /// An empty one.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self {
            x,
            y,
            lines: Vec::new(),
            bars: (Vec::new(), Colour::Soft),
            levels: Vec::new(),
            moments: Vec::new(),
            dots: Vec::new(),
        }
    }

    fn draw_marks(&self, canvas: &mut Canvas) {
        for moment in &self.moments {
            if let Some(place) = self.x.place(moment.value) {
                canvas.moment(place, moment.name);
            }
        }
        for level in &self.levels {
            if let Some(place) = self.y.place(level.value) {
                canvas.level(place, level.name);
            }
        }
    }

    fn draw_bars(&self, canvas: &mut Canvas) {
        let (bars, colour) = &self.bars;
        for (number, height) in bars.iter().enumerate() {
            let sides = (number as f64 + BAR_INSET, (number + 1) as f64 - BAR_INSET);
            if let Some(height) = self.y.place(*height) {
                canvas.bar(sides, height, *colour);
            }
        }
    }

    fn draw_lines(&self, canvas: &mut Canvas) {
        let (is_alone, columns) = (self.lines.len() == 1, canvas.size().0 as usize);
        let mut ends = Vec::new();
        for line in &self.lines {
            let runs = thin(&self.placed(line), self.x.low, self.x.high, columns);
            for run in &runs {
                canvas.run(run, line.colour, is_alone);
            }
            if let Some(run) = runs.last() {
                ends.push((line.name, end(run), line.colour));
            }
        }
        canvas.names(&ends);
    }

    fn draw_dots(&self, canvas: &mut Canvas) {
        for dot in &self.dots {
            if let (Some(x), Some(y)) = (self.x.place(dot.x), self.y.place(dot.y)) {
                canvas.dot((x, y), &dot.label, Colour::Blue);
            }
        }
    }

    fn placed(&self, line: &Line) -> Vec<Point> {
        let place = |&(x, y): &Point| Some((self.x.place(x)?, y.and_then(|y| self.y.place(y))));
        line.points.iter().filter_map(place).collect()
    }
}

impl Drawing for Plot {
    fn svg(&self, form: Form, name: &str) -> Markup {
        let has_names = self.lines.iter().any(|line| !line.name.is_empty());
        let margins = Margins::new(has_names, !self.moments.is_empty());
        let mut canvas = Canvas::new(form, (&self.x, &self.y), margins);
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

/// Where a name belongs at the end of a run, which may end in a peak: the middle of its last
/// points.
fn end(run: &[(f64, f64)]) -> f64 {
    let last = &run[run.len().saturating_sub(END_POINTS)..];
    last.iter().map(|point| point.1).sum::<f64>() / last.len().max(1) as f64
}
