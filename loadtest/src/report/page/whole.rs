//! The page from its head to its foot.

use std::io;
use std::path::Path;

use maud::html as markup;

use super::{figures, tables, tiles, verdict};
use crate::data::Report;
use crate::output;
use crate::report::html::{document, grid, section};

/// The page. Its size does not depend on the number of samples: series are thinned to what a plot
/// can show.
pub fn html(report: &Report) -> String {
    let latency = [figures::distribution(report), tables::quantiles(report)];
    let course = figures::failures(report).into_iter();
    let failures = course.chain([tables::failures(report)]);
    let body = markup! {
        (verdict::header(report))
        (tiles::html(report))
        (section("Over time", &grid(figures::load(report))))
        (section("Latency", &grid(latency)))
        (section("Memory", &grid(figures::memory(report))))
        (section("Shards", &grid(figures::balance(report))))
        (section("Failures", &grid(failures)))
        (section("How it was run", &tables::setting(report)))
    };
    document(&verdict::verdict(report).1, &body)
}

/// The page as a file, which is replaced if it exists.
///
/// # Errors
/// When it cannot be written.
pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    output::page(path, &html(report))
}
