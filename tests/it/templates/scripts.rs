//! The templates of scripts and functions. A script is one word of a template, so it has tabs where
//! others have blanks.

use crate::generate::Agree::{AnyOrder, Exact, Kind};

use super::{Template, fixed, t};

/// Scripts.
pub(super) const SCRIPTS: &[Template] = &[
    t(
        4,
        "EVAL return\tredis.call('SET',KEYS[1],'v'..ARGV[1]) 1 key val",
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

/// Libraries and functions. Their names are no placeholders.
pub(super) const FUNCTIONS: &[Template] = &[
    fixed(
        6,
        "FUNCTION LOAD [REPLACE|replace]? \
         #!lua\tname=FSET\nredis.register_function('FSET',function(k,a)\treturn\tredis.call('SET',k[1],'v'..a[1])end)",
        Exact,
    ),
    fixed(
        6,
        "FUNCTION LOAD [REPLACE]? \
         #!lua\tname=FGET\nredis.register_function{function_name='FGET',flags={'no-writes'},\
         callback=function(k)\treturn\tredis.call('GET',k[1])end}",
        Exact,
    ),
    fixed(
        4,
        "FUNCTION LOAD [REPLACE]? \
         #!lua\tname=FANY\nredis.register_function('FANY',function(k,a)\treturn\tredis.pcall(unpack(a))end)",
        Exact,
    ),
    fixed(
        3,
        "FUNCTION LOAD [REPLACE]? \
         #!lua\tname=FCOUNT\nlocal\tn=0\tredis.register_function('FCOUNT',function()n=n+1\treturn\tn\tend)",
        Exact,
    ),
    // A function of another library's.
    fixed(
        2,
        "FUNCTION LOAD [REPLACE]? \
         #!lua\tname=FOTHER\nredis.register_function('FSET',function(k,a)\treturn\t#k+#a\tend)",
        Exact,
    ),
    fixed(2, "FUNCTION LOAD REPLACE #!lua\tname=FSET\nfoo", Exact),
    t(2, "FUNCTION LOAD [REPLACE|any]? any", Exact),
    t(20, "FCALL FSET 1 key val", Exact),
    t(20, "FCALL FGET 1 akey", Exact),
    t(20, "FCALL_RO FGET 1 akey", Exact),
    t(6, "FCALL_RO FSET 1 key val", Exact),
    t(10, "FCALL FANY 0 HSET hkey field val", Exact),
    t(10, "FCALL FANY 0 LRANGE lkey index index", Exact),
    t(5, "FCALL FANY 0 (any)+", Exact),
    t(6, "FCALL FCOUNT 0", Exact),
    t(4, "FCALL FCOUNT 1 key", Exact),
    t(3, "FCALL FANY int (any)+", Exact),
    t(3, "FCALL_RO FANY int (any)+", Exact),
    t(1, "FCALL any int (any)+", Exact),
    t(1, "FUNCTION DELETE FSET", Exact),
    t(1, "FUNCTION DELETE FGET", Exact),
    t(1, "FUNCTION DELETE FCOUNT", Exact),
    t(1, "FUNCTION DELETE [FANY|FOTHER|any]?", Exact),
    fixed(3, "FUNCTION LIST [WITHCODE]?", AnyOrder),
    t(
        1,
        "FUNCTION LIST LIBRARYNAME FSET [WITHCODE|any]?",
        AnyOrder,
    ),
    t(1, "FUNCTION LIST LIBRARYNAME F*T WITHCODE", AnyOrder),
    t(3, "FUNCTION STATS", Exact),
    t(1, "FUNCTION FLUSH [SYNC|ASYNC|any]?", Exact),
    t(1, "FUNCTION KILL", Exact),
    fixed(1, "FUNCTION DUMP", Kind),
    t(1, "FUNCTION RESTORE any [FLUSH|APPEND|REPLACE|any]?", Exact),
    fixed(1, "FUNCTION HELP", Kind),
    t(1, "FUNCTION any (any)+", Exact),
];
