//! Prometheus's text format, version 0.0.4.

use std::fmt::{Display, Write};

/// The format's media type.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page as it grows.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn counter<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "counter")
    }

    pub(super) fn gauge<'a>(&'a mut self, name: &'a str, help: &str) -> Family<'a> {
        self.family(name, help, "gauge")
    }

    pub(super) fn family<'a>(&'a mut self, name: &'a str, help: &str, kind: &str) -> Family<'a> {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let text = &mut self.text;
        let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { text, name }
    }
}

/// A metric whose lines are being written.
pub(super) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    /// Its only value.
    pub(super) fn value(&mut self, value: impl Display) -> &mut Self {
        self.labelled(&[], value)
    }

    pub(super) fn labelled(
        &mut self,
        labels: &[(&str, &dyn Display)],
        value: impl Display,
    ) -> &mut Self {
        self.sample("", labels, value)
    }

    /// A value for each shard.
    pub(super) fn by_shard<T: Display>(&mut self, values: impl Iterator<Item = T>) {
        for (number, value) in values.enumerate() {
            self.labelled(&[("shard", &number)], value);
        }
    }

    /// `counts` has one more than there are bounds, for what is above the last of them.
    pub(super) fn histogram(&mut self, bounds: &[f64], counts: &[u64], sum: f64) {
        let bounds = bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(counts) {
            below += count;
            self.sample("_bucket", &[("le", &bound)], below);
        }
        self.sample("_sum", &[], sum);
        self.sample("_count", &[], below);
    }

    fn sample(
        &mut self,
        suffix: &str,
        labels: &[(&str, &dyn Display)],
        value: impl Display,
    ) -> &mut Self {
        let (text, name) = (&mut *self.text, self.name);
        let _infallible = write!(text, "{name}{suffix}");
        for (index, (label, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            let _infallible = write!(text, "{open}{label}=\"{}\"", escaped(&value.to_string()));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _infallible = writeln!(text, "{close} {value}");
        self
    }
}

/// A label's value as the format has it: an operator may name an upstream as he likes.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_breaks_a_line() {
        let mut to = Exposition::default();
        to.gauge("a", "b\nc\\")
            .labelled(&[("d", &"e\"f\ng\\"), ("h", &1)], 2.5);
        let expected = "# HELP a b\\nc\\\\\n# TYPE a gauge\na{d=\"e\\\"f\\ng\\\\\",h=\"1\"} 2.5\n";
        assert_eq!(to.text, expected);
    }

    #[test]
    fn the_ranges_of_a_histogram_add_up() {
        let mut to = Exposition::default();
        to.family("a", "b", "histogram")
            .histogram(&[0.5, 1.0], &[1, 2, 3], 7.0);
        let lines: Vec<&str> = to.text.lines().skip(2).collect();
        let expected = [
            "a_bucket{le=\"0.5\"} 1",
            "a_bucket{le=\"1\"} 3",
            "a_bucket{le=\"+Inf\"} 6",
            "a_sum 7",
            "a_count 6",
        ];
        assert_eq!(lines, expected);
    }
}
