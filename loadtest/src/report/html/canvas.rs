//! Drawing as SVG: from places on the axes to pixels.
//!
//! There is no font to measure here, so nothing depends on the width of a text: margins have room
//! for the longest label, and texts are anchored on the side that must not move.

use maud::{Markup, PreEscaped, html};

use Colour::{Faint, Rule, Soft};

use super::axis::{Axis, Tick};

/// Of a series, in pixels.
pub const LINE_WIDTH: f64 = 1.75;
/// A line that goes up and down within a pixel would be a band: it is drawn thinner, down to this.
const LINE_WIDTH_MIN: f64 = 0.75;
/// So many pixels up and down per pixel of width make it half as wide.
const DENSE: f64 = 4.0;
const DOT_RADIUS: f64 = 3.0;
/// Labels of dots beyond this share of the width stand on the left.
const LABELS_LEFT_FROM: f64 = 0.8;
/// Names at the ends of lines keep this distance.
const NAMES_APART: f64 = 16.0;

/// Above the plot: the title of the vertical axis, and the names of moments below it.
const TOP: f64 = 26.0;
const TOP_WITH_MOMENTS: f64 = 42.0;
/// Below it: ticks and the title of the horizontal axis.
const BOTTOM: f64 = 46.0;
const LEFT: f64 = 60.0;
/// The right margin, and the same where lines have their names.
const RIGHT: f64 = 16.0;
const RIGHT_NAMED: f64 = 64.0;

/// Colours by their meaning; the style knows them by these names, on white paper and on a dark
/// screen. All of the series differ in brightness too, for eyes and printers that do not tell hues
/// apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// Ticks, titles of axes, names of moments and levels; those that the one that matters is
    /// compared with.
    Soft,
    /// The grid.
    Faint,
    /// A rate or number asked for, beside the one that came: drawn dashed.
    Rule,
    /// Half of the requests; servers' and testers' figures where there is one series.
    Sky,
    /// Nine in ten; single series.
    Blue,
    /// 99 %.
    Green,
    /// 99.9 %.
    Amber,
    /// The worst; failures.
    Red,
}

impl Colour {
    fn class(self) -> &'static str {
        match self {
            Self::Soft => "soft",
            Self::Faint => "faint",
            Self::Rule => "rule",
            Self::Sky => "sky",
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }
}

/// For which width a plot is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A screen, or paper.
    Wide,
    /// A phone, or half of the page.
    Narrow,
}

impl Form {
    /// Width and height in pixels.
    fn size(self) -> (f64, f64) {
        match self {
            Self::Wide => (720.0, 300.0),
            Self::Narrow => (380.0, 260.0),
        }
    }

    /// By this the style shows one form and hides the other.
    fn class(self) -> &'static str {
        match self {
            Self::Wide => "wide",
            Self::Narrow => "narrow",
        }
    }
}

/// Margins around a plot, but for the one below.
#[derive(Debug, Clone, Copy)]
pub struct Margins {
    /// For the labels of the vertical axis, or the names of rows.
    pub left: f64,
    /// For half of a label, or values beside the plot.
    pub right: f64,
    /// For the title of the vertical axis.
    pub top: f64,
}

impl Margins {
    /// With room for names at the ends of lines, and for names of moments, or without.
    pub fn new(has_names: bool, has_moments: bool) -> Self {
        Self {
            left: LEFT,
            right: if has_names { RIGHT_NAMED } else { RIGHT },
            top: if has_moments { TOP_WITH_MOMENTS } else { TOP },
        }
    }
}

/// Where a text stands beside its place: which end of it is there, and how far it is moved down.
#[derive(Debug, Clone, Copy)]
pub struct Anchor(&'static str, &'static str);

impl Anchor {
    /// On the left of it, at its height.
    pub const LEFT: Self = Self("end", "0.5ex");
    /// Below it, and on its left.
    pub const BELOW_LEFT: Self = Self("end", "0.76em");
    const RIGHT: Self = Self("start", "0.5ex");
    const ABOVE: Self = Self("middle", "-0.5ex");
    const ABOVE_LEFT: Self = Self("end", "-0.5ex");
    const BELOW: Self = Self("middle", "0.76em");
    const BELOW_RIGHT: Self = Self("start", "0.76em");
}

