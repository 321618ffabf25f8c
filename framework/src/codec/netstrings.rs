//! Netstrings: `5:hello,`.

use std::io::Write;

use super::contract::{Codec, Payload};
use crate::error::Error;
use crate::step::Step;

/// Digits of the longest length there can be, `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// Netstrings, as D. J. Bernstein has them (<https://cr.yp.to/proto/netstrings.txt>, 1997): the
/// length of a string in decimal, a colon, the string, a comma. `5:hello,`; the empty one is `0:,`.
///
/// A length with leading zeros is none: the same string would have many forms.
#[derive(Clone, Debug)]
pub struct Netstrings {
    string_max: usize,
}

impl Netstrings {
    /// Strings of at most `string_max` bytes. Those that are sent have no bound.
    pub const fn new(string_max: usize) -> Self {
        Self { string_max }
    }
}

impl Codec for Netstrings {
    type In = Payload;
    type Out<'a> = [u8];

    fn frame_max(&self) -> usize {
        let digits = self.string_max.checked_ilog10().unwrap_or(0) as usize + 1;
        self.string_max.saturating_add(digits + 2)
    }

    fn decode(&mut self, unread: &[u8]) -> Step<Payload> {
        let looked_at = &unread[..unread.len().min(DIGITS_MAX + 1)];
        let digits = looked_at.iter().take_while(|byte| byte.is_ascii_digit());
        let (digits, behind) = looked_at.split_at(digits.count());
        let length = decimal(digits);
        match (digits, behind) {
            ([b'0', _, ..], _) => Step::Invalid("a netstring's length begins with 0"),
            // More digits may come: it is too much already.
            _ if length > self.string_max => too_long(),
            ([_, ..], [b':', ..]) => behind_colon(unread, digits.len() + 1, length),
            (_, []) => Step::NeedMore,
            _ => Step::Invalid("no netstring"),
        }
    }

    fn encode(&mut self, out: &[u8], to: &mut impl Write) -> Result<(), Error> {
        write!(to, "{}:", out.len())?;
        to.write_all(out)?;
        Ok(to.write_all(b",")?)
    }
}

/// The string begins at `start`.
fn behind_colon(unread: &[u8], start: usize, length: usize) -> Step<Payload> {
    let end = start.saturating_add(length);
    match unread.get(end) {
        Some(b',') | None => Step::Frame {
            value: Payload::new(start..end),
            length: end.saturating_add(1),
        },
        Some(_) => Step::Invalid("no comma behind a netstring"),
    }
}

fn too_long() -> Step<Payload> {
    let length = usize::MAX;
    let value = Payload::new(0..0);
    Step::Frame { value, length }
}

fn decimal(digits: &[u8]) -> usize {
    digits.iter().fold(0, |number: usize, digit| {
        let digit = usize::from(digit - b'0');
        number.saturating_mul(10).saturating_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{encoded, whole};
    use super::*;

    #[test]
    fn the_examples_of_the_text_are_netstrings() {
        let mut netstrings = Netstrings::new(100);
        let hello = b"12:hello world!,";
        assert_eq!(netstrings.decode(hello), whole(3..15, 16));
        assert_eq!(netstrings.decode(b"0:,"), whole(2..2, 3));
        let sent = encoded(&mut netstrings, b"hello world!");
        assert_eq!(sent, Ok(hello.to_vec()));
        assert_eq!(encoded(&mut netstrings, b""), Ok(b"0:,".to_vec()));
    }

    #[test]
    fn the_beginning_of_one_waits_for_the_rest() {
        let mut netstrings = Netstrings::new(100);
        for beginning in [&b"1"[..], b"12", b"0", b"100"] {
            assert_eq!(netstrings.decode(beginning), Step::NeedMore);
        }
        assert_eq!(
            netstrings.decode(b"3:ab"),
            whole(2..5, 6),
            "of a known length"
        );
    }

    #[test]
    fn what_is_none_is_said_as_soon_as_it_shows() {
        let mut netstrings = Netstrings::new(100);
        for none in [&b":"[..], b"a", b"-1", b" 1:a,", b"1;", b"1 :a,"] {
            assert_eq!(netstrings.decode(none), Step::Invalid("no netstring"));
        }
        let zeros = Step::Invalid("a netstring's length begins with 0");
        assert_eq!(netstrings.decode(b"00:,"), zeros);
        assert_eq!(netstrings.decode(b"01"), zeros);
        let comma = Step::Invalid("no comma behind a netstring");
        assert_eq!(netstrings.decode(b"1:ab"), comma);
    }

    #[test]
    fn a_length_above_the_bound_is_refused_before_its_colon() {
        let mut netstrings = Netstrings::new(100);
        assert_eq!(netstrings.frame_max(), "100:,".len() + 100);
        for long in ["101", "999", "4294967296:", "99999999999999999999999"] {
            let Step::Frame { length, .. } = netstrings.decode(long.as_bytes()) else {
                panic!("{long} is a length");
            };
            assert!(length > netstrings.frame_max(), "{long}");
        }
        assert_eq!(Netstrings::new(0).decode(b"0:,"), whole(2..2, 3));
        assert_eq!(Netstrings::new(0).frame_max(), 3);
    }
}
