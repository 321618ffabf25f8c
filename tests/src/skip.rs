//! Tests that need a tool or a privilege say so and step aside.

use std::env;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

/// Leaves the test, printing why; in a strict run (`CORELANE_TESTS_STRICT=1`) fails it instead.
///
/// `skip!("needs redis-cli")` prints `skipped: NAME: needs redis-cli`.
#[macro_export]
macro_rules! skip {
    ($why:expr) => {{
        $crate::announce($why);
        return;
    }};
}

/// Leaves the test unless every tool named is installed.
#[macro_export]
macro_rules! needs {
    ($($tool:literal),+) => {
        $(
            if !$crate::have($tool) {
                $crate::skip!(concat!("needs ", $tool));
            }
        )+
    };
}

/// What [`skip!`] does before it returns.
///
/// # Panics
/// In a strict run.
pub fn announce(why: &str) {
    let name = thread::current().name().unwrap_or("test").to_owned();
    let strict = env::var("CORELANE_TESTS_STRICT").is_ok_and(|value| value == "1");
    assert!(!strict, "skipped in a strict run: {name}: {why}");
    // Written around the capture of test output, because a skip nobody sees is a lie.
    let _ = writeln!(io::stderr(), "skipped: {name}: {why}");
}

/// Whether `tool` can be run.
#[must_use]
pub fn have(tool: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", "command -v \"$0\"", tool])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}
