//! Writes Prometheus's text format, version 0.0.4.
//!
//! Invariant: a family's samples stand together below its `# HELP` and `# TYPE`.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::stats::Responses;
use crate::stats::responses::BOUNDS_NS;

/// Name and value of a label.
pub(super) type Label<'a> = (&'a str, &'a str);

/// See the module's text.
#[derive(Default)]
pub(super) struct Text(String);

impl Text {
    /// Begins a family of counters, whose names end with `_total`.
    pub(super) fn counters(&mut self, name: &str, help: &str) {
        self.family(name, "counter", help);
    }

    /// Begins a family of gauges.
    pub(super) fn gauges(&mut self, name: &str, help: &str) {
        self.family(name, "gauge", help);
    }

    /// Begins a family of histograms.
    pub(super) fn histograms(&mut self, name: &str, help: &str) {
        self.family(name, "histogram", help);
    }

    /// A family that is one counter.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.counters(name, help);
        self.sample(name, &[], value);
    }

    /// A family that is one gauge.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.gauges(name, help);
        self.sample(name, &[], value);
    }

    /// One value of the family.
    pub(super) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, value)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            self.escaped(value);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, " {value}");
    }

    /// One histogram of the family.
    pub(super) fn histogram(&mut self, name: &str, label: Label<'_>, responses: &Responses) {
        let bucket = format!("{name}_bucket");
        let bounds = BOUNDS_NS
            .iter()
            .map(|&ns| seconds(Duration::from_nanos(ns)));
        let bounds = bounds.chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(responses.cumulative()) {
            self.sample(&bucket, &[label, ("le", &bound)], count);
        }
        let sum = seconds(Duration::from_nanos(responses.sum_ns()));
        self.sample(&format!("{name}_sum"), &[label], sum);
        self.sample(&format!("{name}_count"), &[label], responses.count());
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.0
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn escaped(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                c => self.0.push(c),
            }
        }
    }
}

/// Seconds without needless zeros.
pub(super) fn seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}

/// Milliseconds in seconds.
pub(super) fn ms(ms: u64) -> String {
    seconds(Duration::from_millis(ms))
}

/// Microseconds in seconds.
pub(super) fn us(us: u64) -> String {
    seconds(Duration::from_micros(us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_break_a_line() {
        let mut text = Text::default();
        text.counters("a_total", "Help.");
        text.sample("a_total", &[("x", "a\"b\\c\nd"), ("y", "")], 1);
        assert_eq!(
            text.finish(),
            "# HELP a_total Help.\n# TYPE a_total counter\n\
             a_total{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 1\n"
        );
    }

    #[test]
    fn a_histogram_is_cumulative_in_seconds() {
        let mut responses = Responses::default();
        responses.record(7_000, 2);
        responses.record(u64::MAX / 8, 1);
        let mut text = Text::default();
        text.histogram("t", ("c", "get"), &responses);
        let text = text.finish();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), BOUNDS_NS.len() + 3);
        assert_eq!(lines[0], "t_bucket{c=\"get\",le=\"0.000005\"} 0");
        assert_eq!(lines[1], "t_bucket{c=\"get\",le=\"0.00001\"} 2");
        assert_eq!(lines[19], "t_bucket{c=\"get\",le=\"10\"} 2");
        assert_eq!(lines[20], "t_bucket{c=\"get\",le=\"+Inf\"} 3");
        assert!(lines[21].starts_with("t_sum{c=\"get\"} 2305843009."));
        assert_eq!(lines[22], "t_count{c=\"get\"} 3");
    }
}
