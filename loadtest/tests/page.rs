//! What the page of a report promises.
#![allow(clippy::unwrap_used)]

use loadtest::data::{Report, Sample};
use loadtest::report::page;

#[path = "../examples/page/synthetic.rs"]
mod synthetic;

const PAGE_BYTES_MAX: usize = 1_000_000;

/// The page and its text, after a strict parser has accepted it.
fn parsed(report: &Report) -> (String, String) {
    let page = page::html(report);
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

fn plots(page: &str) -> usize {
    page.matches("<svg ").count()
}

#[test]
fn an_even_run_shows_its_figures_and_its_plots() {
    let (page, text) = parsed(&synthetic::even(1_000_000, 500));
    for needed in [
        "All 1 000 000 connections wanted were established and served, and nothing failed.",
        "Connections established",
        "Latency p99.9",
        "2.35 ms",
        "6.31 KiB",
        "0.41 cores",
        "99.98 % of 33 333 offered",
        "Connections over time",
        "seconds since the run began",
        "latency, logarithmic",
        "99.99",
        "Processor time by shard of the server",
        "memory per connection, KiB",
        "Example Processor 2.60 GHz",
        "loadtest run 127.0.0.1:7007",
        "Nothing failed: every reply came",
    ] {
        assert!(text.contains(needed), "the page does not say {needed:?}");
    }
    assert_eq!(
        plots(&page),
        2 * 8 + 2,
        "two forms of eight plots, one of the pair of bars"
    );
}

#[test]
fn a_page_stands_alone() {
    let page = page::html(&synthetic::with_failures(100_000, 500));
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

#[test]
fn failures_are_told_and_their_texts_stay_texts() {
    let report = synthetic::with_failures(10_000, 400);
    let (page, text) = parsed(&report);
    assert!(text.contains("Only 9 750 of the 10 000 connections wanted were served."));
    assert!(text.contains(
        "200 never established, 50 established but never answered, 253 failures counted."
    ));
    assert!(text.contains("timed out"));
    assert!(text.contains("Failures over time"));
    assert!(!page.contains("<script"));
    assert!(!page.contains("<i>pong"));
    assert!(
        text.contains("--note '<script>alert(\"1\" & 2)</script>'"),
        "what was typed is shown as it was typed"
    );
    assert!(!page.contains(['\0', '\u{1b}']));
}

#[test]
fn every_text_of_a_report_is_escaped() {
    let mut report = synthetic::with_failures(1_000, 50);
    let hostile = "</p><hr/>&\"'".to_owned();
    let [first, second, ..] = report.failures.as_mut_slice() else {
        panic!("two kinds of failures are needed")
    };
    for text in [
        &mut report.command,
        &mut report.began,
        &mut report.machine.kernel,
        &mut report.machine.processor,
        &mut report.load.mode,
        &mut report.load.mode_note,
        &mut report.load.protocol,
        &mut first.kind,
        &mut second.examples[0],
    ] {
        text.clone_from(&hostile);
    }
    report.server.as_mut().unwrap().name.clone_from(&hostile);
    report.void = Some(hostile);
    let (page, _) = parsed(&report);
    assert!(!page.contains("<hr"), "some text became markup");
}

#[test]
fn an_empty_run_has_sentences_in_place_of_plots() {
    let (page, text) = parsed(&synthetic::empty());
    assert_eq!(plots(&page), 0);
    for needed in [
        "No connection was wanted",
        "no samples",
        "no distribution",
        "Nothing is known about its shards",
        "not measured",
    ] {
        assert!(text.contains(needed), "the page does not say {needed:?}");
    }
}

#[test]
fn a_void_run_says_so_first() {
    let mut report = synthetic::even(1_000, 50);
    report.void = Some("the load tester was late.".to_owned());
    report.interrupted = true;
    let (_, text) = parsed(&report);
    assert!(text.contains("The figures say nothing about the server: the load tester was late."));
}

#[test]
fn failures_after_all_were_served_are_no_success() {
    let mut report = synthetic::with_failures(1_000, 50);
    (report.connections.established, report.connections.served) = (1_000, 1_000);
    let (_, text) = parsed(&report);
    assert!(
        text.contains("Failed")
            && text.contains(
                "All 1 000 connections wanted were served, but not everything went well."
            )
    );
}

#[test]
fn an_interrupted_run_says_how_far_it_came() {
    let mut report = synthetic::even(1_000, 50);
    report.interrupted = true;
    report.connections.established = 400;
    report.connections.served = 390;
    let (_, text) = parsed(&report);
    assert!(text.contains(
        "A signal ended the run early; until then 390 of the 1 000 connections wanted were served"
    ));
}

#[test]
fn a_hundred_thousand_samples_make_no_large_page() {
    let page = page::html(&synthetic::with_failures(1_000_000, 100_000));
    assert!(page.len() < PAGE_BYTES_MAX, "{} bytes", page.len());
}

#[test]
fn odd_samples_break_no_plot() {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        -1.0,
        0.0,
        f64::MAX,
        f64::MIN_POSITIVE,
    ];
    for value in odd {
        let mut report = synthetic::even(1_000, 0);
        report.latency_curve = vec![(value, value), (50.0, value), (100.0, 1.0)];
        report.connections.ramp_s = value;
        let sample = |at_s| Sample {
            at_s,
            connections: u64::MAX,
            connects_per_s: value,
            p50_us: value,
            max_us: value,
            ..Sample::default()
        };
        report.timeline = vec![
            sample(0.0),
            sample(value),
            Sample {
                memory_used_bytes: i64::MIN,
                ..sample(1.0)
            },
        ];
        let (page, _) = parsed(&report);
        assert!(
            !page.contains("could not be drawn") && !page.contains("NaN"),
            "{value}"
        );
    }
}

#[test]
fn one_sample_and_one_shard_are_enough() {
    let mut report = synthetic::even(1_000, 1);
    report.shards.truncate(1);
    let (page, text) = parsed(&report);
    assert!(text.contains("There is one shard"));
    assert!(page.contains("<circle"));
}

#[test]
fn the_page_is_written_to_a_file() {
    let path = std::env::temp_dir().join(format!("loadtest-page-{}.html", std::process::id()));
    let report = synthetic::even(1_000, 50);
    page::write(&report, &path).unwrap();
    let written = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(written, page::html(&report));
    assert!(page::write(&report, std::path::Path::new("/nowhere/page.html")).is_err());
}
