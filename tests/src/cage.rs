//! A control group with little memory, to start a server in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::{BOUND, within};

/// Where memory controllers are: version 2 alone, version 1, version 2 beside it.
const PARENTS: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/memory",
    "/sys/fs/cgroup/unified",
];

/// A control group (cgroups(7)) of one server. It is removed on drop, once the server has gone.
#[derive(Debug)]
pub struct Cage {
    directory: PathBuf,
}

impl Cage {
    /// One whose processes may have so much memory; none where we are not let make it: that takes
    /// root and a memory controller.
    #[must_use]
    pub fn of(memory_max: u64) -> Option<Self> {
        PARENTS
            .iter()
            .find_map(|parent| Self::below(Path::new(parent), memory_max))
    }

    fn below(parent: &Path, memory_max: u64) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "corelane-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let directory = parent.join(name);
        fs::create_dir(&directory).ok()?;
        let cage = Self { directory };
        let bound = ["memory.max", "memory.limit_in_bytes"]
            .into_iter()
            .find(|file| cage.directory.join(file).exists())?;
        fs::write(cage.directory.join(bound), memory_max.to_string()).ok()?;
        Some(cage)
    }

    /// What a shell does to enter it: for [`Launch::after`](crate::Launch::after).
    #[must_use]
    pub fn entry(&self) -> String {
        format!(
            "echo $$ > {}",
            self.directory.join("cgroup.procs").display()
        )
    }

    /// Bytes that its processes take.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn used(&self) -> u64 {
        let files = ["memory.current", "memory.usage_in_bytes"];
        let text = files
            .iter()
            .find_map(|file| fs::read_to_string(self.directory.join(file)).ok())
            .unwrap();
        text.trim().parse().expect("a number of bytes")
    }

    /// How often the kernel has killed one of its processes for want of memory.
    ///
    /// # Panics
    /// When the kernel does not tell.
    #[must_use]
    pub fn kills(&self) -> u64 {
        let files = ["memory.events", "memory.oom_control"];
        let text = files
            .iter()
            .find_map(|file| fs::read_to_string(self.directory.join(file)).ok())
            .unwrap();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill "))
            .expect("the count of kills")
            .trim()
            .parse()
            .unwrap()
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            within(BOUND, "an empty control group", || {
                fs::remove_dir(&self.directory).ok()
            });
        } else {
            let _ = fs::remove_dir(&self.directory);
        }
    }
}
