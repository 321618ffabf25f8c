//! Axes: from values to places, from places to ticks. Plots know places only, which are linear.

use super::units;

/// Room beyond the outermost value, for the name of a level that is drawn there.
const HEADROOM: f64 = 1.1;
/// The same at the lower end of a log axis, for a label below the lowest value.
const FOOTROOM: f64 = 1.6;
/// Room for a percentile on its axis: per digit, and between two.
const DIGIT_WIDTH: f64 = 7.5;
const LABELS_APART: f64 = 7.0;
/// Pixels beyond the end of an axis into which a label may reach: the margin of the plot, and some
/// of that of its card.
const LABEL_OVERHANG: f64 = 26.0;
/// Seconds from which on a time axis counts minutes.
const MINUTES_FROM_S: f64 = 600.0;
/// Decades of a percentile axis: 99.999999 % and no further.
const TAIL_DECADES_MAX: f64 = 8.0;
/// Log axes of fewer decades have ticks at 2 and 5 as well.
const SPARSE_DECADES: f64 = 2.5;
/// Ratios further apart than this are drawn logarithmic; the room on either side of those that are
/// not.
const RATIOS_LOG_FROM: f64 = 8.0;
const RATIO_ROOM_MIN: f64 = 0.02;
/// Decades that a log axis shows: from the highest value down, whatever the lowest.
const LOG_DECADES_MAX: f64 = 9.0;
/// So much is no difference.
const EPSILON: f64 = 1e-9;

/// How values become places.
#[derive(Debug, Clone, Copy)]
enum Scale {
    /// In units of so many.
    Linear { unit: f64 },
    /// Positive values by their decimal logarithm; how they are written.
    Log { label: fn(f64) -> String },
    /// Percentiles by the share that is above them, its decimal logarithm.
    Tail,
    /// Numbers from zero, each as wide as one.
    Number,
}

/// An axis: its title, and from where to where it goes.
#[derive(Debug, Clone)]
pub struct Axis {
    /// The quantity, and its unit.
    pub title: String,
    /// The place where it begins.
    pub low: f64,
    /// The place where it ends; greater than `low`.
    pub high: f64,
    scale: Scale,
}

/// A place on an axis, and the text beside it.
pub type Tick = (f64, String);

impl Axis {
    fn new(title: impl Into<String>, (low, high): (f64, f64), scale: Scale) -> Self {
        Self {
            title: title.into(),
            low,
            high: if high > low { high } else { low + 1.0 },
            scale,
        }
    }

    /// Counts or rates, from zero.
    pub fn count(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        Self::linear(title.to_owned(), 1.0, extent(values))
    }

    /// Bytes, from zero, in the unit that suits the highest.
    pub fn bytes(what: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (least, greatest) = extent(values);
        let (unit, name) = units::bytes_unit(greatest.max(-least));
        Self::linear(format!("{what}, {name}"), unit, (least, greatest))
    }

    fn linear(title: String, unit: f64, (least, greatest): (f64, f64)) -> Self {
        let low = HEADROOM * least.min(0.0) / unit;
        let high = HEADROOM * greatest.max(0.0) / unit;
        Self::new(title, (low, high), Scale::Linear { unit })
    }

    /// Time since the run began.
    pub fn time(end_s: f64) -> Self {
        let (unit, name) = match end_s >= MINUTES_FROM_S {
            true => (60.0, "minutes"),
            false => (1.0, "seconds"),
        };
        let high = if end_s.is_finite() { end_s / unit } else { 0.0 };
        let title = format!("{name} since the run began");
        Self::new(title, (0.0, high), Scale::Linear { unit })
    }

    /// Latencies in microseconds, logarithmic, between round values.
    pub fn latency(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let limits = match extent(values.into_iter().filter(|value| *value > 0.0)) {
            (least, greatest) if greatest > 0.0 => (least / FOOTROOM, greatest),
            _ => (1.0 / FOOTROOM, 10.0),
        };
        Self::log(title, limits, units::latency)
    }

