//! Writes the page of a made-up run, to look at:
//! `cargo run --example page -- [even|failures|empty|void|interrupted] page.html`.

use std::path::Path;
use std::process::ExitCode;

use loadtest::data::Report;
use loadtest::report::page;

mod synthetic;

const CONNECTIONS: u64 = 1_000_000;
const SAMPLES: usize = 2_300;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (kind, path) = match arguments.as_slice() {
        [path] => ("even", path),
        [kind, path] => (kind.as_str(), path),
        _ => return usage(),
    };
    let Some(report) = report(kind) else {
        return usage();
    };
    match page::write(&report, Path::new(path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write {path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: page [even|failures|empty|void|interrupted] PATH");
    ExitCode::from(2)
}

fn report(kind: &str) -> Option<Report> {
    let mut report = match kind {
        "failures" => synthetic::with_failures(CONNECTIONS, SAMPLES),
        "empty" => synthetic::empty(),
        _ => synthetic::even(CONNECTIONS, SAMPLES),
    };
    match kind {
        "even" | "failures" | "empty" => {}
        "void" => {
            report.void =
                Some("the load tester itself was 180 ms late with 1 in 100 requests".to_owned())
        }
        "interrupted" => {
            report.interrupted = true;
            report.connections.established = 412_118;
            report.connections.served = 411_906;
        }
        _ => return None,
    }
    Some(report)
}
