//! The process and its machine: memory, processor time, limits, signals, going to the background.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

/// Where the kernel keeps how likely it ends this process when memory runs out.
const OOM_SCORE_ADJ: &str = "/proc/self/oom_score_adj";

/// Processor time used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// Running the program's own code.
    pub user: Duration,
    /// In the kernel on its behalf.
    pub system: Duration,
}

/// Whose processor time to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuOf {
    /// All threads of this process.
    Process,
    /// Child processes that ended and were waited for.
    Children,
    /// The current thread.
    Thread,
}

/// The processor time used so far.
pub fn cpu_times(of: CpuOf) -> CpuTimes {
    let who = match of {
        CpuOf::Process => libc::RUSAGE_SELF,
        CpuOf::Children => libc::RUSAGE_CHILDREN,
        CpuOf::Thread => libc::RUSAGE_THREAD,
    };
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: `usage` is a valid place, and zeroed memory is a valid rusage if the call fails.
    let usage = unsafe {
        libc::getrusage(who, usage.as_mut_ptr());
        usage.assume_init()
    };
    let duration =
        |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    CpuTimes {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
    }
}

/// The processor clock of a thread, readable from any other thread: who is busy, who is not.
#[derive(Clone, Copy, Debug)]
pub struct ThreadCpu(libc::clockid_t);

impl ThreadCpu {
    /// The clock of the current thread. `None` if the system has none.
    pub fn current() -> Option<Self> {
        let mut clock = 0;
        // SAFETY: the current thread lives, and `clock` is a valid place.
        let code = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        (code == 0).then_some(ThreadCpu(clock))
    }

    /// Processor time that the thread has used, in nanoseconds; `None` once it has ended. (Much
    /// later the kernel may give its number to another thread of this process.)
    pub fn used_ns(self) -> Option<u64> {
        let mut used = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `used` is a valid place; an unknown clock is refused by the kernel.
        let code = unsafe { libc::clock_gettime(self.0, &mut used) };
        (code == 0).then(|| used.tv_sec as u64 * 1_000_000_000 + used.tv_nsec as u64)
    }
}

/// Memory of this process in RAM, in bytes; 0 if the system does not tell.
pub fn rss_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(page_bytes())
}

/// Address space of this process, in bytes; 0 if the system does not tell.
pub fn virtual_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_ascii_whitespace().next()?.parse::<u64>().ok());
    pages.unwrap_or(0).saturating_mul(page_bytes())
}

/// File descriptors in use; 0 if the system does not tell.
pub fn open_fds() -> usize {
    // One of them is the folder's own.
    fs::read_dir("/proc/self/fd").map_or(0, |fds| fds.count().saturating_sub(1))
}

/// The machine's memory, in bytes; as it was when it was first asked for.
pub fn total_system_memory_bytes() -> u64 {
    static BYTES: LazyLock<u64> =
        LazyLock::new(|| sysconf(libc::_SC_PHYS_PAGES).saturating_mul(page_bytes()));
    *BYTES
}

/// The size of a page, in bytes.
pub fn page_bytes() -> u64 {
    sysconf(libc::_SC_PAGESIZE)
}

/// 0 when the system does not know the answer.
fn sysconf(name: libc::c_int) -> u64 {
    // SAFETY: any name is fine; unknown ones answer -1.
    u64::try_from(unsafe { libc::sysconf(name) }).unwrap_or(0)
}

/// Keeps the current thread on these processors.
///
/// # Errors
/// When none of them exists or the process may not.
pub fn set_thread_affinity(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: a cpu_set_t is an array of bits; all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus.iter().filter(|&&cpu| cpu < libc::CPU_SETSIZE as usize) {
        // SAFETY: the index is within the set.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the set has the announced size; 0 is the current thread.
    check(unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) })
}

/// The processors that the current thread may run on.
///
/// # Errors
/// When the system does not tell.
pub fn thread_affinity() -> io::Result<Vec<usize>> {
    // SAFETY: a cpu_set_t is an array of bits; all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set has the announced size; 0 is the current thread.
    check(unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) })?;
    let all = 0..libc::CPU_SETSIZE as usize;
    // SAFETY: the index is within the set.
    Ok(all
        .filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) })
        .collect())
}

/// How likely the kernel ends this process when memory runs out, -1000 to 1000.
///
/// # Errors
/// When the system does not tell.
pub fn oom_score_adj() -> io::Result<i64> {
    let text = fs::read_to_string(OOM_SCORE_ADJ)?;
    text.trim().parse().map_err(io::Error::other)
}

