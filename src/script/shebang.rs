//! The first line of a script: `#!lua flags=no-writes,allow-oom`.
//!
//! It is split as a line of redis.conf is, quotes and escapes included. A script without it may do what
//! scripts always could. Libraries have such a line, too, and must say their name in it, so
//! `functions` reads [`words`] for itself.
//!
//! To add a flag: a field of [`ScriptFlags`], and its name in [`ScriptFlags::NAMES`].

use super::ScriptFlags;
use crate::spec::args::c_str;
use crate::spec::{CmdError, Flags};
use crate::util::ascii::{Words, split_args};

/// The only engine that there is, in any case.
pub const ENGINE: &str = "lua";

/// Gives one flag of a set.
type Place = fn(&mut ScriptFlags) -> &mut bool;

impl ScriptFlags {
    /// What scripts and functions call their flags, in Redis's order.
    pub const NAMES: [(&'static str, Place); 5] = [
        ("no-writes", |flags| &mut flags.no_writes),
        ("allow-oom", |flags| &mut flags.allow_oom),
        ("allow-stale", |flags| &mut flags.allow_stale),
        ("no-cluster", |flags| &mut flags.no_cluster),
        ("allow-cross-slot-keys", |flags| {
            &mut flags.allow_cross_slot_keys
        }),
    ];

    /// The flags of a script without a first line that would name some.
    pub const LEGACY: ScriptFlags = ScriptFlags {
        no_writes: false,
        allow_oom: false,
        allow_stale: false,
        no_cluster: false,
        allow_cross_slot_keys: false,
        is_legacy: true,
    };

    /// Sets the flag of this name; false if there is none.
    pub fn add(&mut self, name: &[u8]) -> bool {
        let names = ScriptFlags::NAMES;
        let found = names.iter().find(|(known, _)| known.as_bytes() == name);
        match found {
            Some((_, place)) => {
                *place(self) = true;
                true
            }
            None => false,
        }
    }

    /// The flags of a command with flags of its own that runs a script which has these.
    pub fn of_command(self, own: Flags) -> Flags {
        const SAID: Flags = Flags::STALE
            .and(Flags::DENYOOM)
            .and(Flags::WRITE)
            .and(Flags::MAY_REPLICATE);
        let mut flags = own.without(SAID);
        if !self.no_writes {
            flags = flags | Flags::WRITE;
            if !self.allow_oom {
                flags = flags | Flags::DENYOOM;
            }
        }
        match self.allow_stale {
            true => flags | Flags::STALE,
            false => flags,
        }
    }

    /// The names of the flags that are set, in Redis's order.
    pub fn names(mut self) -> impl Iterator<Item = &'static str> {
        let names = ScriptFlags::NAMES.into_iter();
        names.filter_map(move |(name, place)| (*place(&mut self)).then_some(name))
    }
}

/// What the first line of a source says, see [`words`].
pub struct Shebang {
    /// The words, the engine's name (behind `#!`) first.
    pub words: Words,
    /// Where the line ends: there the code begins, with the line feed, so that lines keep their numbers.
    pub end: usize,
}

/// What is wrong with a first line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadShebang {
    /// It does not end.
    Endless,
    /// Its quotes are not balanced.
    Quotes,
}

/// Splits the first line of a source, as C sees it: a NUL ends the text. `None` if it does not begin
/// with `#!`.
pub fn words(source: &[u8]) -> Option<Result<Shebang, BadShebang>> {
    let line = c_str(source);
    if !line.starts_with(b"#!") {
        return None;
    }
    let Some(end) = memchr::memchr(b'\n', line) else {
        return Some(Err(BadShebang::Endless));
    };
    let Some(mut words) = split_args(&line[..end]) else {
        return Some(Err(BadShebang::Quotes));
    };
    // There is a first word, and it begins with these two bytes.
    words[0].drain(..2);
    Some(Ok(Shebang { words, end }))
}

