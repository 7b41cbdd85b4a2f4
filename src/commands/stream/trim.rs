//! What is trimmed: the options that XADD and XTRIM share, how they are logged, and XTRIM.
//!
//! An approximate trim depends on where nodes begin and end, which a log does not say: it is logged as
//! an exact one to what it has left (`Trimming::logged_as`), in the request's own words otherwise,
//! LIMIT included. Such a request is none that a client may send, so limits are not looked at when a
//! log is repeated.

use super::{is, references, strict_id};
use crate::commands::{CmdResult, Ctx, Next, typed_mut};
use crate::config::Config;
use crate::db::notice::EventClass;
use crate::ds::stream::{Entries, References, Trim, Until};
use crate::resp::parse::Argv;
use crate::spec::CmdError;
use crate::spec::args::c_str;
use crate::util::num;
use crate::value::Type;
use crate::value::stream::{IdText, StreamId, stream_mut};

const INCOMPATIBLE: CmdError = CmdError::text(
    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
);
const NO_STRATEGY: CmdError =
    CmdError::text("ERR syntax error, LIMIT cannot be used without specifying a trimming strategy");
const NOT_CALLED_WITH: CmdError =
    CmdError::text("ERR syntax error, XTRIM must be called with a trimming strategy");
const NOT_APPROXIMATE: CmdError =
    CmdError::text("ERR syntax error, LIMIT cannot be used without the special ~ option");
const MAXLEN_NEGATIVE: CmdError = CmdError::text("ERR The MAXLEN argument must be >= 0.");
const LIMIT_NEGATIVE: CmdError = CmdError::text("ERR The LIMIT argument must be >= 0.");

/// Nodes that an approximate trim removes unless LIMIT says so.
const NODES_MAX: u64 = 100;
/// How many entries these have if a node's number is not limited.
const ENTRIES_DEFAULT: u64 = 10_000;
/// How many entries an approximate trim removes at most unless LIMIT says so.
const ENTRIES_MAX: u64 = 1_000_000;

/// What a request wants to be trimmed.
#[derive(Clone, Copy)]
pub(super) struct Trimming {
    /// Which entries.
    pub trim: Trim,
    /// Where the threshold stands.
    threshold_at: usize,
}

/// How a trim is logged: an argument, and what stands there instead.
pub(super) struct LoggedTrim {
    threshold_at: usize,
    strategy: Option<&'static [u8]>,
    threshold: IdText,
}

/// The options of XADD and XTRIM.
#[derive(Clone, Copy, Default)]
pub(super) struct Options {
    /// NOMKSTREAM: a stream that is not there is not created.
    pub only_old: bool,
    /// MAXLEN or MINID.
    pub trimming: Option<Trimming>,
    /// What becomes of what groups know of the entries that go.
    pub references: Option<References>,
    limit: Option<u64>,
}

impl Options {
    /// Takes the option that begins at `at`; where it ends, or `None` if there is none.
    pub(super) fn take(&mut self, argv: Argv<'_>, at: usize) -> Result<Option<usize>, CmdError> {
        let option = &argv[at];
        let Some(next) = argv.get(at + 1) else {
            // Whatever has a value needs one.
            return self.take_word(option, at);
        };
        let is_maxlen = is(option, "MAXLEN");
        if is_maxlen || is(option, "MINID") {
            if self.trimming.is_some() {
                return Err(INCOMPATIBLE);
            }
            let operator = c_str(next);
            let has_operator = argv.len() > at + 2 && matches!(operator, b"~" | b"=");
            let threshold_at = at + 1 + has_operator as usize;
            let threshold = &argv[threshold_at];
            let until = match is_maxlen {
                true => Until::MaxLen(not_negative(threshold, MAXLEN_NEGATIVE)?),
                false => Until::MinId(strict_id(threshold, 0)?),
            };
            let trim = Trim {
                until,
                approximate: has_operator && operator == b"~",
                limit: 0,
            };
            self.trimming = Some(Trimming { trim, threshold_at });
            Ok(Some(threshold_at + 1))
        } else if is(option, "LIMIT") {
            self.limit = Some(not_negative(next, LIMIT_NEGATIVE)?);
            Ok(Some(at + 2))
        } else {
            self.take_word(option, at)
        }
    }

    /// Takes an option that consists of one word.
    fn take_word(&mut self, option: &[u8], at: usize) -> Result<Option<usize>, CmdError> {
        let Some(policy) = references::policy(option) else {
            return Ok(None);
        };
        match self.references.replace(policy) {
            Some(_) => Err(CmdError::Syntax),
            None => Ok(Some(at + 1)),
        }
    }

