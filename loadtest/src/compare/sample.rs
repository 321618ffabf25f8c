//! What /proc says of a process.

use std::collections::BTreeMap;
use std::time::Instant;
use std::{fs, io};

use rustix::param::clock_ticks_per_second;

/// A process at an instant.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) at: Instant,
    /// Processor time so far.
    cpu_ns: u64,
    pub(crate) resident_bytes: u64,
}

impl Sample {
    pub(crate) fn take(pid: u32) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            cpu_ns: cpu_ns(pid)?,
            resident_bytes: resident_bytes(pid)?,
        })
    }

    /// A thread that ended in between, as the kernel's own workers do, takes its share with it.
    pub(crate) fn cpu_ns_since(&self, earlier: &Self) -> u64 {
        self.cpu_ns.saturating_sub(earlier.cpu_ns)
    }
}

/// Processor time of all threads of a process so far, in nanoseconds, the kernel's work on their
/// behalf included.
fn cpu_ns(pid: u32) -> io::Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match fs::read_to_string(task?.path().join("schedstat")) {
            Ok(schedstat) => sum += first_number(&schedstat)?,
            // No CONFIG_SCHED_INFO, or the thread has just ended: whole ticks, but all of them.
            Err(_) => return cpu_ns_in_ticks(pid),
        }
    }
    Ok(sum)
}

fn cpu_ns_in_ticks(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat_ticks(&stat)? * (1_000_000_000 / clock_ticks_per_second()))
}

/// Processor time so far of each shard of a Corelane process, in nanoseconds: of the threads
/// "shard-N", for a shard's helpers have its name too. Empty for other programs, and without
/// CONFIG_SCHED_INFO.
pub(crate) fn shards_cpu_ns(pid: u32) -> BTreeMap<u32, u64> {
    let mut shards = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if let (Some(shard), Ok(cpu_ns)) = (
            shard_number(&read("comm")),
            first_number(&read("schedstat")),
        ) {
            *shards.entry(shard).or_default() += cpu_ns;
        }
    }
    shards
}

fn shard_number(comm: &str) -> Option<u32> {
    comm.trim_end().strip_prefix("shard-")?.parse().ok()
}

/// Memory of a process that is present, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    Ok(first_number(line.unwrap_or_default())? * 1024)
}

/// utime and stime of /proc/PID/stat: fields 14 and 15 of proc_pid_stat(5). The second field is
/// the name, in parentheses, and may contain anything.
fn stat_ticks(stat: &str) -> io::Result<u64> {
    let (_, after_name) = stat.rsplit_once(')').ok_or_else(unreadable)?;
    let mut times = after_name.split_whitespace().skip(11);
    let mut time = || times.next().map_or_else(|| Err(unreadable()), first_number);
    Ok(time()? + time()?)
}

fn first_number(text: &str) -> io::Result<u64> {
    let word = text.split_whitespace().next();
    word.and_then(|word| word.parse().ok())
        .ok_or_else(unreadable)
}

fn unreadable() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a file in /proc is not as proc(5) describes it",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn stat_is_read_behind_a_name_of_any_shape() {
        let stat = "7 (a) R 1 (b) S 1 7 7 0 -1 4194304 97 0 0 0 21 4 0 0 20 0 1 0 5 0";
        assert_eq!(stat_ticks(stat).unwrap(), 25);
        stat_ticks("7 (short) S 1").unwrap_err();
        stat_ticks("").unwrap_err();
    }

    #[test]
    fn shards_are_told_by_the_names_of_their_threads() {
        assert_eq!(shard_number("shard-63\n"), Some(63));
        for other in ["shard-\n", "shard-x\n", "log\n", ""] {
            assert_eq!(shard_number(other), None, "{other:?}");
        }
        let (begins, begun) = channel();
        let (quit, quits) = channel::<()>();
        let thread = thread::Builder::new()
            .name("shard-4242".to_owned())
            .spawn(move || {
                begins.send(()).unwrap(); // a thread names itself, so that it has its name by now
                quits.recv()
            });
        begun.recv().unwrap();
        let found = shards_cpu_ns(std::process::id());
        drop(quit);
        thread.unwrap().join().unwrap().unwrap_err();
        assert!(found.contains_key(&4242), "{found:?}");
    }

    #[test]
    fn this_process_has_memory_and_has_used_the_processor() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > 100_000);
        while cpu_ns(pid).unwrap() == 0 {} // bounded: this loop is what it waits for
        cpu_ns_in_ticks(pid).unwrap();
    }

    proptest::proptest! {
        #![proptest_config(crate::proptests::cases())]

        #[test]
        fn any_text_is_read_or_refused(text in crate::proptests::text()) {
            let _either = (stat_ticks(&text), stat_ticks(&format!("1 ({text}) S 1 2 3 4 5 6 7 8 9 10 {text}")), first_number(&text));
        }
    }
}
