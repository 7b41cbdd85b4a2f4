//! SORT and SORT_RO: the elements of a list, set or sorted set in order.
//!
//! The elements are copied out of the value first ([`Elements`]), so that patterns can look other
//! keys up and the result can replace the very key that is sorted. Then each gets its weight, they are
//! put in order (`sort/order.rs`), and a window of them is answered or stored, each as itself or as
//! what the GET patterns (`sort/pattern.rs`) find for it.
//!
//! Invariant: a request whose patterns have a star in them, and only such a one, touches keys that
//! stand nowhere in it; its row says so by [`needs_all_keys`], and all shards are held. Row and handler
//! read the options differently ([`words`] takes what it knows, `Options::parse` refuses what it does
//! not), but agree on every request that is not refused.
//!
//! Sorting does not turn a compact sorted set into a skiplist, as it does in Valkey.

use std::ops::Range;

use smallvec::SmallVec;

use super::{CmdResult, Command, Ctx, Next, command, denied};
use crate::db::lazyfree::Cause;
use crate::db::notice::EventClass;
use crate::db::{Access, Expire, Lookup};
use crate::ds::listpack::Value;
use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::args::c_str;
use crate::spec::{AclCategories, Args, CmdError, Flags, Group, KeyFlags, KeySpec};
use crate::value::list::{self, End, ListRef};
use crate::value::set::SetRef;
use crate::value::zset::ZsetRef;
use crate::value::{Limits, Type};

use order::{Item, Order, Span};
use pattern::Pattern;

mod order;
mod pattern;

#[cfg(test)]
mod tests;

const FETCH: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);

const CATEGORIES: AclCategories = AclCategories::SET
    .and(AclCategories::SORTEDSET)
    .and(AclCategories::LIST)
    .and(AclCategories::DANGEROUS);

const BY_AND_GET: KeySpec = KeySpec::unknown(None, FETCH).notes(
    "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the \
     content of the key we sort",
);

const COMPLEXITY: &str =
    "O(N*log(N)) where N is the number of elements, O(N) when they keep their order.";

/// The rows of this family.
pub const COMMANDS: &[Command] = &[
    command(
        "sort",
        -2,
        Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS),
        sort,
    )
    .acl(CATEGORIES)
    .keys(&[
        KeySpec::at(1, FETCH),
        BY_AND_GET,
        KeySpec::unknown(Some(store_position), KeyFlags::OW.and(KeyFlags::UPDATE)).notes(
            "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear \
             anywhere in the argument array",
        ),
    ])
    .exclusive_if(needs_all_keys)
    .docs(
        Group::Generic,
        "1.0.0",
        COMPLEXITY,
        "Puts the elements of a list, set or sorted set in order, and returns or stores them or \
         what other keys hold for them.",
    )
    .syntax(
        "key#0 BY=by-pattern:pattern#1\"pattern\"? LIMIT=limit{offset:integer count:integer}? \
         GET=get-pattern:pattern#1\"pattern\"+? order(ASC|DESC)? sorting=ALPHA? STORE=destination#2?",
    ),
    command(
        "sort_ro",
        -2,
        Flags::READONLY.and(Flags::MOVABLEKEYS),
        sort_ro,
    )
    .acl(CATEGORIES)
    .keys(&[KeySpec::at(1, FETCH), BY_AND_GET])
    .exclusive_if(needs_all_keys)
    .docs(
        Group::Generic,
        "7.0.0",
        COMPLEXITY,
        "Puts the elements of a list, set or sorted set in order, and returns them or what other \
         keys hold for them.",
    )
    .syntax(
        "key#0 BY=by-pattern:pattern#1\"pattern\"? LIMIT=limit{offset:integer count:integer}? \
         GET=get-pattern:pattern#1\"pattern\"+? order(ASC|DESC)? sorting=ALPHA?",
    ),
];

const BY_DENIED: CmdError =
    CmdError::text("ERR BY option of SORT denied due to insufficient ACL permissions.");
