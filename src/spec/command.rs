//! The row of a command.

use super::{AclCategories, Channels, Databases, Flags, KeySpec};
use crate::resp::parse::Argv;

/// One row of the command table. `H` is the handler's type, chosen by `commands`.
///
/// Rows are constants, built by chaining: [`Command::new`], then `.keys(..)`, `.acl(..)`, `.docs(..)`.
pub struct Command<H: 'static> {
    /// Lower case; of a subcommand, its own word only (`kill` of `client|kill`).
    pub name: &'static str,
    /// Number of arguments including the name(s); negative: at least that many.
    pub arity: i32,
    /// How the server treats it.
    pub flags: Flags,
    /// Where the first element stands that the command looks up in the key's collection, as far as a
    /// number can tell: it is brought into the cache ahead.
    pub element: Option<u16>,
    /// It is refused with MISCONF although it writes nothing.
    pub tells_misconf: bool,
    /// ACL categories beyond those that the flags imply; see [`Command::acl_categories`].
    pub acl: AclCategories,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// Which arguments are channels.
    pub channels: Channels,
    /// Which databases it looks at.
    pub databases: Databases,
    /// Whether a request may touch keys that its specs do not find, so that it needs the exclusive
    /// path; `None`: never.
    pub exclusive_if: Option<fn(Argv<'_>) -> bool>,
    /// Of those that run a script (`Flags::RUNS_SCRIPT`): what its first argument is. A script may say of itself
    /// what flags it has.
    pub script: Option<ScriptCode>,
    /// Which arguments are secrets.
    pub secrets: Secrets,
    /// Tips for clients and proxies (COMMAND INFO's eighth element).
    pub tips: &'static [&'static str],
    /// Documentation for COMMAND DOCS.
    pub docs: Docs,
    /// The handler.
    pub run: H,
    /// Rows of a container's subcommands (`CLIENT KILL`); a container itself is never run.
    pub subcommands: &'static [Command<H>],
}

/// What names a script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ScriptCode {
    /// Its source (EVAL).
    Source,
    /// The SHA1 of its source (EVALSHA).
    Sha,
    /// The name of a function (FCALL).
    Function,
}

/// Which arguments of a request nobody else may see (MONITOR).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secrets {
    /// None.
    None,
    /// All but the name.
    All,
    /// All from this one on.
    From(usize),
    /// So many after each of these words. What might be such a word is taken for it: rather too much
    /// is hidden than too little.
    After(&'static [(&'static str, usize)]),
}

impl Secrets {
    /// Whether the argument at this place is a secret.
    pub fn hides(self, argv: Argv<'_>, at: usize) -> bool {
        match self {
            Secrets::None => false,
            Secrets::All => at > 0,
            Secrets::From(first) => at >= first,
            Secrets::After(words) => words.iter().any(|&(word, count)| {
                (at.saturating_sub(count).max(1)..at).any(|before| {
                    let before = argv.get(before);
                    before.is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
                })
            }),
        }
    }
}

/// COMMAND DOCS of one command.
pub struct Docs {
    /// One sentence.
    pub summary: &'static str,
    /// The version of Redis or Valkey that introduced it.
    pub since: &'static str,
    /// The group it is listed in.
    pub group: Group,
    /// Big-O text.
    pub complexity: &'static str,
    /// Not for users: `syscmd` among the `doc_flags`.
    pub system: bool,
    /// The arguments, in the notation of [`super::syntax`].
    pub syntax: &'static str,
}

/// Groups of COMMAND DOCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// `generic`
    Generic,
    /// `string`
    String,
    /// `list`
    List,
    /// `set`
    Set,
    /// `sorted-set`
    SortedSet,
    /// `hash`
    Hash,
    /// `stream`
    Stream,
    /// `bitmap`
    Bitmap,
    /// `hyperloglog`
    HyperLogLog,
    /// `geo`
    Geo,
    /// `connection`
    Connection,
    /// `pubsub`
    PubSub,
    /// `transactions`
    Transactions,
    /// `scripting`
    Scripting,
    /// `server`
    Server,
}

impl Group {
    /// The name that COMMAND DOCS shows.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::HyperLogLog => "hyperloglog",
            Group::Geo => "geo",
            Group::Connection => "connection",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Scripting => "scripting",
            Group::Server => "server",
        }
    }
}

impl Group {
    /// Whether its commands are about collections.
    #[inline]
    pub const fn is_collection(self) -> bool {
        matches!(
            self,
            Group::List | Group::Set | Group::SortedSet | Group::Hash
        )
    }
}