    /// Ratios around 1: linear, and logarithmic where the greatest is many times the least.
    pub fn ratio(title: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let positive = values.into_iter().filter(|value| *value > 0.0);
        let (least, greatest) = extent(positive.chain([1.0]));
        if greatest > RATIOS_LOG_FROM * least {
            let title = format!("{title}, logarithmic");
            let limits = (least / HEADROOM, greatest * HEADROOM);
            return Self::log(&title, limits, units::significant);
        }
        let room = ((greatest - least) * (HEADROOM - 1.0)).max(RATIO_ROOM_MIN);
        let limits = ((least - room).max(0.0), greatest + room);
        Self::new(title, limits, Scale::Linear { unit: 1.0 })
    }

    fn log(title: &str, (least, greatest): (f64, f64), label: fn(f64) -> String) -> Self {
        let high = round(greatest, true).log10();
        let low = round(least, false).log10().max(high - LOG_DECADES_MAX);
        Self::new(title, (low, high), Scale::Log { label })
    }

    /// Percentiles, each decade towards 100 % as wide as the one before; the highest but for 100
    /// itself ends it.
    pub fn tail(title: &str, percentiles: impl IntoIterator<Item = f64>) -> Self {
        let below = percentiles.into_iter().filter(|percent| *percent < 100.0);
        let (_, greatest) = extent(below.map(tail_place));
        let high = greatest.clamp(1.0, TAIL_DECADES_MAX);
        Self::new(title, (0.0, high), Scale::Tail)
    }

    /// Numbers of shards.
    pub fn numbers(title: &str, count: usize) -> Self {
        Self::new(title, (0.0, count as f64), Scale::Number)
    }

    /// Where a value belongs; none if it has no place on this axis.
    pub fn place(&self, value: f64) -> Option<f64> {
        let place = match self.scale {
            Scale::Linear { unit } => value / unit,
            Scale::Log { .. } => value.log10(),
            Scale::Tail => tail_place(value).min(self.high),
            Scale::Number => value,
        };
        place.is_finite().then_some(place)
    }

    /// Labelled places on an axis of a length in pixels, so many pixels apart at least.
    pub fn ticks(&self, length: f64, distance: f64) -> Vec<Tick> {
        let max = (length / distance).max(1.0);
        match self.scale {
            Scale::Linear { .. } => self.linear_ticks(max),
            Scale::Log { label } => self.log_ticks(max, label),
            Scale::Tail => self.tail_ticks(length),
            Scale::Number => self.number_ticks(max),
        }
    }

    fn linear_ticks(&self, max: f64) -> Vec<Tick> {
        let step = round((self.high - self.low) / max, true);
        let (first, last) = ((self.low / step).ceil(), (self.high / step).floor());
        let places = (first as i64..=last as i64).map(|number| number as f64 * step);
        ticks(places, |place| units::short(place, last * step))
    }

