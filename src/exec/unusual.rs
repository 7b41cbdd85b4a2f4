//! What is told of a command that has run, if it was unusual: the command log, the latency monitor, the audit log; and
//! the hot keys of a session, see [`hot`].
//!
//! Every command is compared with three bounds, which a worker takes from the configuration ([`Bounds`]); all else is
//! done by [`Exec::look_closer`], for the few that exceed one. With an audit log every command does.
//!
//! What is told waits until the batch's replies are about to be sent: a script that has to begin again has told nothing,
//! and clients that a command has served come behind it, as in Redis.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::client::{Client, Shared};
use crate::commands::Registered;
use crate::config::Config;
use crate::resp::parse::Argv;
use crate::resp::write::{Mark, ReplyWriter};
use crate::server::Server;
use crate::server::audit::{self, Line, Outcome, Rendered};
use crate::spec::{CmdError, Flags, keys};
use crate::stats::commandlog::{self, Kind};
use crate::sys::tsc;

use super::{Exec, Moment, hot};

/// Ticks may have been taken for a little longer than they are: what is this part below a bound is looked at, too.
const DRIFT_PART: u64 = 64;
/// What stands around the text of an error.
const ERROR_LINE_BYTES: u64 = 3;
/// Codes of errors that say that a user may not do it.
const DENIED_CODES: [&[u8]; 3] = [b"NOPERM", b"NOAUTH", b"WRONGPASS"];

/// From where on a command is looked at.
#[derive(Clone, Copy)]
pub(super) struct Bounds {
    ticks: u64,
    request_bytes: usize,
    reply_bytes: usize,
}

impl Bounds {
    /// Nothing is looked at.
    const NONE: Bounds = Bounds {
        ticks: u64::MAX,
        request_bytes: usize::MAX,
        reply_bytes: usize::MAX,
    };

    /// Those of a configuration.
    pub(super) fn of(server: &Server, config: &Config, is_counted: bool) -> Bounds {
        if !is_counted {
            return Bounds::NONE;
        }
        let log = &server.stats.commandlog;
        let bytes = |kind| {
            let from = log.from(kind);
            from.map_or(usize::MAX, |bytes| {
                usize::try_from(bytes).unwrap_or(usize::MAX)
            })
        };
        let slow_ns = log.from(Kind::Slow).map(|us| us.saturating_mul(1000));
        let spike_ms = config.latency_monitor_threshold_ms;
        let spike_ns = (spike_ms > 0).then(|| spike_ms.saturating_mul(1_000_000));
        let ns = slow_ns.into_iter().chain(spike_ns).min();
        let ticks = ns.map_or(u64::MAX, tsc::ns_to_ticks);
        Bounds {
            ticks: match server.audit.is_on() {
                true => 0,
                false => ticks - ticks / DRIFT_PART,
            },
            request_bytes: bytes(Kind::LargeRequest),
            reply_bytes: bytes(Kind::LargeReply),
        }
    }
}

/// A command that has run.
pub(super) struct Ran<'a> {
    pub(super) command: &'a Registered,
    pub(super) argv: Argv<'a>,
    pub(super) client: &'a Client,
    pub(super) failed: bool,
    /// The error that is yet to be replied.
    pub(super) error: Option<&'a CmdError>,
    /// Where its reply is, and where that begins.
    pub(super) out: &'a ReplyWriter,
    pub(super) mark: Mark,
    /// Hot keys are counted.
    pub(super) is_hot: bool,
    /// A script has asked for it.
    pub(super) by_script: bool,
    /// How long its client waits besides (DEBUG SLEEP).
    pub(super) pause: Duration,
    /// How much was told before it began, unless it is told behind what it has run itself.
    pub(super) place: Option<usize>,
}

impl<'a> Ran<'a> {
    /// A request that has run without anything special.
    #[inline]
    pub(super) fn of(
        (command, argv): (&'a Registered, Argv<'a>),
        client: &'a Client,
        (out, mark): (&'a ReplyWriter, Mark),
    ) -> Ran<'a> {
        Ran {
            command,
            argv,
            client,
            failed: false,
            error: None,
            out,
            mark,
            is_hot: false,
            by_script: false,
            pause: Duration::ZERO,
            place: None,
        }
    }
}

/// A command that was unusual, to be told when the batch is counted.
pub(super) enum Told {
    /// It belongs into the command log, for these reasons.
    Logged {
        reasons: SmallVec<[(Kind, u64); 3]>,
        args: Arc<[Box<[u8]>]>,
        client: Arc<Shared>,
    },
    /// It belongs into the audit log.
    Audited(Rendered),
}

impl Exec {
    /// Notes that a command has run since the last one.
    #[inline]
    pub(super) fn ran(&self, moment: &mut Moment, ran: &Ran<'_>) {
        let ticks = moment.ran(ran.command, ran.failed, ran.pause);
        self.note_ran(moment, ran, ticks);
    }

    /// The same, of one that ran in the middle of another one, since `began`.
    pub(super) fn ran_within(&self, moment: &mut Moment, ran: &Ran<'_>, began: u64) {
        let ticks = moment.ran_within(ran.command, ran.failed, began);
        self.note_ran(moment, ran, ticks);
    }

    #[inline]
    fn note_ran(&self, moment: &mut Moment, ran: &Ran<'_>, ticks: u64) {
        let bounds = self.bounds.get();
        if ticks >= bounds.ticks
            || ran.argv.wire_bytes_max() >= bounds.request_bytes
            || ran.out.len_since_max(ran.mark) >= bounds.reply_bytes
            || ran.is_hot
        {
            self.look_closer(moment, ran, ticks);
        }
    }

