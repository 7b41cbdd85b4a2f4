//! COMMAND: what the server can do, told from the command table and nothing else.
//!
//! Shapes of the replies (names and order of map keys, sets and maps in RESP3) are Valkey 9.1's. A
//! test compares what is told with the facts of Valkey in `tests/it/reference/commands.json`.
//!
//! Rows with [`Flags::HIDDEN`] appear nowhere here. To tell a new fact about commands: a field of
//! the row (`spec::command`), and its place in [`info`] or in `command/docs.rs`.

use crate::resp::parse::Argv;
use crate::resp::write::ReplyWriter;
use crate::spec::keys::for_each_key;
use crate::spec::{AclCategories, Begin, CmdError, Find, Flags, Group, KeyFlags, KeySpec};
use crate::util::glob::glob_match;

use super::table::Found;
use super::{CmdResult, Command, CommandTable, Ctx, Next, Registered, command, help};

mod docs;

#[cfg(test)]
mod tests;

/// Flags of all rows.
const SERVED: Flags = Flags::LOADING.and(Flags::STALE);
/// The order of the table means nothing.
const UNORDERED: &[&str] = &["nondeterministic_output_order"];

/// One of this family's rows.
const fn command_command(
    name: &'static str,
    arity: i32,
    run: super::Handler,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> Command {
    command(name, arity, SERVED, run)
        .acl(AclCategories::CONNECTION)
        .docs(Group::Server, since, complexity, summary)
}

/// The rows of this family.
pub const COMMANDS: &[Command] = &[command_command(
    "command",
    -1,
    command_info,
    "2.8.13",
    "O(N) in the number of commands",
    "Describes all commands.",
)
.tips(UNORDERED)
.subcommands(&[
    command_command(
        "count",
        2,
        command_count,
        "2.8.13",
        "O(1)",
        "Tells how many commands there are.",
    ),
    command_command(
        "docs",
        -2,
        docs::command_docs,
        "7.0.0",
        "O(N) in the number of commands asked for",
        "Documents commands: what they do, since when, and their arguments.",
    )
    .tips(UNORDERED)
    .syntax("command-name?*"),
    command_command(
        "getkeys",
        -3,
        command_getkeys,
        "2.8.13",
        "O(N) in the number of arguments",
        "Tells which arguments of a whole command are keys.",
    )
    .syntax("command arg?*"),
    command_command(
        "getkeysandflags",
        -3,
        command_getkeysandflags,
        "7.0.0",
        "O(N) in the number of arguments",
        "Tells the keys of a whole command, and what it does with each.",
    )
    .syntax("command arg?*"),
    command_command(
        "help",
        2,
        command_help,
        "5.0.0",
        "O(1)",
        "Lists the subcommands.",
    ),
    command_command(
        "info",
        -2,
        command_info,
        "2.8.13",
        "O(N) in the number of commands asked for",
        "Describes commands: arity, flags, keys, ACL categories, tips, subcommands.",
    )
    .tips(UNORDERED)
    .syntax("command-name?*"),
    command_command(
        "list",
        -2,
        command_list,
        "7.0.0",
        "O(N) in the number of commands",
        "Lists the names of commands, all or those that pass a filter.",
    )
    .tips(UNORDERED)
    .syntax("FILTERBY=filterby(MODULE=module-name|ACLCAT=category|PATTERN=pattern:pattern)?"),
])];

/// Commands that users may know of, without their subcommands.
fn visible(table: &CommandTable) -> impl Iterator<Item = &Registered> {
    table
        .commands()
        .iter()
        .filter(|command| is_visible(command))
}

fn is_visible(command: &Registered) -> bool {
    !command.row.flags.has(Flags::HIDDEN)
}

/// A command by its full name, when users may know of it.
fn named<'t>(table: &'t CommandTable, name: &[u8]) -> Option<&'t Registered> {
    table
        .by_full_name(name)
        .filter(|command| is_visible(command))
}

fn command_count(ctx: &mut Ctx<'_>) -> CmdResult {
    ctx.out.integer(visible(ctx.table).count() as i64);
    Ok(Next::Done)
}

/// COMMAND, and COMMAND INFO.
fn command_info(ctx: &mut Ctx<'_>) -> CmdResult {
    if ctx.args.is_empty() {
        ctx.out.array(visible(ctx.table).count());
        for command in visible(ctx.table) {
            info(ctx.out, command);
        }
        return Ok(Next::Done);
    }
    ctx.out.array(ctx.args.remaining());
    while let Some(name) = ctx.args.option() {
        match named(ctx.table, name) {
            Some(command) => info(ctx.out, command),
            None => ctx.out.null(),
        }
    }
    Ok(Next::Done)
}

