//! Version 1: one line of text (section 2.1).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use memchr::memmem;

use super::proxied::{Addresses, Proxied, ProxyVersion};
use crate::step::Step;

/// What each begins with.
pub(super) const FIRST: u8 = b'P';
/// Bytes of the longest line, its end included.
pub(super) const LINE_MAX: usize = 107;

const END: &[u8] = b"\r\n";
const UNKNOWN: &[u8] = b"PROXY UNKNOWN";
/// The beginnings of a line.
const BEGINNINGS: [&[u8]; 4] = [
    b"PROXY TCP4 ",
    b"PROXY TCP6 ",
    b"PROXY UNKNOWN ",
    b"PROXY UNKNOWN\r\n",
];

/// The line, once its end is there: no address is looked at before.
pub(super) fn parse(bytes: &[u8]) -> Step<Proxied> {
    let seen = &bytes[..bytes.len().min(LINE_MAX)];
    if !BEGINNINGS.iter().any(|beginning| begins(seen, beginning)) {
        return Step::Invalid("a PROXY line of neither TCP4, TCP6 nor UNKNOWN");
    }
    match memmem::find(seen, END) {
        Some(end) => match line(&seen[..end]) {
            Some(value) => Step::Frame {
                value,
                length: end + END.len(),
            },
            None => Step::Invalid("the addresses of the PROXY line are not well-formed"),
        },
        None if seen.len() == LINE_MAX => Step::Invalid("the PROXY line does not end"),
        None => Step::NeedMore,
    }
}

/// Whether `bytes` begin so, as far as they go.
fn begins(bytes: &[u8], beginning: &[u8]) -> bool {
    let common = bytes.len().min(beginning.len());
    bytes[..common] == beginning[..common]
}

/// What a line says that begins as one should, without its end. Behind `UNKNOWN` may stand
/// anything.
fn line(line: &[u8]) -> Option<Proxied> {
    let addresses = if line.starts_with(UNKNOWN) {
        None
    } else {
        let line = str::from_utf8(line).ok()?;
        let fields: Vec<&str> = line.splitn(7, ' ').collect();
        let [
            "PROXY",
            family,
            source,
            destination,
            source_port,
            destination_port,
        ] = *fields
        else {
            return None;
        };
        let ip = match family {
            "TCP4" => ip::<Ipv4Addr>,
            "TCP6" => ip::<Ipv6Addr>,
            _ => return None,
        };
        Some(Addresses {
            source: SocketAddr::new(ip(source)?, port(source_port)?),
            destination: SocketAddr::new(ip(destination)?, port(destination_port)?),
        })
    };
    Some(Proxied {
        version: ProxyVersion::V1,
        addresses,
        tlvs: Box::default(),
    })
}

/// The standard library takes what the specification does, heading zeroes and scopes not. The
/// mapped form `::ffff:1.2.3.4`, which inet_ntop(3) writes and the specification forgot, it takes.
fn ip<T: FromStr + Into<IpAddr>>(text: &str) -> Option<IpAddr> {
    text.parse::<T>().ok().map(Into::into)
}

/// Neither a sign nor heading zeroes.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = text == "0" || !text.starts_with('0');
    (is_plain && is_canonical)
        .then(|| text.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(line: &str) -> Option<String> {
        match parse(line.as_bytes()) {
            Step::Frame { value, length } => {
                assert_eq!(length, line.len(), "{line}");
                Some(
                    value
                        .source()
                        .map_or_else(String::new, |source| source.to_string()),
                )
            }
            Step::NeedMore | Step::Invalid(_) => None,
        }
    }

    #[test]
    fn a_line_gives_its_addresses() {
        let step = parse(b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET /");
        let Step::Frame { value, length } = step else {
            panic!("{step:?}");
        };
        assert_eq!(length, 45);
        assert_eq!(value.version(), ProxyVersion::V1);
        assert_eq!(value.source(), Some(([192, 0, 2, 1], 56324).into()));
        assert_eq!(value.destination(), Some(([198, 51, 100, 2], 443).into()));
        assert_eq!(value.tlvs().count(), 0);
        for (line, expected) in [
            ("PROXY TCP6 2001:db8::1 ::1 1 65535\r\n", "[2001:db8::1]:1"),
            (
                "PROXY TCP6 ::ffff:192.0.2.1 ::1 0 1\r\n",
                "[::ffff:192.0.2.1]:0",
            ),
            ("PROXY TCP4 0.0.0.0 255.255.255.255 0 0\r\n", "0.0.0.0:0"),
        ] {
            assert_eq!(source(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn unknown_gives_no_address_whatever_stands_behind_it() {
        let worst = format!(
            "PROXY UNKNOWN {0} {0} 65535 65535\r\n",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
        assert_eq!(worst.len(), LINE_MAX);
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY UNKNOWN \n\r\u{fe}\r\n",
            &worst,
        ] {
            assert_eq!(source(line).as_deref(), Some(""), "{line:?}");
        }
    }

    #[test]
    fn whatever_does_not_match_exactly_is_invalid() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE_MAX - 15));
        assert_eq!(long.len(), LINE_MAX + 1);
        for line in [
            "PROXY\tTCP4",
            "PROXY  TCP4",
            "PROXY TCP5",
            "PROXY UNKNOWNS\r\n",
            "PROXY UNKNOWN\r\r\n",
            "PROXY TCP4 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n",
            "PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
            "PROXY TCP4 ::1 ::2 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 fe80::1%1 ::2 1 2\r\n",
            "PROXY TCP6 1::2::3 ::2 1 2\r\n",
            &long,
        ] {
            assert!(
                matches!(parse(line.as_bytes()), Step::Invalid(_)),
                "{line:?}"
            );
        }
    }

    #[test]
    fn no_beginning_of_a_line_is_judged_too_early() {
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP6 ::1 ::2 1 2\r\n",
            "PROXY UNKNOWN\r\n",
        ] {
            for length in 1..line.len() {
                assert_eq!(parse(&line.as_bytes()[..length]), Step::NeedMore);
            }
        }
    }
}
