//! A comparison as one page that stands alone, of the parts that the load tester's page is made of.

mod cases;
mod rows;
mod whole;

pub use whole::{html, write};
