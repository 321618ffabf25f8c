//! The file that outlives a killed run: who changed which sysctls, and what they were.

use std::fmt;
use std::fs;
use std::path::Path;

use super::sysctl;

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) owner: Owner,
    pub(super) saved: Vec<Saved>,
}

/// A process. Its start time tells it from a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pid: u32,
    /// Clock ticks from the boot of the machine, field 22 of proc_pid_stat(5).
    started: u64,
}

/// A sysctl and the value that it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Saved {
    pub(super) sysctl: &'static str,
    pub(super) old: String,
}

impl State {
    /// `None` unless every line is as [`State::fmt`] writes it and names a sysctl that may be changed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let owner = owner(lines.next()?)?;
        let saved = lines.map(saved).collect::<Option<_>>()?;
        Some(Self { owner, saved })
    }
}

fn owner(line: &str) -> Option<Owner> {
    let (pid, started) = line.strip_prefix("process ")?.split_once(" started ")?;
    Some(Owner { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

fn saved(line: &str) -> Option<Saved> {
    let (name, old) = line.split_once(" = ")?;
    Some(Saved { sysctl: sysctl::tunable(name)?, old: old.to_owned() })
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "process {} started {}", self.owner.pid, self.owner.started)?;
        self.saved.iter().try_for_each(|saved| writeln!(out, "{} = {}", saved.sysctl, saved.old))
    }
}

impl Owner {
    /// This process.
    pub(super) fn current(root: &Path) -> Self {
        let pid = std::process::id();
        Self { pid, started: started(root, pid).unwrap_or(0) }
    }

    pub(super) fn is_alive(self, root: &Path) -> bool {
        started(root, self.pid) == Some(self.started)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "process {}", self.pid)
    }
}

fn started(root: &Path, pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(root.join(format!("proc/{pid}/stat"))).ok()?;
    // The second field is the name, in parentheses, and may hold anything; the third comes after the last of them.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(22 - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let saved = [(sysctl::TCP_MEM, "1\t2\t3"), (sysctl::PORTS_RESERVED, "")];
        let saved = saved.map(|(sysctl, old)| Saved { sysctl, old: old.to_owned() }).to_vec();
        let state = State { owner: Owner { pid: 7, started: 99 }, saved };
        assert_eq!(State::parse(&state.to_string()), Some(state));
    }

    #[test]
    fn a_file_that_names_anything_else_is_not_believed() {
        for line in ["kernel.core_pattern = |/bin/sh", "net/../kernel = 1", "net.core.somaxconn", ""] {
            assert_eq!(State::parse(&format!("process 7 started 99\n{line}\n")), None, "{line}");
        }
        assert_eq!(State::parse(""), None);
        assert_eq!(State::parse("process 7\n"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let root = Path::new("/");
        let owner = Owner::current(root);
        assert!(owner.started > 0 && owner.is_alive(root));
        assert!(!Owner { started: owner.started + 1, ..owner }.is_alive(root));
    }
}
