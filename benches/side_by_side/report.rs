//! Figures of several rounds, their medians and ratios, and the markdown tables they end up in.

use std::fmt::Write;

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Kivi's median divided by the rival's is at most this.
    RatioAtMost(f64),
    /// Kivi's median divided by the rival's is at least this.
    RatioAtLeast(f64),
    /// Kivi's median itself is at most this, in the unit of the row.
    AtMost(f64),
    /// Kivi's median is at least so much more than the rival's, or at least `enough`, in the unit of
    /// the row.
    Above { by: f64, enough: f64 },
}

/// One figure: a list of values per contender, one value per round.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    label: String,
    unit: &'static str,
    values: Vec<Vec<f64>>,
    target: Option<Target>,
}

/// A titled list of figures.
pub(crate) struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Row>,
    notes: Vec<String>,
    /// Figures that could not be taken.
    failures: usize,
    /// What stands in front of the rows.
    text: String,
    /// Verdicts on figures that are no rows.
    judged: Vec<bool>,
}

impl Row {
    /// An empty figure for `contenders` servers.
    pub(crate) fn new(label: impl Into<String>, unit: &'static str, contenders: usize) -> Self {
        Self {
            label: label.into(),
            unit,
            values: vec![Vec::new(); contenders],
            target: None,
        }
    }

    /// The same row, to be judged.
    pub(crate) fn target(mut self, target: Option<Target>) -> Self {
        self.target = target;
        self
    }

    /// Adds the value of one round.
    pub(crate) fn push(&mut self, contender: usize, value: f64) {
        self.values[contender].push(value);
    }

    /// What it is the figure of.
    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// A contender's median.
    pub(crate) fn median(&self, contender: usize) -> f64 {
        median(&self.values[contender])
    }

    fn ratio(&self) -> Option<f64> {
        let theirs = median(self.values.get(1)?);
        let ours = self.median(0);
        (theirs > 0.0).then(|| ours / theirs)
    }

    fn reached(&self) -> Option<bool> {
        // What cannot be divided (the rival's figure is 0) has not reached a ratio.
        Some(match self.target? {
            Target::RatioAtMost(limit) => self.ratio().is_some_and(|ratio| ratio <= limit),
            Target::RatioAtLeast(limit) => self.ratio().is_some_and(|ratio| ratio >= limit),
            Target::AtMost(limit) => median(&self.values[0]) <= limit,
            Target::Above { by, enough } => {
                let ours = self.median(0);
                let theirs = self.values.get(1).map(|values| median(values));
                ours >= enough || theirs.is_some_and(|theirs| ours >= theirs + by)
            }
        })
    }

    fn markdown(&self) -> String {
        let mut line = format!("| {}, {} |", self.label, self.unit);
        for values in &self.values {
            let _ = write!(line, " {} |", cell(values));
        }
        match self.ratio() {
            Some(ratio) => {
                let _ = write!(line, " {ratio:.3} |");
            }
            None => line.push_str(" |"),
        }
        let target = match self.target {
            None => String::new(),
            Some(Target::RatioAtMost(limit)) => format!("≤ {limit:.2}x"),
            Some(Target::RatioAtLeast(limit)) => format!("≥ {limit:.2}x"),
            Some(Target::AtMost(limit)) => format!("≤ {limit} {}", self.unit),
            Some(Target::Above { by, enough }) => {
                format!("≥ +{by} or ≥ {enough:.1} {}", self.unit)
            }
        };
        let verdict = match self.reached() {
            None => "",
            Some(true) => "pass",
            Some(false) => "FAIL",
        };
        let _ = writeln!(line, " {target} | {verdict} |");
        line
    }
}

impl Table {
    /// An empty table; `columns` are the contenders' names, Kivi first.
    pub(crate) fn new(title: impl Into<String>, columns: Vec<String>) -> Self {
        Self {
            title: title.into(),
            columns,
            rows: Vec::new(),
            notes: Vec::new(),
            failures: 0,
            text: String::new(),
            judged: Vec::new(),
        }
    }

    /// A table that its measurement has written itself, and the verdicts on it.
    pub(crate) fn written(title: impl Into<String>, text: String, judged: Vec<bool>) -> Self {
        Self {
            text,
            judged,
            ..Self::new(title, Vec::new())
        }
    }

    /// Adds a figure.
    pub(crate) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Records that a figure could not be taken: a target missed, and told below the table.
    pub(crate) fn fail(&mut self, label: &str, error: &anyhow::Error) {
        self.failures += 1;
        self.note(format!("**{label} could not be measured**: {error:#}"));
    }

    /// Figures that could not be taken.
    pub(crate) fn failures(&self) -> usize {
        self.failures
    }

    /// Reached or not, for each figure with a target.
    pub(crate) fn verdicts(&self) -> impl Iterator<Item = bool> {
        let judged = self.rows.iter().filter_map(Row::reached);
        let judged = judged.chain(self.judged.iter().copied());
        judged.chain(std::iter::repeat_n(false, self.failures))
    }

    /// The table as markdown, with a heading and its notes.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n{}", self.title, self.text);
        if !self.columns.is_empty() {
            text.push_str("| |");
            for column in &self.columns {
                let _ = write!(text, " {column} |");
            }
            text.push_str(" ratio | target | |\n|---|");
            text.push_str(&"---:|".repeat(self.columns.len()));
            text.push_str("---:|---|---|\n");
        }
        for row in &self.rows {
            text.push_str(&row.markdown());
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

/// The middle of the values; the mean of the two middle ones if their number is even; NaN for none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The smallest value that at least `percent` of `sorted` do not exceed (nearest rank).
pub(crate) fn percentile<T: Copy + Into<f64>>(sorted: &[T], percent: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1].into()
}

/// `median [lowest .. highest]`, or the value alone when there is one round.
fn cell(values: &[f64]) -> String {
    let middle = number(median(values));
    if values.len() < 2 {
        return middle;
    }
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    format!("{middle} [{} .. {}]", number(low), number(high))
}

/// Three or four significant digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v.is_nan() => "none".to_string(),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
