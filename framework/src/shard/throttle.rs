//! Keeps one kind of event from filling the log.

use super::deadline::{Tick, Ticks};

/// At most one line per this long.
const INTERVAL: Ticks = Ticks::seconds(1);

/// Lets one event per interval through and counts the others.
#[derive(Debug)]
pub(super) struct Throttle {
    open_at: Tick,
    held_back: u64,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { open_at: Tick(0), held_back: 0 }
    }

    /// Whether an event would be let through.
    pub(super) fn is_open(&self, now: Tick) -> bool {
        now >= self.open_at
    }

    /// How many events were held back since the last one that was let through; none when this one is to be held back too.
    pub(super) fn pass(&mut self, now: Tick) -> Option<u64> {
        if !self.is_open(now) {
            self.held_back += 1;
            return None;
        }
        self.open_at = now.after(INTERVAL);
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_per_interval_passes_with_the_count_of_the_others() {
        let mut throttle = Throttle::new();
        assert_eq!(throttle.pass(Tick(10)), Some(0));
        assert_eq!(throttle.pass(Tick(10)), None);
        assert_eq!(throttle.pass(Tick(17)), None);
        assert_eq!(throttle.pass(Tick(18)), Some(2));
        assert_eq!(throttle.pass(Tick(19)), None);
    }
}
