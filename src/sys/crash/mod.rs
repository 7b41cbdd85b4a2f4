//! The report that a crash leaves in the log: a signal that says that the program is broken, or a
//! panic.
//!
//! **Who writes what.** The thread that crashed writes what it knows itself and by means that work in
//! a signal handler: version, cause, the command that it was running, registers, the addresses of its
//! stack. It neither allocates nor waits for a lock. Names of functions and figures of the server need
//! both, so a thread that has waited for this since the start writes them (`helper`); if it cannot,
//! because the crashed thread holds what it needs, its part is missing and everything else is there.
//! In the end the process dies of the same signal as without a report, so core dumps and exit codes
//! stay what they were.
//!
//! **What a thread is running** it says itself before each command, in a few stores of its own
//! ([`running`]). Of the arguments only the addresses are kept; they are read through the kernel,
//! which answers with an error where there is nothing any more, and only if users' data may be shown.
//!
//! Invariants: the first thread that crashes writes, others stop where they are; a crash inside the
//! report ends the process at once.

use std::cell::Cell;
use std::ffi::{CString, c_int, c_void};
use std::fmt::{self, Write as _};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

mod helper;
mod registers;
mod report;
mod stack;

pub use stack::SignalStack;

use report::Report;

/// Signals of a broken program.
const SIGNALS: [(c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGABRT, "SIGABRT"),
];
/// No command runs.
const NONE: u16 = u16::MAX;
/// Most of a request that is shown: arguments, and bytes of each.
const ARGUMENTS_MAX: u32 = 32;
const ARGUMENT_BYTES_MAX: u32 = 128;

/// What a report says of the command that was running.
pub struct CommandName {
    /// The full name, `config|set`.
    pub name: String,
    /// Its arguments may be passwords: they are never shown.
    pub has_secrets: bool,
}

/// Writes what is known of the server when it has crashed. The number is that of the client whose
/// command was running.
pub type Facts = dyn Fn(Option<u64>, &mut dyn fmt::Write) + Send + Sync;

/// All that a report needs, given at the start.
pub struct Setup {
    /// Name and version of the program.
    pub version: String,
    /// The log; none: standard output.
    pub log: Option<PathBuf>,
    /// Commands by number.
    pub commands: Vec<CommandName>,
    /// The server's figures.
    pub facts: Box<Facts>,
    /// A file to be removed when the process dies.
    pub remove: Option<PathBuf>,
}

/// What may change while the server runs.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Reports are written.
    pub enabled: bool,
    /// Arguments of commands are shown.
    pub shows_arguments: bool,
    /// After a panic the process exits instead of aborting.
    pub exits: bool,
    /// Text to be added to a report.
    pub context: String,
}

struct State {
    version: String,
    log: Option<CString>,
    commands: Vec<CommandName>,
    remove: Option<CString>,
    /// What the signals did before, in the order of [`SIGNALS`].
    before: [libc::sigaction; SIGNALS.len()],
}

static STATE: OnceLock<State> = OnceLock::new();
static SETTINGS: Mutex<Settings> = Mutex::new(Settings {
    enabled: false,
    shows_arguments: false,
    exits: false,
    context: String::new(),
});
/// The thread that writes the report; 0: nobody.
static REPORTER: AtomicI32 = AtomicI32::new(0);

#[derive(Clone, Copy)]
struct Running {
    command: u16,
    client: u64,
    bytes: *const u8,
    bytes_len: usize,
    spans: *const u8,
    spans_len: usize,
}

impl Running {
    const NOTHING: Running = Running {
        command: NONE,
        client: 0,
        bytes: ptr::null(),
        bytes_len: 0,
        spans: ptr::null(),
        spans_len: 0,
    };
}

thread_local! {
    static RUNNING: Cell<Running> = const { Cell::new(Running::NOTHING) };
}

/// Notes what this thread is about to run: number of the command, of the client, and the request. The
/// spans are pairs of a position in `bytes` and a length, 32 bits each.
#[inline(always)]
pub fn running<S>(command: u16, client: u64, bytes: &[u8], spans: &[S]) {
    const { assert!(size_of::<S>() == 8) };
    RUNNING.set(Running {
        command,
        client,
        bytes: bytes.as_ptr(),
        bytes_len: bytes.len(),
        spans: spans.as_ptr().cast(),
        spans_len: spans.len(),
    });
}

/// What this thread runs, put back when this is dropped: for commands within commands.
pub struct Outer(Running);

/// Keeps what this thread runs, for as long as it runs something within that.
pub fn outer() -> Outer {
    Outer(RUNNING.get())
}

impl Drop for Outer {
    fn drop(&mut self) {
        RUNNING.set(self.0);
    }
}

/// Notes that this thread runs no command any more.
#[inline(always)]
pub fn idle() {
    RUNNING.set(Running::NOTHING);
}

