//! The machine's memory, from the two lines of proc_meminfo(5) that matter here. procfs wants a
//! score of lines more, which a container need not show.

use std::fs;

const KIB: u64 = 1024;

/// In bytes; `None` where its line is missing or reads otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meminfo {
    pub(crate) total: Option<u64>,
    /// What the kernel could still give to programs.
    pub(crate) available: Option<u64>,
}

impl Meminfo {
    /// Of this machine; nothing is known where /proc is hidden.
    pub(crate) fn current() -> Self {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self::parse(&text)
    }

    pub(crate) fn parse(text: &str) -> Self {
        Self {
            total: bytes_in(text, "MemTotal:"),
            available: bytes_in(text, "MemAvailable:"),
        }
    }
}

fn bytes_in(text: &str, label: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(label))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lines_are_enough() {
        let both = Meminfo {
            total: Some(9 * KIB),
            available: Some(4 * KIB),
        };
        assert_eq!(
            Meminfo::parse("MemTotal:  9 kB\nMemAvailable:  4 kB\n"),
            both
        );
        let among_others =
            "MemTotalOther: 1 kB\nMemTotal: 9 kB\nHugePages_Total: 0\nMemAvailable: 4 kB";
        assert_eq!(Meminfo::parse(among_others), both);
    }

    #[test]
    fn a_line_that_is_missing_or_odd_hides_no_other() {
        let total_alone = Meminfo {
            total: Some(9 * KIB),
            available: None,
        };
        for rest in [
            "",
            "MemAvailable: many kB\n",
            "MemAvailable: 4\n",
            "MemAvailable: -4 kB\n",
            "MemAvailable: 18446744073709551615 kB\n",
            "MemAvailable:\n",
            "rubbish\n\n",
        ] {
            let text = format!("MemTotal: 9 kB\n{rest}");
            assert_eq!(Meminfo::parse(&text), total_alone, "{rest:?}");
        }
        assert_eq!(Meminfo::parse(""), Meminfo::default());
    }

    #[test]
    fn this_machine_has_memory() {
        let Meminfo { total, available } = Meminfo::current();
        assert!(available > Some(0) && available < total);
    }
}