/// COMMAND INFO's description of one command.
fn info(out: &mut ReplyWriter, command: &Registered) {
    let row = command.row;
    out.array(10);
    out.bulk(command.full_name.as_bytes());
    out.integer(row.arity.into());
    set_of(out, Flags::NAMES, |flag| row.flags.has(flag));
    let (first, last, step) = key_range(row.keys);
    out.integer(first);
    out.integer(last);
    out.integer(step);
    let categories = row.acl_categories();
    set_of(out, AclCategories::NAMES, |category| {
        categories.has(category)
    });
    out.set(row.tips.len());
    for tip in row.tips {
        out.bulk(tip.as_bytes());
    }
    out.set(row.keys.len());
    for spec in row.keys {
        key_spec(out, spec);
    }
    out.array(command.subcommands.len());
    for subcommand in &command.subcommands {
        info(out, subcommand);
    }
}

/// A set of the names whose bit is set.
fn set_of<F: Copy>(out: &mut ReplyWriter, names: &[(F, &str)], is_set: impl Fn(F) -> bool) {
    out.set(names.iter().filter(|(flag, _)| is_set(*flag)).count());
    for (_, name) in names.iter().filter(|(flag, _)| is_set(*flag)) {
        out.simple(name);
    }
}

/// The old way to say where keys are: first, last (negative: from the end) and step, 0 for no keys.
///
/// Several specs that follow each other are taken together; a spec that cannot be said this way is
/// left out.
fn key_range(specs: &[KeySpec]) -> (i64, i64, i64) {
    let range = |spec: &KeySpec| match (spec.begin, spec.find) {
        (Begin::Index(first), Find::Range { last, step, .. }) => {
            let first = i64::from(first);
            let last = i64::from(last) + if last >= 0 { first } else { 0 };
            Some((first, last, i64::from(step)))
        }
        _ => None,
    };
    if let [only] = specs {
        return range(only).unwrap_or((0, 0, 0));
    }
    let mut whole: Option<(i64, i64)> = None;
    for (first, last, step) in specs.iter().filter_map(range) {
        whole = match whole {
            _ if step != 1 => whole,
            None => Some((first, last)),
            Some((start, end)) if end + 1 == first => Some((start, last)),
            some => some,
        };
    }
    whole.map_or((0, 0, 0), |(first, last)| (first, last, 1))
}

fn key_spec(out: &mut ReplyWriter, spec: &KeySpec) {
    out.map(3 + !spec.notes.is_empty() as usize);
    if !spec.notes.is_empty() {
        out.bulk(b"notes");
        out.bulk(spec.notes.as_bytes());
    }
    out.bulk(b"flags");
    set_of(out, KeyFlags::NAMES, |flag| spec.flags.has(flag));
    out.bulk(b"begin_search");
    match spec.begin {
        Begin::Index(index) => typed_map(out, "index", &[("index", index.into())]),
        Begin::Keyword { keyword, from } => {
            out.map(2);
            out.bulk(b"type");
            out.bulk(b"keyword");
            out.bulk(b"spec");
            out.map(2);
            out.bulk(b"keyword");
            out.bulk(keyword.as_bytes());
            out.bulk(b"startfrom");
            out.integer(from.into());
        }
        Begin::Unknown => typed_map(out, "unknown", &[]),
    }
    out.bulk(b"find_keys");
    match spec.find {
        Find::Range { last, step, limit } => {
            let fields = [
                ("lastkey", last.into()),
                ("keystep", step.into()),
                ("limit", limit.into()),
            ];
            typed_map(out, "range", &fields);
        }
        Find::Keynum { num, first, step } => {
            let fields = [
                ("keynumidx", num.into()),
                ("firstkey", first.into()),
                ("keystep", step.into()),
            ];
            typed_map(out, "keynum", &fields);
        }
        Find::Unknown => typed_map(out, "unknown", &[]),
    }
}

/// `{type: .., spec: {..}}`.
fn typed_map(out: &mut ReplyWriter, type_: &str, fields: &[(&str, i64)]) {
    out.map(2);
    out.bulk(b"type");
    out.bulk(type_.as_bytes());
    out.bulk(b"spec");
    out.map(fields.len());
    for (name, value) in fields {
        out.bulk(name.as_bytes());
        out.integer(*value);
    }
}

/// Which names COMMAND LIST lists.
enum Wanted<'a> {
    All,
    Category(Option<AclCategories>),
    Pattern(&'a [u8]),
    /// There are no modules, so no command comes from one.
    None,
}