/// A drawing under way, in pixels.
#[derive(Debug)]
pub struct Canvas {
    drawing: String,
    form: Form,
    /// The places at the left and at the right edge, at the bottom and at the top.
    x: (f64, f64),
    y: (f64, f64),
    /// The edges of the plot proper.
    pub left: f64,
    /// See `left`.
    pub right: f64,
    top: f64,
    bottom: f64,
}

impl Canvas {
    /// An empty one.
    pub fn new(form: Form, (x, y): (&Axis, &Axis), margins: Margins) -> Self {
        let (width, height) = form.size();
        Self {
            drawing: String::new(),
            form,
            x: (x.low, x.high),
            y: (y.low, y.high),
            left: margins.left,
            right: width - margins.right,
            top: margins.top,
            bottom: height - BOTTOM,
        }
    }

    /// Width and height of the plot proper, in pixels.
    pub fn size(&self) -> (f64, f64) {
        (self.right - self.left, self.bottom - self.top)
    }

    /// The drawing as one element, with a `name` for those who do not see it.
    pub fn finish(self, name: &str) -> Markup {
        let (width, height) = self.form.size();
        html! {
            svg xmlns="http://www.w3.org/2000/svg" class=(self.form.class())
                viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(name) {
                (PreEscaped(self.drawing))
            }
        }
    }

    /// Horizontal lines at the ticks, with their labels.
    pub fn horizontal_grid(&mut self, ticks: &[Tick]) {
        for tick in ticks {
            let y = self.y(tick.place);
            self.line((self.left, y), (self.right, y), Faint, 1.0);
            self.text(&tick.label, (self.left - 8.0, y), Soft, Anchor::LEFT);
        }
    }

    /// Vertical lines at the ticks, with their labels.
    pub fn vertical_grid(&mut self, ticks: &[Tick]) {
        for tick in ticks {
            let x = self.x(tick.place);
            self.line((x, self.top), (x, self.bottom), Faint, 1.0);
        }
        self.x_ticks(ticks);
    }

    /// The ticks of the horizontal axis.
    pub fn x_ticks(&mut self, ticks: &[Tick]) {
        let bottom = self.bottom;
        for tick in ticks {
            let x = self.x(tick.place);
            self.line((x, bottom), (x, bottom + 5.0), Faint, 1.0);
            self.text(&tick.label, (x, bottom + 8.0), Soft, Anchor::BELOW);
        }
    }

    /// The titles of the axes.
    pub fn titles(&mut self, x: &str, y: &str) {
        self.text(
            x,
            (self.right, self.bottom + 28.0),
            Soft,
            Anchor::BELOW_LEFT,
        );
        self.text(y, (0.0, 2.0), Soft, Anchor::BELOW_RIGHT);
    }

    /// A bar from zero.
    pub fn bar(&mut self, (left, right): (f64, f64), height: f64, colour: Colour) {
        let (left, right) = (self.x(left), self.x(right));
        let (top, bottom) = (self.y(height), self.y(0.0));
        self.draw(&html! {
            rect class=(colour.class()) x=(px(left)) y=(px(top))
                width=(px(right - left)) height=(px(bottom - top)) {}
        });
    }

    /// A vertical line with its name above.
    pub fn moment(&mut self, place: f64, name: &str) {
        let x = self.x(place);
        self.line((x, self.top), (x, self.bottom), Rule, 1.0);
        self.text(name, (x, self.top - 5.0), Soft, Anchor::ABOVE);
    }

    /// A horizontal line with its name above its right end.
    pub fn level(&mut self, place: f64, name: &str) {
        let y = self.y(place);
        self.line((self.left, y), (self.right, y), Rule, 1.0);
        self.text(name, (self.right - 4.0, y - 3.0), Soft, Anchor::ABOVE_LEFT);
    }

    /// Points that belong together, tinted down to the axis if `is_filled`. A lone one is a dot.
    pub fn run(&mut self, run: &[(f64, f64)], colour: Colour, is_filled: bool) {
        let pixels: Vec<_> = run.iter().map(|&(x, y)| (self.x(x), self.y(y))).collect();
        let [first, .., last] = pixels[..] else {
            return pixels.iter().for_each(|at| self.circle(*at, colour));
        };
        let points: Vec<String> = pixels
            .iter()
            .map(|&(x, y)| format!("{},{}", px(x), px(y)))
            .collect();
        let points = points.join(" ");
        if is_filled {
            let (left, right, bottom) = (px(first.0), px(last.0), px(self.bottom));
            self.draw(&html! {
                polygon class=(colour.class())
                    points={ (left) "," (bottom) " " (points) " " (right) "," (bottom) } {}
            });
        }
        let up_and_down = pixels.windows(2).map(|pair| (pair[1].1 - pair[0].1).abs());
        let density = up_and_down.sum::<f64>() / (last.0 - first.0).max(1.0);
        let width = (LINE_WIDTH / (1.0 + density / DENSE)).max(LINE_WIDTH_MIN);
        self.draw(&html! {
            polyline class=(colour.class()) stroke-width=(px(width)) points=(points) {}
        });
    }