/// Sets it.
///
/// # Errors
/// When the kernel refuses: a lower one needs privileges.
pub fn set_oom_score_adj(score: i64) -> io::Result<()> {
    fs::write(OOM_SCORE_ADJ, score.to_string())
}

/// INFO's `os`: `Linux 6.1.0-18-amd64 x86_64`.
pub fn os_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(read_os_name);
    &NAME
}

fn read_os_name() -> String {
    let mut name = MaybeUninit::<libc::utsname>::zeroed();
    // SAFETY: `name` is a valid place, and zeroed memory is a valid utsname (empty strings).
    let name = unsafe {
        libc::uname(name.as_mut_ptr());
        name.assume_init()
    };
    let text = |field: &[libc::c_char]| -> String {
        field
            .iter()
            .take_while(|&&c| c != 0)
            .map(|&c| char::from(c as u8))
            .collect()
    };
    format!(
        "{} {} {}",
        text(&name.sysname),
        text(&name.release),
        text(&name.machine)
    )
}

/// This process's number.
pub fn pid() -> u32 {
    std::process::id()
}

/// The program's file when it was first asked for; empty if the system does not tell.
pub fn executable_path() -> &'static Path {
    static PATH: LazyLock<PathBuf> = LazyLock::new(|| std::env::current_exe().unwrap_or_default());
    &PATH
}

/// Makes room for `want` open files, as far as the process may. Answers how many are possible now,
/// which can be more than asked for.
pub fn raise_nofile_limit(want: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 1024;
    }
    if limit.rlim_cur >= want {
        return limit.rlim_cur;
    }
    // Beyond the hard limit only with privileges; else what the hard limit allows.
    for target in [want, want.min(limit.rlim_max)] {
        let raised = libc::rlimit {
            rlim_cur: target,
            rlim_max: limit.rlim_max.max(target),
        };
        // SAFETY: `raised` is valid; the kernel refuses what it does not allow.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            return target;
        }
    }
    limit.rlim_cur
}

/// The longest queue of connections that the kernel keeps per listener, if it tells.
pub fn somaxconn() -> Option<u32> {
    fs::read_to_string("/proc/sys/net/core/somaxconn")
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Names the current thread for `top -H` and debuggers, cut to 15 bytes.
pub fn set_thread_name(name: &str) {
    let mut text = [0u8; 16];
    let kept = name.len().min(text.len() - 1);
    text[..kept].copy_from_slice(&name.as_bytes()[..kept]);
    // SAFETY: `text` ends with NUL and has the 16 bytes that the kernel reads at most.
    unsafe { libc::prctl(libc::PR_SET_NAME, text.as_ptr()) };
}

/// Lowers the priority of the calling thread, and of threads that it will start, for good: `nice`
/// is added to its nice value, and where the system can (Linux 6.12) it runs in turns of `slice`, so
/// that others get the processor sooner. Where that is refused nothing changes.
pub fn lower_thread_priority(nice: i32, slice: Duration) {
    // As the kernel defines it, in its first version, sched_setattr(2).
    #[repr(C)]
    struct SchedAttr {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime_ns: u64,
        deadline_ns: u64,
        period_ns: u64,
    }
    // SAFETY: the call takes no memory; it yields the id of this thread.
    let thread = unsafe { libc::syscall(libc::SYS_gettid) } as libc::id_t;
    // Of a thread, Linux means the thread with this call, not the process.
    // SAFETY: the call takes numbers.
    let now = unsafe { libc::getpriority(libc::PRIO_PROCESS, thread) };
    let nice = now.saturating_add(nice);
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: libc::SCHED_BATCH as u32,
        flags: 0,
        nice,
        priority: 0,
        runtime_ns: u64::try_from(slice.as_nanos()).unwrap_or(0),
        deadline_ns: 0,
        period_ns: 0,
    };
    // SAFETY: the struct is as long as it says and only read; 0 is this thread; there are no flags.
    let done = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
    if done != 0 {
        // SAFETY: the call takes numbers.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, thread, nice) };
    }
}

/// Says how much later than asked for the system may end the calling thread's sleeps. It is 50
/// microseconds unless set.
pub fn set_timer_slack(slack: Duration) {
    let slack_ns = libc::c_ulong::try_from(slack.as_nanos())
        .unwrap_or(0)
        .max(1);
    // SAFETY: PR_SET_TIMERSLACK takes a number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns) };
}

/// Ignores the signals that would end a server for no good reason: SIGPIPE (a client that went
/// away; the write reports it) and SIGHUP (the terminal that started it went away).
pub fn ignore_nuisance_signals() {
    // SAFETY: ignoring a signal installs no handler that could run.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
    }
}

