//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for what should take milliseconds. Long, because machines get busy; a
/// test that is about time has a bound of its own.
pub const BOUND: Duration = Duration::from_secs(10);

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(2);

/// Looks until `condition` gives a value.
///
/// # Panics
/// When `bound` has passed, with `what` was waited for.
pub fn within<T>(bound: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(start.elapsed() < bound, "not within {bound:?}: {what}");
        thread::sleep(PAUSE);
    }
}
