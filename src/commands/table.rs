//! The command table: rows by name, with numbers and full names.
//!
//! Built once at start from the families, `rename-command` applied. A lookup makes a number of a short name, in lower
//! case, hashes that, and compares it with one candidate's, mostly; it allocates nothing.

use super::{Command, FAMILIES, foreign};
use crate::acl::{Catalog, CatalogEntry};
use crate::resp::parse::Argv;
use crate::spec::{Begin, Find, Flags};

/// A row with what follows from its place in the table.
pub struct Registered {
    /// The row.
    pub row: &'static Command,
    /// Its number: index of its statistics.
    pub id: u16,
    /// `set`, `client|kill`; the old name when renamed, as in Redis's statistics and errors.
    pub full_name: String,
    /// The position of its first key, if that is its only one, or all arguments from there on are keys.
    first_key: Option<u16>,
    /// That is its only one.
    has_one_key: bool,
    /// Registered subcommands; empty for all but containers.
    pub subcommands: Vec<Registered>,
    /// Of each of their names the [`word`] and the length: all that a lookup looks at of most.
    words: Box<[(u64, usize)]>,
}

/// See the module's text.
pub struct CommandTable {
    commands: Vec<Registered>,
    /// Names with the index of their command; slots of a power of two, open addressing.
    slots: Vec<Option<Slot>>,
    /// By number, the index of the command, and of the subcommand that it is.
    places: Vec<(u16, Option<u16>)>,
    /// What rules of users may name.
    acl_catalog: Catalog,
}

/// A name of a command.
struct Slot {
    /// In lower case.
    name: Box<[u8]>,
    /// See [`word`].
    word: u64,
    /// Index of the command.
    index: u16,
}

/// What a lookup found.
pub enum Found<'t> {
    /// The command, or the subcommand when it is a container.
    Command(&'t Registered),
    /// No such command.
    Unknown,
    /// A container, but no such subcommand.
    UnknownSubcommand,
}

impl CommandTable {
    /// All families; `renamed` lists (name, new name), an empty new name removes the command. Fails with the reason
    /// when a name to be renamed does not exist or a new name is taken.
    pub fn new(renamed: &[(Vec<u8>, Vec<u8>)]) -> Result<CommandTable, String> {
        let mut next_id = 0;
        let rows = FAMILIES.iter().flat_map(|family| family.iter());
        let commands: Vec<Registered> = rows.map(|row| register(row, "", &mut next_id)).collect();
        let mut names: Vec<(Vec<u8>, u16)> = Vec::with_capacity(commands.len());
        for (index, command) in commands.iter().enumerate() {
            names.push((command.row.name.as_bytes().to_vec(), index as u16));
        }
        for (old, new) in renamed {
            rename(
                &mut names,
                &old.to_ascii_lowercase(),
                &new.to_ascii_lowercase(),
            )?;
        }
        let mut table = CommandTable {
            places: places(&commands),
            acl_catalog: acl_catalog(&commands),
            commands,
            slots: Vec::new(),
        };
        table
            .slots
            .resize_with((names.len() * 4).next_power_of_two(), || None);
        for (name, index) in names {
            let word = word(&name);
            let mut at = hash(word, name.len()) & (table.slots.len() - 1);
            while table.slots[at].is_some() {
                at = (at + 1) & (table.slots.len() - 1);
            }
            table.slots[at] = Some(Slot {
                name: name.into_boxed_slice(),
                word,
                index,
            });
        }
        Ok(table)
    }