/// The flags of a script of EVAL, and where its code begins.
pub fn script(source: &[u8]) -> Result<(ScriptFlags, usize), CmdError> {
    let shebang = match words(source) {
        None => return Ok((ScriptFlags::LEGACY, 0)),
        Some(Err(BadShebang::Endless)) => {
            return Err(CmdError::text("ERR Invalid script shebang"));
        }
        Some(Err(BadShebang::Quotes)) => {
            return Err(CmdError::text("ERR Invalid engine in script shebang"));
        }
        Some(Ok(shebang)) => shebang,
    };
    let mut flags = ScriptFlags::default();
    for word in &shebang.words[1..] {
        let Some(names) = c_str(word).strip_prefix(b"flags=") else {
            return Err(refusal(b"Unknown lua shebang option: ", word, b""));
        };
        // Behind a NUL within quotes there may be more names.
        let names = [names, &word[c_str(word).len()..]].concat();
        if names.is_empty() {
            continue;
        }
        for name in names.split(|&byte| byte == b',') {
            if !flags.add(c_str(name)) {
                return Err(refusal(b"Unexpected flag in script shebang: ", name, b""));
            }
        }
    }
    let engine = c_str(&shebang.words[0]);
    if !engine.eq_ignore_ascii_case(ENGINE.as_bytes()) {
        return Err(refusal(b"Could not find scripting engine '", engine, b"'"));
    }
    Ok((flags, shebang.end))
}

fn refusal(before: &[u8], word: &[u8], behind: &[u8]) -> CmdError {
    CmdError::owned([b"ERR ", before, c_str(word), behind].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the flags and where the code begins, or the error.
    fn read(source: &str) -> String {
        match script(source.as_bytes()) {
            Ok((flags, at)) => {
                let names: Vec<&str> = flags.names().collect();
                let legacy = if flags.is_legacy { " legacy" } else { "" };
                format!("{at}{legacy} {}", names.join(" "))
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn flags_are_read() {
        for (source, expected) in [
            ("return 1", "0 legacy "),
            ("", "0 legacy "),
            (" #!lua\n", "0 legacy "),
            ("#!lua\n", "5 "),
            ("#!LUA\r\nreturn 1", "6 "),
            ("#!\"lua\"\n", "7 "),
            ("#!lua flags=\n", "12 "),
            ("#!lua  \t flags=no-writes \nx", "25 no-writes"),
            ("#!lua \"flags=no-writes\"\n", "23 no-writes"),
            (
                "#!lua flags=allow-stale flags=no-writes,allow-oom\n",
                "49 no-writes allow-oom allow-stale",
            ),
            (
                "#!lua flags=no-cluster,allow-cross-slot-keys\n",
                "44 no-cluster allow-cross-slot-keys",
            ),
            ("#!lua \"flags=no-writes\\x00-not\"\n", "31 no-writes"),
        ] {
            assert_eq!(read(source), expected, "{source:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_as_valkey_does() {
        let endless = "ERR Invalid script shebang";
        for (source, expected) in [
            ("#!", endless),
            ("#!lua", endless),
            ("#!lua\0 \nreturn 1", endless),
            (
                "#!lua \"flags=no-writes\n",
                "ERR Invalid engine in script shebang",
            ),
            ("#!\n", "ERR Could not find scripting engine ''"),
            ("#!lu\n", "ERR Could not find scripting engine 'lu'"),
            ("#! lua\n", "ERR Unknown lua shebang option: lua"),
            ("#!foo x\n", "ERR Unknown lua shebang option: x"),
            ("#!lua name=x\n", "ERR Unknown lua shebang option: name=x"),
            (
                "#!lua Flags=no-writes\n",
                "ERR Unknown lua shebang option: Flags=no-writes",
            ),
            ("#!lua flags=,\n", "ERR Unexpected flag in script shebang: "),
            (
                "#!lua flags=no-writes,\n",
                "ERR Unexpected flag in script shebang: ",
            ),
            (
                "#!lua flags=no-writes flags=NO-WRITES x\n",
                "ERR Unexpected flag in script shebang: NO-WRITES",
            ),
        ] {
            assert_eq!(read(source), expected, "{source:?}");
        }
    }
}
