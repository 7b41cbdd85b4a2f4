//! The filters of CLIENT LIST and CLIENT KILL.
//!
//! `OPTION value` pairs in any order: a client passes when it fits all of them and none of those
//! that begin with `NOT-`. The last of several equal options counts, but IDs add up. A name that a
//! client never gave itself fits no filter, not even an empty one.
//!
//! To add an option: its field in [`Terms`] (or [`Filter`], if it has no `NOT-` form), its arms in
//! [`Terms::take`] and [`Terms::any`].

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::acl::{Acl, User};
use crate::client::{ClientId, Shared};
use crate::commands::Ctx;
use crate::spec::{Args, CmdError};
use crate::util::num;

use super::{about, line};

/// Letters that a filter of flags may have: all that Valkey knows, whether a client here can have
/// them or not.
const FLAG_LETTERS: &[u8] = b"bcdeirtuxABEIMNOPRSTU";
/// The same of capabilities.
const CAPA_LETTERS: &[u8] = b"r";

/// See the module's text.
pub(super) struct Filter<'a> {
    wanted: Terms<'a>,
    unwanted: Terms<'a>,
    /// Seconds; 0 for any.
    age_min: i64,
    /// Seconds; 0 for any.
    idle_min: i64,
    skip_me: bool,
}

/// Types of clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ClientType {
    Normal,
    Primary,
    Replica,
    PubSub,
}

impl ClientType {
    fn of(client: &Shared) -> ClientType {
        match client.is_subscriber() {
            true => ClientType::PubSub,
            false => ClientType::Normal,
        }
    }
}

/// What can be asked for and against.
#[derive(Default)]
struct Terms<'a> {
    ids: Option<Vec<ClientId>>,
    client_type: Option<ClientType>,
    user: Option<Arc<User>>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    ip: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    lib_name: Option<&'a [u8]>,
    lib_ver: Option<&'a [u8]>,
    flags: Option<&'a [u8]>,
    capa: Option<&'a [u8]>,
    db: Option<u32>,
}

impl<'a> Filter<'a> {
    /// Reads the rest of the request. `skip_me` is the command's default for SKIPME.
    pub(super) fn parse(ctx: &mut Ctx<'a>, skip_me: bool) -> Result<Filter<'a>, CmdError> {
        let databases = ctx.db.keyspace().databases();
        let mut filter = Filter {
            wanted: Terms::default(),
            unwanted: Terms::default(),
            age_min: 0,
            idle_min: 0,
            skip_me,
        };
        while let Some(option) = ctx.args.option() {
            if ctx.args.is_empty() {
                return Err(CmdError::Syntax);
            }
            if option.eq_ignore_ascii_case(b"SKIPME") {
                filter.skip_me = match ctx.args.bytes()? {
                    word if word.eq_ignore_ascii_case(b"YES") => true,
                    word if word.eq_ignore_ascii_case(b"NO") => false,
                    _ => return Err(CmdError::Syntax),
                };
            } else if option.eq_ignore_ascii_case(b"MAXAGE") {
                filter.age_min = seconds(&mut ctx.args, "maxage")?;
            } else if option.eq_ignore_ascii_case(b"IDLE") {
                filter.idle_min = seconds(&mut ctx.args, "idle")?;
            } else {
                let (not, word) = match option.split_at_checked(4) {
                    Some((not, word)) if not.eq_ignore_ascii_case(b"NOT-") => (true, word),
                    _ => (false, option),
                };
                let terms = match not {
                    true => &mut filter.unwanted,
                    false => &mut filter.wanted,
                };
                terms.take(word, not, &mut ctx.args, (databases, &ctx.server.acl))?;
            }
        }
        Ok(filter)
    }

    /// True for a client that is meant. `asking` is the one whose command runs.
    pub(super) fn passes(&self, client: &Shared, asking: ClientId, now_ms: u64) -> bool {
        let seconds_since = |at_ms: u64| (now_ms / 1000).saturating_sub(at_ms / 1000) as i64;
        let skipped = self.skip_me && client.id == asking;
        !skipped
            && seconds_since(client.created_at_ms) >= self.age_min
            && seconds_since(client.last_interaction_ms.load(Relaxed)) >= self.idle_min
            && !self.wanted.any(client, |fits| !fits)
            && !self.unwanted.any(client, |fits| fits)
    }
}

impl<'a> Terms<'a> {
    /// Takes the value(s) of an option; at least one is there.
    fn take(
        &mut self,
        option: &[u8],
        not: bool,
        args: &mut Args<'a>,
        (databases, acl): (u32, &Acl),
    ) -> Result<(), CmdError> {
        let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
        if is("ID") {
            return self.take_ids(args);
        }
        // Looked at before it is taken: an unknown option's value means nothing.
        let value = args.peek().ok_or(CmdError::Syntax)?;
        if is("TYPE") {
            self.client_type = Some(client_type(value)?);
        } else if is("USER") {
            let user = acl.user(value);
            let user = user.ok_or_else(|| about("ERR No such user '", value, "'"))?;
            self.user = Some(user);
        } else if is("ADDR") {
            self.addr = Some(value);
        } else if is("LADDR") {
            self.laddr = Some(value);
        } else if is("IP") {
            self.ip = Some(value);
        } else if is("NAME") {
            self.name = Some(value);
        } else if is("LIB-NAME") {
            self.lib_name = Some(value);
        } else if is("LIB-VER") {
            self.lib_ver = Some(value);
        } else if is("FLAGS") {
            self.flags = Some(letters(value, FLAG_LETTERS, ("flags", "FLAGS"), not)?);
        } else if is("CAPA") {
            self.capa = Some(letters(value, CAPA_LETTERS, ("capa", "CAPA"), not)?);
        } else if is("DB") {
            self.db = Some(database(value, not, databases)?);
        } else {
            return Err(CmdError::Syntax);
        }
        args.bytes().map(drop)
    }

