//! What the sweep has measured, kept in a file line by line as it comes, so that a run that was cut off
//! can go on.
//!
//! The first line names the contenders; each other one is a figure: workload, contender, CPU per request
//! in µs, requests per second, separated by tabs. A file of other contenders is not continued.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::report;

/// One run's figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
}

/// All figures so far, and the file that gets each new one.
pub(crate) struct State {
    file: File,
    contenders: usize,
    /// By workload, then contender.
    figures: HashMap<String, Vec<Vec<Figures>>>,
}

impl State {
    /// Opens the file, begun anew or as it was left.
    pub(crate) fn open(path: &Path, contenders: &[&str], goes_on: bool) -> Result<Self> {
        let head = contenders.join("\t");
        let text = match goes_on {
            true => fs::read_to_string(path).unwrap_or_default(),
            false => String::new(),
        };
        let mut figures = HashMap::new();
        // A line that was cut off has no end.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        let mut lines = whole.lines();
        if let Some(found) = lines.next() {
            ensure!(found == head, "the figures there are of: {found}");
        }
        for line in lines {
            read(line, contenders.len(), &mut figures).with_context(|| line.to_string())?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .with_context(|| path.display().to_string())?;
        match whole {
            "" => writeln!(file, "{head}")?,
            whole => file.write_all(whole.as_bytes())?,
        }
        Ok(Self {
            file,
            contenders: contenders.len(),
            figures,
        })
    }

    /// Adds a figure.
    pub(crate) fn push(&mut self, label: &str, contender: usize, figures: Figures) -> Result<()> {
        let Figures { cpu_us, per_second } = figures;
        writeln!(self.file, "{label}\t{contender}\t{cpu_us}\t{per_second}")?;
        let empty = || vec![Vec::new(); self.contenders];
        let all = self.figures.entry(label.to_string()).or_insert_with(empty);
        all[contender].push(figures);
        Ok(())
    }

    /// Rounds that all contenders have made.
    pub(crate) fn rounds(&self, label: &str) -> usize {
        let all = self.figures.get(label);
        all.map_or(0, |all| all.iter().map(Vec::len).min().unwrap_or(0))
    }

    /// Medians, by contender.
    pub(crate) fn medians(&self, label: &str) -> Option<Vec<Figures>> {
        let all = self.figures.get(label)?;
        let median = |values: &[Figures], of: fn(&Figures) -> f64| {
            report::median(&values.iter().map(of).collect::<Vec<f64>>())
        };
        let medians = all.iter().map(|values| Figures {
            cpu_us: median(values, |figures| figures.cpu_us),
            per_second: median(values, |figures| figures.per_second),
        });
        Some(medians.collect())
    }
}

fn read(line: &str, contenders: usize, all: &mut HashMap<String, Vec<Vec<Figures>>>) -> Result<()> {
    let words: Vec<&str> = line.split('\t').collect();
    let [label, contender, cpu_us, per_second] = words[..] else {
        anyhow::bail!("not a figure");
    };
    let of = all
        .entry(label.to_string())
        .or_insert_with(|| vec![Vec::new(); contenders]);
    let contender: usize = contender.parse()?;
    of.get_mut(contender)
        .context("no such server")?
        .push(Figures {
            cpu_us: cpu_us.parse()?,
            per_second: per_second.parse()?,
        });
    Ok(())
}
