//! A sysctl that should be other than it is. None of them is ever made smaller.

use std::fmt;
use std::str::FromStr;

use super::facts::{MemoryMarks, PortList, PortRange};

/// One sysctl, and what it should come to. Its `Display` is an argument of `sysctl -w` (sysctl(8)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub(super) sysctl: &'static str,
    goal: Goal,
    /// What the goal comes to over the value that was found.
    value: String,
    /// Whether the run would fail without it.
    pub(super) is_required: bool,
}

/// What is to hold afterwards, whatever the value is by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    AtLeast(u64),
    PortsFrom(PortRange),
    PortReserved(u16),
    MarksAtLeast(MemoryMarks),
    /// A switch: its values have no order.
    Set(u64),
}

impl Change {
    /// `None` if the goal is reached already, or the present value makes no sense.
    pub(super) fn new(
        sysctl: &'static str,
        goal: Goal,
        current: impl fmt::Display,
    ) -> Option<Self> {
        let value = goal.over(&current.to_string())?;
        Some(Self {
            sysctl,
            goal,
            value,
            is_required: false,
        })
    }

    pub(super) fn required(self, is_required: bool) -> Self {
        Self {
            is_required,
            ..self
        }
    }

    /// Whether both want the same.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.sysctl, self.goal) == (other.sysctl, other.goal)
    }

    /// What to write over the present value; `None` if there is nothing to do.
    pub(super) fn over(&self, current: &str) -> Option<String> {
        self.goal.over(current)
    }
}

impl Goal {
    fn over(self, current: &str) -> Option<String> {
        match self {
            Self::AtLeast(least) => merged(current, |now: u64| now.max(least)),
            Self::PortsFrom(range) => merged(current, |now: PortRange| now.joined(range)),
            Self::PortReserved(port) => merged(current, |now: PortList| now.with(port)),
            Self::MarksAtLeast(marks) => merged(current, |now: MemoryMarks| now.joined(marks)),
            Self::Set(value) => merged(current, |_: u64| value),
        }
    }
}

fn merged<T: FromStr + PartialEq + fmt::Display>(
    current: &str,
    merge: impl FnOnce(T) -> T,
) -> Option<String> {
    let read = || current.trim().parse::<T>().ok();
    let (now, then) = (read()?, merge(read()?));
    (then != now).then(|| then.to_string())
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&assignment(self.sysctl, &self.value))
    }
}

/// An argument of `sysctl -w`, quoted for the shell where that is needed. The kernel puts tabs
/// between numbers.
pub(super) fn assignment(name: &str, value: &str) -> String {
    let value = value.replace('\t', " ");
    let quote = if value.is_empty() || value.contains(' ') {
        "\""
    } else {
        ""
    };
    format!("{name}={quote}{value}{quote}")
}

/// The command that makes the changes, to be typed as root: "sysctl -w net.core.somaxconn=65535".
pub fn command(changes: &[Change]) -> String {
    changes.iter().fold("sysctl -w".to_owned(), |line, change| {
        format!("{line} {change}")
    })
}

/// The same as a remedy.
pub(super) fn remedy(changes: &[Change]) -> String {
    format!("run `{}` as root, or add --tune", command(changes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::machine::sysctl;

    #[test]
    fn nothing_is_lowered() {
        assert_eq!(Goal::AtLeast(10).over("9\n").unwrap(), "10");
        assert_eq!(Goal::AtLeast(10).over("11\n"), None);
        let ports = Goal::PortsFrom(PortRange {
            first: 1024,
            last: 60_000,
        });
        assert_eq!(ports.over("32768\t60999\n").unwrap(), "1024 60999");
        assert_eq!(ports.over("1000\t65535\n"), None);
        assert_eq!(
            Goal::PortReserved(7007).over("80,9000-9009\n").unwrap(),
            "80,7007,9000-9009"
        );
        assert_eq!(Goal::PortReserved(7007).over("7000-7010\n"), None);
        assert_eq!(Goal::Set(1).over("2\n").unwrap(), "1");
        assert_eq!(Goal::Set(1).over("1\n"), None);
    }

    #[test]
    fn a_value_that_makes_no_sense_is_left_alone() {
        assert_eq!(Goal::AtLeast(10).over("max"), None);
        assert_eq!(
            Goal::PortsFrom(PortRange { first: 1, last: 2 }).over(""),
            None
        );
    }

    #[test]
    fn the_command_can_be_typed_as_it_stands() {
        let range = PortRange {
            first: 1024,
            last: 65_535,
        };
        let changes: Vec<Change> = [
            Change::new(
                sysctl::PORTS_RESERVED,
                Goal::PortReserved(7007),
                PortList::default(),
            ),
            Change::new(sysctl::PORT_RANGE, Goal::PortsFrom(range), "32768 60999"),
            Change::new(sysctl::SOMAXCONN, Goal::AtLeast(4096), 4096),
        ]
        .into_iter()
        .flatten()
        .collect();
        assert_eq!(
            command(&changes),
            "sysctl -w net.ipv4.ip_local_reserved_ports=7007 net.ipv4.ip_local_port_range=\"1024 65535\""
        );
    }
}