    /// A dot with its label on the side where there is room.
    pub fn dot(&mut self, (x, y): (f64, f64), label: &str, colour: Colour) {
        let (x, y) = (self.x(x), self.y(y));
        self.circle((x, y), colour);
        if x - self.left > LABELS_LEFT_FROM * self.size().0 {
            self.text(label, (x - 8.0, y - 2.0), colour, Anchor::ABOVE_LEFT);
        } else {
            self.text(label, (x + 6.0, y + 6.0), colour, Anchor::BELOW_RIGHT);
        }
    }

    /// Names of lines beside their ends, pushed apart where ends are close.
    pub fn names(&mut self, ends: &[(&str, f64, Colour)]) {
        let heights: Vec<f64> = ends.iter().map(|end| self.y(end.1)).collect();
        let heights = apart(&heights, NAMES_APART, (self.top, self.bottom));
        for ((name, _, colour), y) in ends.iter().zip(heights) {
            self.text(name, (self.right + 7.0, y), *colour, Anchor::RIGHT);
        }
    }

    /// A line between two points, in pixels, and so wide.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, width: f64) {
        self.draw(&html! {
            line class=(colour.class()) stroke-width=(width)
                x1=(px(from.0)) y1=(px(from.1)) x2=(px(to.0)) y2=(px(to.1)) {}
        });
    }

    /// A dot, at a point in pixels.
    pub fn circle(&mut self, (x, y): (f64, f64), colour: Colour) {
        self.draw(&html! {
            circle class=(colour.class()) cx=(px(x)) cy=(px(y)) r=(DOT_RADIUS) {}
        });
    }

    /// A text beside a point in pixels.
    pub fn text(&mut self, text: &str, (x, y): (f64, f64), colour: Colour, anchor: Anchor) {
        if text.is_empty() {
            return;
        }
        let (class, Anchor(anchor, dy)) = (colour.class(), anchor);
        self.draw(&html! {
            text class=(class) x=(px(x)) y=(px(y)) dy=(dy) text-anchor=(anchor) { (text) }
        });
    }

    fn draw(&mut self, element: &Markup) {
        self.drawing.push_str(&element.0);
    }

    /// The pixel of a place from the left.
    pub fn x(&self, place: f64) -> f64 {
        self.left + share(place, self.x) * (self.right - self.left)
    }

    /// The pixel of a place from the top.
    pub fn y(&self, place: f64) -> f64 {
        self.bottom - share(place, self.y) * (self.bottom - self.top)
    }
}

/// How far a place is on the way from `low` to `high`. On an axis whose length is no number any
/// more, as of values near the greatest there is, everything is at its beginning.
fn share(place: f64, (low, high): (f64, f64)) -> f64 {
    let share = (place - low) / (high - low);
    if share.is_nan() {
        0.0
    } else {
        share.clamp(0.0, 1.0)
    }
}

/// Tenths of a pixel are as much as can be seen.
fn px(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

/// The heights moved as little as keeps `distance` between neighbours; in the order given, within
/// the limits if there is room.
fn apart(heights: &[f64], distance: f64, (top, bottom): (f64, f64)) -> Vec<f64> {
    let mut order: Vec<usize> = (0..heights.len()).collect();
    order.sort_by(|one, other| heights[*one].total_cmp(&heights[*other]));
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

    #[test]
    fn every_colour_has_a_counterpart_in_the_style() {
        use Colour::{Amber, Blue, Faint, Green, Red, Rule, Sky, Soft};
        for colour in [Soft, Faint, Rule, Sky, Blue, Green, Amber, Red] {
            let rule = format!(".{} {{ --colour:", colour.class());
            assert!(
                include_str!("page.css").contains(&rule),
                "page.css does not name {rule}"
            );
        }
    }
}
