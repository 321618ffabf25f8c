//! The servers, one row below the other: dots with their spread on a common axis.

use loadtest::report::html::{Axis, Canvas, Colour, Drawing, Form, Room};
use maud::Markup;

use crate::statistics::Spread;

const X_TICKS_APART: f64 = 48.0;
/// Pixels between two dots of a row.
const DOTS_APART: f64 = 9.0;

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

    fn draw_row(canvas: &mut Canvas, axis: &Axis, place: f64, row: &Row) {
        canvas.row(place, &row.name);
        let middle = (row.dots.len() as f64 - 1.0) / 2.0;
        for (number, dot) in row.dots.iter().enumerate() {
            let Spread { min, median, max } = dot.spread;
            let below = (number as f64 - middle) * DOTS_APART;
            canvas.value(place, number, &dot.value, dot.colour);
            // A value without a place on the axis, such as a negative one on a log axis, is told
            // in words only.
            if let [Some(min), Some(median), Some(max)] =
                [min, median, max].map(|value| axis.place(value))
            {
                canvas.spread((min, median, max), (place, below), dot.colour);
            }
        }
    }
}

impl Drawing for Rows {
    fn svg(&self, form: Form, name: &str) -> Markup {
        let y = Axis::numbers("", self.rows.len());
        let room = Room {
            columns: self.columns().len(),
            ..Room::default()
        };
        let mut canvas = Canvas::new(form, (&self.x, &y), room);
        canvas.vertical_grid(&self.x.ticks(canvas.size().0, X_TICKS_APART));
        canvas.titles(&self.x.title, "");
        for (number, dot) in self.columns().iter().enumerate() {
            canvas.column(number, dot.name, dot.colour);
        }
        if let Some(place) = self.level.and_then(|level| self.x.place(level)) {
            canvas.moment(place, "");
        }
        for (number, row) in self.rows.iter().enumerate() {
            let place = self.rows.len() as f64 - number as f64 - 0.5;
            Self::draw_row(&mut canvas, &self.x, place, row);
        }
        canvas.finish(name)
    }
}
