//! Processes and what `/proc` says about them: start, limit, end by id, CPU time, memory.
//!
//! Children are started through `setpriv --pdeathsig KILL` where that exists, so that the kernel
//! ends them even when this program is killed. The signal follows the *thread* that started them:
//! start children from the main thread only.

use std::ffi::OsString;
use std::fs;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A child that is killed and reaped when this is dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `words` (program first), optionally on some CPUs only (a list as of `taskset -c`);
    /// `prepare` may redirect its streams.
    pub(crate) fn start(
        words: &[OsString],
        cpus: Option<&str>,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let mut argv: Vec<OsString> = Vec::new();
        if in_path("setpriv") {
            argv.extend(["setpriv", "--pdeathsig", "KILL"].map(OsString::from));
        }
        if let Some(cpus) = cpus {
            argv.extend(["taskset", "-c", cpus].map(OsString::from));
        }
        argv.extend_from_slice(words);
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]);
        prepare(&mut command);
        let child = command
            .spawn()
            .with_context(|| format!("starting {argv:?}"))?;
        Ok(Self { child })
    }

    /// Its process id; the wrappers replace themselves, so it is the id of the program itself.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The child, to take its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its exit status, if it has ended.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end; an error if that takes longer than `limit`.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > deadline {
                bail!("process {} did not end within {limit:?}", self.pid());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it SIGINT.
    pub(crate) fn interrupt(&self) -> Result<()> {
        let status = Command::new("kill")
            .args(["-INT", &self.pid().to_string()])
            .status()?;
        if !status.success() {
            bail!("kill -INT {} failed", self.pid());
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// CPU time used so far by all threads of a process, in nanoseconds.
///
/// From `schedstat` (exact) where the kernel has it, else from `stat` (10 ms ticks).
pub(crate) fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        match fs::read_to_string(entry?.path().join("schedstat")) {
            Ok(line) => {
                let word = line.split(' ').next().unwrap_or_default();
                sum += word
                    .parse::<u64>()
                    .with_context(|| format!("schedstat: {line}"))?;
            }
            // A kernel without schedstat, or a thread that just ended.
            Err(_) => return cpu_ns_by_ticks(pid),
        }
    }
    Ok(sum)
}

const NS_PER_TICK: u64 = 10_000_000;

/// The same with what its children have used that have ended: a server may do its work in these.
pub(crate) fn cpu_ns_with_children(pid: u32) -> Result<u64> {
    let [.., own, system] = stat_ticks(pid)?;
    Ok(cpu_ns(pid)? + (own + system) * NS_PER_TICK)
}

fn cpu_ns_by_ticks(pid: u32) -> Result<u64> {
    let [own, system, ..] = stat_ticks(pid)?;
    Ok((own + system) * NS_PER_TICK)
}

/// Ticks that a process has used in its own code and in the system's, then those of its children.
fn stat_ticks(pid: u32) -> Result<[u64; 4]> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold anything; utime is word 14 of the line, hence 12 after the
    // name, and the others follow it.
    let (_, rest) = line
        .rsplit_once(") ")
        .context("unreadable /proc/PID/stat")?;
    let words: Vec<&str> = rest.split(' ').collect();
    let words = words.get(11..15).context("unreadable /proc/PID/stat")?;
    let mut ticks = [0; 4];
    for (tick, word) in ticks.iter_mut().zip(words) {
        *tick = word.parse().context("unreadable /proc/PID/stat")?;
    }
    Ok(ticks)
}

/// Resident memory of a process in bytes.
///
/// From `smaps_rollup`, which counts pages; `VmRSS` of `status` may lag by some pages per thread
/// and is the fallback.
pub(crate) fn rss_bytes(pid: u32) -> Result<u64> {
    let kib = kib_of(pid, "smaps_rollup", "Rss:").or_else(|| kib_of(pid, "status", "VmRSS:"));
    Ok(kib.with_context(|| format!("no memory figures for process {pid}"))? * 1024)
}

/// The same, not exact but without walking the process's pages, which would hold up its mappings:
/// for use while latencies are measured.
pub(crate) fn rss_bytes_quick(pid: u32) -> Result<u64> {
    let kib = kib_of(pid, "status", "VmRSS:");
    Ok(kib.with_context(|| format!("no memory figures for process {pid}"))? * 1024)
}

/// Proportional memory of a process and its descendants in bytes: pages that several share are
/// divided among them, so that the sum counts each page once. It walks every page of them all.
pub(crate) fn pss_bytes_of_tree(pid: u32) -> Result<u64> {
    let own = kib_of(pid, "smaps_rollup", "Pss:");
    let mut kib = own.with_context(|| format!("no memory figures for process {pid}"))?;
    for child in descendants(pid)? {
        // A child that has just ended has given back what it had.
        kib += kib_of(child, "smaps_rollup", "Pss:").unwrap_or(0);
    }
    Ok(kib * 1024)
}

/// The processes that a process has started, and those that these have.
fn descendants(pid: u32) -> Result<Vec<u32>> {
    let mut pairs = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(process) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let line = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name in parentheses may hold anything; the state and the parent follow it.
        let parent = line
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<u32>().ok());
        pairs.extend(parent.map(|parent| (parent, process)));
    }
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(pairs.iter().filter(|p| p.0 == parent).map(|p| p.1));
        next += 1;
    }
    Ok(found.split_off(1))
}

fn kib_of(pid: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

/// Number of CPUs this program may use.
pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The name of the CPU.
pub(crate) fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split(": ").nth(1));
    name.unwrap_or("unknown CPU").to_string()
}

/// Whether a program of that name can be started.
pub(crate) fn in_path(program: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Raises the limit of open files as far as it goes, for this program and the servers it starts.
pub(crate) fn raise_open_file_limit() {
    let own = std::process::id().to_string();
    for limit in ["200000:200000", "65536:65536", "65536:", "20000:", "12000:"] {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &own, &format!("--nofile={limit}")]);
        // Not being allowed is no error here: `idle` says it when it runs out of files.
        if command.output().is_ok_and(|output| output.status.success()) {
            return;
        }
    }
}
