//! What the page of a comparison promises.
#![allow(clippy::unwrap_used)]

use clap::ValueEnum;
use compare::{Comparison, ServerKind, Suite, page};

#[path = "../examples/comparison_page/compared.rs"]
mod compared;

/// The page and its text, after a strict parser has accepted it.
fn parsed(comparison: &Comparison) -> (String, String) {
    let page = page::html(comparison);
    let options = roxmltree::ParsingOptions {
        allow_dtd: true,
        ..Default::default()
    };
    let text = match roxmltree::Document::parse_with_options(&page, options) {
        Ok(document) => document
            .descendants()
            .filter(|node| node.is_text())
            .filter_map(|node| node.text())
            .collect::<Vec<_>>()
            .join("\n"),
        Err(error) => panic!("not well-formed: {error}"),
    };
    (page, text.replace(['\u{a0}', '\u{202f}'], " "))
}

/// What stands in the drawings, one text per drawing.
fn drawings(page: &str) -> Vec<&str> {
    page.split("<svg ")
        .skip(1)
        .map(|rest| rest.split("</svg>").next().unwrap())
        .collect()
}

fn names(server: &ServerKind) -> String {
    server.to_possible_value().unwrap().get_name().to_owned()
}

#[test]
fn every_server_is_drawn_and_told_under_every_load_and_idle() {
    let comparison = compared::of_all();
    let (page, text) = parsed(&comparison);
    let drawings = drawings(&page);
    assert_eq!(
        drawings.len(),
        2 * comparison.cases.len() + 2,
        "processor time and latency of each load, two forms of the idle memory"
    );
    for server in Suite::Echo.servers().iter().map(names) {
        assert!(
            drawings.iter().all(|drawing| drawing.contains(&server)),
            "some plot lacks {server}"
        );
        assert_eq!(
            text.matches(&server).count() - drawings.len(),
            tables(&comparison) + others(&server),
            "some table lacks {server}"
        );
    }
    for load in [
        "100 connections",
        "1000 connections",
        "10000 connections",
        "100 connections, 16 requests in one go",
    ] {
        assert!(
            page.contains(&format!("<h2>{load}</h2>")),
            "no section for {load}"
        );
    }
    assert!(text.contains("15 000 idle connections"));
}

/// The header, the heads of the summary, one table per load, the idle one.
fn tables(comparison: &Comparison) -> usize {
    comparison.cases.len() + 3
}

/// Where sentences name a server: title, heading, note, caption; and the axis of each drawing.
fn others(server: &str) -> usize {
    match server {
        "raw_uring" => 4 + 10,
        "echo" => 2,
        _ => 0,
    }
}

#[test]
fn median_and_spread_are_ratios_to_raw_uring() {
    let (page, text) = parsed(&compared::of_all());
    assert!(
        text.contains("A request costs echo 1.01 of raw_uring"),
        "the medians of all loads are alike"
    );
    for needed in [
        "1.44\n1.41\u{2013}1.47",
        "3.58",
        "raw_uring = 1",
        "5 rounds of 0.7 s",
        "Example Processor 2.60 GHz",
    ] {
        assert!(text.contains(needed), "the page does not say {needed:?}");
    }
    let lines = page.matches("<line class=\"blue\"").count();
    assert!(
        lines >= 6,
        "the spread of echo is drawn in each plot of one value"
    );
}

#[test]
fn a_comparison_without_the_reference_shows_what_was_measured() {
    let (page, text) = parsed(&compared::of(&[ServerKind::Echo, ServerKind::Tokio], 1.0));
    assert!(
        text.contains("What a request costs each server.") && text.contains("as measured"),
        "{text}"
    );
    assert!(!page.contains("raw_uring = 1") && text.contains("187 B"));
}

#[test]
fn a_comparison_that_came_to_no_end_says_so() {
    let mut comparison = compared::of_all();
    comparison.complete = false;
    comparison.idle = None;
    comparison.cases.truncate(1);
    assert!(parsed(&comparison).1.contains("Cut short"));
    assert!(!parsed(&compared::of_all()).1.contains("Cut short"));
    comparison.cases.clear();
    let (page, text) = parsed(&comparison);
    assert!(text.contains("Nothing was measured.") && drawings(&page).is_empty());
}

#[test]
fn odd_figures_break_no_plot() {
    for factor in [
        f64::NAN,
        f64::INFINITY,
        -1.0,
        0.0,
        f64::MAX,
        f64::MIN_POSITIVE,
    ] {
        for servers in [Suite::Echo.servers(), &[ServerKind::Tokio]] {
            let (page, _) = parsed(&compared::of(servers, factor));
            assert!(
                !page.contains("could not be drawn") && !page.contains("NaN"),
                "{factor}"
            );
        }
    }
}

#[test]
fn the_page_stands_alone_and_texts_stay_texts() {
    let mut comparison = compared::of_all();
    let hostile = "</p><hr/>&\"'".to_owned();
    for text in [
        &mut comparison.began,
        &mut comparison.machine.kernel,
        &mut comparison.machine.processor,
        &mut comparison.command,
    ] {
        text.clone_from(&hostile);
    }
    let (page, _) = parsed(&comparison);
    assert!(!page.contains("<hr"), "some text became markup");
    let namespaces = ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xhtml"];
    let without = namespaces
        .iter()
        .fold(page, |page, namespace| page.replace(namespace, ""));
    for outside in [
        "http://", "https://", "<script", "<link", "<img", "@import", "url(",
    ] {
        assert!(!without.contains(outside), "the page names {outside}");
    }
}
