//! Durations as an operator writes them: a whole number and a unit, "250ms", "30s", "5m", "2h",
//! "1d".
//!
//! One form, so that a file, a message and `--print-config` show the same text. `humantime` accepts
//! more and prints "1m 30s": it reads what an operator wrote instead, for the help of the message.

use std::time::Duration;

/// Milliseconds of each unit, the longest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Words that people write for "ms" and `humantime` does not know.
const MILLISECONDS: [&str; 4] = ["milliseconds", "millisecond", "milli", "msecs"];

/// Read a duration; `None` where the text is not one or is too long to count in milliseconds.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (number, unit) = split(text);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let millis = number.parse::<u64>().ok()?.checked_mul(*factor)?;
    Some(Duration::from_millis(millis))
}

/// Write a duration in the longest unit that gives a whole number. [`parse`] reads it back.
pub(crate) fn format(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let fits = UNITS.iter().find(|(_, factor)| millis % factor == 0);
    let (unit, factor) = fits.expect("every number is a multiple of one millisecond");
    format!("{}{unit}", millis / factor)
}

/// What the writer of "30 sec", "5 Minutes" or "1h 30m" meant.
pub(super) fn guess(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let in_millis = MILLISECONDS.iter().find_map(|unit| text.strip_suffix(unit));
    let text = in_millis.map_or_else(|| text.clone(), |number| format!("{number}ms"));
    let time = humantime::parse_duration(&text).ok()?;
    let is_whole = time.subsec_nanos() % 1_000_000 == 0;
    Some(format(time)).filter(|written| is_whole && parse(written).is_some())
}

fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_written_back() {
        for text in [
            "250ms", "30s", "5m", "2h", "1d", "365d", "0s", "1500ms", "90s",
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(text));
        }
        assert_eq!(parse("60s").map(format).as_deref(), Some("1m"));
    }

    #[test]
    fn anything_else_is_refused() {
        let not_durations = [
            "", "s", "30", "30 s", " 30s", "30S", "-1s", "+1s", "1.5s", "1e3s", "30sec", "off",
            "\u{661}s",
        ];
        for text in not_durations {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(parse("18446744073709551615d"), None);
        assert_eq!(parse("99999999999999999999999s"), None);
    }

    #[test]
    fn common_slips_are_guessed() {
        assert_eq!(guess("30 sec").as_deref(), Some("30s"));
        assert_eq!(guess("5 minutes").as_deref(), Some("5m"));
        assert_eq!(guess(" 250 MS ").as_deref(), Some("250ms"));
        assert_eq!(guess("1h 30m").as_deref(), Some("90m"));
        assert_eq!(guess("1.5s").as_deref(), Some("1500ms"));
        for unit in [
            "ms",
            "msec",
            "msecs",
            "milli",
            "millis",
            "millisecond",
            "Milliseconds",
        ] {
            let written = format!("250 {unit}");
            assert_eq!(guess(&written).as_deref(), Some("250ms"), "{written}");
        }
        assert_eq!(guess("100us"), None, "shorter than can be written");
        assert_eq!(guess("soon"), None);
        assert_eq!(guess("\u{e4}"), None);
        assert_eq!(guess("99999999999999999999 sec"), None);
    }
}
