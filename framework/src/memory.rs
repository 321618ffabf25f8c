//! Looks at the memory of the process from the control thread: whether the control group, or the machine, is about to run out of it.

use std::fs;
use std::time::{Duration, Instant};

use crate::cgroup::{self, Group};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(250);
/// Memory is short when less than one in so many parts of a group's is left, or of the machine's; it is no more when half as much again is.
/// No keys: an operator sizes what fills the memory (`[limits]`, `[buffers]`); this only says how near the end is.
const GROUP_PART: u64 = 8;
const MACHINE_PART: u64 = 32;

/// The last judgement, and when the next is due.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    /// The control groups with a bound, and their bounds.
    groups: Vec<(Group, u64)>,
    next: Instant,
    short: bool,
}

impl MemoryWatch {
    pub(crate) fn new(started: Instant) -> Self {
        let total = meminfo("MemTotal").unwrap_or(u64::MAX);
        let bounded = |group: Group| group.memory_max().filter(|most| *most < total).map(|most| (group, most));
        Self { groups: cgroup::memory_groups().into_iter().filter_map(bounded).collect(), next: started, short: false }
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Whether memory is short, when that has changed.
    pub(crate) fn look(&mut self, now: Instant) -> Option<bool> {
        if now < self.next {
            return None;
        }
        self.next = now + INTERVAL;
        let group = self.groups.iter().any(|(group, most)| {
            group.memory_used().is_some_and(|used| is_short(most.saturating_sub(used), *most, GROUP_PART, self.short))
        });
        let machine = || is_short(meminfo("MemAvailable")?, meminfo("MemTotal")?, MACHINE_PART, self.short).then_some(());
        let short = group || machine().is_some();
        let changed = short != self.short;
        self.short = short;
        changed.then_some(short)
    }
}

fn is_short(left: u64, most: u64, part: u64, before: bool) -> bool {
    let least = most / part;
    left < if before { least + least / 2 } else { least }
}

fn meminfo(name: &str) -> Option<u64> {
    cgroup::meminfo(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_below_its_part_until_half_as_much_again_is_free() {
        let short = |left, before| is_short(left, 800, GROUP_PART, before);
        assert_eq!([short(100, false), short(99, false), short(149, true), short(150, true)], [false, true, true, false]);
    }
}