/// Prepares everything for a report. To be called once, after the process has gone to the background;
/// nothing is reported before [`configure`] has said so.
///
/// # Errors
/// When a thread or a pipe cannot be had.
pub fn install(setup: Setup) -> std::io::Result<()> {
    let path = |path: PathBuf| CString::new(path.as_os_str().as_bytes()).ok();
    let state = State {
        version: setup.version,
        log: setup.log.and_then(path),
        commands: setup.commands,
        remove: setup.remove.and_then(path),
        before: SIGNALS.map(|(signal, _)| action_of(signal)),
    };
    stack::note_load_address();
    if STATE.set(state).is_err() {
        return Ok(());
    }
    helper::start(setup.facts)?;
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if SETTINGS.try_lock().is_ok_and(|settings| !settings.enabled) {
            default(info);
        } else {
            report_panic(info);
        }
        die_of_panic();
    }));
    Ok(())
}

/// Puts settings into force.
pub fn configure(settings: Settings) {
    let enabled = settings.enabled;
    let was_enabled = {
        let mut now = SETTINGS.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *now, settings).enabled
    };
    let Some(state) = STATE.get() else { return };
    if enabled == was_enabled {
        return;
    }
    for ((signal, _), before) in SIGNALS.iter().zip(&state.before) {
        match enabled {
            true => set_action(*signal, &our_action()),
            false => set_action(*signal, before),
        }
    }
}

fn action_of(signal: c_int) -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction (default action, empty mask); the call only writes to it.
    unsafe {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    }
}

fn our_action() -> libc::sigaction {
    // SAFETY: all zeros is a valid sigaction.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_signal;
    action.sa_sigaction = handler as *const () as usize;
    // On a stack of its own, since that of the thread may have run out. Not blocked meanwhile, so that a
    // crash in here comes here again, and is the end (`is_first`). The action stays, since it is that of
    // all threads: another one that crashes has to stop here, too.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    action
}

fn set_action(signal: c_int, action: &libc::sigaction) {
    // SAFETY: the action is valid, and its handler, if it is ours, does only what a handler may.
    unsafe { libc::sigaction(signal, action, ptr::null_mut()) };
}

fn thread_id() -> i32 {
    // SAFETY: the call takes no memory; it yields a number.
    unsafe { libc::syscall(libc::SYS_gettid) as i32 }
}

/// Whether this thread is the one that reports. Another one is already: this one stops here, so that
/// the report shows what is and the process does not end before it is written. A crash of the
/// reporter itself gets no report, and neither does the abort behind a panic that it has reported.
fn is_first() -> bool {
    let me = thread_id();
    match REPORTER.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst) {
        Ok(_) => true,
        Err(reporter) if reporter == me || helper::is_me(me) => false,
        Err(_) => loop {
            // SAFETY: waits; takes no memory.
            unsafe { libc::pause() };
        },
    }
}

extern "C" fn on_signal(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if is_first()
        && let Some(state) = STATE.get()
    {
        let report = &mut Report::open(state.log.as_deref());
        // SAFETY: the kernel hands over valid pointers to both, for as long as the handler runs.
        let (info, context) = unsafe { (&*info, &*context.cast::<libc::ucontext_t>()) };
        let _ = report_signal(state, report, signal, info, context);
        finish(state, report, Some(registers::instruction(context)));
    }
    // SAFETY: back to the default action, then the signal again: all only take numbers. The thread
    // does not block it (SA_NODEFER). The first process of a container ignores what it sends itself.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
        libc::_exit(128 + signal);
    }
}

fn report_signal(
    state: &State,
    report: &mut Report,
    signal: c_int,
    info: &libc::siginfo_t,
    context: &libc::ucontext_t,
) -> fmt::Result {
    let name = SIGNALS.iter().find(|(number, _)| *number == signal);
    let name = name.map_or("?", |(_, name)| name);
    begin(report)?;
    writeln!(
        report,
        "{} crashed by signal: {signal} ({name}), si_code: {}",
        state.version, info.si_code
    )?;
    // What others send has no address but a sender.
    if matches!(
        info.si_code,
        libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL
    ) {
        // SAFETY: a signal with such a code says who has sent it.
        let (pid, uid) = unsafe { (info.si_pid(), info.si_uid()) };
        writeln!(report, "Sent by process {pid}, user {uid}")?;
    } else {
        // SAFETY: any other of these signals has an address.
        let address = unsafe { info.si_addr() };
        writeln!(report, "Accessing address: {address:p}")?;
    }
    let at = registers::instruction(context);
    writeln!(report, "Crashed running the instruction at: {:#x}", at)?;
    where_it_was(state, report)?;
    report.heading("REGISTERS")?;
    registers::write(context, report)
}

fn report_panic(info: &std::panic::PanicHookInfo<'_>) {
    let Some(state) = STATE.get() else { return };
    if !is_first() {
        return;
    }
    let report = &mut Report::open(state.log.as_deref());
    let _ = (|| {
        begin(report)?;
        writeln!(report, "{} crashed by a panic", state.version)?;
        writeln!(report, "Guru Meditation: {}", OneLine(message(info)))?;
        if let Some(location) = info.location() {
            writeln!(report, "At {location}")?;
        }
        where_it_was(state, report)
    })();
    finish(state, report, None);
}

fn message<'i>(info: &'i std::panic::PanicHookInfo<'_>) -> &'i str {
    let payload = info.payload();
    match (
        payload.downcast_ref::<&str>(),
        payload.downcast_ref::<String>(),
    ) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}

