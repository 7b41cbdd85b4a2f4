//! CLIENT TRACKING and what belongs to it: a client keeps copies of keys, and is told when they are
//! no longer good.
//!
//! What is remembered and who is told is `tracking`'s; here is what can be asked for, and asked.

use crate::client::tracking::Mode;
use crate::client::{Client, ClientId};
use crate::commands::{CmdResult, Ctx, Next, c_text};
use crate::spec::CmdError;
use crate::tracking::{Overlap, Wish};

/// Arguments of CLIENT TRACKING.
pub(super) const SYNTAX: &str = "status(ON|OFF) REDIRECT=client-id:integer? PREFIX=prefix?*+ \
     BCAST? OPTIN? OPTOUT? NOLOOP?";

/// What a request asks for.
struct Options<'a> {
    mode: Mode,
    redirect: ClientId,
    prefixes: Vec<&'a [u8]>,
}

/// `CLIENT TRACKING (ON|OFF) [REDIRECT id] [PREFIX prefix [PREFIX prefix ...]] [BCAST] [OPTIN]
/// [OPTOUT] [NOLOOP]`
pub(super) fn tracking(ctx: &mut Ctx<'_>) -> CmdResult {
    let status = ctx.args.bytes()?;
    let options = Options::parse(ctx)?;
    let (tracking, keyspace) = (&ctx.server.tracking, &ctx.server.keyspace);
    if status.eq_ignore_ascii_case(b"ON") {
        options.check(ctx.client)?;
        let wish = Wish {
            mode: options.mode,
            redirect: options.redirect,
            prefixes: &options.prefixes,
        };
        tracking.enable(ctx.client, &wish, keyspace);
    } else if status.eq_ignore_ascii_case(b"OFF") {
        tracking.disable(ctx.client, keyspace);
    } else {
        return Err(CmdError::Syntax);
    }
    ctx.out.ok();
    Ok(Next::Done)
}