/// Stops this process until someone continues it: how upstart learns that a service is ready.
pub fn stop_self() {
    // SAFETY: raising a signal on ourselves touches no memory.
    unsafe {
        libc::raise(libc::SIGSTOP);
    }
}

/// Goes to the background: the caller continues in a child in a session of its own, without a
/// terminal; the parent exits with 0. Call it before threads are started.
///
/// # Errors
/// When other threads run already, or the fork fails.
pub fn daemonize() -> io::Result<()> {
    if thread_count()? != 1 {
        return Err(io::Error::other(
            "cannot go to the background after threads are started",
        ));
    }
    // SAFETY: there is one thread only, so the child is a whole copy: no lock is held by a thread
    // that it does not have.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        // SAFETY: ends the parent at once, without running exit handlers that the child owns.
        _ => unsafe { libc::_exit(0) },
    }
    // SAFETY: no arguments; the fresh child leads no group, so it cannot fail.
    unsafe { libc::setsid() };
    let null = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    for stream in 0..=2 {
        // SAFETY: both are open file descriptors or refused; the standard streams stay open.
        if unsafe { libc::dup2(null.as_raw_fd(), stream) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Tells systemd how the start goes (`READY=1`, `STOPPING=1`, `STATUS=...`). False when it did not
/// start this process.
///
/// # Errors
/// When systemd's socket cannot be reached.
pub fn sd_notify(message: &str) -> io::Result<bool> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) => notify_socket(&socket, message),
        None => Ok(false),
    }
}

fn notify_socket(socket: &OsStr, message: &str) -> io::Result<bool> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        [b'/', ..] => SocketAddr::from_pathname(socket)?,
        _ => return Ok(false),
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address)?;
    Ok(true)
}

/// How many threads this process has.
///
/// # Errors
/// When /proc is not there.
pub fn thread_count() -> io::Result<usize> {
    // The threads' directory: field 20 of `stat` says the same, but not in every sandbox.
    Ok(fs::read_dir("/proc/self/task")?.count())
}

