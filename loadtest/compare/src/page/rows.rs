//! The servers, one row below the other: dots with their spread on a common axis.

use loadtest::report::html::{Anchor, Axis, Canvas, Colour, Drawing, Form, LINE_WIDTH};
use maud::Markup;

use crate::statistics::Spread;

const X_TICKS_APART: f64 = 48.0;
/// Pixels between two dots of a row.
const DOTS_APART: f64 = 9.0;
/// Room for the names of rows before the plot, and between it and them.
const NAMES_WIDTH: f64 = 112.0;
const NAMES_INSET: f64 = 10.0;
/// Room for a column of values behind it, and for the heads of the columns above.
const COLUMN_WIDTH: f64 = 54.0;
const COLUMNS_INSET: f64 = 2.0;
const HEADS_HEIGHT: f64 = 26.0;
const HEADS_FROM: f64 = 4.0;

/// Rows, from the top down.
pub(super) struct Rows {
    pub(super) x: Axis,
    /// Where the reference is: a dashed line.
    pub(super) level: Option<f64>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) name: String,
    /// The same of every row.
    pub(super) dots: Vec<Dot>,
}

/// A median, and the least and the greatest.
pub(super) struct Dot {
    /// Its name; empty if a row has but one.
    pub(super) name: &'static str,
    pub(super) colour: Colour,
    pub(super) spread: Spread,
    /// The median in words.
    pub(super) value: String,
}

impl Rows {
    /// Each dot of a row has a column for its value.
    fn columns(&self) -> &[Dot] {
        self.rows.first().map_or(&[], |row| &row.dots)
    }

    fn draw_row(&self, canvas: &mut Canvas, place: f64, row: &Row) {
        let y = canvas.y(place);
        let at = (canvas.left - NAMES_INSET, y);
        canvas.text(&row.name, at, Colour::SOFT, Anchor::LEFT);
        let middle = (row.dots.len() as f64 - 1.0) / 2.0;
        for (number, dot) in row.dots.iter().enumerate() {
            let at = (column_end(canvas, number), y);
            canvas.text(&dot.value, at, dot.colour, Anchor::LEFT);
            self.draw_dot(canvas, y + (number as f64 - middle) * DOTS_APART, dot);
        }
    }

    /// A dot on a line from the least to the greatest. A value without a place on the axis, such as
    /// a negative one on a log axis, is told in words only.
    fn draw_dot(&self, canvas: &mut Canvas, y: f64, dot: &Dot) {
        let Spread { min, median, max } = dot.spread;
        let places = [min, median, max].map(|value| self.x.place(value));
        if let [Some(min), Some(median), Some(max)] = places {
            let [min, median, max] = [min, median, max].map(|place| canvas.x(place));
            canvas.line((min, y), (max, y), dot.colour, LINE_WIDTH);
            canvas.circle((median, y), dot.colour);
        }
    }
}

fn column_end(canvas: &Canvas, number: usize) -> f64 {
    canvas.right + COLUMNS_INSET + (number + 1) as f64 * COLUMN_WIDTH
}

impl Drawing for Rows {
    fn svg(&self, form: Form, name: &str) -> Markup {
        let y = Axis::numbers("", self.rows.len());
        let right = COLUMNS_INSET + self.columns().len() as f64 * COLUMN_WIDTH;
        let margins = (NAMES_WIDTH, right, HEADS_HEIGHT);
        let mut canvas = Canvas::new(form, [&self.x, &y], margins);
        canvas.vertical_grid(&self.x.ticks(canvas.size().0, X_TICKS_APART));
        canvas.titles(&self.x.title, "");
        for (number, dot) in self.columns().iter().enumerate() {
            let at = (column_end(&canvas, number), HEADS_FROM);
            canvas.text(dot.name, at, dot.colour, Anchor::BELOW_LEFT);
        }
        if let Some(place) = self.level.and_then(|level| self.x.place(level)) {
            canvas.moment(place, "");
        }
        for (number, row) in self.rows.iter().enumerate() {
            let place = self.rows.len() as f64 - number as f64 - 0.5;
            self.draw_row(&mut canvas, place, row);
        }
        canvas.finish(name)
    }
}
