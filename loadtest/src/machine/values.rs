//! The sysctls that are more than one number: read, merged and written again.

use std::fmt;
use std::str::FromStr;

/// A sysctl of this kind does not read so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// net.ipv4.ip_local_port_range: "32768 60999", both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest port.
    pub first: u16,
    /// The highest port.
    pub last: u16,
}

impl PortRange {
    fn new(first: u16, last: u16) -> Result<Self, Unreadable> {
        let range = (first <= last).then_some(Self { first, last });
        range.ok_or(Unreadable)
    }

    /// Ports in it.
    pub fn count(self) -> u64 {
        u64::from(self.last).saturating_sub(self.first.into()) + 1
    }

    /// Whether the port is one of them.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let [first, last] = numbers(text)?;
        Self::new(first, last)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.first, self.last)
    }
}

/// net.ipv4.ip_local_reserved_ports: "7007,8000-8009", or nothing. Sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortList(Vec<PortRange>);

impl PortList {
    /// Whether the port is in it.
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(port))
    }

    /// How many of the ports in `range` are in it.
    pub fn count_within(&self, range: PortRange) -> u64 {
        let overlaps = self.0.iter().filter_map(|own| {
            PortRange::new(own.first.max(range.first), own.last.min(range.last)).ok()
        });
        overlaps.map(PortRange::count).sum()
    }

    pub(super) fn with(&self, port: u16) -> Self {
        let mut ranges = self.0.clone();
        if !self.contains(port) {
            ranges.extend(PortRange::new(port, port));
            ranges.sort_by_key(|range| range.first);
        }
        Self(ranges)
    }
}

impl FromStr for PortList {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let parts = text.trim().split(',').filter(|part| !part.is_empty());
        let ranges = parts.map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let port = |text: &str| text.trim().parse().map_err(|_| Unreadable);
            PortRange::new(port(first)?, port(last)?)
        });
        ranges.collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.0.iter().map(|range| match range.count() {
            1 => range.first.to_string(),
            _ => format!("{}-{}", range.first, range.last),
        });
        out.write_str(&ranges.collect::<Vec<_>>().join(","))
    }
}

/// net.ipv4.tcp_mem: three marks in pages, low, pressure and high. Below the first TCP takes what it
/// likes, from the second on it moderates itself, at the third it drops data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryMarks([u64; 3]);

impl MemoryMarks {
    /// The most that all sockets hold together.
    pub(super) fn high(self) -> u64 {
        self.0[2]
    }

    /// Marks under which so many pages are no pressure, in the kernel's own proportion of 3 to 4 to
    /// 6.
    pub(super) fn for_pages(pages: u64) -> Self {
        Self([pages / 4 * 3, pages, pages / 2 * 3])
    }

    pub(super) fn joined(self, other: Self) -> Self {
        Self(std::array::from_fn(|mark| self.0[mark].max(other.0[mark])))
    }
}

impl FromStr for MemoryMarks {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        numbers(text).map(Self)
    }
}

impl fmt::Display for MemoryMarks {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.map(|mark| mark.to_string()).join(" "))
    }
}

/// Exactly so many numbers, between white space.
fn numbers<T: FromStr, const COUNT: usize>(text: &str) -> Result<[T; COUNT], Unreadable> {
    let numbers = text.split_whitespace().map(|word| word.parse().ok());
    let numbers = numbers.collect::<Option<Vec<T>>>().ok_or(Unreadable)?;
    numbers.try_into().map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn ranges_read_as_the_kernel_prints_them() {
        let range: PortRange = "32768\t60999\n".parse().unwrap();
        assert_eq!(
            (range.count(), range.to_string().as_str()),
            (28_232, "32768 60999")
        );
        for wrong in ["", "1", "2 1", "1 2 3", "1 65536", "a b"] {
            wrong.parse::<PortRange>().unwrap_err();
        }
    }

    #[test]
    fn reserved_ports_are_counted_within_a_range_and_extended() {
        let list: PortList = "7007,40000-40009,60998-61005\n".parse().unwrap();
        assert_eq!(
            list.count_within(PortRange {
                first: 32_768,
                last: 60_999
            }),
            12
        );
        assert!(list.contains(40_009) && !list.contains(40_010));
        assert_eq!(list.with(7007), list);
        assert_eq!(
            list.with(9000).to_string(),
            "7007,9000,40000-40009,60998-61005"
        );
        assert_eq!(
            "\n".parse::<PortList>().unwrap().with(7007).to_string(),
            "7007"
        );
        "7007-".parse::<PortList>().unwrap_err();
        "9-7".parse::<PortList>().unwrap_err();
    }

    #[test]
    fn marks_keep_the_kernels_proportion_and_never_sink() {
        let marks = MemoryMarks::for_pages(4000);
        assert_eq!(marks.to_string(), "3000 4000 6000");
        assert_eq!(
            marks.joined("1 9000 10000".parse().unwrap()).to_string(),
            "3000 9000 10000"
        );
    }
}
