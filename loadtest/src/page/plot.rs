//! What a plot shows, and its way to inline SVG: one form for wide screens, one for phones.

use std::io;

use plotters::prelude::DrawingAreaErrorKind;
use plotters::style::RGBColor;

use super::axis::Axis;
use super::canvas::{self, Canvas, Drawn, Room};
use super::palette::{BLUE, RULE, SOFT};
use super::thin::{Point, thin};

/// Ticks are as many pixels apart at least, on the horizontal and on the vertical axis.
const X_TICKS_APART: f64 = 64.0;
const Y_TICKS_APART: f64 = 34.0;
/// The name of a line is as high as so many of its last points on average.
const END_POINTS: usize = 12;
/// Of the width that a bar has to itself, what is left free on either side.
const BAR_INSET: f64 = 0.14;

/// What a plot shows.
#[derive(Debug, Clone)]
pub(super) struct Plot {
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
    /// Heights of bars, side by side from the number zero.
    pub(super) bars: Vec<f64>,
    pub(super) bars_colour: RGBColor,
    /// What was asked for, or would be even: horizontal.
    pub(super) levels: Vec<Mark>,
    /// When something happened: vertical.
    pub(super) moments: Vec<Mark>,
    pub(super) dots: Vec<Dot>,
}

/// A series.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// Stands at its end; empty if the plot has but one.
    pub(super) name: &'static str,
    pub(super) colour: RGBColor,
    pub(super) points: Vec<Point>,
}

/// A dashed line and its name.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) name: &'static str,
    pub(super) value: f64,
}

/// A point that is worth reading off.
#[derive(Debug, Clone)]
pub(super) struct Dot {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) label: String,
}

/// For which width a plot is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Wide,
    Narrow,
}

impl Form {
    /// Width and height in pixels.
    pub(super) fn size(self) -> (i32, i32) {
        match self {
            Self::Wide => (720, 300),
            Self::Narrow => (380, 260),
        }
    }

    /// By this the style shows one form and hides the other.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

impl Plot {
    pub(super) fn new(x: Axis, y: Axis) -> Self {
        Self {
            x,
            y,
            lines: Vec::new(),
            bars: Vec::new(),
            bars_colour: SOFT,
            levels: Vec::new(),
            moments: Vec::new(),
            dots: Vec::new(),
        }
    }

    /// The plot as one SVG element, with a `name` for those who do not see it.
    pub(super) fn svg(
        &self,
        form: Form,
        name: &str,
    ) -> Result<String, DrawingAreaErrorKind<io::Error>> {
        let mut drawing = String::new();
        let room = Room {
            names: self.lines.iter().any(|line| !line.name.is_empty()),
            moments: !self.moments.is_empty(),
            columns: 0,
        };
        let canvas = Canvas::new(&mut drawing, form, (&self.x, &self.y), room);
        self.draw(&canvas)?;
        canvas.finish()?;
        Ok(canvas::element(&drawing, form, name))
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Drawn {
        let (width, height) = canvas.size();
        canvas.horizontal_grid(&self.y.ticks(height, Y_TICKS_APART))?;
        canvas.x_ticks(&self.x.ticks(width, X_TICKS_APART))?;
        canvas.titles(&self.x.title, &self.y.title)?;
        self.draw_bars(canvas)?;
        self.draw_moments(canvas)?;
        self.draw_levels(canvas)?;
        self.draw_lines(canvas)?;
        self.draw_dots(canvas)
    }

    fn draw_bars(&self, canvas: &Canvas<'_>) -> Drawn {
        for (number, height) in self.bars.iter().enumerate() {
            let (left, right) = (number as f64 + BAR_INSET, (number + 1) as f64 - BAR_INSET);
            if let Some(height) = self.y.place(*height) {
                canvas.bar((left, right), height, self.bars_colour)?;
            }
        }
        Ok(())
    }

    fn draw_moments(&self, canvas: &Canvas<'_>) -> Drawn {
        for moment in &self.moments {
            if let Some(place) = self.x.place(moment.value) {
                canvas.moment(place, moment.name, RULE)?;
            }
        }
        Ok(())
    }

    fn draw_levels(&self, canvas: &Canvas<'_>) -> Drawn {
        for level in &self.levels {
            if let Some(place) = self.y.place(level.value) {
                canvas.level(place, level.name, RULE)?;
            }
        }
        Ok(())
    }

    fn draw_lines(&self, canvas: &Canvas<'_>) -> Drawn {
        let is_alone = self.lines.len() == 1;
        let mut ends = Vec::new();
        for line in &self.lines {
            let runs = thin(
                &self.placed(line),
                self.x.low,
                self.x.high,
                canvas.size().0 as usize,
            );
            for run in &runs {
                canvas.run(run, line.colour, is_alone)?;
            }
            if let Some(run) = runs.last() {
                ends.push((line.name, end(run), line.colour));
            }
        }
        canvas.names(&ends)
    }

    fn draw_dots(&self, canvas: &Canvas<'_>) -> Drawn {
        for dot in &self.dots {
            if let (Some(x), Some(y)) = (self.x.place(dot.x), self.y.place(dot.y)) {
                canvas.dot((x, y), &dot.label, BLUE)?;
            }
        }
        Ok(())
    }

    fn placed(&self, line: &Line) -> Vec<Point> {
        let place = |&(x, y): &Point| Some((self.x.place(x)?, y.and_then(|y| self.y.place(y))));
        line.points.iter().filter_map(place).collect()
    }
}

/// Where a name belongs at the end of a run, which may end in a peak: the middle of its last
/// points.
fn end(run: &[(f64, f64)]) -> f64 {
    let last = &run[run.len().saturating_sub(END_POINTS)..];
    last.iter().map(|point| point.1).sum::<f64>() / last.len().max(1) as f64
}
