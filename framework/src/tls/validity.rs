//! From when to when a certificate is valid (RFC 5280, 4.1.2.5): of all of it the one part that
//! rustls does not tell.

use std::time::{Duration, UNIX_EPOCH};

/// Seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) not_before: i64,
    pub(super) not_after: i64,
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which those of version 1 leave out.
const VERSION: u8 = 0xa0;

/// That of a certificate in DER. None: it is no certificate.
pub(super) fn validity(certificate: &[u8]) -> Option<Validity> {
    let mut certificate = Der(certificate).take(SEQUENCE)?;
    let mut signed = certificate.take(SEQUENCE)?;
    if signed.0.first() == Some(&VERSION) {
        signed.take(VERSION)?;
    }
    signed.take(INTEGER)?; // the serial number
    signed.take(SEQUENCE)?; // the signature's algorithm
    signed.take(SEQUENCE)?; // the issuer
    let mut validity = signed.take(SEQUENCE)?;
    Some(Validity {
        not_before: validity.time()?,
        not_after: validity.time()?,
    })
}

/// DER that has not been read.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next value, if it is of that tag.
    fn take(&mut self, tag: u8) -> Option<Der<'a>> {
        let (found, contents) = self.next()?;
        (found == tag).then_some(contents)
    }

    fn next(&mut self) -> Option<(u8, Der<'a>)> {
        let [tag, first, rest @ ..] = self.0 else {
            return None;
        };
        let (length, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            // So many bytes of length; more than four are no certificate's.
            0x81..=0x84 => {
                let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let digits = length.iter();
                (
                    digits.fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
                    rest,
                )
            }
            _ => return None,
        };
        let (contents, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((*tag, Der(contents)))
    }

    fn time(&mut self) -> Option<i64> {
        let (tag, Der(text)) = self.next()?;
        let (year, rest) = match tag {
            UTC_TIME => {
                let (year, rest) = digits(text, 2)?;
                (if year < 50 { 2000 + year } else { 1900 + year }, rest)
            }
            GENERALIZED_TIME => digits(text, 4)?,
            _ => return None,
        };
        let (month, rest) = digits(rest, 2)?;
        let (day, rest) = digits(rest, 2)?;
        let (hour, rest) = digits(rest, 2)?;
        let (minute, rest) = digits(rest, 2)?;
        let (second, rest) = digits(rest, 2)?;
        let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
        let is_time = hour < 24 && minute < 60 && second <= 60 && rest == b"Z";
        let seconds = (hour * 60 + minute) * 60 + second;
        (is_date && is_time).then(|| days(year, month, day) * 86_400 + seconds)
    }
}

/// The number that so many digits are, and what is behind them.
fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let is_number = digits.iter().all(u8::is_ascii_digit);
    let number = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + i64::from(digit & 0xf));
    is_number.then_some((number, rest))
}

/// `2026-12-01`, in UTC.
pub(super) fn day(time: i64) -> String {
    let since = Duration::from_secs(time.max(0).unsigned_abs());
    let text = UNIX_EPOCH
        .checked_add(since)
        .map(|time| humantime::format_rfc3339_seconds(time).to_string());
    let text = text.unwrap_or_default();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin with March, so that the day that some have more comes last.
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let of_years = 365 * year + year / 4 - year / 100 + year / 400;
    of_years + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::tls::scratch::Issued;

    #[test]
    fn days_are_counted_as_the_calendar_has_them() {
        for (date, expected) in [
            ((1970, 1, 1), 0),
            ((1970, 3, 1), 59),
            ((2000, 2, 29), 11_016),
            ((2026, 12, 1), 20_788),
            ((2100, 3, 1), 47_541),
        ] {
            assert_eq!(days(date.0, date.1, date.2), expected, "{date:?}");
        }
    }

    #[test]
    fn a_certificate_says_from_when_to_when() {
        for (from, to) in [
            ((2020, 2, 29), (2049, 12, 31)),
            ((1999, 1, 2), (2051, 6, 7)),
        ] {
            let issued = Issued::between(&["a.test"], from, to);
            let at = |(year, month, day): (i32, u8, u8)| {
                days(year.into(), month.into(), day.into()) * 86_400
            };
            let found = validity(issued.certificate.der());
            let expected = Validity {
                not_before: at(from),
                not_after: at(to),
            };
            assert_eq!(found, Some(expected), "{from:?} {to:?}");
        }
    }

    #[test]
    fn a_certificate_that_is_cut_short_says_nothing() {
        let issued = Issued::of(&["a.test"]);
        let whole: &[u8] = issued.certificate.der();
        assert!(validity(whole).is_some());
        assert!((0..whole.len()).all(|length| validity(&whole[..length]).is_none()));
    }

    /// One for all changes of it.
    static CERTIFICATE: LazyLock<Vec<u8>> =
        LazyLock::new(|| Issued::of(&["a.test"]).certificate.der().to_vec());

    proptest! {
        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _either = validity(&bytes);
        }

        #[test]
        fn no_change_of_a_certificate_breaks_it(at in 0_usize..400, byte in any::<u8>()) {
            let mut changed = CERTIFICATE.clone();
            let place = at % changed.len();
            changed[place] = byte;
            let _either = validity(&changed);
        }
    }
}