impl<H> Command<H> {
    /// A row without keys, categories or documentation yet.
    pub const fn new(name: &'static str, arity: i32, flags: Flags, run: H) -> Command<H> {
        Command {
            name,
            arity,
            flags,
            acl: AclCategories::NONE,
            keys: &[],
            channels: Channels::None,
            databases: Databases::Current,
            exclusive_if: None,
            element: None,
            tells_misconf: false,
            script: None,
            secrets: Secrets::None,
            tips: &[],
            docs: Docs {
                summary: "",
                since: "",
                group: Group::Generic,
                complexity: "",
                system: false,
                syntax: "",
            },
            run,
            subcommands: &[],
        }
    }
}

impl<H: Copy> Command<H> {
    /// Adds the key specs.
    pub const fn keys(mut self, keys: &'static [KeySpec]) -> Self {
        self.keys = keys;
        self
    }

    /// Says which arguments are channels.
    pub const fn channels(mut self, channels: Channels) -> Self {
        self.channels = channels;
        self
    }

    /// Says which databases it looks at.
    pub const fn databases(mut self, databases: Databases) -> Self {
        self.databases = databases;
        self
    }

    /// Says which requests need the exclusive path.
    pub const fn exclusive_if(mut self, needs: fn(Argv<'_>) -> bool) -> Self {
        self.exclusive_if = Some(needs);
        self
    }

    /// Has it refused, as writes are, while the dataset cannot be saved.
    pub const fn tells_misconf(mut self) -> Self {
        self.tells_misconf = true;
        self
    }

    /// Says where the first element stands that is looked up in the key's collection.
    pub const fn element(mut self, at: u16) -> Self {
        self.element = Some(at);
        self
    }

    /// Says what its first argument names.
    pub const fn script(mut self, code: ScriptCode) -> Self {
        self.script = Some(code);
        self
    }

    /// Says which arguments are secrets.
    pub const fn secrets(mut self, secrets: Secrets) -> Self {
        self.secrets = secrets;
        self
    }

    /// Adds ACL categories beyond the implied ones.
    pub const fn acl(mut self, acl: AclCategories) -> Self {
        self.acl = acl;
        self
    }

    /// Adds tips.
    pub const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    /// Adds the documentation.
    pub const fn docs(
        mut self,
        group: Group,
        since: &'static str,
        complexity: &'static str,
        summary: &'static str,
    ) -> Self {
        self.docs.group = group;
        self.docs.since = since;
        self.docs.complexity = complexity;
        self.docs.summary = summary;
        self
    }

    /// Replaces the big-O text.
    pub const fn complexity(mut self, complexity: &'static str) -> Self {
        self.docs.complexity = complexity;
        self
    }

    /// Marks it as made for the server's own needs or for debugging, not for users.
    pub const fn system(mut self) -> Self {
        self.docs.system = true;
        self
    }

    /// Adds the argument syntax.
    pub const fn syntax(mut self, syntax: &'static str) -> Self {
        self.docs.syntax = syntax;
        self
    }

    /// Makes it a container.
    pub const fn subcommands(mut self, subcommands: &'static [Command<H>]) -> Self {
        self.subcommands = subcommands;
        self
    }
}

impl<H> Command<H> {
    /// All its ACL categories.
    pub const fn acl_categories(&self) -> AclCategories {
        let implied = AclCategories::implied(self.flags);
        // To read in a script is not to read: what it calls is looked at.
        let implied = match self.acl.has(AclCategories::SCRIPTING) {
            true => implied.without(AclCategories::READ),
            false => implied,
        };
        self.acl.and(implied)
    }

    /// Whether the database that it runs in is one of those that it looks at.
    #[inline]
    pub fn uses_current_database(&self) -> bool {
        const BY_CATEGORY: AclCategories = AclCategories::KEYSPACE
            .and(AclCategories::READ)
            .and(AclCategories::WRITE);
        match self.databases {
            Databases::Named(_) | Databases::All => false,
            Databases::Current | Databases::Also(_) => {
                self.flags.any(Flags::READONLY.and(Flags::WRITE))
                    || self.acl_categories().any(BY_CATEGORY)
                    || self.keys.iter().any(KeySpec::is_key)
            }
        }
    }

    /// True when `argc` (names included) fits the arity.
    #[inline]
    pub const fn arity_fits(&self, argc: usize) -> bool {
        if self.arity >= 0 {
            argc == self.arity as usize
        } else {
            argc >= self.arity.unsigned_abs() as usize
        }
    }
}