    fn log_ticks(&self, max: f64, label: fn(f64) -> String) -> Vec<Tick> {
        let decades = self.high - self.low;
        let is_sparse = decades < SPARSE_DECADES && decades * 3.0 <= max + 1.0;
        let digits: &[f64] = if is_sparse { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let stride = (decades / max).ceil().max(1.0) as usize;
        let powers = (self.low.floor() as i32..=self.high.ceil() as i32).step_by(stride);
        let places = powers.flat_map(|power| {
            let power = f64::from(power);
            digits.iter().map(move |digit| power + digit.log10())
        });
        let shown = self.low - EPSILON..=self.high + EPSILON;
        let places = places.filter(|place| shown.contains(place));
        ticks(places, |place| label(10f64.powf(place)))
    }

    /// As many as do not touch: the labels grow by a digit with each decade.
    fn tail_ticks(&self, length: f64) -> Vec<Tick> {
        let half = (tail_place(50.0), "50".to_owned());
        let decades = (1..=(self.high + EPSILON) as i32).map(|decade| {
            let (percent, decimals) = (100.0 - 10f64.powi(2 - decade), (decade - 2).max(0));
            (
                f64::from(decade),
                format!("{percent:.*}", decimals as usize),
            )
        });
        let pixels = |places: f64| places / self.high * length;
        let mut shown: Vec<Tick> = Vec::new();
        for (place, label) in std::iter::once(half).chain(decades) {
            let width = label.len() as f64 * DIGIT_WIDTH;
            let has_room = shown.last().is_none_or(|(last, label)| {
                let widths = label.len() as f64 * DIGIT_WIDTH + width;
                pixels(place - last) >= widths / 2.0 + LABELS_APART
            });
            if has_room && pixels(self.high - place) + LABEL_OVERHANG >= width / 2.0 {
                shown.push((place, label));
            }
        }
        shown
    }

    fn number_ticks(&self, max: f64) -> Vec<Tick> {
        let stride = round(self.high / max, true).max(1.0) as usize;
        let places = (0..self.high as usize).step_by(stride);
        let places = places.map(|number| number as f64 + 0.5);
        ticks(places, |place| place.floor().to_string())
    }
}

fn ticks(places: impl Iterator<Item = f64>, label: impl Fn(f64) -> String) -> Vec<Tick> {
    places.map(|place| (place, label(place))).collect()
}

/// Least and greatest of the finite values; zeros if there are none.
fn extent(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let finite = values.into_iter().filter(|value| value.is_finite());
    let both = finite.map(|value| (value, value));
    let extent = both.reduce(|seen, value| (seen.0.min(value.0), seen.1.max(value.1)));
    extent.unwrap_or_default()
}

fn tail_place(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(0.0).log10()
}

/// Of 1, 2 and 5 times a power of ten the next that is no less, or that is no greater.
fn round(value: f64, is_up: bool) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let mut rounds = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * power).into_iter();
    let found = match is_up {
        true => rounds.find(|round| *round >= value * (1.0 - EPSILON)),
        false => rounds.rfind(|round| *round <= value * (1.0 + EPSILON)),
    };
    found.filter(|round| round.is_finite()).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis, max: u32) -> Vec<String> {
        axis.ticks(f64::from(max) * 80.0, 80.0)
            .into_iter()
            .map(|(_, label)| label.replace(['\u{a0}', '\u{202f}'], " "))
            .collect()
    }

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(
            labels(&Axis::count("", [1_000_000.0]), 6),
            ["0", "0.2 M", "0.4 M", "0.6 M", "0.8 M", "1 M"]
        );
        assert_eq!(
            labels(&Axis::time(240.0), 5),
            ["0", "50", "100", "150", "200"]
        );
        assert_eq!(Axis::time(7200.0).title, "minutes since the run began");
    }

    #[test]
    fn a_log_axis_ends_at_round_values() {
        assert_eq!(
            labels(&Axis::latency("", [100.0, 800_000.0]), 8),
            ["100 µs", "1 ms", "10 ms", "100 ms", "1 s"]
        );
        assert_eq!(
            labels(&Axis::latency("", [170.0, 900.0]), 8),
            ["100 µs", "200 µs", "500 µs", "1 ms"]
        );
    }

    #[test]
    fn ratios_stand_around_one_and_far_ones_apart() {
        assert_eq!(
            labels(&Axis::ratio("", [1.04, 1.5]), 8),
            ["1", "1.1", "1.2", "1.3", "1.4", "1.5"]
        );
        assert_eq!(
            labels(&Axis::ratio("", [0.8, 246.0]), 4),
            ["1", "10", "100"]
        );
        assert_eq!(
            labels(&Axis::ratio("", [f64::NAN, 0.0]), 2),
            ["0.98", "1", "1.02"],
            "nothing but the reference itself"
        );
    }

    #[test]
    fn percentiles_spread_towards_a_hundred() {
        let axis = Axis::tail("", [0.0, 50.0, 99.0, 99.999, 100.0]);
        assert_eq!(
            labels(&axis, 9),
            ["50", "90", "99", "99.9", "99.99", "99.999"]
        );
        assert_eq!(
            axis.place(100.0),
            Some(axis.high),
            "100 % is at infinity; it is drawn at the end"
        );
        assert_eq!(
            labels(&axis, 3),
            ["50", "90", "99", "99.9", "99.99"],
            "the next would touch"
        );
    }

    #[test]
    fn bytes_choose_their_unit() {
        let axis = Axis::bytes("memory", [0.0, 6e9]);
        assert_eq!(axis.title, "memory, GiB");
        assert_eq!(labels(&axis, 6), ["0", "2", "4", "6"]);
    }

    #[test]
    fn no_values_make_an_axis_all_the_same() {
        for axis in [
            Axis::count("", []),
            Axis::ratio("", []),
            Axis::latency("", [0.0, f64::NAN]),
            Axis::tail("", [100.0]),
            Axis::time(0.0),
            Axis::numbers("", 0),
        ] {
            assert!(axis.high > axis.low, "{axis:?}");
            assert!(axis.ticks(480.0, 80.0).len() < 20, "{axis:?}");
        }
    }
}