    /// Looks at all options together; what is trimmed. `obeys`: a log is repeated.
    pub(super) fn finish(self, config: &Config, obeys: bool) -> Result<Option<Trimming>, CmdError> {
        let Some(mut trimming) = self.trimming else {
            return match self.limit {
                Some(1..) => Err(NO_STRATEGY),
                Some(0) if !obeys => Err(NOT_APPROXIMATE),
                _ => Ok(None),
            };
        };
        let is_approximate = trimming.trim.approximate;
        trimming.trim.limit = match self.limit {
            _ if obeys => 0,
            Some(_) if !is_approximate => return Err(NOT_APPROXIMATE),
            Some(limit) => limit,
            None if is_approximate => default_limit(config),
            None => 0,
        };
        Ok(Some(trimming))
    }
}

/// How many entries an approximate trim without LIMIT removes at most.
fn default_limit(config: &Config) -> u64 {
    match config.stream_limits().node_max_entries {
        0 => ENTRIES_DEFAULT,
        entries => entries.saturating_mul(NODES_MAX).min(ENTRIES_MAX),
    }
}

fn not_negative(arg: &[u8], otherwise: CmdError) -> Result<u64, CmdError> {
    let number = num::parse_i64(arg).ok_or(CmdError::NotInteger)?;
    u64::try_from(number).map_err(|_| otherwise)
}

impl Trimming {
    /// How it is logged, if not as it stands in the request: by what it has left.
    pub(super) fn logged_as(
        &self,
        entries: &Entries,
        references: References,
    ) -> Option<LoggedTrim> {
        if !self.trim.approximate {
            return None;
        }
        let (strategy, threshold) = match self.trim.until {
            Until::MaxLen(_) => (None, IdText::of_number(entries.len())),
            // What is left need not begin at an id: the length says how many of those that may go
            // have gone.
            Until::MinId(_) if references == References::Acked => {
                (Some(&b"MAXLEN"[..]), IdText::of_number(entries.len()))
            }
            // Redis takes entries for first that were deleted before and are still stored.
            Until::MinId(_) => {
                let first = entries.first_stored_id();
                (None, IdText::new(first.unwrap_or(StreamId::MAX)))
            }
        };
        Some(LoggedTrim {
            threshold_at: self.threshold_at,
            strategy,
            threshold,
        })
    }
}

impl LoggedTrim {
    /// The argument that is logged at a place; `None` for the request's.
    pub(super) fn arg(&self, at: usize) -> Option<&[u8]> {
        match self.threshold_at.checked_sub(at) {
            Some(0) => Some(self.threshold.as_bytes()),
            Some(1) => Some(b"="),
            Some(2) => self.strategy,
            _ => None,
        }
    }
}

/// `XTRIM key <MAXLEN | MINID> [= | ~] threshold [LIMIT count] [KEEPREF | DELREF | ACKED]`
pub(super) fn xtrim(ctx: &mut Ctx<'_>) -> CmdResult {
    let argv = ctx.args.argv();
    let (mut options, mut at) = (Options::default(), 2);
    while at < argv.len() {
        at = options.take(argv, at)?.ok_or(CmdError::Syntax)?;
    }
    if options.trimming.is_none() && options.limit.is_none_or(|limit| limit == 0) {
        return Err(NOT_CALLED_WITH);
    }
    let trimming = options.finish(ctx.config, ctx.db.is_replaying())?;
    let trimming = trimming.ok_or(NOT_CALLED_WITH)?;
    let references = options.references.unwrap_or_default();
    let mut deleted = 0;
    let mut logged = None;
    if let Some(mut found) = typed_mut(&mut ctx.db, &argv[1], Type::Stream)? {
        let mut slot = found.slot_mut();
        if let Some(stream) = stream_mut(&mut slot) {
            deleted = stream.trim(trimming.trim, references);
            logged = trimming.logged_as(stream.entries(), references);
        }
        if deleted > 0 {
            found.add_changes(deleted);
            found.notify(EventClass::STREAM, "xtrim");
        }
    }
    if let Some(logged) = logged.filter(|_| deleted > 0 && ctx.db.is_logged()) {
        let args = argv.iter().enumerate();
        let args = args.map(|(at, arg)| logged.arg(at).unwrap_or(arg));
        ctx.db.propagate_as(args);
    }
    ctx.out.integer(deleted as i64);
    Ok(Next::Done)
}
