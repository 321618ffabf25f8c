//! Parts of a page: its frame, tables, and plots as inline SVG. No script, nothing to load, and
//! well-formed as XML, too.

mod axis;
mod canvas;
mod document;
mod figure;
mod plot;
mod thin;
pub mod units;

pub use axis::{Axis, Tick};
pub use canvas::{Anchor, Canvas, Colour, Form, LINE_WIDTH, Margins};
pub use document::{Badge, cell, document, grid, header, section, settings, table};
pub use figure::{Drawing, figure, half_figure, no_figure};
pub use plot::{Line, Plot};
pub use thin::Point;
