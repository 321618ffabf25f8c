//! Something about the machine that does not suit the run.

use std::fmt;

/// Its `Display` is "what, why: what to type".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub(super) what: String,
    why: String,
    remedy: String,
}

impl Problem {
    pub(super) fn new(
        what: impl Into<String>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            why: why.into(),
            remedy: remedy.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}: {}", self.what, self.why, self.remedy)
    }
}

impl std::error::Error for Problem {}

/// A remedy: the command that sets these sysctls (sysctl(8)), in this order.
pub(super) fn set_sysctls(settings: &[(&str, String)]) -> String {
    let assignments: Vec<String> = settings
        .iter()
        .map(|(name, value)| {
            let quote = if value.contains(' ') { "\"" } else { "" };
            format!("{name}={quote}{value}{quote}")
        })
        .collect();
    format!("run `sysctl -w {}` as root", assignments.join(" "))
}

pub(super) fn set_sysctl(name: &str, value: impl fmt::Display) -> String {
    set_sysctls(&[(name, value.to_string())])
}

/// The remedies that there are, one or another of which will do.
pub(super) fn either<const N: usize>(remedies: [Option<String>; N]) -> String {
    let remedies: Vec<String> = remedies.into_iter().flatten().collect();
    remedies.join(", or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_typed_as_it_stands() {
        let settings = [
            ("net.ipv4.ip_local_reserved_ports", "7007".to_owned()),
            ("net.ipv4.ip_local_port_range", "1024 65535".to_owned()),
        ];
        assert_eq!(
            set_sysctls(&settings),
            "run `sysctl -w net.ipv4.ip_local_reserved_ports=7007 \
             net.ipv4.ip_local_port_range=\"1024 65535\"` as root"
        );
        assert_eq!(
            set_sysctl("fs.nr_open", 10_000),
            "run `sysctl -w fs.nr_open=10000` as root"
        );
    }
}
