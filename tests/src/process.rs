//! What the kernel says about a process.

use std::fs;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Resident memory of process `pid`, in bytes.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}

/// Open descriptors of process `pid`.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Whether process `pid` has ended, and at most waits for its parent to hear of it.
#[must_use]
pub fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    // proc(5): the state stands behind the name, which may hold anything.
    stat.map_or(true, |stat| {
        stat.rsplit(") ")
            .next()
            .is_none_or(|rest| rest.starts_with('Z'))
    })
}

/// Processor time that process `pid` has taken, to the hundredth of a second.
///
/// # Panics
/// When there is no such process.
#[must_use]
pub fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // proc(5): the name may hold anything; utime and stime are the 12th and 13th fields behind it,
    // in clock ticks.
    let fields = stat.rsplit(')').next().unwrap();
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 1000 / clock_ticks_per_second())
}

/// Lifts this process's own descriptor limit to its hard limit and gives that.
///
/// # Panics
/// When the kernel refuses, which it does not for the soft limit.
#[must_use]
pub fn raise_descriptor_limit() -> u64 {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
    maximum.unwrap_or(u64::MAX)
}