/// Where the kernel put the arguments and the variables: start and end of each.
pub(super) fn argument_area() -> Option<[usize; 4]> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold anything; the fields after it are plain. The third field
    // comes first, the 48th is the start of the arguments.
    let mut fields = stat
        .rsplit_once(')')?
        .1
        .split_ascii_whitespace()
        .skip(48 - 3);
    let mut next = || fields.next()?.parse::<usize>().ok();
    Some([next()?, next()?, next()?, next()?])
}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs `work` in a process with one thread, which the test harness is not, and tells whether it
/// went well. The caller's process must have no other busy thread: a test starts itself anew for
/// that.
#[cfg(all(test, not(miri)))]
pub(super) fn succeeds_in_fork(work: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    // SAFETY: the only other thread is the harness's main thread, which sleeps until this test ends
    // and holds no lock; jemalloc looks after its own.
    match unsafe { libc::fork() } {
        -1 => false,
        0 => {
            let code = i32::from(std::panic::catch_unwind(work).is_err());
            // SAFETY: ends the child without the harness's exit handlers.
            unsafe { libc::_exit(code) }
        }
        child => {
            let mut status = -1;
            // SAFETY: `status` is a valid place.
            unsafe { libc::waitpid(child, &mut status, 0) == child && status == 0 }
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    #[test]
    fn memory_figures_are_plausible() {
        let rss = rss_bytes();
        assert!(
            rss > 100_000 && rss < total_system_memory_bytes(),
            "rss {rss}"
        );
        assert!(page_bytes().is_power_of_two());
    }

    #[test]
    fn a_threads_clock_is_read_from_another_thread() {
        let (clock_tx, clock_rx) = std::sync::mpsc::channel();
        let (stop_tx, stop_rx) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || {
            let cpu = ThreadCpu::current().unwrap();
            while cpu.used_ns().unwrap() < 3_000_000 {}
            clock_tx.send(cpu).unwrap();
            stop_rx.recv().unwrap_err();
        });
        let cpu = clock_rx.recv().unwrap();
        assert!(cpu.used_ns().unwrap() >= 3_000_000);
        drop(stop_tx);
        worker.join().unwrap();
    }

    #[test]
    fn a_thread_may_be_kept_on_a_processor() {
        let worker = std::thread::spawn(|| {
            let cpus = thread_affinity().unwrap();
            set_thread_affinity(&cpus[..1]).unwrap();
            assert_eq!(thread_affinity().unwrap(), &cpus[..1]);
            assert!(set_thread_affinity(&[]).is_err());
        });
        worker.join().unwrap();
    }

    #[test]
    fn the_kernels_choice_of_victims_is_told() {
        let score = oom_score_adj().unwrap();
        set_oom_score_adj(score).unwrap();
        assert!((-1000..=1000).contains(&score));
    }

    #[test]
    fn processor_time_grows() {
        let before = cpu_times(CpuOf::Thread);
        let cpu = ThreadCpu::current().unwrap();
        let start_ns = cpu.used_ns().unwrap();
        while cpu.used_ns().unwrap() - start_ns < 20_000_000 {}
        let after = cpu_times(CpuOf::Thread);
        assert!(after.user + after.system > before.user + before.system);
        assert!(cpu_times(CpuOf::Process).user >= after.user);
        cpu_times(CpuOf::Children);
    }

    #[test]
    fn the_system_has_a_name() {
        let name = os_name();
        assert!(name.starts_with("Linux "), "{name}");
        assert_eq!(name.split(' ').count(), 3);
        assert!(executable_path().is_absolute());
        assert!(somaxconn().is_none_or(|max| max > 0));
    }

    #[test]
    fn the_limit_of_files_is_never_lowered() {
        let now = raise_nofile_limit(1);
        assert!(raise_nofile_limit(now) >= now);
        assert!(raise_nofile_limit(now + 1) >= now);
    }

    #[test]
    fn threads_are_named_and_long_names_cut() {
        let worker = std::thread::spawn(|| {
            set_thread_name("a-name-longer-than-fifteen");
            fs::read_to_string("/proc/thread-self/comm").unwrap()
        });
        assert_eq!(worker.join().unwrap(), "a-name-longer-t\n");
    }

    #[test]
    fn going_to_the_background_is_refused_with_threads() {
        let (stop_tx, stop_rx) = std::sync::mpsc::channel::<()>();
        let worker = std::thread::spawn(move || stop_rx.recv());
        assert!(daemonize().is_err());
        drop(stop_tx);
        let _ = worker.join();
    }

    /// A fork needs a process with one thread: the test runs itself in one, which goes to the
    /// background and reports what it finds there.
    #[test]
    fn the_background_has_a_session_of_its_own_and_no_terminal() {
        if let Some(path) = std::env::var_os("KIVI_DAEMON_SOCKET") {
            return assert!(succeeds_in_fork(move || report_from_background(
                path.as_ref()
            )));
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let test = "sys::process::tests::the_background_has_a_session_of_its_own_and_no_terminal";
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--test-threads=1"])
            .env("KIVI_DAEMON_SOCKET", &path)
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "the parent exits with 0");
        let mut report = [0; 64];
        let len = socket.recv(&mut report).unwrap();
        assert_eq!(std::str::from_utf8(&report[..len]), Ok("true true true"));
    }

    fn report_from_background(path: &std::path::Path) {
        let before = pid();
        daemonize().unwrap();
        // SAFETY: asks for a number only.
        let session = unsafe { libc::getsid(0) };
        let silent = ["0", "1", "2"].iter().all(|fd| {
            fs::read_link(format!("/proc/self/fd/{fd}")).is_ok_and(|to| to.ends_with("null"))
        });
        let report = format!("{} {} {silent}", pid() != before, session as u32 == pid());
        UnixDatagram::unbound()
            .unwrap()
            .send_to(report.as_bytes(), path)
            .unwrap();
    }

    #[test]
    fn systemd_is_told_through_either_kind_of_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let abstract_name = format!("kivi-test-{}", pid());
        let by_name = SocketAddr::from_abstract_name(abstract_name.as_bytes()).unwrap();
        for (socket, name) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.clone().into_os_string(),
            ),
            (
                UnixDatagram::bind_addr(&by_name).unwrap(),
                format!("@{abstract_name}").into(),
            ),
        ] {
            assert!(notify_socket(&name, "READY=1").unwrap());
            let mut message = [0; 32];
            let len = socket.recv(&mut message).unwrap();
            assert_eq!(&message[..len], b"READY=1");
        }
        assert!(!notify_socket(OsStr::new("relative"), "READY=1").unwrap());
        assert!(notify_socket(OsStr::new("/no/such/socket"), "READY=1").is_err());
    }

    #[test]
    fn the_arguments_are_found() {
        let [arg_start, arg_end, env_start, env_end] = argument_area().unwrap();
        assert!(arg_start < arg_end && arg_end <= env_start && env_start <= env_end);
    }
}
