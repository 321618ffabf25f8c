//! Writes the page of a made-up comparison, to look at: `cargo run --example comparison_page -- page.html`.

use std::path::Path;
use std::process::ExitCode;

use compare::page;

mod compared;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: comparison_page PATH");
        return ExitCode::from(2);
    };
    match page::write(&compared::of_all(), Path::new(&path)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write {path}: {error}");
            ExitCode::FAILURE
        }
    }
}
