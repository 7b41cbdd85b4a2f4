//! LATENCY GRAPH: the samples of an event as columns of characters, drawn as Redis draws them.
//!
//! A column is four rows high, and what fills the topmost of them has three heights: twelve steps from the smallest to
//! the largest sample. Below stands how long ago the sample is, from top to bottom.

use std::fmt::Write as _;

use crate::stats::latency::Series;

use super::super::{CmdResult, Ctx, Next};
use super::no_samples;

/// Columns of a line; more samples go on below.
const COLUMNS: usize = 80;
const ROWS: usize = 4;
/// What the end of a column looks like, lowest first.
const FILLS: [u8; 3] = *b"_o#";
/// What stands below it.
const BODY: u8 = b'|';

pub(super) fn graph(ctx: &mut Ctx<'_>) -> CmdResult {
    let event = ctx.args.bytes()?;
    let Some((name, series)) = ctx.server.stats.latency.series(event) else {
        return Err(no_samples(event));
    };
    let now_ms = ctx.server.clock.unix_ms();
    let text = draw(name, &series, now_ms);
    ctx.out.verbatim("txt", text.as_bytes());
    Ok(Next::Done)
}

pub(super) fn draw(name: &str, series: &Series, now_ms: u64) -> String {
    let all = || series.samples.iter().map(|sample| sample.ms);
    let (low, high) = (all().min().unwrap_or(0), all().max().unwrap_or(0));
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{name} - high {high} ms, low {low} ms (all time high {} ms)\n{}",
        series.max_ms,
        "-".repeat(COLUMNS)
    );
    let columns: Vec<Column> = series
        .samples
        .iter()
        .map(|sample| Column {
            step: step(sample.ms, low, high),
            label: age((now_ms / 1000).saturating_sub(sample.at_secs)),
        })
        .collect();
    for (at, line) in columns.chunks(COLUMNS).enumerate() {
        if at > 0 {
            text.push('\n');
        }
        draw_line(line, &mut text);
    }
    text
}

struct Column {
    step: usize,
    label: String,
}

/// Which of the steps from the smallest to the largest sample this one is.
fn step(ms: u64, low: u64, high: u64) -> usize {
    const STEPS: usize = ROWS * FILLS.len();
    let share = u128::from(ms - low) * STEPS as u128 / u128::from((high - low).max(1));
    (share as usize).min(STEPS - 1)
}

/// How long ago something was, in the largest unit.
fn age(secs: u64) -> String {
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..86_400 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

fn draw_line(columns: &[Column], text: &mut String) {
    let mut row = |at: &dyn Fn(&Column) -> u8| {
        text.extend(columns.iter().map(|column| char::from(at(column))));
        text.push('\n');
    };
    for below in (0..ROWS).rev() {
        row(
            &|column| match column.step.checked_sub(below * FILLS.len()) {
                Some(height) => *FILLS.get(height).unwrap_or(&BODY),
                None => b' ',
            },
        );
    }
    row(&|_| b' ');
    let label_rows = columns.iter().map(|column| column.label.len()).max();
    for letter in 0..label_rows.unwrap_or(0) {
        row(&|column| *column.label.as_bytes().get(letter).unwrap_or(&b' '));
    }
}
