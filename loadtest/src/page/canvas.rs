//! Drawing with plotters: from places to pixels.
//!
//! There is no font to measure here, so nothing depends on the width of a text: margins have room
//! for the longest label, and texts are anchored on the side that must not move.

use std::io;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::coord::{CoordTranslate, cartesian::Cartesian2d};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axis::{Axis, Tick};
use super::markup::escape;
use super::palette::{GRID, SOFT};
use super::plot::Form;

/// Units of the drawing per pixel: plotters rounds to whole units, which a sharp screen would show.
const DETAIL: i32 = 4;
/// plotters divides the size of a font by this before it writes it down.
const FONT_FACTOR: f64 = 1.24;
const FONT_SIZE: f64 = 13.0;
const LINE_WIDTH: f64 = 1.75;
/// A line that goes up and down within a pixel would be a band: it is drawn thinner, down to this.
const LINE_WIDTH_MIN: f64 = 0.75;
/// So many pixels up and down per pixel of width make it half as wide.
const DENSE: f64 = 4.0;
const DOT_RADIUS: f64 = 3.0;
/// Labels of dots beyond this share of the width stand on the left.
const LABELS_LEFT_FROM: f64 = 0.8;
const BAR_OPACITY: f64 = 0.8;
const FILL_OPACITY: f64 = 0.13;
/// Names at the ends of lines keep this distance.
const NAMES_APART: i32 = 16;

/// Above the plot: the title of the vertical axis.
const TOP: i32 = 26;
/// The same, and the names of moments below it.
const TOP_WITH_MOMENTS: i32 = 42;
/// Below it: ticks and the title of the horizontal axis.
const BOTTOM: i32 = 46;
const LEFT: i32 = 60;
const RIGHT: i32 = 16;
/// The right margin if lines have their names there.
const RIGHT_NAMED: i32 = 64;
/// The left margin if rows have their names there.
const LEFT_NAMED: i32 = 96;
/// Behind rows: what is left free, and a column of values.
const COLUMNS_INSET: i32 = 2;
const COLUMN_WIDTH: i32 = 54;

pub(super) type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// A drawing under way. Distances in it are pixels times [`DETAIL`].
pub(super) struct Canvas<'a> {
    root: DrawingArea<SVGBackend<'a>, Shift>,
    places: Cartesian2d<RangedCoordf64, RangedCoordf64>,
    frame: Frame,
}

/// For what there must be room around a plot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Names at the ends of lines.
    pub(super) names: bool,
    /// Names of moments.
    pub(super) moments: bool,
    /// Columns of values behind rows that have names before them; 0: no rows.
    pub(super) columns: usize,
}