const GET_DENIED: CmdError =
    CmdError::text("ERR GET option of SORT denied due to insufficient ACL permissions.");
const NOT_DOUBLES: CmdError =
    CmdError::text("ERR One or more scores can't be converted into double");

/// Words after the key that say what becomes of the arguments behind them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    Limit,
    Get,
    By,
    Store,
    Other,
}

impl Word {
    fn of(arg: &[u8]) -> Word {
        let arg = c_str(arg);
        let is = |word: &[u8]| arg.eq_ignore_ascii_case(word);
        if is(b"LIMIT") {
            Word::Limit
        } else if is(b"GET") {
            Word::Get
        } else if is(b"BY") {
            Word::By
        } else if is(b"STORE") {
            Word::Store
        } else {
            Word::Other
        }
    }

    /// How many arguments it takes.
    fn arguments(self) -> usize {
        match self {
            Word::Limit => 2,
            Word::Get | Word::By | Word::Store => 1,
            Word::Other => 0,
        }
    }
}

/// The words of a request, each with the position of what follows it.
fn words(argv: Argv<'_>) -> impl Iterator<Item = (Word, usize)> {
    let mut at = 2;
    std::iter::from_fn(move || {
        let word = Word::of(argv.get(at)?);
        let argument = at + 1;
        at = argument + word.arguments();
        Some((word, argument))
    })
}

/// Where the key is in which SORT stores: the last one counts.
fn store_position(argv: Argv<'_>) -> Option<usize> {
    let stores = words(argv).filter(|&(word, at)| word == Word::Store && at < argv.len());
    stores.last().map(|(_, at)| at)
}

/// Whether a pattern makes keys out of elements.
fn needs_all_keys(argv: Argv<'_>) -> bool {
    words(argv).any(|(word, at)| {
        matches!(word, Word::By | Word::Get)
            && argv
                .get(at)
                .is_some_and(|pattern| Pattern::new(pattern).is_key())
    })
}

/// What follows the key.
struct Options<'a> {
    by: Option<Pattern<'a>>,
    gets: SmallVec<[Pattern<'a>; 4]>,
    offset: i64,
    count: i64,
    desc: bool,
    alpha: bool,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// `reads_all`: the user may read any key, which patterns may lead to.
    fn parse(
        args: &mut Args<'a>,
        may_store: bool,
        reads_all: impl Fn() -> bool,
    ) -> Result<Options<'a>, CmdError> {
        let mut options = Options {
            by: None,
            gets: SmallVec::new(),
            offset: 0,
            count: -1,
            desc: false,
            alpha: false,
            store: None,
        };
        while let Some(arg) = args.option() {
            let word = Word::of(arg);
            let is = |word: &[u8]| c_str(arg).eq_ignore_ascii_case(word);
            if args.remaining() < word.arguments() {
                return Err(CmdError::Syntax);
            }
            match word {
                Word::Limit => (options.offset, options.count) = (args.int()?, args.int()?),
                Word::Get if !reads_all() => return Err(GET_DENIED),
                Word::Get => options.gets.push(Pattern::new(args.bytes()?)),
                Word::By => {
                    let by = Pattern::new(args.bytes()?);
                    if by.is_key() && !reads_all() {
                        return Err(BY_DENIED);
                    }
                    options.by = Some(by);
                }
                Word::Store if may_store => options.store = Some(args.bytes()?),
                Word::Other if is(b"ASC") => options.desc = false,
                Word::Other if is(b"DESC") => options.desc = true,
                Word::Other if is(b"ALPHA") => options.alpha = true,
                Word::Store | Word::Other => return Err(CmdError::Syntax),
            }
        }
        Ok(options)
    }

    /// What LIMIT leaves of `len` elements.
    fn window(&self, len: usize) -> Range<usize> {
        let start = usize::try_from(self.offset.max(0)).unwrap_or(usize::MAX);
        let start = start.min(len);
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        start..start.saturating_add(count).min(len)
    }

    /// Whether the elements are put in order at all.
    fn sorts(&self) -> bool {
        self.by.as_ref().is_none_or(Pattern::is_key)
    }
}

