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
    /// `None` unless every line is as `Display` writes it and names a sysctl that may be changed.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let owner = owner(lines.next()?)?;
        let saved = lines.map(saved).collect::<Option<_>>()?;
        Some(Self { owner, saved })
    }
}

fn owner(line: &str) -> Option<Owner> {
    let (pid, started) = line.strip_prefix("process ")?.split_once(" started ")?;
    Some(Owner {
        pid: pid.parse().ok()?,
        started: started.parse().ok()?,
    })
}

fn saved(line: &str) -> Option<Saved> {
    let (name, old) = line.split_once(" = ")?;
    Some(Saved {
        sysctl: sysctl::tunable(name)?,
        old: old.to_owned(),
    })
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "process {} started {}",
            self.owner.pid, self.owner.started
        )?;
        self.saved
            .iter()
            .try_for_each(|saved| writeln!(out, "{} = {}", saved.sysctl, saved.old))
    }
}

impl Owner {
    /// This process.
    pub(super) fn current(root: &Path) -> Self {
        let pid = std::process::id();
        let stat = read_stat(root, pid);
        Self {
            pid,
            started: stat
                .as_deref()
                .and_then(state_and_start)
                .map_or(0, |(_, started)| started),
        }
    }

    /// Whether it has this number.
    pub(super) fn is(self, pid: u32) -> bool {
        self.pid == pid
    }

    /// Whether it still runs. One that was killed and that nobody has waited for does not, though
    /// /proc shows it: in a container whose first process waits for no orphans that lasts for good.
    pub(super) fn is_alive(self, root: &Path) -> bool {
        let stat = read_stat(root, self.pid);
        let process = stat.as_deref().and_then(state_and_start);
        process
            .is_some_and(|(state, started)| started == self.started && !matches!(state, "Z" | "X"))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "process {}", self.pid)
    }
}

fn read_stat(root: &Path, pid: u32) -> Option<String> {
    fs::read_to_string(root.join(format!("proc/{pid}/stat"))).ok()
}

/// State and start time, fields 3 and 22.
fn state_and_start(stat: &str) -> Option<(&str, u64)> {
    // The second field is the name, in parentheses, and may hold anything; the third comes after
    // the last of them.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    Some((fields.next()?, fields.nth(22 - 4)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let saved = [(sysctl::TCP_MEM, "1\t2\t3"), (sysctl::PORTS_RESERVED, "")];
        let saved = saved
            .map(|(sysctl, old)| Saved {
                sysctl,
                old: old.to_owned(),
            })
            .to_vec();
        let state = State {
            owner: Owner {
                pid: 7,
                started: 99,
            },
            saved,
        };
        assert_eq!(State::parse(&state.to_string()), Some(state));
    }

    #[test]
    fn a_file_that_names_anything_else_is_not_believed() {
        for line in [
            "kernel.core_pattern = |/bin/sh",
            "net/../kernel = 1",
            "net.core.somaxconn",
            "",
        ] {
            assert_eq!(
                State::parse(&format!("process 7 started 99\n{line}\n")),
                None,
                "{line}"
            );
        }
        assert_eq!(State::parse(""), None);
        assert_eq!(State::parse("process 7\n"), None);
    }

    #[test]
    fn a_process_is_known_by_its_start_time() {
        let root = Path::new("/");
        let owner = Owner::current(root);
        assert!(owner.started > 0 && owner.is_alive(root));
        assert!(
            !Owner {
                started: owner.started + 1,
                ..owner
            }
            .is_alive(root)
        );
    }
}
