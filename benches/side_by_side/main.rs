//! Kivi beside a real server, on this machine, in one run: what a request costs, what a key costs,
//! how long a reader waits, how late a key expires, what more threads bring, what snapshots and the
//! log cost, transactions, messages and tracking, streams, bitmaps, HyperLogLogs and geo indexes,
//! scripts, how well and how fast keys are evicted, what it costs to be exposed: TLS, users with
//! rules, figures, strangers; and a sweep over all families of commands.
//!
//! `cargo bench --bench side_by_side -- [what] [options]`; `--help` lists them, benches/README.md
//! explains the tables.
//!
//! The idea: absolute figures of a shared machine say little, so every figure is taken from both
//! servers in alternation, several times, and the *ratio of the medians* is what is judged. Nothing
//! here depends on the crate `kivi`: the server under test is a binary that is given by path.
//!
//! Invariants:
//! - every process started here is ended by its own id when its owner is dropped, and by the kernel
//!   (`setpriv --pdeathsig`) if this program dies first;
//! - every wait has a limit;
//! - a run that did not do its work (missing keys, error replies, a tool that failed) is an error,
//!   never a good figure.
//!
//! To add a measurement: a module with `pub(crate) fn run(&Bench) -> Result<Vec<Table>>`, a variant
//! of `What`, and one line in `measure`.

mod client;
mod collections;
mod contention;
mod cpu;
mod crowd;
mod data;
mod elements;
mod evict_churn;
mod evict_flush;
mod evict_hits;
mod evict_latency;
mod evict_limit;
mod evict_overshoot;
mod expiry;
mod exposed;
mod exposed_tls;
mod exposed_unread;
mod fill;
mod grow;
mod idle;
mod load;
mod memory;
mod multi;
mod options;
mod persist;
mod persist_cut;
mod persist_fsync;
mod persist_loading;
mod persist_writer;
mod process;
mod publish;
mod replies;
mod report;
mod scaling;
mod scripts;
mod server;
mod sweep;
mod sweep_chart;
mod sweep_data;
mod sweep_page;
mod sweep_rows;
mod sweep_state;
mod syscalls;
mod tail;
mod tail_client;
mod tracking;
mod types;
mod watch;
mod wire;
mod zipf;

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use options::{Options, Parsed, What};
use report::Table;
use server::Contender;

/// What every measurement needs: the choices of the user and the servers to compare.
///
/// `contenders[0]` is Kivi (or its stand-in) and `contenders[1]` the rival that it is divided by;
/// others are only shown.
pub(crate) struct Bench {
    pub(crate) options: Options,
    pub(crate) contenders: Vec<Contender>,
}

impl Bench {
    /// The order in which one round visits the contenders. It is reversed every other round, so
    /// that none always comes after the same neighbour.
    pub(crate) fn order(&self, round: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.contenders.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        order
    }

