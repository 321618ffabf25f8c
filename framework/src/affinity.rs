//! On which cores a thread runs.
//!
//! A thread inherits the cores of the one that starts it. So what a shard's thread starts would
//! stay on the shard's one core.

use std::io;

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// From now on the calling thread runs on these cores only.
pub(crate) fn keep_to(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores.iter().filter(|core| **core < CpuSet::MAX_CPU) {
        set.set(*core);
    }
    sched_setaffinity(None, &set).map_err(io::Error::from)
}

/// From now on the calling thread runs wherever the process may: on the cores of its main thread,
/// which is never pinned.
pub(crate) fn leave_core() -> io::Result<()> {
    let set = sched_getaffinity(Some(getpid()))?;
    sched_setaffinity(None, &set).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn own() -> Vec<usize> {
        let set = sched_getaffinity(None).unwrap();
        (0..CpuSet::MAX_CPU)
            .filter(|core| set.is_set(*core))
            .collect()
    }

    #[test]
    fn a_thread_keeps_to_a_core_until_it_leaves_it() {
        let allowed = own();
        let thread = std::thread::spawn(move || {
            let last = *allowed.last().unwrap();
            keep_to(&[last]).unwrap();
            assert_eq!(own(), [last]);
            assert_eq!(std::thread::spawn(own).join().unwrap(), [last], "inherited");
            leave_core().unwrap();
            assert_eq!(own(), allowed);
        });
        thread.join().unwrap();
    }
}
