//! Drawing as SVG: from places on the axes to pixels.
//!
//! There is no font to measure here, so nothing depends on the width of a text: margins have room
//! for the longest label, and texts are anchored on the side that must not move.

use maud::{Markup, PreEscaped, html};

use super::axis::{Axis, Tick};

/// Of a series, in pixels.
pub const LINE_WIDTH: f64 = 1.75;
const DOT_RADIUS: f64 = 3.0;
/// Below the plot: ticks and the title of the horizontal axis.
const BOTTOM: f64 = 46.0;

/// Colours by their meaning; the style knows them by these names, on white paper and on a dark
/// screen. All of the series differ in brightness too, for eyes and printers that do not tell hues
/// apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour(&'static str);

impl Colour {
    /// Ticks, titles of axes, names of moments and levels; those that the one that matters is
    /// compared with.
    pub const SOFT: Self = Self("soft");
    const GRID: Self = Self("faint");
    /// A rate or number asked for, beside the one that came: drawn dashed.
    pub const RULE: Self = Self("rule");
    /// Half of the requests; servers' and testers' figures where there is one series.
    pub const SKY: Self = Self("sky");
    /// Nine in ten; single series.
    pub const BLUE: Self = Self("blue");
    /// 99 %.
    pub const GREEN: Self = Self("green");
    /// 99.9 %.
    pub const AMBER: Self = Self("amber");
    /// The worst; failures.
    pub const RED: Self = Self("red");
}