    #[inline(never)]
    fn look_closer(&self, moment: &mut Moment, ran: &Ran<'_>, ticks: u64) {
        let Ran { command, argv, .. } = *ran;
        let flags = command.row.flags;
        let request_bytes = match ran.by_script {
            // It never was a request.
            true => 0,
            false if ran.is_hot || argv.wire_bytes_max() >= self.bounds.get().request_bytes => {
                hot::request_bytes(argv) as u64
            }
            // Nobody asks.
            false => 0,
        };
        let error = ran.error.map(CmdError::reply);
        let reply_bytes = match (&error, ran.client.is_heard()) {
            (_, false) => 0,
            (Some(text), true) => ERROR_LINE_BYTES + text.len() as u64,
            (None, true) => ran.out.len_since(ran.mark) as u64,
        };
        if ran.is_hot {
            let bytes = request_bytes + reply_bytes;
            self.count_hot(moment, command, argv, (ticks, bytes));
        }
        let event = match flags.has(Flags::FAST) {
            true => "fast-command",
            false => "command",
        };
        self.server.keyspace.spikes.took(event, ticks);
        if self.server.audit.is_on() {
            let code = match &error {
                Some(text) => Some(code_of(text)),
                None => ran.out.error_code_at(ran.mark).filter(|_| ran.failed),
            };
            let told = self.audited(command, argv, ran.client, ran.by_script, code);
            self.tell(told.map(Told::Audited), ran.place);
        }
        if !flags.has(Flags::SKIP_COMMANDLOG) {
            let values = [tsc::ticks_to_us(ticks), request_bytes, reply_bytes];
            let log = &self.server.stats.commandlog;
            let is_unusual =
                |&(kind, value): &(Kind, u64)| log.from(kind).is_some_and(|from| value >= from);
            let reasons = Kind::ALL.into_iter().zip(values).filter(is_unusual);
            let told = logged(reasons.collect(), command, argv, ran.client);
            self.tell(told, ran.place);
        }
    }

    /// What the audit log has to say of a command, if anything.
    fn audited(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        client: &Client,
        by_script: bool,
        error: Option<&[u8]>,
    ) -> Option<Rendered> {
        let row = &command.row;
        let logs_in = row.flags.has(Flags::LOGS_IN);
        let is_told = logs_in
            || error.is_some_and(is_denied)
            || self.server.audit.wants(row.acl_categories());
        if !is_told {
            return None;
        }
        let mut keys: SmallVec<[&[u8]; 8]> = SmallVec::new();
        let _ = keys::for_each_key(row.keys, argv, |at, spec| {
            if spec.is_key()
                && let Some(key) = argv.get(at)
            {
                keys.push(key);
            }
        });
        let login = logs_in.then(|| client.tried_login.take()).flatten();
        Some(audit::render(Line {
            at_us: self.server.clock.unix_us(),
            client: client.shared.id,
            user: &client.login.user.name,
            login: login.as_deref(),
            addr: &client.shared.endpoint.addr,
            db: client.db.0,
            command: &command.full_name,
            keys: keys.into_iter(),
            by_script,
            outcome: match error {
                None => Outcome::Ok,
                Some(code) if is_denied(code) => Outcome::Denied(code),
                Some(code) => Outcome::Error(code),
            },
        }))
    }

    /// Has the audit log say that a command was refused.
    #[inline]
    pub(super) fn audit_refusal(
        &self,
        command: &Registered,
        argv: Argv<'_>,
        client: &Client,
        by_script: bool,
        error: &CmdError,
    ) {
        if !self.server.audit.is_on() {
            return;
        }
        let reply = error.reply();
        let code = code_of(&reply);
        if let Some(audited) = self.audited(command, argv, client, by_script, Some(code)) {
            self.tell(Some(Told::Audited(audited)), None);
        }
    }

    fn tell(&self, told: Option<Told>, place: Option<usize>) {
        if let Some(told) = told {
            let mut all = self.told.borrow_mut();
            let last = all.len();
            all.insert(place.unwrap_or(last).min(last), told);
        }
    }

    /// Tells what a batch has to tell.
    #[cold]
    pub(super) fn tell_unusual(&self, now_ms: u64) {
        for told in self.told.take() {
            match told {
                Told::Audited(line) => self.server.audit.push(&line),
                Told::Logged {
                    reasons,
                    args,
                    client,
                } => {
                    let names = client.names.lock();
                    let ran = commandlog::Ran {
                        now_ms,
                        args,
                        addr: &client.endpoint.addr,
                        name: &names.name,
                    };
                    let log = &self.server.stats.commandlog;
                    for (kind, value) in reasons {
                        log.push(kind, value, &ran);
                    }
                }
            }
        }
    }
}

/// What an error's text begins with.
fn code_of(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == b' ').next().unwrap_or_default()
}

fn is_denied(code: &[u8]) -> bool {
    DENIED_CODES.contains(&code)
}

/// An entry of the command log, if there is a reason for one.
fn logged(
    reasons: SmallVec<[(Kind, u64); 3]>,
    command: &Registered,
    argv: Argv<'_>,
    client: &Client,
) -> Option<Told> {
    if reasons.is_empty() {
        return None;
    }
    let secrets = command.row.secrets;
    let args = argv.iter().enumerate();
    let args = args.map(|(at, arg)| (arg, secrets.hides(argv, at)));
    Some(Told::Logged {
        reasons,
        args: commandlog::shortened(argv.len(), args),
        client: client.shared.clone(),
    })
}

#[cfg(test)]
mod tests;
