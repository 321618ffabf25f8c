//! A report, or a comparison, as one page: HTML with its style and its plots inline, no script,
//! nothing to load. Well-formed as XML, too.

use std::io;
use std::path::Path;

use crate::compare::Comparison;
use crate::data::Report;

mod axis;
mod balance;
mod canvas;
mod comparison;
mod course;
mod distribution;
mod figure;
mod markup;
mod palette;
mod plot;
mod rows;
mod tables;
mod thin;
mod tiles;
mod units;
mod verdict;

use figure::Figure;

/// Among it a policy that lets the page load and run nothing, whatever a text of the report may
/// try.
const HEAD: &str = include_str!("page/head.html");
const STYLE: &str = include_str!("page/page.css");

/// The page. Its size does not depend on the number of samples: series are thinned to what a plot
/// can show.
pub fn html(report: &Report) -> String {
    let body = [
        verdict::html(report),
        tiles::html(report),
        section("Over time", &grid(&figures(course::load(report)))),
        section(
            "Latency",
            &grid(&(figures([distribution::figure(report)]) + &tables::quantiles(report))),
        ),
        section("Memory", &grid(&figures(course::memory(report)))),
        section("Shards", &grid(&figures(balance::figures(report)))),
        section(
            "Failures",
            &grid(&(figures(course::failures(report)) + &tables::failures(report))),
        ),
        section("How it was run", &tables::setting(report)),
    ];
    document(&verdict::sentence(report), &body.concat())
}

/// The page of a comparison.
pub fn comparison_html(comparison: &Comparison) -> String {
    let (title, body) = comparison::parts(comparison);
    document(&title, &body)
}

fn document(title: &str, body: &str) -> String {
    let title = markup::escape(title);
    format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n{HEAD}<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// The page as a file, which is replaced if it exists.
pub fn write(report: &Report, path: &Path) -> io::Result<()> {
    std::fs::write(path, html(report))
}

/// The page of a comparison as a file, which is replaced if it exists.
pub fn write_comparison(comparison: &Comparison, path: &Path) -> io::Result<()> {
    std::fs::write(path, comparison_html(comparison))
}

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{content}</section>\n")
}

fn figures(figures: impl IntoIterator<Item = Figure>) -> String {
    figures.into_iter().map(|figure| figure.html()).collect()
}

/// Cards one below the other, or beside each other where there is room.
fn grid(cards: &str) -> String {
    format!("<div class=\"grid\">\n{cards}</div>\n")
}
