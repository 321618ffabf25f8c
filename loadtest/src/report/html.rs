//! Parts of a page: its frame, tables, and plots as inline SVG. No script, nothing to load, and
//! well-formed as XML, too.

mod axis;
mod canvas;
mod document;
mod plot;
pub mod units;

pub use axis::{Axis, Tick};
pub use canvas::{Anchor, Canvas, Colour, Form, LINE_WIDTH};
pub use document::{
    Badge, Drawing, cell, document, figure, grid, half_figure, header, no_figure, pair, section,
    settings, table,
};
pub use plot::{Line, Plot, Point};