/// A text that cannot look like further lines of the log.
struct OneLine<'t>(&'t str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c.is_control() {
                true => f.write_char(' ')?,
                false => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn die_of_panic() -> ! {
    if SETTINGS.try_lock().is_ok_and(|settings| settings.exits) {
        std::process::exit(1);
    }
    std::process::abort()
}

fn begin(report: &mut Report) -> fmt::Result {
    report.write_str("\n\n=== KIVI BUG REPORT START: Cut & paste starting from here ===\n")?;
    report.time()
}

/// Thread, command and client of the crashed thread, and the text that was set for reports.
fn where_it_was(state: &State, report: &mut Report) -> fmt::Result {
    report.thread_name()?;
    let running = RUNNING.get();
    match state.commands.get(usize::from(running.command)) {
        None => report.write_str("Command: none\n")?,
        Some(command) => {
            writeln!(report, "Command: {}", command.name)?;
            writeln!(report, "Client: id={}", running.client)?;
            arguments(command, &running, report)?;
        }
    }
    if let Ok(settings) = SETTINGS.try_lock()
        && !settings.context.is_empty()
    {
        writeln!(report, "Debug context: {}", OneLine(&settings.context))?;
    }
    Ok(())
}

fn arguments(command: &CommandName, running: &Running, report: &mut Report) -> fmt::Result {
    let count = running.spans_len as u32;
    let shows = SETTINGS
        .try_lock()
        .is_ok_and(|settings| settings.shows_arguments);
    if !shows || command.has_secrets {
        return writeln!(report, "Arguments: {count}, not shown");
    }
    for at in 0..count.min(ARGUMENTS_MAX) {
        let mut span = [0; 8];
        let mut bytes = [0; ARGUMENT_BYTES_MAX as usize];
        if !read_memory(running.spans.addr() + at as usize * 8, &mut span) {
            return report.write_str("Arguments: gone\n");
        }
        let word =
            |at: usize| u32::from_ne_bytes([span[at], span[at + 1], span[at + 2], span[at + 3]]);
        let (start, len) = (word(0), word(4));
        let kept = &mut bytes[..len.min(ARGUMENT_BYTES_MAX) as usize];
        let is_inside = (u64::from(start) + u64::from(len)) <= running.bytes_len as u64;
        if !is_inside || !read_memory(running.bytes.addr() + start as usize, kept) {
            return report.write_str("Arguments: gone\n");
        }
        write!(report, "argv[{at}]: \"{}\"", kept.escape_ascii())?;
        if len > ARGUMENT_BYTES_MAX {
            write!(report, "... ({} more bytes)", len - ARGUMENT_BYTES_MAX)?;
        }
        report.write_str("\n")?;
    }
    match count.checked_sub(ARGUMENTS_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(report, "... ({more} more arguments)"),
    }
}

/// Copies memory of this process that may not be there any more; false when it is not.
fn read_memory(address: usize, to: &mut [u8]) -> bool {
    let local = libc::iovec {
        iov_base: to.as_mut_ptr().cast(),
        iov_len: to.len(),
    };
    let remote = libc::iovec {
        iov_base: ptr::without_provenance_mut(address),
        iov_len: to.len(),
    };
    // SAFETY: the kernel writes at most `to.len()` bytes to `to`; what it reads it checks itself.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &local, 1, &remote, 1, 0) };
    usize::try_from(read) == Ok(to.len())
}

/// The stack, then what the helper knows, then the end.
fn finish(state: &State, report: &mut Report, crashed_at: Option<usize>) {
    let mut frames = stack::Frames::default();
    stack::walk(&mut frames, crashed_at);
    let _ = (|| {
        report.heading("STACK TRACE")?;
        for (at, address) in frames.addresses().iter().enumerate() {
            writeln!(
                report,
                "#{at} {address:#x} (+{:#x})",
                stack::offset(*address)
            )?;
        }
        fmt::Result::Ok(())
    })();
    report.flush();
    let running = RUNNING.get();
    let client = (running.command != NONE).then_some(running.client);
    if !helper::help(&frames, client) {
        let _ = report.write_str("\nThe rest of the report did not come in time.\n");
    }
    let _ = report.write_str(
        "\n=== KIVI BUG REPORT END. Make sure to include from START to END. ===\n\
         \n       Please report the crash with the lines between START and END.\n\n",
    );
    report.flush();
    if let Some(path) = &state.remove {
        // SAFETY: the path ends with NUL.
        unsafe { libc::unlink(path.as_ptr()) };
    }
}

/// Writes to memory that may not be written to: what DEBUG SEGFAULT does.
pub fn segfault() {
    // SAFETY: a page of our own, not readable by mistake as anything else; the write is refused by the
    // processor, which is what this function is for, and changes nothing.
    unsafe {
        let page = libc::mmap(
            ptr::null_mut(),
            4096,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        if page != libc::MAP_FAILED {
            page.cast::<u8>().write_volatile(b'x');
        }
    }
}

#[cfg(all(test, not(miri)))]
mod tests;
