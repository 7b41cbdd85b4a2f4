//! The sweep's table: a line for each workload, and what follows from all of them.
//!
//! Ratios are those of medians, Kivi's divided by the other's. A figure that misses what was asked for is
//! set in bold: more than the rival's at all, or more than 0.80 of it without a pipeline.

use std::fmt::Write as _;

use crate::Bench;
use crate::options::Mode;
use crate::report::{Table, number};
use crate::sweep::Workload;
use crate::sweep_state::{Figures, State};

/// What CPU per request may be of the rival's: of all, without a pipeline, of any.
const MEAN_LIMIT: f64 = 0.6;
const MEAN_P1_LIMIT: f64 = 0.8;
const ANY_LIMIT: f64 = 1.0;

/// What a workload showed.
struct Result<'a> {
    workload: &'a Workload,
    medians: Vec<Figures>,
}

impl Result<'_> {
    /// CPU divided by that of a contender.
    fn cpu(&self, other: usize) -> f64 {
        self.medians[0].cpu_us / self.medians[other].cpu_us
    }

    fn rate(&self, other: usize) -> f64 {
        self.medians[0].per_second / self.medians[other].per_second
    }

    fn misses(&self) -> bool {
        let limit = match self.workload.pipeline {
            1 => MEAN_P1_LIMIT,
            _ => ANY_LIMIT,
        };
        self.cpu(1) > limit
    }
}

/// One workload's figures in short, for those who watch.
pub(crate) fn line(state: &State, label: &str) -> String {
    let Some(medians) = state.medians(label) else {
        return "nothing".into();
    };
    let cpu: Vec<String> = medians.iter().map(|of| number(of.cpu_us)).collect();
    let ratio = |other: &Figures| format!("{:.2}x", medians[0].cpu_us / other.cpu_us);
    let ratios: Vec<String> = medians[1..].iter().map(ratio).collect();
    format!("{} µs: {}", cpu.join(" / "), ratios.join(", "))
}

/// All of it.
pub(crate) fn table(bench: &Bench, mode: Mode, workloads: &[Workload], state: &State) -> Table {
    let results: Vec<Result> = workloads
        .iter()
        .filter_map(|workload| {
            let medians = state.medians(&workload.label)?;
            let complete = medians.iter().all(|of| of.cpu_us.is_finite());
            complete.then_some(Result { workload, medians })
        })
        .collect();
    let names: Vec<&str> = bench.contenders.iter().map(|c| c.name.as_str()).collect();
    let mut text = String::new();
    summary(&mut text, &names, &results);
    rows(&mut text, &names, &results);
    let title = format!("The sweep, {} workloads: {}", results.len(), mode.title());
    let judged = match bench.options.quick || results.is_empty() {
        true => Vec::new(),
        false => vec![
            mean(results.iter().map(|of| of.cpu(1))) <= MEAN_LIMIT,
            mean(without_pipeline(&results).map(|of| of.cpu(1))) <= MEAN_P1_LIMIT,
            results.iter().all(|of| of.cpu(1) <= ANY_LIMIT),
        ],
    };
    Table::written(title, text, judged)
}

fn without_pipeline<'a>(results: &'a [Result]) -> impl Iterator<Item = &'a Result<'a>> {
    results.iter().filter(|of| of.workload.pipeline == 1)
}

/// The geometric mean; NaN for none.
fn mean(ratios: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = ratios.map(f64::ln).collect();
    (logs.iter().sum::<f64>() / logs.len() as f64).exp()
}

/// Means, and how many are above what they should be.
fn summary(text: &mut String, names: &[&str], results: &[Result]) {
    text.push_str("| geometric means, counts |");
    for name in &names[1..] {
        let _ = write!(text, " CPU / {name} | rate / {name} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(2 * (names.len() - 1)));
    text.push('\n');
    let means = |text: &mut String, what: &str, chosen: &[&Result]| {
        if chosen.is_empty() {
            return;
        }
        let _ = write!(text, "| {what} ({}) |", chosen.len());
        for other in 1..names.len() {
            let cpu = mean(chosen.iter().map(|of| of.cpu(other)));
            let rate = mean(chosen.iter().map(|of| of.rate(other)));
            let _ = write!(text, " {cpu:.3} | {rate:.2} |");
        }
        text.push('\n');
    };
    means(text, "all workloads", &results.iter().collect::<Vec<_>>());
    for pipeline in [1, 16, 64] {
        let of = |result: &&Result| result.workload.pipeline == pipeline;
        let what = format!("pipeline {pipeline}");
        means(text, &what, &results.iter().filter(of).collect::<Vec<_>>());
    }
    let mut families: Vec<&str> = results.iter().map(|of| of.workload.family).collect();
    families.dedup();
    for family in families {
        let of = |result: &&Result| result.workload.family == family;
        means(text, family, &results.iter().filter(of).collect::<Vec<_>>());
    }
    let mut counts = |what: &str, is: &dyn Fn(&Result, usize) -> bool| {
        let _ = write!(text, "| {what} |");
        for other in 1..names.len() {
            let count = results.iter().filter(|of| is(of, other)).count();
            let _ = write!(text, " {count} | |");
        }
        text.push('\n');
    };
    counts("workloads above 1.00x", &|of, other| {
        of.cpu(other) > ANY_LIMIT
    });
    counts("workloads of pipeline 1 above 0.80x", &|of, other| {
        of.workload.pipeline == 1 && of.cpu(other) > MEAN_P1_LIMIT
    });
    text.push('\n');
}

fn rows(text: &mut String, names: &[&str], results: &[Result]) {
    text.push_str("| workload | c | P | CPU, µs |");
    for name in &names[1..] {
        let _ = write!(text, " / {name} |");
    }
    text.push_str(" rate, k/s |");
    for name in &names[1..] {
        let _ = write!(text, " / {name} |");
    }
    text.push_str("\n|---|---:|---:|");
    text.push_str(&"---:|".repeat(2 * names.len()));
    text.push('\n');
    let mut before = "";
    for result in results {
        let workload = result.workload;
        if workload.family != before {
            before = workload.family;
            let _ = writeln!(text, "| **{before}** |{}", " |".repeat(2 + 2 * names.len()));
        }
        let _ = write!(
            text,
            "| {} | {} | {} | {} |",
            workload.name,
            workload.connections,
            workload.pipeline,
            number(result.medians[0].cpu_us)
        );
        for other in 1..names.len() {
            let mark = if other == 1 && result.misses() {
                "**"
            } else {
                ""
            };
            let _ = write!(text, " {mark}{:.2}{mark} |", result.cpu(other));
        }
        let _ = write!(text, " {} |", number(result.medians[0].per_second / 1000.0));
        for other in 1..names.len() {
            let _ = write!(text, " {:.2} |", result.rate(other));
        }
        text.push('\n');
    }
}
