//! The control groups that bound this process's memory (cgroups(7)): its own and those above it, of
//! version 2 or 1.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use procfs::{FromRead, ProcessCGroups};

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
        number(self.memory_max_file())
    }

    /// Where the kernel tells that.
    pub(crate) fn memory_max_file(&self) -> PathBuf {
        self.directory.join(self.version.files().0)
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
    let membership = ProcessCGroups::from_file("/proc/self/cgroup");
    membership
        .map(groups_of)
        .unwrap_or_default()
        .into_iter()
        .filter(|group| group.directory.is_dir())
        .collect()
}

/// As [`memory_groups`], whether they are there or not. In a container the names may be those
/// outside, with only the root to be seen.
fn groups_of(membership: ProcessCGroups) -> Vec<Group> {
    let mut groups = Vec::new();
    for group in membership {
        let has_memory = group.controllers.iter().any(|name| name == "memory");
        let (version, mounts) = match group.hierarchy {
            0 if group.controllers.is_empty() => (Version::Two, &MOUNTS_V2[..]),
            _ if has_memory => (Version::One, &[MOUNT_V1][..]),
            _ => continue,
        };
        for mount in mounts {
            let above = Path::new(group.pathname.trim_start_matches('/')).ancestors();
            groups.extend(above.map(|path| Group {
                directory: Path::new(mount).join(path),
                version,
            }));
        }
    }
    groups
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
        let groups = |membership: &str| -> Vec<Group> {
            ProcessCGroups::from_read(membership.as_bytes())
                .map(groups_of)
                .unwrap_or_default()
        };
        let paths = |membership: &str| -> Vec<String> {
            groups(membership)
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
        assert!(groups("1:memory_not:/x\n").is_empty());
        assert!(groups("nonsense\n\n1:memory_not:/x\n").is_empty());
    }

    #[test]
    fn figures_are_read_in_bytes() {
        assert_eq!(
            field("inactive_file_x 1\ninactive_file 4096\n", "inactive_file"),
            Some(4096)
        );
    }
}
