//! What to type so that the machine suits the run.

use std::fmt::Display;

/// The command that sets these sysctls (sysctl(8)), in this order.
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

pub(super) fn set_sysctl(name: &str, value: impl Display) -> String {
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