/// For which width a plot is drawn: its size in pixels, and the class by which the style shows one
/// form and hides the other.
#[derive(Debug, Clone, Copy)]
pub struct Form(f64, f64, &'static str);

impl Form {
    /// A screen, or paper.
    pub const WIDE: Self = Self(720.0, 300.0, "wide");
    /// A phone, or half of the page.
    pub const NARROW: Self = Self(380.0, 260.0, "narrow");
}

/// Where a text stands beside its place: which end of it is there, and how far it is moved down.
#[derive(Debug, Clone, Copy)]
pub struct Anchor(&'static str, &'static str);

impl Anchor {
    /// On the left of it, at its height.
    pub const LEFT: Self = Self("end", "0.5ex");
    /// Below it, and on its left.
    pub const BELOW_LEFT: Self = Self("end", "0.76em");
    pub(super) const RIGHT: Self = Self("start", "0.5ex");
    pub(super) const ABOVE_LEFT: Self = Self("end", "-0.5ex");
    pub(super) const BELOW_RIGHT: Self = Self("start", "0.76em");
    const ABOVE: Self = Self("middle", "-0.5ex");
    const BELOW: Self = Self("middle", "0.76em");
}

/// A drawing under way, in pixels.
#[derive(Debug)]
pub struct Canvas {
    drawing: String,
    form: Form,
    /// The places at the left and at the right edge, at the bottom and at the top.
    places: [(f64, f64); 2],
    /// The edges of the plot proper.
    pub left: f64,
    /// See `left`.
    pub right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Canvas {
    /// An empty one, with margins for the labels of the vertical axis, or the names of rows; for
    /// half of a label, or values beside the plot; and above, for the title of the vertical axis.
    pub fn new(form: Form, axes: [&Axis; 2], (left, right, top): (f64, f64, f64)) -> Self {
        Self {
            drawing: String::new(),
            form,
            places: axes.map(|axis| (axis.low, axis.high)),
            left,
            right: form.0 - right,
            top,
            bottom: form.1 - BOTTOM,
        }
    }

    /// Width and height of the plot proper, in pixels.
    pub fn size(&self) -> (f64, f64) {
        (self.right - self.left, self.bottom - self.top)
    }

    /// The drawing as one element, with a `name` for those who do not see it.
    pub fn finish(self, name: &str) -> Markup {
        let Form(width, height, class) = self.form;
        html! {
            svg xmlns="http://www.w3.org/2000/svg" class=(class)
                viewBox={ "0 0 " (width) " " (height) } role="img" aria-label=(name) {
                (PreEscaped(self.drawing))
            }
        }
    }

    /// Horizontal lines at the ticks, with their labels.
    pub fn horizontal_grid(&mut self, ticks: &[Tick]) {
        for (place, label) in ticks {
            let (left, right, y) = (self.left, self.right, self.y(*place));
            self.line((left, y), (right, y), Colour::GRID, 1.0);
            self.text(label, (left - 8.0, y), Colour::SOFT, Anchor::LEFT);
        }
    }

    /// Vertical lines at the ticks, with their labels.
    pub fn vertical_grid(&mut self, ticks: &[Tick]) {
        for (place, _) in ticks {
            let x = self.x(*place);
            self.line((x, self.top), (x, self.bottom), Colour::GRID, 1.0);
        }
        self.x_ticks(ticks);
    }

    /// The ticks of the horizontal axis.
    pub fn x_ticks(&mut self, ticks: &[Tick]) {
        for (place, label) in ticks {
            let (x, bottom) = (self.x(*place), self.bottom);
            self.line((x, bottom), (x, bottom + 5.0), Colour::GRID, 1.0);
            self.text(label, (x, bottom + 8.0), Colour::SOFT, Anchor::BELOW);
        }
    }

    /// The titles of the axes.
    pub fn titles(&mut self, x: &str, y: &str) {
        let below = (self.right, self.bottom + 28.0);
        self.text(x, below, Colour::SOFT, Anchor::BELOW_LEFT);
        self.text(y, (0.0, 2.0), Colour::SOFT, Anchor::BELOW_RIGHT);
    }

    /// A vertical line with its name above.
    pub fn moment(&mut self, place: f64, name: &str) {
        let x = self.x(place);
        self.line((x, self.top), (x, self.bottom), Colour::RULE, 1.0);
        self.text(name, (x, self.top - 5.0), Colour::SOFT, Anchor::ABOVE);
    }

    /// A line between two points, in pixels, and so wide.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour, width: f64) {
        self.draw(&html! {
            line class=(colour.0) stroke-width=(width)
                x1=(px(from.0)) y1=(px(from.1)) x2=(px(to.0)) y2=(px(to.1)) {}
        });
    }

    /// A dot, at a point in pixels.
    pub fn circle(&mut self, (x, y): (f64, f64), colour: Colour) {
        self.draw(&html! { circle class=(colour.0) cx=(px(x)) cy=(px(y)) r=(DOT_RADIUS) {} });
    }

    /// A text beside a point in pixels.
    pub fn text(&mut self, text: &str, (x, y): (f64, f64), colour: Colour, anchor: Anchor) {
        if !text.is_empty() {
            self.draw(&html! {
                text class=(colour.0) x=(px(x)) y=(px(y)) dy=(anchor.1) text-anchor=(anchor.0) {
                    (text)
                }
            });
        }
    }

    pub(super) fn bar(&mut self, (left, right): (f64, f64), top: f64, colour: Colour) {
        self.draw(&html! {
            rect class=(colour.0) x=(px(left)) y=(px(top))
                width=(px(right - left)) height=(px(self.bottom - top)) {}
        });
    }

    pub(super) fn path(&mut self, path: &[(f64, f64)], colour: Colour, width: f64) {
        let points = points(path);
        self.draw(&html! {
            polyline class=(colour.0) stroke-width=(px(width)) points=(points) {}
        });
    }

    /// The area below a line, tinted.
    pub(super) fn area(&mut self, path: &[(f64, f64)], colour: Colour) {
        if let [(from, _), .., (to, _)] = path {
            let (from, to) = ((*from, self.bottom), (*to, self.bottom));
            let points = points(&[&[from], path, &[to]].concat());
            self.draw(&html! { polygon class=(colour.0) points=(points) {} });
        }
    }

    fn draw(&mut self, element: &Markup) {
        self.drawing.push_str(&element.0);
    }

    /// The pixel of a place from the left.
    pub fn x(&self, place: f64) -> f64 {
        self.left + share(place, self.places[0]) * (self.right - self.left)
    }

    /// The pixel of a place from the top.
    pub fn y(&self, place: f64) -> f64 {
        self.bottom - share(place, self.places[1]) * (self.bottom - self.top)
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

fn points(path: &[(f64, f64)]) -> String {
    let pairs = path.iter().map(|(x, y)| format!("{},{}", px(*x), px(*y)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Tenths of a pixel are as much as can be seen.
fn px(pixels: f64) -> f64 {
    (pixels * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_has_a_counterpart_in_the_style() {
        for colour in [
            Colour::SOFT,
            Colour::GRID,
            Colour::RULE,
            Colour::SKY,
            Colour::BLUE,
            Colour::GREEN,
            Colour::AMBER,
            Colour::RED,
        ] {
            let rule = format!(".{} {{ --colour:", colour.0);
            assert!(
                include_str!("page.css").contains(&rule),
                "page.css does not name {rule}"
            );
        }
    }
}
