//! Numbers as people read them, with their units.

/// What is not known.
pub(crate) const NONE: &str = "-";

/// `12,345`; from a million on `1.23M`.
pub(crate) fn count(number: u64) -> String {
    let short = |unit: f64, letter: char| format!("{:.2}{letter}", number as f64 / unit);
    match number {
        1_000_000_000.. => short(1e9, 'G'),
        1_000_000.. => short(1e6, 'M'),
        1_000.. => format!("{},{:03}", number / 1000, number % 1000),
        _ => number.to_string(),
    }
}

/// With a decimal where there are few.
pub(crate) fn rate(number: f64) -> String {
    match number {
        0.05..9.95 => format!("{number:.1}"),
        _ => count(number.round() as u64),
    }
}

/// `13.4 MiB`.
pub(crate) fn bytes(number: f64) -> String {
    scaled(number, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// `250 us`, `2.5 ms`, `1 s`.
pub(crate) fn turn(seconds: Option<f64>) -> String {
    match seconds {
        None => NONE.to_owned(),
        Some(seconds) if seconds < 1.0 => scaled(seconds * 1e6, 1000.0, &["us", "ms"]),
        Some(seconds) => scaled(seconds * 1e6, 1000.0, &["us", "ms", "s"]),
    }
}

fn scaled(mut number: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while number >= step && unit + 1 < units.len() {
        number /= step;
        unit += 1;
    }
    let has_decimal = unit > 0 && number < 99.95 && (number * 10.0).round() % 10.0 != 0.0;
    let decimals = usize::from(has_decimal);
    format!("{number:.decimals$} {}", units[unit])
}

pub(crate) fn percent(part: f64) -> String {
    let decimals = usize::from(part < 0.0995);
    format!("{:.decimals$}", part * 100.0)
}

/// `3 d 4 h`, `2 min 5 s`.
pub(crate) fn span(seconds: f64) -> String {
    let whole = seconds as u64;
    let [days, hours, minutes] = [whole / 86_400, whole / 3600 % 24, whole / 60 % 60];
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, _) => format!("{minutes} min {} s", whole % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits_and_their_unit() {
        assert_eq!(
            [999, 1000, 999_999, 1_234_567].map(count),
            ["999", "1,000", "999,999", "1.23M"]
        );
        assert_eq!(
            [0.0, 1.25, 50.4, 1043.6].map(rate),
            ["0", "1.2", "50", "1,044"]
        );
        assert_eq!(
            [0.0, 1023.0, 1536.0, 1e9].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "954 MiB"]
        );
        let turns = [None, Some(25e-6), Some(0.0025), Some(1.0), Some(2.5)];
        assert_eq!(turns.map(turn), ["-", "25 us", "2.5 ms", "1 s", "2.5 s"]);
        assert_eq!(
            [0.0, 0.031, 0.5, 1.0].map(percent),
            ["0.0", "3.1", "50", "100"]
        );
        let spans = [59.9, 61.0, 3700.0, 90_000.0].map(span);
        assert_eq!(spans, ["59 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
    }
}