    /// A table whose columns are the contenders of this run.
    pub(crate) fn table(&self, title: impl Into<String>) -> Table {
        Table::new(
            title,
            self.contenders.iter().map(|c| c.name.clone()).collect(),
        )
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Parsed::Run(options)) => *options,
        Ok(Parsed::Help) => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        // `cargo test --all-targets` starts benches without a word: there is nothing to test then.
        Ok(Parsed::Nothing) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("side_by_side: {error:#}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("side_by_side: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for; false when something could not be measured, or `--strict` was given and
/// a target was missed.
fn run(options: Options) -> Result<bool> {
    process::raise_open_file_limit();
    let contenders = Contender::choose(&options)?;
    let bench = Bench {
        options,
        contenders,
    };
    let mut report = Report {
        text: headline(&bench),
        reached: 0,
        judged: 0,
        failures: 0,
    };
    print!("{}", report.text);
    for &what in bench.options.what.parts() {
        let begin = Instant::now();
        let mut emit = |table: Table| report.add(&bench.options, &table);
        measure(&bench, what, &mut emit).with_context(|| format!("measuring {what:?}"))?;
        eprintln!("# {what:?} took {:.0} s", begin.elapsed().as_secs_f64());
    }
    report.finish(&bench.options)
}

/// What has been measured so far.
struct Report {
    text: String,
    reached: usize,
    judged: usize,
    failures: usize,
}

impl Report {
    /// Prints a table and saves it: a long run that is cut off leaves what it has.
    fn add(&mut self, options: &Options, table: &Table) -> Result<()> {
        let part = table.markdown();
        print!("\n{part}");
        self.text.push('\n');
        self.text.push_str(&part);
        self.reached += table.verdicts().filter(|&ok| ok).count();
        self.judged += table.verdicts().count();
        self.failures += table.failures();
        self.save(options)
    }

    /// The summary; whether all is well.
    fn finish(mut self, options: &Options) -> Result<bool> {
        let summary = match self.judged {
            0 => "\nNo target was judged.\n".to_string(),
            judged => format!("\n{} of {judged} targets reached.\n", self.reached),
        };
        print!("{summary}");
        self.text.push_str(&summary);
        self.save(options)?;
        Ok(self.failures == 0 && (!options.strict || self.reached == self.judged))
    }

    fn save(&self, options: &Options) -> Result<()> {
        match &options.out {
            None => Ok(()),
            Some(path) => {
                fs::write(path, &self.text).with_context(|| format!("writing {}", path.display()))
            }
        }
    }
}

/// Where tables go as soon as they are complete.
pub(crate) type Emit<'a> = &'a mut dyn FnMut(Table) -> Result<()>;

fn measure(bench: &Bench, what: What, emit: Emit) -> Result<()> {
    let tables = match what {
        What::Cpu => cpu::run(bench, &cpu::grid(&bench.options)),
        What::Hot => cpu::run(bench, &cpu::hot_key()),
        What::C500 => cpu::run(bench, &cpu::many_connections(&bench.options)),
        What::Syscalls => syscalls::run(bench),
        What::Memory => memory::run(bench),
        What::Curve => memory::run_curve(bench),
        What::Fill => fill::run(bench),
        What::Expiry => expiry::run(bench),
        What::Idle => idle::run(bench),
        What::Ops => collections::run_ops(bench),
        What::Ranges => collections::run_ranges(bench),
        What::Elements => elements::run(bench),
        What::Grow => grow::run(bench),
        What::Scaling => return scaling::run(bench, emit),
        What::Contention => return contention::run(bench, emit),
        What::Bgsave => persist::run(bench),
        What::Cut => persist_cut::run(bench),
        What::Loading => persist_loading::run(bench),
        What::Fsync => persist_fsync::run(bench),
        What::Multi => multi::run(bench),
        What::Watch => multi::run_watch(bench),
        What::Publish => publish::run(bench),
        What::Tracking => tracking::run(bench),
        What::Types => types::run(bench),
        What::Scripts => scripts::run(bench),
        What::Tail => tail::run(bench),
        What::Sweep => sweep::run(bench),
        What::Tls => exposed_tls::run(bench),
        What::Handshakes => exposed_tls::run_handshakes(bench),
        What::Rights => exposed::run_rights(bench),
        What::Figures => exposed::run_figures(bench),
        What::Unread => exposed_unread::run(bench),
        What::Hits => evict_hits::run(bench),
        What::Limit => evict_limit::run(bench),
        What::Pauses => evict_latency::run(bench),
        What::Overshoot => evict_overshoot::run(bench),
        What::Churn => evict_churn::run(bench),
        What::Flushall => evict_flush::run(bench),
        What::Returned => evict_flush::run_returned(bench),
        What::All
        | What::Collections
        | What::Persist
        | What::Coordination
        | What::Evict
        | What::Exposed => {
            unreachable!("`parts` never yields a group")
        }
    };
    tables?.into_iter().try_for_each(emit)
}

/// What a reader needs to judge the figures: the servers, the machine, the rounds.
fn headline(bench: &Bench) -> String {
    let names: Vec<&str> = bench.contenders.iter().map(|c| c.name.as_str()).collect();
    let first_line = |program: &str, args: &[&str]| -> String {
        let output = Command::new(program).args(args).output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        text.unwrap_or_default()
            .lines()
            .next()
            .unwrap_or("unknown")
            .to_string()
    };
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_string();
    format!(
        "{} on {}, Linux {}, {} cores ({}), load {} at the start; medians of {} alternating \
         rounds [lowest .. highest].\n",
        names.join(" beside "),
        first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"]),
        first_line("uname", &["-r"]),
        process::cores(),
        process::cpu_model(),
        load,
        bench.options.rounds,
    )
}