/// The edges of the plot proper.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: i32,
    right: i32,
    top: i32,
    bottom: i32,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(
        drawing: &'a mut String,
        form: Form,
        (x, y): (&Axis, &Axis),
        room: Room,
    ) -> Self {
        let (width, height) = form.size();
        let (left, right) = match room.columns as i32 {
            0 => (LEFT, if room.names { RIGHT_NAMED } else { RIGHT }),
            columns => (LEFT_NAMED, COLUMNS_INSET + columns * COLUMN_WIDTH),
        };
        let right = width - right;
        let top = if room.moments { TOP_WITH_MOMENTS } else { TOP };
        let frame = Frame {
            left: left * DETAIL,
            right: right * DETAIL,
            top: top * DETAIL,
            bottom: (height - BOTTOM) * DETAIL,
        };
        let pixels = (frame.left..frame.right, frame.bottom..frame.top);
        let size = (
            (width * DETAIL).unsigned_abs(),
            (height * DETAIL).unsigned_abs(),
        );
        Self {
            root: SVGBackend::with_string(drawing, size).into_drawing_area(),
            places: Cartesian2d::new(x.low..x.high, y.low..y.high, pixels),
            frame,
        }
    }

    /// Width and height of the plot proper, in pixels.
    pub(super) fn size(&self) -> (f64, f64) {
        let Frame {
            left,
            right,
            top,
            bottom,
        } = self.frame;
        (
            f64::from((right - left) / DETAIL),
            f64::from((bottom - top) / DETAIL),
        )
    }

    /// Ends the drawing, which can be read when the canvas is gone.
    pub(super) fn finish(self) -> Drawn {
        self.root.present()
    }

    pub(super) fn horizontal_grid(&self, ticks: &[Tick]) -> Drawn {
        let Frame { left, right, .. } = self.frame;
        for tick in ticks {
            let y = self.y(tick.place);
            self.root.draw(&PathElement::new(
                vec![(left, y), (right, y)],
                GRID.stroke_width(width(1.0)),
            ))?;
            self.text(
                &tick.label,
                (left - 8 * DETAIL, y),
                SOFT,
                (HPos::Right, VPos::Center),
            )?;
        }
        Ok(())
    }

    pub(super) fn vertical_grid(&self, ticks: &[Tick]) -> Drawn {
        let Frame { top, bottom, .. } = self.frame;
        for tick in ticks {
            let x = self.x(tick.place);
            self.root.draw(&PathElement::new(
                vec![(x, top), (x, bottom)],
                GRID.stroke_width(width(1.0)),
            ))?;
        }
        self.x_ticks(ticks)
    }

    pub(super) fn x_ticks(&self, ticks: &[Tick]) -> Drawn {
        let bottom = self.frame.bottom;
        for tick in ticks {
            let x = self.x(tick.place);
            self.root.draw(&PathElement::new(
                vec![(x, bottom), (x, bottom + 5 * DETAIL)],
                GRID.stroke_width(width(1.0)),
            ))?;
            self.text(
                &tick.label,
                (x, bottom + 8 * DETAIL),
                SOFT,
                (HPos::Center, VPos::Top),
            )?;
        }
        Ok(())
    }

    pub(super) fn titles(&self, x: &str, y: &str) -> Drawn {
        let Frame { right, bottom, .. } = self.frame;
        self.text(
            x,
            (right, bottom + 28 * DETAIL),
            SOFT,
            (HPos::Right, VPos::Top),
        )?;
        self.text(y, (0, 2 * DETAIL), SOFT, (HPos::Left, VPos::Top))
    }

    /// A bar from zero.
    pub(super) fn bar(&self, (left, right): (f64, f64), height: f64, colour: RGBColor) -> Drawn {
        let corners = [(self.x(left), self.y(height)), (self.x(right), self.y(0.0))];
        self.root
            .draw(&Rectangle::new(corners, colour.mix(BAR_OPACITY).filled()))
    }

    /// A vertical line with its name above.
    pub(super) fn moment(&self, place: f64, name: &str, colour: RGBColor) -> Drawn {
        let (x, Frame { top, bottom, .. }) = (self.x(place), self.frame);
        self.root.draw(&PathElement::new(
            vec![(x, top), (x, bottom)],
            colour.stroke_width(width(1.0)),
        ))?;
        self.text(
            name,
            (x, top - 5 * DETAIL),
            SOFT,
            (HPos::Center, VPos::Bottom),
        )
    }

    /// A horizontal line with its name above its right end.
    pub(super) fn level(&self, place: f64, name: &str, colour: RGBColor) -> Drawn {
        let (y, Frame { left, right, .. }) = (self.y(place), self.frame);
        self.root.draw(&PathElement::new(
            vec![(left, y), (right, y)],
            colour.stroke_width(width(1.0)),
        ))?;
        self.text(
            name,
            (right - 4 * DETAIL, y - 3 * DETAIL),
            SOFT,
            (HPos::Right, VPos::Bottom),
        )
    }

    /// Points that belong together, tinted down to the axis if `is_filled`. A lone one is a dot.
    pub(super) fn run(&self, run: &[(f64, f64)], colour: RGBColor, is_filled: bool) -> Drawn {
        let pixels: Vec<(i32, i32)> = run.iter().map(|&(x, y)| (self.x(x), self.y(y))).collect();
        let (Some(&first), Some(&last)) = (pixels.first(), pixels.last()) else {
            return Ok(());
        };
        if pixels.len() == 1 {
            return self
                .root
                .draw(&Circle::new(first, width(DOT_RADIUS), colour.filled()));
        }
        if is_filled {
            let bottom = self.frame.bottom;
            let outline = [(first.0, bottom)]
                .into_iter()
                .chain(pixels.iter().copied())
                .chain([(last.0, bottom)]);
            self.root.draw(&Polygon::new(
                outline.collect::<Vec<_>>(),
                colour.mix(FILL_OPACITY),
            ))?;
        }
        let up_and_down: i32 = pixels
            .windows(2)
            .map(|pair| (pair[1].1 - pair[0].1).abs())
            .sum();
        let density = f64::from(up_and_down) / f64::from((last.0 - first.0).max(1));
        let line_width = (LINE_WIDTH / (1.0 + density / DENSE)).max(LINE_WIDTH_MIN);
        self.root.draw(&PathElement::new(
            pixels,
            colour.stroke_width(width(line_width)),
        ))
    }

    /// A dot with its label on the side where there is room.
    pub(super) fn dot(&self, (x, y): (f64, f64), label: &str, colour: RGBColor) -> Drawn {
        let (x, y, Frame { left, right, .. }) = (self.x(x), self.y(y), self.frame);
        self.root
            .draw(&Circle::new((x, y), width(DOT_RADIUS), colour.filled()))?;
        let is_far = f64::from(x - left) > LABELS_LEFT_FROM * f64::from(right - left);
        match is_far {
            true => self.text(
                label,
                (x - 8 * DETAIL, y - 2 * DETAIL),
                colour,
                (HPos::Right, VPos::Bottom),
            ),
            false => self.text(
                label,
                (x + 6 * DETAIL, y + 6 * DETAIL),
                colour,
                (HPos::Left, VPos::Top),
            ),
        }
    }

    /// Names of lines beside their ends, pushed apart where ends are close.
    pub(super) fn names(&self, ends: &[(&str, f64, RGBColor)]) -> Drawn {
        let heights: Vec<i32> = ends.iter().map(|end| self.y(end.1)).collect();
        let Frame {
            right, top, bottom, ..
        } = self.frame;
        for ((name, _, colour), y) in
            ends.iter()
                .zip(apart(&heights, NAMES_APART * DETAIL, (top, bottom)))
        {
            if !name.is_empty() {
                self.text(
                    name,
                    (right + 7 * DETAIL, y),
                    *colour,
                    (HPos::Left, VPos::Center),
                )?;
            }
        }
        Ok(())
    }

    /// The name of a row, before it.
    pub(super) fn row(&self, place: f64, name: &str) -> Drawn {
        self.text(
            name,
            (self.frame.left - 10 * DETAIL, self.y(place)),
            SOFT,
            (HPos::Right, VPos::Center),
        )
    }

    /// A dot on a line from the least to the greatest, so many pixels below the middle of its row.
    pub(super) fn spread(
        &self,
        (low, middle, high): (f64, f64, f64),
        (row, below): (f64, f64),
        colour: RGBColor,
    ) -> Drawn {
        let y = self.y(row) + (below * f64::from(DETAIL)) as i32;
        self.root.draw(&PathElement::new(
            vec![(self.x(low), y), (self.x(high), y)],
            colour.stroke_width(width(LINE_WIDTH)),
        ))?;
        self.root.draw(&Circle::new(
            (self.x(middle), y),
            width(DOT_RADIUS),
            colour.filled(),
        ))
    }

    /// A value in a column behind a row.
    pub(super) fn value(&self, row: f64, column: usize, value: &str, colour: RGBColor) -> Drawn {
        self.text(
            value,
            (self.column_end(column), self.y(row)),
            colour,
            (HPos::Right, VPos::Center),
        )
    }

    /// What a column of values, and the dots of its colour, are.
    pub(super) fn column(&self, column: usize, name: &str, colour: RGBColor) -> Drawn {
        self.text(
            name,
            (self.column_end(column), 4 * DETAIL),
            colour,
            (HPos::Right, VPos::Top),
        )
    }

    fn column_end(&self, column: usize) -> i32 {
        self.frame.right + (COLUMNS_INSET + (column as i32 + 1) * COLUMN_WIDTH) * DETAIL
    }

    fn text(
        &self,
        text: &str,
        at: (i32, i32),
        colour: RGBColor,
        (horizontal, vertical): (HPos, VPos),
    ) -> Drawn {
        let size = FONT_SIZE * FONT_FACTOR * f64::from(DETAIL);
        let style = TextStyle::from(("sans-serif", size))
            .color(&colour)
            .pos(Pos::new(horizontal, vertical));
        self.root.draw(&Text::new(text, at, style))
    }

    fn x(&self, place: f64) -> i32 {
        self.places
            .translate(&(place, 0.0))
            .0
            .clamp(self.frame.left, self.frame.right)
    }

    fn y(&self, place: f64) -> i32 {
        self.places
            .translate(&(0.0, place))
            .1
            .clamp(self.frame.top, self.frame.bottom)
    }
}

