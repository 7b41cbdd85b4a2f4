//! The templates of scripts and functions. A script is one word of a template, so it has tabs where
//! others have blanks.

use crate::generate::Agree::{Exact, Kind};

use super::{Template, fixed, t};

/// Scripts.
pub(super) const SCRIPTS: &[Template] = &[
    t(
        4,
        "EVAL return\tredis.call('SET',KEYS[1],ARGV[1]) 1 key val",
        Exact,
    ),
    t(4, "EVAL return\tredis.call('GET',KEYS[1]) 1 akey", Exact),
    t(
        3,
        "EVAL return\tredis.pcall('INCRBY',KEYS[1],ARGV[1]) 1 akey int",
        Exact,
    ),
    t(
        2,
        "EVAL return\t{KEYS[1],ARGV[1],#KEYS,#ARGV} 2 key key val (val)+",
        Exact,
    ),
    t(2, "EVAL return\ttonumber(ARGV[1]) 0 val", Exact),
    t(
        2,
        "EVAL return\t{tonumber(ARGV[1]),ARGV[2]} 0 float val",
        Exact,
    ),
    t(1, "EVAL val int (any)+", Exact),
    t(
        2,
        "EVAL redis.setresp(3)\treturn\tredis.call('ZSCORE',KEYS[1],ARGV[1]) 1 zkey member",
        Exact,
    ),
    t(
        2,
        "EVAL return\tredis.pcall(unpack(ARGV)) 0 LPUSH akey (elem)+",
        Exact,
    ),
    t(
        2,
        "EVAL return\tredis.pcall(unpack(ARGV)) 0 ZADD akey score member",
        Exact,
    ),
    t(
        2,
        "EVAL return\tredis.pcall(unpack(ARGV)) 0 LRANGE lkey index index",
        Exact,
    ),
    t(
        2,
        "EVAL return\tredis.call(unpack(ARGV)) 0 HGET hkey field",
        Exact,
    ),
    t(1, "EVAL return\tredis.call(unpack(ARGV)) 0 (any)+", Exact),
    t(2, "EVAL_RO return\tredis.call('GET',KEYS[1]) 1 akey", Exact),
    t(1, "EVAL_RO return\tredis.call('DEL',KEYS[1]) 1 akey", Exact),
    t(
        2,
        "EVALSHA e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0 (val)+",
        Exact,
    ),
    t(
        1,
        "EVALSHA_RO e0e1f9fabfc9d4800c877a703b823ac0578ff8db small key",
        Exact,
    ),
    t(2, "SCRIPT LOAD return\t1", Exact),
    t(1, "SCRIPT LOAD val", Exact),
    t(
        1,
        "SCRIPT EXISTS e0e1f9fabfc9d4800c877a703b823ac0578ff8db (any)+",
        Exact,
    ),
    t(
        1,
        "SCRIPT SHOW e0e1f9fabfc9d4800c877a703b823ac0578ff8db",
        Exact,
    ),
    t(1, "SCRIPT FLUSH [SYNC|ASYNC|any]?", Exact),
    t(1, "SCRIPT KILL", Exact),
    fixed(1, "SCRIPT DEBUG NO", Exact),
    fixed(1, "SCRIPT HELP", Kind),
    t(1, "SCRIPT any (any)+", Exact),
];
