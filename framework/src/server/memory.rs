//! Looks at the memory of the process from the control thread: whether the control group, or the
//! machine, is about to run out of it.

use std::cmp::Ordering;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cgroup::{self, Group};
use crate::meminfo::Meminfo;
use crate::metrics::Counter;

/// Between two looks at the most; half of it if the thread is awake then anyway, which spares it
/// being woken for this.
const INTERVAL: Duration = Duration::from_millis(250);
/// Memory is short when less than one in so many parts of a group's is left, or of the machine's;
/// it is no more when half as much again is. No keys: an operator sizes what fills the memory
/// (`[limits]`, `[buffers]`); this only says how near the end is.
const GROUP_PART: u64 = 8;
const MACHINE_PART: u64 = 32;

/// More than /proc/meminfo says.
const MEMINFO_BYTES: usize = 4096;

/// What the last look has found, for any thread to read. 0 is what is not known.
#[derive(Debug, Default)]
pub(crate) struct MemorySeen {
    /// 1 while memory is short.
    pub(crate) short: Counter,
    /// Of the control group with the smallest part of its bound left.
    pub(crate) group: Room,
    pub(crate) machine: Room,
}

/// Bytes that are left, and of how many.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) left: Counter,
    pub(crate) most: Counter,
}

impl Room {
    fn set(&self, [left, most]: [u64; 2]) {
        self.left.set(left);
        self.most.set(most);
    }
}

/// The last judgement, and when the next is due.
#[derive(Debug)]
pub(crate) struct MemoryWatch {
    /// The control groups with a bound, and their bounds.
    groups: Vec<(Group, u64)>,
    /// /proc/meminfo, open: a server with nothing to do looks, too. None: there is none, and the
    /// machine is not looked at.
    machine: Option<File>,
    next: Instant,
    short: bool,
    seen: Arc<MemorySeen>,
}

impl MemoryWatch {
    pub(crate) fn new(started: Instant) -> Self {
        let machine = File::open("/proc/meminfo").ok();
        let total = machine.as_ref().and_then(|meminfo| read(meminfo).total);
        let total = total.unwrap_or(u64::MAX);
        let bounded = |group: Group| {
            group
                .memory_max()
                .filter(|most| *most < total)
                .map(|most| (group, most))
        };
        Self {
            groups: cgroup::memory_groups()
                .into_iter()
                .filter_map(bounded)
                .collect(),
            machine,
            next: started,
            short: false,
            seen: Arc::default(),
        }
    }

    /// What it finds at each look.
    pub(crate) fn seen(&self) -> Arc<MemorySeen> {
        Arc::clone(&self.seen)
    }

    /// When to look next.
    pub(crate) fn due(&self) -> Instant {
        self.next
    }

    /// Whether memory is short, when that has changed.
    pub(crate) fn look(&mut self, now: Instant) -> Option<bool> {
        if now + INTERVAL / 2 < self.next {
            return None;
        }
        self.next = now + INTERVAL;
        let groups = self.groups.iter().filter_map(|(group, most)| {
            let left = most.saturating_sub(group.memory_used()?);
            Some([left, *most])
        });
        let group = groups.min_by(by_part_left);
        let machine = self.machine.as_ref().and_then(memory_of);
        let before = self.short;
        let ends = |room: Option<[u64; 2]>, part| {
            room.is_some_and(|[left, most]| is_short(left, most, part, before))
        };
        let short = ends(group, GROUP_PART) || ends(machine, MACHINE_PART);
        self.seen.short.set(short.into());
        self.seen.group.set(group.unwrap_or_default());
        self.seen.machine.set(machine.unwrap_or_default());
        let changed = short != self.short;
        self.short = short;
        changed.then_some(short)
    }
}

/// Which has the smaller part of its bound left.
fn by_part_left(one: &[u64; 2], other: &[u64; 2]) -> Ordering {
    let across = |[left, _]: [u64; 2], [_, most]: [u64; 2]| u128::from(left) * u128::from(most);
    across(*one, *other).cmp(&across(*other, *one))
}

fn is_short(left: u64, most: u64, part: u64, before: bool) -> bool {
    let least = most / part;
    left < if before { least + least / 2 } else { least }
}

/// The memory available, and all there is, in bytes.
fn memory_of(meminfo: &File) -> Option<[u64; 2]> {
    let Meminfo { total, available } = read(meminfo);
    Some([available?, total?])
}

fn read(meminfo: &File) -> Meminfo {
    let mut bytes = [0; MEMINFO_BYTES];
    let length = meminfo.read_at(&mut bytes, 0).unwrap_or(0);
    Meminfo::parse(&String::from_utf8_lossy(&bytes[..length]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_below_its_part_until_half_as_much_again_is_free() {
        let short = |left, before| is_short(left, 800, GROUP_PART, before);
        assert_eq!(
            [
                short(100, false),
                short(99, false),
                short(149, true),
                short(150, true)
            ],
            [false, true, true, false]
        );
    }

    #[test]
    fn of_several_groups_the_one_with_the_smallest_part_left_counts() {
        let groups = [[50, 100], [30, 200], [1 << 40, 1 << 62], [0, 0]];
        let counts = |groups: &[[u64; 2]]| groups.iter().copied().min_by(by_part_left);
        assert_eq!(counts(&groups[..2]), Some([30, 200]));
        assert_eq!(counts(&groups[..3]), Some([1 << 40, 1 << 62]));
        assert_eq!(counts(&[]), None);
    }

    #[test]
    fn what_a_look_finds_can_be_read() {
        let started = Instant::now();
        let mut watch = MemoryWatch::new(started);
        let seen = watch.seen();
        assert_eq!(seen.machine.most.get(), 0, "nothing before the first look");
        watch.look(started);
        let (left, most) = (seen.machine.left.get(), seen.machine.most.get());
        assert!(0 < left && left < most && seen.short.get() <= 1);
    }

    #[test]
    fn each_look_at_the_machine_is_a_new_one() {
        let path = std::env::temp_dir().join(format!("corelane-meminfo-{}", std::process::id()));
        let says = |text: &str| std::fs::write(&path, text).expect("a file for a moment");
        let with = |total: &str, available: &str| {
            format!("MemTotal:  {total} kB\nMemFree: 1 kB\nMemAvailable:  {available} kB\n")
        };
        says(&with("9", "4"));
        let file = File::open(&path).expect("it is there");
        assert_eq!(memory_of(&file), Some([4096, 9216]));
        says(&with("9", "3"));
        assert_eq!(memory_of(&file), Some([3072, 9216]));
        for text in [&*with("9", "many"), "nothing of the kind", ""] {
            says(text);
            assert_eq!(memory_of(&file), None, "{text}");
        }
        std::fs::remove_file(path).expect("it was there");
        let [available, total] =
            memory_of(&File::open("/proc/meminfo").expect("Linux has it")).expect("both are in it");
        assert!(0 < available && available < total);
    }
}