/// A finished drawing as an element whose size the style decides, and not plotters' opening tag.
pub(super) fn element(drawing: &str, form: Form, name: &str) -> String {
    let content = drawing.split_once('>').map_or("", |(_, content)| content);
    let (width, height) = form.size();
    let (class, name) = (form.class(), escape(name));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"{class}\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{name}\">{content}",
        width * DETAIL,
        height * DETAIL,
    )
}

fn width(pixels: f64) -> u32 {
    (pixels * f64::from(DETAIL)).round() as u32
}

/// The heights moved as little as keeps `distance` between neighbours; in the order given, within
/// the limits if there is room.
fn apart(heights: &[i32], distance: i32, (top, bottom): (i32, i32)) -> Vec<i32> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by_key(|index| heights[*index]);
    let mut moved = heights.to_vec();
    let mut free_from = top;
    for index in &order {
        moved[*index] = moved[*index].max(free_from);
        free_from = moved[*index] + distance;
    }
    let mut free_to = bottom;
    for index in order.iter().rev() {
        moved[*index] = moved[*index].min(free_to);
        free_to = moved[*index] - distance;
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_overlap_are_pushed_apart() {
        assert_eq!(
            apart(&[90, 50, 10], 15, (0, 100)),
            [90, 50, 10],
            "enough room"
        );
        assert_eq!(apart(&[50, 50, 50], 15, (0, 100)), [50, 65, 80]);
        assert_eq!(
            apart(&[99, 98, 97], 15, (0, 100)),
            [100, 85, 70],
            "the lower edge pushes upwards"
        );
        assert!(apart(&[], 15, (0, 100)).is_empty());
    }
}