/// Room that is taken for the text of an element before it is met.
const SHORT_BYTES: usize = 16;

/// Texts of elements and weights, one behind the other.
#[derive(Default)]
struct Elements {
    text: Vec<u8>,
    items: Vec<Item>,
}

impl Elements {
    /// With room for so many, if they are short.
    fn with_room(len: usize) -> Elements {
        Elements {
            text: Vec::with_capacity(len.saturating_mul(SHORT_BYTES)),
            items: Vec::with_capacity(len),
        }
    }

    fn push(&mut self, element: Value<'_>) {
        let element = self.keep(element.bytes(&mut itoa::Buffer::new()));
        self.items.push(Item::new(element));
    }

    fn keep(&mut self, text: &[u8]) -> Span {
        let span = Span {
            start: self.text.len(),
            len: text.len(),
        };
        self.text.extend_from_slice(text);
        span
    }
}

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA] [STORE destination]`
fn sort(ctx: &mut Ctx<'_>) -> CmdResult {
    sort_generic(ctx, true)
}

/// `SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ...] [ASC|DESC] [ALPHA]`
fn sort_ro(ctx: &mut Ctx<'_>) -> CmdResult {
    sort_generic(ctx, false)
}

fn sort_generic(ctx: &mut Ctx<'_>, may_store: bool) -> CmdResult {
    let key = ctx.args.bytes()?;
    let request = denied::request(ctx.command, ctx.args.argv(), ctx.client.db);
    let rights = ctx.client.login.rights();
    let reads_all = || rights.check_unrestricted(&request);
    let mut options = Options::parse(&mut ctx.args, may_store, reads_all)?;
    let Ctx { db, out, .. } = ctx;
    let (mut elements, window) = load(db, key, &mut options)?;
    if options.sorts() {
        weigh(db, &mut elements, &options)?;
        let order = Order {
            is_alpha: options.alpha,
            is_by: options.by.is_some(),
            is_stored: options.store.is_some(),
            desc: options.desc,
        };
        order::sort(&mut elements.items, &elements.text, order, window.clone());
    }
    match options.store {
        None => answer(db, out, &elements, window, &options.gets),
        Some(destination) => {
            let limits = ctx.config.limits();
            let len = store(db, destination, &elements, window, &options.gets, &limits);
            out.integer(len as i64);
        }
    }
    Ok(Next::Done)
}

/// The elements of a key, and which of them are wanted once they are in order. What keeps its order
/// is loaded in that order, and only as much as is wanted of it.
fn load(
    db: &mut Access<'_>,
    key: &[u8],
    options: &mut Options<'_>,
) -> Result<(Elements, Range<usize>), CmdError> {
    let Some(entry) = db.find(key, Lookup::Read) else {
        return Ok((Elements::default(), 0..0));
    };
    match Type::from_nibble(entry.type_()) {
        Type::List => {
            let list = ListRef::new(entry.value());
            let (len, window) = (list.len(), options.window(list.len()));
            let (range, end) = match (options.sorts(), options.desc) {
                (true, _) => (0..len, End::Tail),
                (false, false) => (window.clone(), End::Tail),
                (false, true) => (len - window.end..len - window.start, End::Head),
            };
            let mut elements = Elements::with_room(range.len());
            list.walk_range(range, end, |element| elements.push(element));
            match options.sorts() {
                true => Ok((elements, window)),
                false => Ok((elements, 0..window.len())),
            }
        }
        Type::Set => {
            let set = SetRef::of(entry);
            if !options.sorts() && options.store.is_some() {
                // What is stored must not depend on the order in a table.
                options.by = None;
                options.alpha = true;
            }
            let mut elements = Elements::with_room(set.len());
            set.iter().for_each(|member| elements.push(member));
            Ok((elements, options.window(set.len())))
        }
        Type::Zset => {
            let zset = ZsetRef::of(entry);
            let (len, window) = (zset.len(), options.window(zset.len()));
            let members = match (options.sorts(), options.desc) {
                (true, _) => zset.iter(),
                (false, false) => zset.range(window.start, window.len()),
                (false, true) => zset.range_back(len.wrapping_sub(1 + window.start), window.len()),
            };
            let mut elements =
                Elements::with_room(if options.sorts() { len } else { window.len() });
            members.for_each(|(member, _)| elements.push(member));
            match options.sorts() {
                true => Ok((elements, window)),
                false => Ok((elements, 0..window.len())),
            }
        }
        Type::String | Type::Hash | Type::Stream => Err(CmdError::WrongType),
    }
}

/// Gives every element its weight: itself, or what the BY pattern finds.
fn weigh(
    db: &mut Access<'_>,
    elements: &mut Elements,
    options: &Options<'_>,
) -> Result<(), CmdError> {
    let (mut key, mut weight) = (Vec::new(), Vec::new());
    let mut digits = itoa::Buffer::new();
    let mut all_doubles = true;
    for at in 0..elements.items.len() {
        let element = elements.items[at].element.of(&elements.text);
        let text = match &options.by {
            None => Some(element),
            Some(by) => by.find(db, element, &mut key, &mut digits),
        };
        let Some(text) = text else {
            // A weight that is not there counts as 0, and comes before any text.
            continue;
        };
        if !options.alpha {
            match order::score(text) {
                Some(score) => elements.items[at].score = score,
                None => all_doubles = false,
            }
        } else if options.by.is_some() {
            weight.clear();
            weight.extend_from_slice(text);
            elements.items[at].weight = Some(elements.keep(&weight));
        }
    }
    match all_doubles {
        true => Ok(()),
        false => Err(NOT_DOUBLES),
    }
}

/// Answers the elements of a window, or what the patterns find for them.
fn answer(
    db: &mut Access<'_>,
    out: &mut ReplyWriter,
    elements: &Elements,
    window: Range<usize>,
    gets: &[Pattern<'_>],
) {
    out.array(window.len().saturating_mul(gets.len().max(1)));
    let (mut key, mut digits) = (Vec::new(), itoa::Buffer::new());
    for item in &elements.items[window] {
        let element = item.element.of(&elements.text);
        if gets.is_empty() {
            out.bulk(element);
        }
        for get in gets {
            match get.find(db, element, &mut key, &mut digits) {
                Some(text) => out.bulk(text),
                None => out.null(),
            }
        }
    }
}

/// Makes the elements of a window, or what the patterns find for them, the list of a key; returns its
/// length. What is not found is empty in it. A list without elements deletes the key.
fn store(
    db: &mut Access<'_>,
    destination: &[u8],
    elements: &Elements,
    window: Range<usize>,
    gets: &[Pattern<'_>],
    limits: &Limits,
) -> usize {
    let mut found = Elements::default();
    let (mut key, mut digits) = (Vec::new(), itoa::Buffer::new());
    for item in &elements.items[window] {
        let element = item.element.of(&elements.text);
        if gets.is_empty() {
            found.push(Value::Bytes(element));
        }
        for get in gets {
            let text = get.find(db, element, &mut key, &mut digits);
            found.push(Value::Bytes(text.unwrap_or_default()));
        }
    }
    let len = found.items.len();
    if len == 0 {
        db.remove(destination);
        return 0;
    }
    let texts = found.items.iter().map(|item| item.element.of(&found.text));
    list::with_result(texts, limits, |enc, value| {
        let (type_, enc) = (Type::List as u8, enc as u8);
        db.set(destination, type_, enc, value, Expire::Never);
    });
    db.notify(EventClass::LIST, "sortstore", destination);
    if db.effects.has_passed_expired() {
        let texts = found.items.iter().map(|item| item.element.of(&found.text));
        let deletion = db.keyspace().lazyfree.deletion(Cause::Command);
        db.also_propagate([deletion, destination]);
        db.propagate_as([&b"RPUSH"[..], destination].into_iter().chain(texts));
    }
    // Writing the key is one of the changes.
    db.effects.changes += len as u64 - 1;
    len
}
