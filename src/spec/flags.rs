//! Bit sets of a command's row: [`Flags`] as COMMAND INFO shows them, and [`AclCategories`].
//!
//! Flags that users see carry Redis's names; [`Flags::EXCLUSIVE`] and the ones below it are Kivi's own and are not
//! shown. To add one: a constant, and its name in the table below it when users shall see it.

macro_rules! bit_set {
    ($(#[$meta:meta])* $set:ident : $int:ty { $($(#[$doc:meta])* $name:ident = $bit:expr;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $set($int);

        impl $set {
            /// Nothing set.
            pub const NONE: $set = $set(0);
            $($(#[$doc])* pub const $name: $set = $set(1 << $bit);)*

            /// Both sets together; `|` for constants.
            pub const fn and(self, other: $set) -> $set {
                $set(self.0 | other.0)
            }

            /// True when every bit of `other` is set here.
            pub const fn has(self, other: $set) -> bool {
                self.0 & other.0 == other.0
            }

            /// The bits of this set that are in `other`, too.
            pub const fn only(self, other: $set) -> $set {
                $set(self.0 & other.0)
            }

            /// The bits of this set that are not in `other`.
            pub const fn without(self, other: $set) -> $set {
                $set(self.0 & !other.0)
            }

            /// The bits themselves, to be kept in a word.
            pub const fn bits(self) -> $int {
                self.0
            }

            /// True when at least one bit of `other` is set here.
            pub const fn any(self, other: $set) -> bool {
                self.0 & other.0 != 0
            }
        }

        // No two names share a bit.
        const _: () = {
            let mut seen: $int = 0;
            $(
                assert!(seen & (1 << $bit) == 0, "two flags have the same bit");
                seen |= 1 << $bit;
            )*
            let _ = seen;
        };

        impl std::ops::BitOr for $set {
            type Output = $set;
            fn bitor(self, other: $set) -> $set {
                self.and(other)
            }
        }
    };
}
pub(crate) use bit_set;

bit_set! {
    /// How the server treats a command (`flags` of COMMAND INFO).
    Flags: u32 {
        /// May change the keyspace.
        WRITE = 0;
        /// Reads keys and changes nothing.
        READONLY = 1;
        /// May grow memory: refused above maxmemory.
        DENYOOM = 2;
        /// Administrative.
        ADMIN = 3;
        /// Has to do with pub/sub.
        PUBSUB = 4;
        /// Not from scripts.
        NOSCRIPT = 5;
        /// May block its client.
        BLOCKING = 6;
        /// Served while the dataset is being loaded.
        LOADING = 7;
        /// Served by a replica whose link is down.
        STALE = 8;
        /// Not shown to MONITOR.
        SKIP_MONITOR = 9;
        /// Not logged by SLOWLOG.
        SKIP_COMMANDLOG = 10;
        /// Restores keys of a slot that is being imported.
        ASKING = 11;
        /// Constant or logarithmic time.
        FAST = 12;
        /// Served before authentication.
        NO_AUTH = 13;
        /// May replicate although it does not write, so CLIENT PAUSE WRITE holds it back. Not shown.
        MAY_REPLICATE = 14;
        /// Not inside MULTI.
        NO_MULTI = 15;
        /// Key positions depend on the arguments.
        MOVABLEKEYS = 16;
        /// Served while a script runs for too long.
        ALLOW_BUSY = 17;
        /// Refused on asynchronous connections of modules.
        NO_ASYNC_LOADING = 18;
        /// Runs a script (EVAL, FCALL): what it locks is decided when the script is known.
        RUNS_SCRIPT = 19;
        /// Says who the client is (AUTH, HELLO): always in the audit log.
        LOGS_IN = 21;
        /// Need not have keys although there are key specs (EVAL).
        NO_MANDATORY_KEYS = 20;
        /// Refused unless `enable-module-command` allows it.
        MODULES = 22;
        /// The whole of the keyspace: runs on the exclusive path (FLUSHALL, SWAPDB).
        EXCLUSIVE = 24;
        /// Cuts the connection off: a sign of cross-protocol scripting (`POST`, `Host:`).
        HTTP = 25;
        /// Refused unless `enable-debug-command` allows it.
        PROTECTED = 26;
        /// Never listed by COMMAND: exists for the protocol's sake only.
        HIDDEN = 27;
        /// Runs at once also inside MULTI (EXEC, DISCARD, WATCH, RESET, ...).
        NOT_QUEUED = 28;
        /// Allowed to a RESP2 client that has subscribed to something.
        SUBSCRIBED = 29;
        /// Runs what the client has queued (EXEC), so it is admitted by the flags of that, too.
        RUNS_QUEUE = 23;
        /// Looks at shards that no key of the request names (DBSIZE, SCAN, DEBUG): in a transaction it
        /// needs all of them to be held.
        ALL_SHARDS = 30;
        /// CLIENT CACHING still holds for the command behind it.
        KEEPS_CACHING = 31;
    }
}

impl Flags {
    /// Names as COMMAND INFO gives them, in its order.
    pub const NAMES: &[(Flags, &str)] = &[
        (Flags::WRITE, "write"),
        (Flags::READONLY, "readonly"),
        (Flags::DENYOOM, "denyoom"),
        (Flags::ADMIN, "admin"),
        (Flags::PUBSUB, "pubsub"),
        (Flags::NOSCRIPT, "noscript"),
        (Flags::BLOCKING, "blocking"),
        (Flags::LOADING, "loading"),
        (Flags::STALE, "stale"),
        (Flags::SKIP_MONITOR, "skip_monitor"),
        (Flags::SKIP_COMMANDLOG, "skip_commandlog"),
        (Flags::ASKING, "asking"),
        (Flags::FAST, "fast"),
        (Flags::NO_AUTH, "no_auth"),
        (Flags::NO_ASYNC_LOADING, "no_async_loading"),
        (Flags::NO_MULTI, "no_multi"),
        (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
        (Flags::MOVABLEKEYS, "movablekeys"),
        (Flags::ALLOW_BUSY, "allow_busy"),
    ];
}

bit_set! {
    /// ACL categories of a command (`@string`, ...).
    AclCategories: u32 {
        /// `@keyspace`
        KEYSPACE = 0;
        /// `@read`
        READ = 1;
        /// `@write`
        WRITE = 2;
        /// `@set`
        SET = 3;
        /// `@sortedset`
        SORTEDSET = 4;
        /// `@list`
        LIST = 5;
        /// `@hash`
        HASH = 6;
        /// `@string`
        STRING = 7;
        /// `@bitmap`
        BITMAP = 8;
        /// `@hyperloglog`
        HYPERLOGLOG = 9;
        /// `@geo`
        GEO = 10;
        /// `@stream`
        STREAM = 11;
        /// `@pubsub`
        PUBSUB = 12;
        /// `@admin`
        ADMIN = 13;
        /// `@fast`
        FAST = 14;
        /// `@slow`
        SLOW = 15;
        /// `@blocking`
        BLOCKING = 16;
        /// `@dangerous`
        DANGEROUS = 17;
        /// `@connection`
        CONNECTION = 18;
        /// `@transaction`
        TRANSACTION = 19;
        /// `@scripting`
        SCRIPTING = 20;
    }
}

impl AclCategories {
    /// Names with their `@`, in the order in which COMMAND INFO lists them.
    pub const NAMES: &[(AclCategories, &str)] = &[
        (AclCategories::KEYSPACE, "@keyspace"),
        (AclCategories::READ, "@read"),
        (AclCategories::WRITE, "@write"),
        (AclCategories::SET, "@set"),
        (AclCategories::SORTEDSET, "@sortedset"),
        (AclCategories::LIST, "@list"),
        (AclCategories::HASH, "@hash"),
        (AclCategories::STRING, "@string"),
        (AclCategories::BITMAP, "@bitmap"),
        (AclCategories::HYPERLOGLOG, "@hyperloglog"),
        (AclCategories::GEO, "@geo"),
        (AclCategories::STREAM, "@stream"),
        (AclCategories::PUBSUB, "@pubsub"),
        (AclCategories::ADMIN, "@admin"),
        (AclCategories::FAST, "@fast"),
        (AclCategories::SLOW, "@slow"),
        (AclCategories::BLOCKING, "@blocking"),
        (AclCategories::DANGEROUS, "@dangerous"),
        (AclCategories::CONNECTION, "@connection"),
        (AclCategories::TRANSACTION, "@transaction"),
        (AclCategories::SCRIPTING, "@scripting"),
    ];

    /// What a command's flags imply, as Redis derives it: WRITE is `@write`, ADMIN is `@admin @dangerous`, ...
    pub const fn implied(flags: Flags) -> AclCategories {
        let mut categories = AclCategories::NONE;
        if flags.has(Flags::WRITE) {
            categories = categories.and(AclCategories::WRITE);
        }
        if flags.has(Flags::READONLY) {
            categories = categories.and(AclCategories::READ);
        }
        if flags.has(Flags::ADMIN) {
            categories = categories
                .and(AclCategories::ADMIN)
                .and(AclCategories::DANGEROUS);
        }
        if flags.has(Flags::PUBSUB) {
            categories = categories.and(AclCategories::PUBSUB);
        }
        if flags.has(Flags::BLOCKING) {
            categories = categories.and(AclCategories::BLOCKING);
        }
        categories.and(match flags.has(Flags::FAST) {
            true => AclCategories::FAST,
            false => AclCategories::SLOW,
        })
    }
}