    /// A command by its name in any case.
    #[inline]
    pub fn get(&self, name: &[u8]) -> Option<&Registered> {
        let word = word(name);
        let mut at = hash(word, name.len()) & (self.slots.len() - 1);
        while let Some(slot) = &self.slots[at] {
            let may_be = slot.word == word && slot.name.len() == name.len();
            if may_be && (name.len() <= WORD_BYTES || slot.name.eq_ignore_ascii_case(name)) {
                return Some(&self.commands[slot.index as usize]);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    /// The command that a request names, its subcommand when it is a container's.
    #[inline]
    pub fn find(&self, argv: Argv<'_>) -> Found<'_> {
        match self.get(&argv[0]) {
            Some(command) => within(command, argv),
            None => Found::Unknown,
        }
    }

    /// As [`CommandTable::find`], for a request out of a log: a server that writes in its own words what a command
    /// has done (PEXPIREAT, UNLINK) uses the names of the rows, whatever they are called now.
    pub fn find_logged(&self, argv: Argv<'_>) -> Found<'_> {
        match self.find(argv) {
            Found::Unknown => {
                let is_it =
                    |row: &&Registered| row.row.name.as_bytes().eq_ignore_ascii_case(&argv[0]);
                match self.commands.iter().find(is_it) {
                    Some(command) => within(command, argv),
                    None => Found::Unknown,
                }
            }
            found => found,
        }
    }

    /// A command by its full name, `container|sub` for a subcommand.
    pub fn by_full_name(&self, name: &[u8]) -> Option<&Registered> {
        let mut words = name.splitn(2, |&byte| byte == b'|');
        let command = self.get(words.next()?)?;
        match words.next() {
            Some(subcommand) => command.subcommand(subcommand),
            None => Some(command),
        }
    }

    /// A command or subcommand by its number.
    #[inline]
    pub fn by_id(&self, id: u16) -> &Registered {
        let (command, subcommand) = self.places[id as usize];
        let command = &self.commands[command as usize];
        match subcommand {
            Some(subcommand) => &command.subcommands[subcommand as usize],
            None => command,
        }
    }

    /// All commands without their subcommands, in the order of the families.
    pub fn commands(&self) -> &[Registered] {
        &self.commands
    }

    /// The commands as rules of users name them.
    pub fn acl_catalog(&self) -> &Catalog {
        &self.acl_catalog
    }

    /// Full names by number.
    pub fn full_names(&self) -> Vec<&str> {
        let mut names = vec![""; self.places.len()];
        for command in &self.commands {
            names[command.id as usize] = &command.full_name;
            for subcommand in &command.subcommands {
                names[subcommand.id as usize] = &subcommand.full_name;
            }
        }
        names
    }
}

impl Registered {
    /// A subcommand by its name in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Registered> {
        let wanted = (word(name), name.len());
        let is_it = |sub: &&Registered| {
            name.len() <= WORD_BYTES || sub.row.name.as_bytes().eq_ignore_ascii_case(name)
        };
        let words = self.words.iter().zip(&self.subcommands);
        let may_be = words.filter(|(word, _)| **word == wanted);
        may_be.map(|(_, sub)| sub).find(is_it)
    }

    /// Its key, when it has only one, in a place that is known: the fast path of `exec`.
    #[inline]
    pub fn only_key<'a>(&self, argv: Argv<'a>) -> Option<&'a [u8]> {
        let at = usize::from(self.first_key?);
        match self.has_one_key || argv.len() == at + 1 {
            true => argv.get(at),
            false => None,
        }
    }

    /// True for a subcommand of a container.
    pub fn is_subcommand(&self) -> bool {
        self.full_name.len() != self.row.name.len()
    }
}

/// The command, or its subcommand if it is a container.
#[inline]
fn within<'t>(command: &'t Registered, argv: Argv<'_>) -> Found<'t> {
    if command.subcommands.is_empty() || argv.len() < 2 {
        return Found::Command(command);
    }
    match command.subcommand(&argv[1]) {
        Some(subcommand) => Found::Command(subcommand),
        None => Found::UnknownSubcommand,
    }
}

/// Where the commands and subcommands stand, in the order of their numbers.
fn places(commands: &[Registered]) -> Vec<(u16, Option<u16>)> {
    let mut places = Vec::new();
    for (index, command) in (0..).zip(commands) {
        places.push((index, None));
        let subcommands = (0..).zip(&command.subcommands);
        places.extend(subcommands.map(|(subcommand, _)| (index, Some(subcommand))));
    }
    places
}

fn acl_catalog(commands: &[Registered]) -> Catalog {
    let entry = |command: &Registered, parent: Option<u16>| CatalogEntry {
        full_name: command.full_name.as_str().into(),
        categories: command.row.acl_categories(),
        no_auth: command.row.flags.has(Flags::NO_AUTH),
        is_hidden: command.row.flags.has(Flags::HIDDEN),
        parent,
        subcommands: command.subcommands.iter().map(|sub| sub.id).collect(),
    };
    // Numbers go up in this order.
    let entries = commands.iter().flat_map(|command| {
        let subcommands = command.subcommands.iter();
        std::iter::once(entry(command, None))
            .chain(subcommands.map(move |sub| entry(sub, Some(command.id))))
    });
    let mut entries: Vec<CatalogEntry> = entries.collect();
    foreign::add_to(&mut entries);
    Catalog::new(entries)
}

fn register(row: &'static Command, prefix: &str, next_id: &mut u16) -> Registered {
    let full_name = format!("{prefix}{}", row.name);
    let id = *next_id;
    *next_id += 1;
    // Not for what may need more than its shard, or runs without it.
    let is_plain = row.exclusive_if.is_none() && !row.flags.has(Flags::ALLOW_BUSY);
    let (first_key, has_one_key) = match row.keys {
        [only] if only.is_key() && is_plain => match (only.begin, only.find) {
            (Begin::Index(at), Find::Range { last: 0, .. }) => (Some(at), true),
            (
                Begin::Index(at),
                Find::Range {
                    last: -1, step: 1, ..
                },
            ) => (Some(at), false),
            _ => (None, false),
        },
        _ => (None, false),
    };
    let prefix = format!("{full_name}|");
    let subcommands = row
        .subcommands
        .iter()
        .map(|sub| register(sub, &prefix, next_id))
        .collect();
    let names = row.subcommands.iter().map(|sub| sub.name.as_bytes());
    let words = names.map(|name| (word(name), name.len())).collect();
    Registered {
        row,
        id,
        full_name,
        first_key,
        has_one_key,
        subcommands,
        words,
    }
}

fn rename(names: &mut Vec<(Vec<u8>, u16)>, old: &[u8], new: &[u8]) -> Result<(), String> {
    let wrong = |why: &str| {
        let (old, new) = (old.escape_ascii(), new.escape_ascii());
        Err(format!("rename-command \"{old}\" \"{new}\": {why}"))
    };
    let Some(at) = names.iter().position(|(name, _)| name == old) else {
        return wrong("No such command in rename-command");
    };
    let (_, index) = names.remove(at);
    if new.is_empty() {
        return Ok(());
    }
    if names.iter().any(|(name, _)| name == new) {
        return wrong("Target command name already exists");
    }
    names.push((new.to_vec(), index));
    Ok(())
}

/// Longest name of which its [`word`] and its length say everything.
const WORD_BYTES: usize = 8;

/// A number that is the same for all cases of a name, and differs for different short names of one length; of longer
/// ones it says how they begin and end.
#[inline]
fn word(name: &[u8]) -> u64 {
    let four = |bytes: &[u8; 4]| u64::from(u32::from_le_bytes(*bytes));
    let word = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        (Some(first), Some(last)) if name.len() > WORD_BYTES => {
            return lower(u64::from_le_bytes(*first))
                ^ lower(u64::from_le_bytes(*last)).rotate_left(u64::BITS / 2 + 1);
        }
        (Some(first), _) => u64::from_le_bytes(*first),
        _ => match (name.first_chunk::<4>(), name.last_chunk::<4>(), name) {
            (Some(first), Some(last), _) => four(first) | four(last) << 32,
            (_, _, [first, .., last]) => {
                let middle = name[name.len() / 2];
                four(&[*first, middle, *last, 0])
            }
            (_, _, [only]) => u64::from(*only),
            _ => 0,
        },
    };
    lower(word)
}

/// Eight bytes at once in lower case.
#[inline]
fn lower(word: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // A byte's highest bit is set when it is at least the limit; none carries into the next.
    let at_least = |limit: u8| (word & !HIGH) + ONES * u64::from(128 - limit);
    let is_upper = at_least(b'A') & !at_least(b'Z' + 1) & !word & HIGH;
    word | is_upper >> 2
}

#[inline]
fn hash(word: u64, len: usize) -> usize {
    let hash = (word ^ len as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (hash >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::parse::Span;
    use crate::spec::keys;

    #[test]
    fn names_are_found_in_any_case() {
        let table = CommandTable::new(&[]).unwrap();
        for command in table.commands() {
            let upper = command.row.name.to_ascii_uppercase();
            assert_eq!(
                table.get(upper.as_bytes()).map(|found| found.id),
                Some(command.id)
            );
        }
        assert!(table.get(b"nosuch").is_none());
        assert!(table.get(b"").is_none());
        for (id, name) in (0..).zip(table.full_names()) {
            let found = table.by_id(id);
            assert_eq!((found.id, &*found.full_name), (id, name));
        }
        assert_eq!(
            table.by_full_name(b"CLIENT|kill").unwrap().full_name,
            "client|kill"
        );
    }

    #[test]
    fn the_only_key_is_what_the_specs_say() {
        let table = CommandTable::new(&[]).unwrap();
        let words: Vec<Span> = (0..4).map(|start| Span { start, len: 1 }).collect();
        let mut found = 0;
        for command in table.commands() {
            for len in 1..=words.len() {
                let argv = Argv::new(b"xabc", &words[..len]);
                let Some(only) = command.only_key(argv) else {
                    continue;
                };
                let mut keys = Vec::new();
                keys::for_each_key(command.row.keys, argv, |at, _| keys.push(argv[at].to_vec()))
                    .unwrap();
                assert_eq!(keys, [only], "{} {len}", command.full_name);
                found += 1;
            }
        }
        assert!(found > 300, "{found}");
        let exists = table.get(b"exists").unwrap();
        assert_eq!(
            exists.only_key(Argv::new(b"xa", &words[..2])),
            Some(&b"a"[..])
        );
        assert_eq!(exists.only_key(Argv::new(b"xab", &words[..3])), None);
    }

    #[test]
    fn short_names_are_told_apart_by_their_words() {
        let alphabet = b"aAzZ@[`{_-\0\x80\xe1";
        let mut names = vec![Vec::new()];
        let mut from = 0;
        for _ in 0..3 {
            let until = names.len();
            for at in from..until {
                for &byte in alphabet {
                    let mut name = names[at].clone();
                    name.push(byte);
                    names.push(name);
                }
            }
            from = until;
        }
        let long = ["", "xyzw", "vwxyz"].iter().flat_map(|front| {
            let longer = |name: &Vec<u8>| [front.as_bytes(), name].concat();
            names.iter().map(longer).collect::<Vec<_>>()
        });
        let names: Vec<Vec<u8>> = long.collect();
        let mut known = std::collections::HashMap::new();
        for name in &names {
            let key = (name.len(), word(name));
            let before = known.insert(key, name.to_ascii_lowercase());
            assert!(before.is_none_or(|before| before == name.to_ascii_lowercase()));
        }
        for (upper, lower) in [
            ("CLUSTER|NODES", "cluster|nodes"),
            ("ZRANGEBYLEX", "zrangebylex"),
        ] {
            assert_eq!(word(upper.as_bytes()), word(lower.as_bytes()));
        }
    }

    #[test]
    fn renaming_moves_removes_and_refuses() {
        let renamed =
            |old: &str, new: &str| vec![(old.as_bytes().to_vec(), new.as_bytes().to_vec())];
        let table = CommandTable::new(&renamed("GET", "fetch")).unwrap();
        assert!(table.get(b"get").is_none());
        assert_eq!(table.get(b"FETCH").unwrap().full_name, "get");
        assert!(
            CommandTable::new(&renamed("FLUSHALL", ""))
                .unwrap()
                .get(b"flushall")
                .is_none()
        );
        assert!(CommandTable::new(&renamed("nosuch", "x")).is_err());
        assert!(CommandTable::new(&renamed("get", "set")).is_err());
    }

    #[test]
    fn renamed_in_turn_and_found_in_logs_under_their_own_names() {
        let renamed = |pairs: &[(&str, &str)]| {
            let pair =
                |(old, new): &(&str, &str)| (old.as_bytes().to_vec(), new.as_bytes().to_vec());
            CommandTable::new(&pairs.iter().map(pair).collect::<Vec<_>>())
        };
        let table = renamed(&[("set", "a"), ("A", "b"), ("get", "set"), ("del", "")]).unwrap();
        let name = |found: Found<'_>| match found {
            Found::Command(command) => Some(command.full_name.clone()),
            _ => None,
        };
        let find = |text: &str, logged: bool| {
            let span = Span {
                start: 0,
                len: text.len() as u32,
            };
            let spans = [span];
            let argv = Argv::new(text.as_bytes(), &spans);
            match logged {
                true => name(table.find_logged(argv)),
                false => name(table.find(argv)),
            }
        };
        let cases = [
            ("B", Some("set"), Some("set")),
            ("a", None, None),
            ("Set", Some("get"), Some("get")),
            ("Get", None, Some("get")),
            ("del", None, Some("del")),
            ("", None, None),
        ];
        for (text, now, in_log) in cases {
            assert_eq!(find(text, false).as_deref(), now, "{text}");
            assert_eq!(find(text, true).as_deref(), in_log, "{text} in a log");
        }
        assert!(renamed(&[("set", "SET")]).is_ok());
        let error = |pairs| renamed(pairs).err().unwrap();
        assert_eq!(
            error(&[("nosuch", "x\n")]),
            "rename-command \"nosuch\" \"x\\n\": No such command in rename-command"
        );
        assert_eq!(
            error(&[("set", "get")]),
            "rename-command \"set\" \"get\": Target command name already exists"
        );
    }
}