impl<'a> Options<'a> {
    fn parse(ctx: &mut Ctx<'a>) -> Result<Options<'a>, CmdError> {
        let mut options = Options {
            mode: Mode::NONE,
            redirect: 0,
            prefixes: Vec::new(),
        };
        while let Some(option) = ctx.args.option() {
            if option.eq_ignore_ascii_case(b"REDIRECT") && !ctx.args.is_empty() {
                if options.redirect != 0 {
                    return Err(CmdError::text(
                        "ERR A client can only redirect to a single other client",
                    ));
                }
                let id = u64::try_from(ctx.args.int()?).ok();
                // It may go later; for now it is there.
                let target = id.and_then(|id| ctx.server.clients.get(id));
                options.redirect = target.map(|target| target.id).ok_or(CmdError::text(
                    "ERR The client ID you want redirect to does not exist",
                ))?;
            } else if option.eq_ignore_ascii_case(b"PREFIX") && !ctx.args.is_empty() {
                options.prefixes.push(ctx.args.bytes()?);
            } else {
                const WORDS: [(&str, Mode); 4] = [
                    ("BCAST", Mode::BCAST),
                    ("OPTIN", Mode::OPTIN),
                    ("OPTOUT", Mode::OPTOUT),
                    ("NOLOOP", Mode::NOLOOP),
                ];
                let is_it =
                    |(word, _): &&(&str, Mode)| option.eq_ignore_ascii_case(word.as_bytes());
                let (_, mode) = WORDS.iter().find(is_it).ok_or(CmdError::Syntax)?;
                options.mode = options.mode.and(*mode);
            }
        }
        Ok(options)
    }

    /// Whether the options fit each other, and what the client has asked for before.
    fn check(&self, client: &Client) -> Result<(), CmdError> {
        let (mode, before) = (self.mode, client.shared.tracking.mode());
        let either = Mode::OPTIN.and(Mode::OPTOUT);
        let text = if !mode.has(Mode::BCAST) && !self.prefixes.is_empty() {
            "ERR PREFIX option requires BCAST mode to be enabled"
        } else if before.has(Mode::ON) && before.has(Mode::BCAST) != mode.has(Mode::BCAST) {
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and \
             then re-enabling it with a different mode."
        } else if mode.has(Mode::BCAST) && mode.any(either) {
            "ERR OPTIN and OPTOUT are not compatible with BCAST"
        } else if mode.has(either) {
            "ERR You can't specify both OPTIN mode and OPTOUT mode"
        } else if mode.any(either) && mode.and(before).has(either) {
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and \
             then re-enabling it with a different mode."
        } else {
            return self.check_overlaps(client);
        };
        Err(CmdError::text(text))
    }

    fn check_overlaps(&self, client: &Client) -> Result<(), CmdError> {
        let (prefix, what, other) = match Overlap::find(client.tracking.prefixes(), &self.prefixes)
        {
            None => return Ok(()),
            Some(Overlap::Existing(prefix, other)) => (prefix, "an existing", other),
            Some(Overlap::Provided(prefix, other)) => (prefix, "another provided", other),
        };
        Err(CmdError::owned(
            [
                b"ERR Prefix '",
                c_text(prefix),
                b"' overlaps with ",
                what.as_bytes(),
                b" prefix '",
                c_text(other),
                b"'. Prefixes for a single client must not overlap.",
            ]
            .concat(),
        ))
    }
}

/// `CLIENT CACHING (YES|NO)`
pub(super) fn caching(ctx: &mut Ctx<'_>) -> CmdResult {
    let word = ctx.args.bytes()?;
    let mode = ctx.client.shared.tracking.mode();
    let (needed, text) = if !mode.has(Mode::ON) {
        return Err(CmdError::text(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN \
             or OPTOUT mode enabled",
        ));
    } else if word.eq_ignore_ascii_case(b"YES") {
        const YES: &str =
            "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
        (Mode::OPTIN, YES)
    } else if word.eq_ignore_ascii_case(b"NO") {
        const NO: &str =
            "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";
        (Mode::OPTOUT, NO)
    } else {
        return Err(CmdError::Syntax);
    };
    if !mode.has(needed) {
        return Err(CmdError::text(text));
    }
    ctx.client.tracking.set_caching(true);
    ctx.out.ok();
    Ok(Next::Done)
}

/// CLIENT GETREDIR
pub(super) fn getredir(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.integer(ctx.client.shared.tracking.getredir());
    Ok(Next::Done)
}

/// CLIENT TRACKINGINFO
pub(super) fn trackinginfo(ctx: &mut Ctx<'_>) -> CmdResult {
    let shared = &ctx.client.shared.tracking;
    let (mode, is_caching) = (shared.mode(), ctx.client.tracking.is_caching());
    let flags = [
        (!mode.has(Mode::ON), "off"),
        (mode.has(Mode::ON), "on"),
        (mode.has(Mode::BCAST), "bcast"),
        (mode.has(Mode::OPTIN), "optin"),
        (mode.has(Mode::OPTIN) && is_caching, "caching-yes"),
        (mode.has(Mode::OPTOUT), "optout"),
        (mode.has(Mode::OPTOUT) && is_caching, "caching-no"),
        (mode.has(Mode::NOLOOP), "noloop"),
        (mode.has(Mode::BROKEN_REDIRECT), "broken_redirect"),
    ];
    let set: Vec<&str> = flags
        .iter()
        .filter(|(set, _)| *set)
        .map(|(_, name)| *name)
        .collect();
    let out = &mut *ctx.out;
    out.map(3);
    out.bulk(b"flags");
    out.set(set.len());
    set.iter().for_each(|name| out.bulk(name.as_bytes()));
    out.bulk(b"redirect");
    out.integer(shared.getredir());
    out.bulk(b"prefixes");
    let prefixes = ctx.client.tracking.prefixes();
    out.array(prefixes.len());
    prefixes.iter().for_each(|prefix| out.bulk(prefix));
    Ok(Next::Done)
}

#[cfg(test)]
mod tests;
