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

/// Functions: two libraries, of which the second does not keep what it is told.
pub(super) const FUNCTIONS: &[Template] = &[
    fixed(
        3,
        "FUNCTION LOAD REPLACE #!lua\tname=lib1\nredis.register_function('fset',function(keys,args)\
         return\tredis.call('SET',keys[1],args[1])end)",
        Exact,
    ),
    t(
        2,
        "FUNCTION LOAD [REPLACE]? #!lua\tname=lib2\nredis.register_function{function_name='fget',callback=function(keys,args)\
         return\tredis.pcall('GET',keys[1])end,flags={'no-writes'}}",
        Exact,
    ),
    t(1, "FUNCTION LOAD any", Exact),
    t(4, "FCALL fset 1 akey val", Exact),
    t(3, "FCALL fget 1 akey", Exact),
    t(3, "FCALL_RO fget 1 akey", Exact),
    t(1, "FCALL_RO fset 1 key val", Exact),
    t(1, "FCALL fset int key (val)+", Exact),
    t(1, "FCALL any small (any)+", Exact),
    t(1, "FUNCTION LIST [LIBRARYNAME lib1|WITHCODE|any]*", Kind),
    fixed(1, "FUNCTION LIST LIBRARYNAME lib2 WITHCODE", Exact),
    t(1, "FUNCTION DELETE lib1", Exact),
    t(1, "FUNCTION DELETE any", Exact),
    t(1, "FUNCTION FLUSH [SYNC|ASYNC|any]?", Exact),
    fixed(1, "FUNCTION DUMP", Kind),
    t(1, "FUNCTION RESTORE any [FLUSH|APPEND|REPLACE|any]?", Exact),
    fixed(1, "FUNCTION STATS", Kind),
    t(1, "FUNCTION KILL", Exact),
    fixed(1, "FUNCTION HELP", Kind),
    t(1, "FUNCTION any (any)+", Exact),
];
