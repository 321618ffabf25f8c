//! The control groups that bound this process's memory (cgroups(7)): its own and those above it, of
//! version 2 or 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where version 2 is mounted: alone, or beside version 1.
const MOUNTS_V2: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
const MOUNT_V1: &str = "/sys/fs/cgroup/memory";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Version {
    /// Files of a group: its bound, what it uses, and in which line of its statistics the files'
    /// pages stand that go at once when needed.
    fn files(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::One => (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
                "total_inactive_file",
            ),
            Self::Two => ("memory.max", "memory.current", "inactive_file"),
        }
    }
}

/// A control group with a memory controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    directory: PathBuf,
    version: Version,
}

impl Group {
    /// The most its processes may have, in bytes; none without a bound.
    pub(crate) fn memory_max(&self) -> Option<u64> {
        number(self.directory.join(self.version.files().0))
    }

    /// What they have and would not give back at once, in bytes.
    pub(crate) fn memory_used(&self) -> Option<u64> {
        let (_, used, given_back) = self.version.files();
        let statistics = fs::read_to_string(self.directory.join("memory.stat")).ok()?;
        let used: u64 = number(self.directory.join(used))?;
        Some(used.saturating_sub(field(&statistics, given_back).unwrap_or(0)))
    }
}

/// The groups of this process, its own first.
pub(crate) fn memory_groups() -> Vec<Group> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups_of(&membership)
        .into_iter()
        .filter(|group| group.directory.is_dir())
        .collect()
}

/// As [`memory_groups`], whether they are there or not. In a container the names may be those
/// outside, with only the root to be seen.
fn groups_of(membership: &str) -> Vec<Group> {
    let mut groups = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(number), Some(controllers), Some(path)) =
            (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (version, mounts) = match (number, controllers) {
            ("0", "") => (Version::Two, &MOUNTS_V2[..]),
            (_, controllers) if controllers.split(',').any(|name| name == "memory") => {
                (Version::One, &[MOUNT_V1][..])
            }
            _ => continue,
        };
        for mount in mounts {
            let above = Path::new(path.trim_start_matches('/')).ancestors();
            groups.extend(above.map(|path| Group {
                directory: Path::new(mount).join(path),
                version,
            }));
        }
    }
    groups
}

/// The field of proc_meminfo(5) called `name`, in bytes.
pub(crate) fn meminfo(text: &str, name: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The value in the line of `name`.
fn field(statistics: &str, name: &str) -> Option<u64> {
    statistics.lines().find_map(|line| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    })
}

fn number<T: FromStr>(path: impl AsRef<Path>) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_both_versions_are_found_with_those_above_them() {
        let paths = |membership: &str| -> Vec<String> {
            groups_of(membership)
                .iter()
                .map(|group| group.directory.display().to_string())
                .collect()
        };
        let unified = paths("0::/system.slice/echo.service\n");
        assert_eq!(
            unified[..3],
            [
                "/sys/fs/cgroup/system.slice/echo.service",
                "/sys/fs/cgroup/system.slice",
                "/sys/fs/cgroup/"
            ]
        );
        let mixed = "5:devices:/\n4:memory:/a/b\n3:cpu,cpuacct:/a\n";
        assert_eq!(
            paths(mixed),
            [
                "/sys/fs/cgroup/memory/a/b",
                "/sys/fs/cgroup/memory/a",
                "/sys/fs/cgroup/memory/"
            ]
        );
        assert!(groups_of("nonsense\n\n1:memory_not:/x\n").is_empty());
    }

    #[test]
    fn figures_are_read_in_bytes() {
        assert_eq!(
            meminfo("MemTotal: 9 kB\nMemAvailable:    2048 kB\n", "MemAvailable"),
            Some(2_097_152)
        );
        assert_eq!(meminfo("MemAvailable: many kB\n", "MemAvailable"), None);
        assert_eq!(meminfo("", "MemTotal"), None);
        assert_eq!(
            field("inactive_file_x 1\ninactive_file 4096\n", "inactive_file"),
            Some(4096)
        );
    }
}