    /// As many numbers as follow.
    fn take_ids(&mut self, args: &mut Args<'a>) -> Result<(), CmdError> {
        let ids = self.ids.get_or_insert_default();
        while let Some(id) = args.peek().and_then(num::parse_i64) {
            args.bytes()?;
            match ClientId::try_from(id) {
                Ok(id) if id > 0 => ids.push(id),
                _ => {
                    return Err(CmdError::text("ERR client-id should be greater than 0"));
                }
            }
        }
        ids.sort_unstable();
        Ok(())
    }

    /// True when `hit` says so of any term: it is given whether the client fits.
    fn any(&self, client: &Shared, hit: impl Fn(bool) -> bool) -> bool {
        let names = client.names.lock();
        let given = |wanted: Option<&[u8]>, name: &[u8]| {
            wanted.is_some_and(|wanted| hit(!name.is_empty() && name == wanted))
        };
        let ends = &client.endpoint;
        let equal = |wanted: Option<&[u8]>, text: &str| {
            wanted.is_some_and(|wanted| hit(text.as_bytes() == wanted))
        };
        let all_in = |wanted: Option<&[u8]>, have: &str| {
            let has = |letter: &u8| have.as_bytes().contains(letter);
            wanted.is_some_and(|wanted| hit(wanted.iter().all(has)))
        };
        let capa = line::capabilities(client);
        let ids = self.ids.as_ref();
        ids.is_some_and(|ids| hit(ids.binary_search(&client.id).is_ok()))
            || self
                .client_type
                .is_some_and(|wanted| hit(wanted == ClientType::of(client)))
            || self
                .user
                .as_ref()
                .is_some_and(|user| hit(client.is_user(user)))
            || self.db.is_some_and(|db| hit(db == client.db.load(Relaxed)))
            || equal(self.addr, &ends.addr)
            || equal(self.laddr, &ends.laddr)
            || equal(self.ip, host(&ends.addr))
            || given(self.name, &names.name)
            || given(self.lib_name, &names.lib_name)
            || given(self.lib_ver, &names.lib_ver)
            || all_in(self.flags, &flags(client))
            || all_in(self.capa, capa)
    }
}

/// The flags that a filter meets: MONITOR's clients pass for replicas, too.
fn flags(client: &Shared) -> String {
    let mut letters = line::flags(client);
    if client.is_monitor.load(Relaxed) {
        letters.push('S');
    }
    letters
}

/// The host of `host:port`, without the brackets of IPv6.
fn host(addr: &str) -> &str {
    let host = addr.rsplit_once(':').map_or(addr, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

fn client_type(word: &[u8]) -> Result<ClientType, CmdError> {
    const TYPES: &[(&str, ClientType)] = &[
        ("normal", ClientType::Normal),
        ("slave", ClientType::Replica),
        ("replica", ClientType::Replica),
        ("pubsub", ClientType::PubSub),
        ("master", ClientType::Primary),
        ("primary", ClientType::Primary),
    ];
    let found = TYPES
        .iter()
        .find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    found
        .map(|(_, client_type)| *client_type)
        .ok_or_else(|| about("ERR Unknown client type '", word, "'"))
}

/// A positive number of seconds.
fn seconds(args: &mut Args<'_>, name: &str) -> Result<i64, CmdError> {
    match num::parse_i64(args.bytes()?) {
        Some(seconds @ 1..) => Ok(seconds),
        Some(_) => Err(about("ERR ", name.as_bytes(), " should be greater than 0")),
        None => {
            let why = " is not an integer or out of range";
            Err(about("ERR ", name.as_bytes(), why))
        }
    }
}

fn database(value: &[u8], not: bool, databases: u32) -> Result<u32, CmdError> {
    let name = if not { "NOT-DB" } else { "DB" };
    let number = num::parse_i64(value).filter(|&number| i32::try_from(number).is_ok());
    let Some(number) = number else {
        let why = " is not an integer or out of range";
        return Err(about("ERR ", name.as_bytes(), why));
    };
    match u32::try_from(number) {
        Ok(number) if number < databases => Ok(number),
        _ => {
            let last = databases.saturating_sub(1);
            let why = format!(" number should be between 0 and {last}");
            Err(about("ERR ", name.as_bytes(), &why))
        }
    }
}

/// A set of letters, all of them `known`. `names`: what the option is called, and in its `NOT-`
/// form.
fn letters<'a>(
    value: &'a [u8],
    known: &[u8],
    names: (&str, &str),
    not: bool,
) -> Result<&'a [u8], CmdError> {
    if value.iter().all(|letter| known.contains(letter)) {
        return Ok(value);
    }
    let (name, option) = names;
    let where_ = match not {
        true => format!("ERR Unknown {name} found in the NOT-{option} filter: "),
        false => format!("ERR Unknown {name} found in the provided filter: "),
    };
    Err(about(&where_, value, ""))
}
