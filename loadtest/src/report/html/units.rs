//! Figures into words. Groups of digits are set apart by a narrow space that does not break.

/// Where there is nothing to say.
pub const UNKNOWN: &str = "\u{2013}";
const NARROW_SPACE: &str = "\u{202f}";
const KIBI: f64 = 1024.0;

/// `1 234 567`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(NARROW_SPACE)
}

/// `33 331`, and small ones with a few decimals.
pub fn rate(per_s: f64) -> String {
    match per_s.is_finite() && per_s >= 1000.0 {
        true => count(per_s.round() as u64),
        false => significant(per_s),
    }
}

/// Three significant digits, `1.23`, `45.6`, `789`, without zeros at the end of decimals.
pub fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        size if !size.is_finite() => return UNKNOWN.to_owned(),
        size if size >= 99.95 || size == 0.0 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    decimal(value, decimals)
}

/// Without zeros at the end of the decimals.
fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A number on an axis whose greatest is `scale`, so that all of them have the same suffix:
/// `0.4 M`, `1.2 M`.
pub fn short(value: f64, scale: f64) -> String {
    let suffixes = [(1e9, "\u{a0}G"), (1e6, "\u{a0}M"), (1e3, "\u{a0}k")];
    let fitting = suffixes.into_iter().find(|suffix| scale.abs() >= suffix.0);
    let (divisor, suffix) = fitting.unwrap_or((1.0, ""));
    let suffix = if value == 0.0 { "" } else { suffix };
    format!("{}{suffix}", significant(value / divisor))
}

/// A latency given in microseconds: `85 µs`, `1.23 ms`, `2.5 s`.
pub fn latency(us: f64) -> String {
    let (divisor, unit) = match us {
        999_500.0.. => (1e6, "s"),
        999.5.. => (1e3, "ms"),
        _ => (1.0, "µs"),
    };
    format!("{}\u{a0}{unit}", significant(us / divisor))
}

/// `2026-01-15 09:26:53 UTC` for a time as in RFC 3339; anything else as it is.
pub fn moment(rfc3339: &str) -> String {
    let time = rfc3339.strip_suffix('Z');
    match time.and_then(|time| time.split_once('T')) {
        Some((date, time)) => format!("{date} {} UTC", time.split('.').next().unwrap_or_default()),
        None => rfc3339.to_owned(),
    }
}

/// `12.5 s`, `3 min 20 s`.
pub fn seconds(s: f64) -> String {
    if !s.is_finite() || s < 100.0 {
        return format!("{}\u{a0}s", significant(s));
    }
    let whole = s.round() as u64;
    match (whole / 60, whole % 60) {
        (minutes, 0) => format!("{minutes}\u{a0}min"),
        (minutes, rest) => format!("{minutes}\u{a0}min {rest}\u{a0}s"),
    }
}

/// `0.41 cores` of processor time.
pub fn cores(number: f64) -> String {
    let unit = if number == 1.0 { "core" } else { "cores" };
    format!("{}\u{a0}{unit}", significant(number))
}

/// `6.3 KiB`, `10.2 GiB`.
pub fn bytes(number: f64) -> String {
    let (divisor, unit) = bytes_unit(number);
    format!("{}\u{a0}{unit}", significant(number / divisor))
}

/// The unit that suits a number of bytes: how many make one, and its name.
pub fn bytes_unit(number: f64) -> (f64, &'static str) {
    let units = [(3, "GiB"), (2, "MiB"), (1, "KiB")].map(|(power, name)| (KIBI.powi(power), name));
    let fitting = units.into_iter().find(|unit| number.abs() >= unit.0);
    fitting.unwrap_or((1.0, "B"))
}

/// A part of a whole: `99.98 %`. Rounded towards the whole only if it is the whole.
pub fn share(part: f64, whole: f64) -> String {
    if whole <= 0.0 || !(part / whole).is_finite() {
        return UNKNOWN.to_owned();
    }
    let percent = 100.0 * part / whole;
    let most = if part < whole { 99.99 } else { percent };
    format!("{}\u{a0}%", decimal(percent.min(most), 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_000_000), "1\u{202f}000\u{202f}000");
        assert_eq!(rate(33_333.4), "33\u{202f}333");
        assert_eq!(rate(12.345), "12.3");
    }

    #[test]
    fn three_digits_say_enough() {
        let shown = [0.0, 0.1234, 1.0, 1.239, 45.64, 789.4, 99.97, 12_345.6].map(significant);
        assert_eq!(
            shown,
            ["0", "0.123", "1", "1.24", "45.6", "789", "100", "12346"]
        );
        assert_eq!(significant(f64::NAN), "–");
    }

    #[test]
    fn a_latency_carries_the_unit_that_suits_it() {
        let shown = [0.0, 85.2, 999.6, 1234.0, 2_500_000.0].map(latency);
        assert_eq!(
            shown,
            [
                "0\u{a0}µs",
                "85.2\u{a0}µs",
                "1\u{a0}ms",
                "1.23\u{a0}ms",
                "2.5\u{a0}s"
            ]
        );
    }

    #[test]
    fn lengths_sizes_and_axis_labels() {
        assert_eq!(
            [12.5, 200.0, 120.0].map(seconds),
            ["12.5\u{a0}s", "3\u{a0}min 20\u{a0}s", "2\u{a0}min"]
        );
        assert_eq!(moment("2026-01-15T09:26:53.25Z"), "2026-01-15 09:26:53 UTC");
        assert_eq!(moment("just now"), "just now");
        assert_eq!([512.0, 6451.2].map(bytes), ["512\u{a0}B", "6.3\u{a0}KiB"]);
        assert_eq!(
            [0.0, 400_000.0, 1.2e6].map(|value| short(value, 1.2e6)),
            ["0", "0.4\u{a0}M", "1.2\u{a0}M"]
        );
        assert_eq!(
            [500.0, 800.0].map(|value| short(value, 900.0)),
            ["500", "800"]
        );
    }

    #[test]
    fn not_quite_all_is_never_shown_as_all() {
        assert_eq!(share(999_999.0, 1_000_000.0), "99.99\u{a0}%");
        assert_eq!(share(10.0, 10.0), "100\u{a0}%");
        assert_eq!(share(1.0, 0.0), "–");
    }
}