fn command_list(ctx: &mut Ctx<'_>) -> CmdResult {
    let wanted = wanted(ctx)?;
    let passes = |command: &Registered| match wanted {
        Wanted::All => true,
        Wanted::Category(category) => {
            category.is_some_and(|category| command.row.acl_categories().has(category))
        }
        Wanted::Pattern(pattern) => glob_match(pattern, command.full_name.as_bytes(), true),
        Wanted::None => false,
    };
    let list = ctx.out.deferred_array();
    let mut listed = 0;
    for command in visible(ctx.table) {
        for command in std::iter::once(command).chain(&command.subcommands) {
            if passes(command) {
                ctx.out.bulk(command.full_name.as_bytes());
                listed += 1;
            }
        }
    }
    ctx.out.set_deferred(list, listed);
    Ok(Next::Done)
}

fn wanted<'a>(ctx: &mut Ctx<'a>) -> Result<Wanted<'a>, CmdError> {
    if ctx.args.is_empty() {
        return Ok(Wanted::All);
    }
    if !ctx.args.take("FILTERBY") {
        return Err(CmdError::Syntax);
    }
    let (kind, value) = (ctx.args.bytes()?, ctx.args.bytes()?);
    ctx.args.finish()?;
    if kind.eq_ignore_ascii_case(b"MODULE") {
        return Ok(Wanted::None);
    }
    if kind.eq_ignore_ascii_case(b"PATTERN") {
        return Ok(Wanted::Pattern(value));
    }
    if !kind.eq_ignore_ascii_case(b"ACLCAT") {
        return Err(CmdError::Syntax);
    }
    let is_it = |name: &str| name.as_bytes()[1..].eq_ignore_ascii_case(value);
    let found = AclCategories::NAMES.iter().find(|(_, name)| is_it(name));
    Ok(Wanted::Category(found.map(|(category, _)| *category)))
}

/// The command that a request to COMMAND GETKEYS names, its key specs, and the whole of it.
fn asked_for<'a>(ctx: &Ctx<'a>) -> Result<(&'a Registered, Argv<'a>), CmdError> {
    let argv = ctx.args.rest();
    let command = match ctx.table.find(argv) {
        Found::Command(command) if is_visible(command) => command,
        _ => return Err(CmdError::text("ERR Invalid command specified")),
    };
    if !command.row.keys.iter().any(KeySpec::is_key) {
        return Err(CmdError::text("ERR The command has no key arguments"));
    }
    if !command.row.arity_fits(argv.len()) {
        return Err(CmdError::text(
            "ERR Invalid number of arguments specified for command",
        ));
    }
    Ok((command, argv))
}

/// Calls `found` for each key of the command asked for; how many there are.
fn each_key<'a>(
    ctx: &mut Ctx<'a>,
    mut found: impl FnMut(&mut ReplyWriter, &[u8], KeyFlags),
) -> CmdResult {
    let (command, argv) = asked_for(ctx)?;
    let list = ctx.out.deferred_array();
    let mut keys = 0;
    let all = for_each_key(command.row.keys, argv, |position, spec| {
        if !spec.is_key() {
            return;
        }
        let key = argv.get(position).unwrap_or_default();
        found(ctx.out, key, spec.flags_in(argv));
        keys += 1;
    });
    if all.is_err() && !command.row.flags.has(Flags::NO_MANDATORY_KEYS) {
        return Err(CmdError::text(
            "ERR Invalid arguments specified for command",
        ));
    }
    ctx.out.set_deferred(list, keys);
    Ok(Next::Done)
}

fn command_getkeys(ctx: &mut Ctx<'_>) -> CmdResult {
    each_key(ctx, |out, key, _| out.bulk(key))
}

fn command_getkeysandflags(ctx: &mut Ctx<'_>) -> CmdResult {
    each_key(ctx, |out, key, flags| {
        out.array(2);
        out.bulk(key);
        set_of(out, KeyFlags::NAMES, |flag| flags.has(flag));
    })
}

fn command_help(ctx: &mut Ctx<'_>) -> CmdResult {
    help(
        ctx,
        "COMMAND",
        &[
            "(no subcommand)",
            "    Describe all commands.",
            "COUNT",
            "    Tell how many commands there are.",
            "DOCS [<command-name> ...]",
            "    Document the commands, or all of them.",
            "GETKEYS <full-command>",
            "    Tell the keys of a whole command.",
            "GETKEYSANDFLAGS <full-command>",
            "    Tell the keys of a whole command, and what it does with each.",
            "INFO [<command-name> ...]",
            "    Describe the commands, or all of them.",
            "LIST [FILTERBY (MODULE <module>|ACLCAT <category>|PATTERN <pattern>)]",
            "    List the names of all commands, or of those that pass the filter.",
        ],
    )
}
