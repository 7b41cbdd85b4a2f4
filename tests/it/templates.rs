//! The table of templates: every command there is, with all of its options.
//!
//! The language is described in `generate`; to add a command, add a row. Rows stand in groups: most
//! episodes take most of their commands from one, so that the keys of one type see long histories.

use crate::generate::Agree::{
    self, AnyOrder, Count, Exact, Kind, MapKeys, Millis, Pairs, Scan, Seconds, Shape, Times,
};

mod insight;
mod limits;
mod scripts;

/// A row of the table of templates.
pub(crate) struct Template {
    /// How often it is chosen, relative to the others.
    pub(crate) weight: usize,
    /// What it looks like.
    pub(crate) text: &'static str,
    /// How its replies must agree.
    pub(crate) agree: Agree,
    /// Whether arguments may be damaged at random.
    pub(crate) mutable: bool,
}

const fn t(weight: usize, text: &'static str, agree: Agree) -> Template {
    Template {
        weight,
        text,
        agree,
        mutable: true,
    }
}

const fn fixed(weight: usize, text: &'static str, agree: Agree) -> Template {
    Template {
        weight,
        text,
        agree,
        mutable: false,
    }
}

/// All templates, in the groups an episode may dwell on.
pub(crate) const GROUPS: &[&[Template]] = &[
    STRINGS,
    HASHES,
    LISTS,
    SETS,
    ZSETS,
    STREAMS,
    STREAM_GROUPS,
    BITMAPS,
    GEO,
    HYPERLOGLOGS,
    SORT,
    GENERIC,
    CONNECTION,
    PUBSUB,
    scripts::SCRIPTS,
    scripts::FUNCTIONS,
    SERVER,
    insight::HOTKEYS,
    limits::LIMITS,
];

/// How many of [`GROUPS`] an episode may dwell on, from the first.
pub(crate) const DWELLINGS: usize = 10;

/// Strings.
const STRINGS: &[Template] = &[
    t(10, "APPEND key val", Exact),
    t(6, "DECR key", Exact),
    t(6, "DECRBY key int", Exact),
    t(6, "DELIFEQ key val", Exact),
    t(20, "GET key", Exact),
    t(6, "GETDEL key", Exact),
    t(
        12,
        "GETEX key [EX secs|PX ms|EXAT at|PXAT atms|PERSIST]*",
        Exact,
    ),
    t(12, "GETRANGE key off off", Exact),
    t(4, "SUBSTR key off off", Exact),
    t(6, "GETSET key val", Exact),
    t(10, "INCR key", Exact),
    t(10, "INCRBY key int", Exact),
    t(14, "INCRBYFLOAT key float", Exact),
    t(
        12,
        "LCS key key [LEN|IDX|MINMATCHLEN small|WITHMATCHLEN]*",
        Exact,
    ),
    t(10, "MGET (key)+", Exact),
    t(10, "MSET (key val)+", Exact),
    t(
        10,
        "MSETEX 1 key val [NX|XX|EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]*",
        Exact,
    ),
    t(
        6,
        "MSETEX 2 key val key val [NX|XX]? [EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]?",
        Exact,
    ),
    t(4, "MSETEX int (key val)+", Exact),
    t(8, "MSETNX (key val)+", Exact),
    t(6, "PSETEX key ms val", Exact),
    t(20, "SET key val", Exact),
    t(
        24,
        "SET key val [NX|XX|IFEQ val|GET|EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]*",
        Exact,
    ),
    t(6, "SETEX key secs val", Exact),
    t(6, "SETNX key val", Exact),
    t(10, "SETRANGE key off val", Exact),
    t(6, "STRLEN key", Exact),
];

/// Hashes.
const HASHES: &[Template] = &[
    t(6, "HDEL hkey (field)+", Exact),
    t(4, "HEXISTS hkey field", Exact),
    t(6, "HEXPIRE hkey secs [NX|XX|GT|LT]? FIELDS 1 field", Exact),
    t(
        4,
        "HEXPIRE hkey secs [NX|XX|GT|LT]* FIELDS 2 field field",
        Exact,
    ),
    t(2, "HEXPIRE hkey secs [FIELDS]? int (field)+", Exact),
    t(
        3,
        "HEXPIREAT hkey at [NX|XX|GT|LT]? FIELDS 2 field field",
        Exact,
    ),
    t(4, "HPEXPIRE hkey ms [NX|XX|GT|LT]? FIELDS 1 field", Exact),
    t(
        4,
        "HPEXPIREAT hkey atms [NX|XX|GT|LT]? FIELDS 3 field field field",
        Exact,
    ),
    t(4, "HEXPIRETIME hkey FIELDS 2 field field", Seconds),
    t(4, "HPEXPIRETIME hkey FIELDS 3 field field field", Millis),
    t(4, "HTTL hkey FIELDS 2 field field", Seconds),
    t(4, "HPTTL hkey FIELDS 1 field", Millis),
    t(2, "HTTL hkey [FIELDS]? int (field)+", Seconds),
    t(6, "HPERSIST hkey FIELDS 2 field field", Exact),
    t(2, "HPERSIST hkey [FIELDS]? int (field)+", Exact),
    t(8, "HGET hkey field", Exact),
    t(8, "HGETALL hkey", Pairs),
    t(4, "HGETDEL hkey FIELDS 1 field", Exact),
    t(4, "HGETDEL hkey FIELDS 3 field field field", Exact),
    t(2, "HGETDEL hkey [FIELDS]? int (field)+", Exact),
    t(
        4,
        "HGETEX hkey [EX secs|PX ms|EXAT at|PXAT atms|PERSIST]? FIELDS 1 field",
        Exact,
    ),
    t(
        4,
        "HGETEX hkey [EX secs|PX ms|EXAT at|PXAT atms|PERSIST]* FIELDS 3 field field field",
        Exact,
    ),
    t(
        2,
        "HGETEX hkey [EX secs|PERSIST|FIELDS]* int (field)+",
        Exact,
    ),
    t(
        6,
        "HSETEX hkey [NX|XX|FNX|FXX|EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]* FIELDS 1 field val",
        Exact,
    ),
    t(
        6,
        "HSETEX hkey [NX|XX]? [FNX|FXX]? [EX secs|PX ms|EXAT at|PXAT atms|KEEPTTL]? FIELDS 2 field val field val",
        Exact,
    ),
    t(2, "HSETEX hkey [EX secs|FIELDS]* int (field val)+", Exact),
    t(8, "HINCRBY hkey field int", Exact),
    t(10, "HINCRBYFLOAT hkey field float", Exact),
    t(4, "HKEYS hkey", AnyOrder),
    t(4, "HLEN hkey", Exact),
    t(6, "HMGET hkey (field)+", Exact),
    t(4, "HMSET hkey (field val)+", Exact),
    t(5, "HRANDFIELD hkey [rcount|rcount WITHVALUES]?", Shape),
    t(3, "HRANDFIELD hkey 100000 WITHVALUES", Pairs),
    t(3, "HRANDFIELD hkey 100000", AnyOrder),
    t(6, "HSCAN hkey 0 [MATCH fglob|COUNT count|NOVALUES]*", Scan),
    t(
        1,
        "HSCAN hkey any [MATCH fglob|COUNT count|NOVALUES]*",
        Kind,
    ),
    t(30, "HSET hkey (field val)+", Exact),
    t(3, "HSET hkey (nfield val)#", Exact),
    t(3, "HDEL hkey (nfield)#", Exact),
    t(6, "HSETNX hkey field val", Exact),
    t(4, "HSTRLEN hkey field", Exact),
    t(4, "HVALS hkey", AnyOrder),
    t(8, "OBJECT ENCODING hkey", Exact),
];

/// Lists.
const LISTS: &[Template] = &[
    t(6, "LINDEX lkey index", Exact),
    t(8, "LINSERT lkey BEFORE elem elem", Exact),
    t(4, "LINSERT lkey AFTER elem elem", Exact),
    t(2, "LINSERT lkey any elem elem", Exact),
    t(4, "LLEN lkey", Exact),
    t(8, "LMOVE lkey lkey side side", Exact),
    t(8, "LMPOP 2 lkey lkey side [COUNT near]?", Exact),
    t(
        2,
        "LMPOP 2 lkey lkey side [COUNT small|COUNT count]*",
        Exact,
    ),
    t(3, "LMPOP int (lkey)+ side [COUNT count]?", Exact),
    t(8, "LPOP lkey [lcount]?", Exact),
    t(
        8,
        "LPOS lkey elem [RANK rank|COUNT small|MAXLEN count]*",
        Exact,
    ),
    t(16, "LPUSH lkey (elem)+", Exact),
    t(4, "LPUSHX lkey (elem)+", Exact),
    t(10, "LRANGE lkey index index", Exact),
    t(4, "LRANGE lkey 0 -1", Exact),
    t(8, "LREM lkey index elem", Exact),
    t(6, "LSET lkey near elem", Exact),
    t(4, "LSET lkey index elem", Exact),
    t(4, "LTRIM lkey index index", Exact),
    t(8, "RPOP lkey [lcount]?", Exact),
    t(6, "RPOPLPUSH lkey lkey", Exact),
    t(24, "RPUSH lkey (elem)+", Exact),
    t(4, "RPUSHX lkey (elem)+", Exact),
    t(3, "RPUSH lkey (nmember)#", Exact),
    t(2, "LPUSH lkey (nmember)#", Exact),
    t(4, "BLPOP (lkey)+ wait", Exact),
    t(4, "BRPOP (lkey)+ wait", Exact),
    t(4, "BLMOVE lkey lkey side side wait", Exact),
    t(4, "BRPOPLPUSH lkey lkey wait", Exact),
    t(4, "BLMPOP wait 2 lkey lkey side [COUNT near]?", Exact),
    t(
        2,
        "BLMPOP wait 2 lkey lkey side [COUNT small|COUNT count]*",
        Exact,
    ),
    t(2, "BLMPOP wait int (lkey)+ side [COUNT count]?", Exact),
    t(10, "OBJECT ENCODING lkey", Exact),
];

/// Sets.
const SETS: &[Template] = &[
    t(24, "SADD skey (member)+", Exact),
    t(10, "SADD skey (imember)+", Exact),
    t(3, "SADD skey (nmember)#", Exact),
    t(2, "SADD skey (nint)#", Exact),
    t(4, "SCARD skey", Exact),
    t(4, "SDIFF (skey)+", AnyOrder),
    t(4, "SDIFFSTORE skey (skey)+", Exact),
    t(4, "SINTER (skey)+", AnyOrder),
    t(4, "SINTERCARD 2 skey skey [LIMIT small]?", Exact),
    t(2, "SINTERCARD int (skey)+ [LIMIT count]?", Exact),
    t(5, "SINTERSTORE skey (skey)+", Exact),
    t(6, "SISMEMBER skey member", Exact),
    t(8, "SMEMBERS skey", AnyOrder),
    t(6, "SMISMEMBER skey (member)+", Exact),
    t(8, "SMOVE skey skey member", Exact),
    t(1, "SPOP skey", Shape),
    t(1, "SPOP skey rcount", Shape),
    t(2, "SPOP skey 100000", AnyOrder),
    t(4, "SRANDMEMBER skey [rcount]?", Shape),
    t(3, "SRANDMEMBER skey 100000", AnyOrder),
    t(12, "SREM skey (member)+", Exact),
    t(3, "SREM skey (nmember)#", Exact),
    t(6, "SSCAN skey 0 [MATCH fglob|COUNT count]*", Scan),
    t(1, "SSCAN skey any [MATCH fglob|COUNT count]*", Kind),
    t(4, "SUNION (skey)+", AnyOrder),
    t(4, "SUNIONSTORE skey (skey)+", Exact),
    t(10, "OBJECT ENCODING skey", Exact),
];

/// Streams. Their ids are mostly small, so that groups, other streams and ranges meet them; whatever
/// comes by the clock differs between two servers.
const STREAMS: &[Template] = &[
    t(24, "XADD tkey 9-* (field val)+", Exact),
    t(12, "XADD tkey tid (field val)+", Exact),
    t(
        8,
        "XADD tkey [NOMKSTREAM]? [MAXLEN|MINID]? [~|=]? small [LIMIT small]? 9-* (field val)+",
        Exact,
    ),
    t(
        8,
        "XADD tkey [NOMKSTREAM|MAXLEN small|MAXLEN ~ small|MAXLEN = count|MINID tid|MINID ~ tid|\
         LIMIT small]* 9-* field val",
        Exact,
    ),
    t(
        3,
        "XTRIM tkey [MAXLEN small|MAXLEN ~ small|MAXLEN = small|MINID tid|MINID ~ tid|LIMIT count]+",
        Exact,
    ),
    t(8, "XDEL tkey (tid)+", Exact),
    t(
        3,
        "XDELEX tkey [KEEPREF|DELREF|ACKED]? IDS 2 tid tid",
        Exact,
    ),
    t(6, "XLEN tkey", Exact),
    t(16, "XRANGE tkey trange trange [COUNT count]?", Exact),
    t(12, "XREVRANGE tkey trange trange [COUNT count]?", Exact),
    t(
        4,
        "XSETID tkey tid [ENTRIESADDED small|MAXDELETEDID tid]*",
        Exact,
    ),
    t(
        10,
        "XREAD [COUNT count|BLOCK twait]* STREAMS tkey tread",
        Exact,
    ),
    t(
        8,
        "XREAD [COUNT count|BLOCK twait]* STREAMS tkey tkey tread tread",
        Exact,
    ),
    t(
        16,
        "XREADGROUP GROUP tgroup tconsumer [COUNT count|BLOCK twait|NOACK]* STREAMS tkey >",
        Exact,
    ),
    t(
        8,
        "XREADGROUP GROUP tgroup tconsumer [COUNT small|NOACK]* STREAMS tkey tread",
        Exact,
    ),
    t(
        6,
        "XREADGROUP GROUP tgroup tconsumer [COUNT small]? STREAMS tkey tkey > tread",
        Exact,
    ),
    t(6, "XGROUP CREATE tkey tgroup tfrom [MKSTREAM]?", Exact),
    t(6, "XACK tkey tgroup (tid)+", Exact),
    t(3, "XINFO STREAM tkey", Exact),
    t(3, "XINFO STREAM tkey FULL [COUNT small]?", Times),
    t(3, "XINFO GROUPS tkey", Exact),
    t(2, "OBJECT ENCODING tkey", Exact),
    t(1, "TYPE tkey", Exact),
];

/// Consumer groups of streams, whose ids are mostly `9-0`, `9-1`, ...
const STREAM_GROUPS: &[Template] = &[
    t(
        10,
        "XGROUP CREATE tkey tgroup tfrom [MKSTREAM|ENTRIESREAD small]*",
        Exact,
    ),
    t(
        4,
        "XGROUP SETID tkey tgroup tfrom [ENTRIESREAD small]*",
        Exact,
    ),
    t(1, "XGROUP DESTROY tkey tgroup", Exact),
    t(3, "XGROUP CREATECONSUMER tkey tgroup tconsumer", Exact),
    t(3, "XGROUP DELCONSUMER tkey tgroup tconsumer", Exact),
    t(1, "XGROUP HELP", Kind),
    t(12, "XACK tkey tgroup (tid)+", Exact),
    t(
        3,
        "XACKDEL tkey tgroup [KEEPREF|DELREF|ACKED]? IDS 2 tid tid",
        Exact,
    ),
    t(
        12,
        "XCLAIM tkey tgroup tconsumer tidle (tid)+ \
         [IDLE tage|TIME tage|RETRYCOUNT small|FORCE|JUSTID|LASTID tid]*",
        Exact,
    ),
    t(
        12,
        "XAUTOCLAIM tkey tgroup tconsumer tidle tfrom [COUNT count|JUSTID]*",
        Exact,
    ),
    t(4, "XPENDING tkey tgroup", Exact),
    t(
        8,
        "XPENDING tkey tgroup [IDLE tidle]? trange trange count [tconsumer]?",
        Times,
    ),
    t(4, "XINFO STREAM tkey", Exact),
    t(4, "XINFO STREAM tkey FULL [COUNT small]?", Times),
    t(4, "XINFO GROUPS tkey", Exact),
    t(4, "XINFO CONSUMERS tkey tgroup", Times),
    t(1, "XINFO HELP", Kind),
];

/// Sorted sets. Ranges by lex are defined where all scores are equal: the keys of `xkey`.
const ZSETS: &[Template] = &[
    t(24, "ZADD zkey (score member)+", Exact),
    t(
        16,
        "ZADD zkey [NX|XX|GT|LT|CH|INCR]* (score member)+",
        Exact,
    ),
    t(6, "ZADD zkey INCR score member", Exact),
    t(3, "ZADD zkey (nint nmember)#", Exact),
    fixed(24, "ZADD xkey (0 member)+", Exact),
    fixed(2, "ZADD xkey (0 nmember)#", Exact),
    fixed(3, "ZREM xkey (member)+", Exact),
    t(4, "ZCARD zkey", Exact),
    t(6, "ZCOUNT zkey sbound sbound", Exact),
    t(4, "ZDIFF 2 szkey szkey [WITHSCORES]?", Exact),
    t(2, "ZDIFF int (szkey)+ [WITHSCORES]?", Exact),
    t(4, "ZDIFFSTORE zkey 2 szkey szkey", Exact),
    t(10, "ZINCRBY zkey score member", Exact),
    t(
        4,
        "ZINTER 2 szkey szkey [WEIGHTS weight weight|AGGREGATE agg|WITHSCORES]*",
        Exact,
    ),
    t(
        2,
        "ZINTER int (szkey)+ [WEIGHTS weight weight|AGGREGATE agg|WITHSCORES]*",
        Exact,
    ),
    t(4, "ZINTERCARD 2 szkey szkey [LIMIT small]?", Exact),
    t(1, "ZINTERCARD int (szkey)+ [LIMIT count]?", Exact),
    t(
        4,
        "ZINTERSTORE zkey 2 szkey szkey [WEIGHTS weight weight|AGGREGATE agg]*",
        Exact,
    ),
    t(1, "ZINTERSTORE zkey int (szkey)+ [AGGREGATE agg]?", Exact),
    t(4, "ZLEXCOUNT xkey lex lex", Exact),
    t(6, "ZMPOP 2 zkey zkey minmax [COUNT near]?", Exact),
    t(
        2,
        "ZMPOP 2 zkey zkey minmax [COUNT small|COUNT count]*",
        Exact,
    ),
    t(2, "ZMPOP int (zkey)+ minmax [COUNT count]?", Exact),
    t(4, "ZMSCORE zkey (member)+", Exact),
    t(6, "ZPOPMAX zkey [lcount]?", Exact),
    t(6, "ZPOPMIN zkey [lcount]?", Exact),
    t(4, "ZRANDMEMBER zkey [rcount|rcount WITHSCORES]?", Shape),
    t(3, "ZRANDMEMBER zkey 100000 [WITHSCORES]?", Pairs),
    t(
        8,
        "ZRANGE zkey index index [REV|WITHSCORES|LIMIT index index]*",
        Exact,
    ),
    t(
        8,
        "ZRANGE zkey sbound sbound BYSCORE [REV|WITHSCORES|LIMIT index index]*",
        Exact,
    ),
    t(
        8,
        "ZRANGE xkey lex lex BYLEX [REV|WITHSCORES|LIMIT index index]*",
        Exact,
    ),
    t(2, "ZRANGE zkey 0 -1 WITHSCORES", Exact),
    t(6, "ZRANGEBYLEX xkey lex lex [LIMIT index index]?", Exact),
    t(
        8,
        "ZRANGEBYSCORE zkey sbound sbound [WITHSCORES|LIMIT index index]*",
        Exact,
    ),
    t(
        4,
        "ZRANGESTORE zkey zkey index index [REV|LIMIT index index]*",
        Exact,
    ),
    t(
        4,
        "ZRANGESTORE zkey zkey sbound sbound BYSCORE [REV|LIMIT index index]*",
        Exact,
    ),
    t(
        4,
        "ZRANGESTORE zkey xkey lex lex BYLEX [REV|LIMIT index index]*",
        Exact,
    ),
    t(6, "ZRANK zkey member [WITHSCORE]?", Exact),
    t(8, "ZREM zkey (member)+", Exact),
    t(3, "ZREM zkey (nmember)#", Exact),
    fixed(3, "ZREMRANGEBYLEX xkey lex lex", Exact),
    t(4, "ZREMRANGEBYRANK zkey index index", Exact),
    t(4, "ZREMRANGEBYSCORE zkey sbound sbound", Exact),
    t(6, "ZREVRANGE zkey index index [WITHSCORES]?", Exact),
    t(6, "ZREVRANGEBYLEX xkey lex lex [LIMIT index index]?", Exact),
    t(
        8,
        "ZREVRANGEBYSCORE zkey sbound sbound [WITHSCORES|LIMIT index index]*",
        Exact,
    ),
    t(6, "ZREVRANK zkey member [WITHSCORE]?", Exact),
    t(6, "ZSCAN zkey 0 [MATCH fglob|COUNT count|NOSCORES]*", Scan),
    t(
        1,
        "ZSCAN zkey any [MATCH fglob|COUNT count|NOSCORES]*",
        Kind,
    ),
    t(6, "ZSCORE zkey member", Exact),
    t(
        4,
        "ZUNION 2 szkey szkey [WEIGHTS weight weight|AGGREGATE agg|WITHSCORES]*",
        Exact,
    ),
    t(
        2,
        "ZUNION int (szkey)+ [WEIGHTS weight weight|AGGREGATE agg|WITHSCORES]*",
        Exact,
    ),
    t(
        5,
        "ZUNIONSTORE zkey 2 szkey szkey [WEIGHTS weight weight|AGGREGATE agg]*",
        Exact,
    ),
    t(
        2,
        "ZUNIONSTORE zkey 3 szkey szkey szkey [WEIGHTS weight weight weight|AGGREGATE agg]*",
        Exact,
    ),
    t(
        1,
        "ZUNIONSTORE zkey int (szkey)+ [WEIGHTS weight weight]?",
        Exact,
    ),
    t(3, "BZPOPMIN (zkey)+ wait", Exact),
    t(3, "BZPOPMAX (zkey)+ wait", Exact),
    t(4, "BZMPOP wait 2 zkey zkey minmax [COUNT near]?", Exact),
    t(
        2,
        "BZMPOP wait 2 zkey zkey minmax [COUNT small|COUNT count]*",
        Exact,
    ),
    t(1, "BZMPOP wait int (zkey)+ minmax [COUNT count]?", Exact),
    t(10, "OBJECT ENCODING zkey", Exact),
];

/// Bitmaps: strings, as far as anybody can tell.
const BITMAPS: &[Template] = &[
    t(24, "SETBIT bkey boff bit", Exact),
    t(10, "GETBIT bkey boff", Exact),
    t(6, "BITCOUNT bkey", Exact),
    t(10, "BITCOUNT bkey index index [BYTE|BIT]?", Exact),
    t(6, "BITCOUNT bkey bindex bindex BIT", Exact),
    t(3, "BITCOUNT bkey index", Exact),
    t(6, "BITPOS bkey bit", Exact),
    t(6, "BITPOS bkey bit index", Exact),
    t(8, "BITPOS bkey bit index index [BYTE|BIT]?", Exact),
    t(6, "BITPOS bkey bit bindex bindex BIT", Exact),
    t(16, "BITOP bop bkey (bkey)+", Exact),
    t(4, "BITOP NOT bkey bkey", Exact),
    t(
        12,
        "BITFIELD bkey [GET btype bplace|SET btype bplace bint|INCRBY btype bplace bint|OVERFLOW bover]*",
        Exact,
    ),
    t(
        12,
        "BITFIELD bkey OVERFLOW bover INCRBY btype bplace bint [GET btype bplace]?",
        Exact,
    ),
    t(
        8,
        "BITFIELD bkey OVERFLOW bover SET btype bplace bint",
        Exact,
    ),
    t(4, "BITFIELD bkey (GET btype bplace)+", Exact),
    t(
        4,
        "BITFIELD_RO bkey [GET btype bplace|GET btype bplace|OVERFLOW bover]*",
        Exact,
    ),
    t(1, "BITFIELD_RO bkey SET btype bplace bint", Exact),
    t(6, "GET bkey", Exact),
    t(6, "SET bkey val", Exact),
    t(3, "DEL bkey", Exact),
    t(2, "EXPIRE bkey secs", Exact),
    t(3, "APPEND bkey val", Exact),
    t(4, "OBJECT ENCODING bkey", Exact),
];

/// Positions in sorted sets.
const GEO: &[Template] = &[
    t(24, "GEOADD gkey (glon glat member)+", Exact),
    t(8, "GEOADD gkey [NX|XX|CH]* (glon glat member)+", Exact),
    t(3, "GEOADD gkey (glon glat nmember)#", Exact),
    t(8, "GEODIST gkey member member [gunit]?", Exact),
    t(6, "GEOHASH gkey (member)+", Exact),
    t(6, "GEOPOS gkey (member)+", Exact),
    t(
        8,
        "GEORADIUS gkey glon glat gsize gunit \
         [dir|WITHDIST|WITHCOORD|WITHHASH|COUNT gcount|COUNT gcount ANY]*",
        Exact,
    ),
    t(
        3,
        "GEORADIUS gkey glon glat gsize gunit \
         [dir|COUNT gcount|STORE gkey|STOREDIST gkey|WITHDIST]*",
        Exact,
    ),
    t(
        4,
        "GEORADIUS_RO gkey glon glat gsize gunit [dir|WITHDIST|COUNT gcount ANY|STORE gkey]*",
        Exact,
    ),
    t(
        8,
        "GEORADIUSBYMEMBER gkey member gsize gunit \
         [dir|WITHDIST|WITHCOORD|WITHHASH|COUNT gcount|COUNT gcount ANY]*",
        Exact,
    ),
    t(
        3,
        "GEORADIUSBYMEMBER gkey member gsize gunit \
         [dir|COUNT gcount|STORE gkey|STOREDIST gkey|WITHHASH]*",
        Exact,
    ),
    t(
        4,
        "GEORADIUSBYMEMBER_RO gkey member gsize gunit [dir|WITHCOORD|COUNT gcount|STORE gkey]*",
        Exact,
    ),
    t(
        10,
        "GEOSEARCH gkey [FROMMEMBER member|FROMLONLAT glon glat]+ BYRADIUS gsize gunit \
         [dir|WITHDIST|WITHCOORD|WITHHASH|COUNT gcount|COUNT gcount ANY]*",
        Exact,
    ),
    t(
        10,
        "GEOSEARCH gkey FROMMEMBER member BYBOX gsize gsize gunit \
         [dir|WITHDIST|WITHCOORD|WITHHASH|COUNT gcount|COUNT gcount ANY]*",
        Exact,
    ),
    t(
        8,
        "GEOSEARCH gkey BYPOLYGON 3 glon glat glon glat glon glat \
         [dir|WITHDIST|COUNT gcount|BYBOX gsize gsize gunit]*",
        Exact,
    ),
    t(
        6,
        "GEOSEARCH gkey BYPOLYGON 4 glon glat glon glat glon glat glon glat [dir|WITHDIST]*",
        Exact,
    ),
    t(2, "GEOSEARCH gkey BYPOLYGON int (glon glat)+", Exact),
    t(
        4,
        "GEOSEARCH gkey [FROMMEMBER member|FROMLONLAT glon glat|BYRADIUS gsize gunit]* \
         [BYBOX gsize gsize gunit|BYPOLYGON 3 glon glat glon glat glon glat]*",
        Exact,
    ),
    t(
        6,
        "GEOSEARCHSTORE gkey gkey [FROMMEMBER member|FROMLONLAT glon glat]+ \
         [BYRADIUS gsize gunit|BYBOX gsize gsize gunit]+ [dir|COUNT gcount|STOREDIST|ANY]*",
        Exact,
    ),
    t(
        3,
        "GEOSEARCHSTORE gkey gkey BYPOLYGON 3 glon glat glon glat glon glat [STOREDIST|dir]*",
        Exact,
    ),
    t(4, "ZRANGE gkey 0 -1 WITHSCORES", Exact),
    t(3, "ZREM gkey (member)+", Exact),
];

/// HyperLogLogs, some of them dense.
const HYPERLOGLOGS: &[Template] = &[
    t(20, "PFADD pkey (pelem)+", Exact),
    t(8, "PFADD pkey (pelem)#", Exact),
    t(3, "PFADD pkey", Exact),
    t(14, "PFCOUNT pkey", Exact),
    t(8, "PFCOUNT pkey (pkey)+", Exact),
    t(10, "PFMERGE pkey (pkey)+", Exact),
    t(2, "PFMERGE pkey", Exact),
    t(6, "PFDEBUG DECODE pkey", Exact),
    t(3, "PFDEBUG ENCODING pkey", Exact),
    t(2, "PFDEBUG TODENSE pkey", Exact),
    t(1, "PFDEBUG GETREG pkey", Exact),
    fixed(1, "PFDEBUG SIMD ON", Exact),
    fixed(1, "PFDEBUG SIMD OFF", Exact),
    fixed(1, "PFSELFTEST", Exact),
    fixed(3, "CONFIG SET hll-sparse-max-bytes plimit", Exact),
    t(8, "GET pkey", Exact),
    t(3, "SET pkey val", Exact),
    t(4, "DEL pkey", Exact),
    t(2, "EXPIRE pkey secs", Exact),
    t(2, "APPEND pkey val", Exact),
    t(4, "OBJECT ENCODING pkey", Exact),
];

/// SORT, and what its patterns find.
const SORT: &[Template] = &[
    t(6, "SORT lkey [ALPHA|dir|LIMIT index index]*", Exact),
    t(4, "SORT skey [ALPHA|dir|LIMIT index index]*", Exact),
    t(4, "SORT zkey [ALPHA|dir|LIMIT index index]*", Exact),
    t(4, "SORT lkey BY w_* [dir|LIMIT index index|GET #]*", Exact),
    t(3, "SORT lkey BY h*->f1 [dir|GET #|GET h*->f2]*", Exact),
    t(3, "SORT lkey BY w_* ALPHA [dir|GET #]*", AnyOrder),
    t(
        4,
        "SORT lkey BY nosort [dir|LIMIT index index|GET #|GET h*->f2|GET w_*|GET any]*",
        Exact,
    ),
    t(
        3,
        "SORT zkey BY nosort [dir|LIMIT index index|GET #|GET w_*]*",
        Exact,
    ),
    t(3, "SORT skey BY nosort [GET #]?", AnyOrder),
    t(3, "SORT skey BY nosort STORE lkey", Exact),
    t(
        5,
        "SORT lkey [ALPHA|BY w_*|LIMIT index index|GET #|GET w_*|dir]* STORE lkey",
        Exact,
    ),
    t(
        3,
        "SORT zkey ALPHA [LIMIT index index|dir]* STORE akey",
        Exact,
    ),
    t(
        1,
        "SORT akey [ALPHA|BY nosort|GET any|LIMIT any any]* STORE akey",
        Exact,
    ),
    t(
        4,
        "SORT_RO lkey [ALPHA|BY w_*|LIMIT index index|GET #|dir]*",
        Exact,
    ),
    t(2, "SORT_RO skey [ALPHA|dir|LIMIT index index]*", Exact),
    t(2, "SORT_RO zkey [ALPHA|BY nosort|dir|STORE lkey]*", Exact),
    t(6, "SET wkey int", Exact),
    t(3, "SET wkey float", Exact),
    t(3, "SET wkey val", Exact),
];

/// Keys of any type.
const GENERIC: &[Template] = &[
    t(12, "COPY akey akey [DB db|REPLACE]*", Exact),
    t(12, "DEL (akey)+", Exact),
    t(4, "DUMP akey", Kind),
    t(
        2,
        "RESTORE akey int val [REPLACE|ABSTTL|IDLETIME 5|FREQ 5]*",
        Exact,
    ),
    t(6, "UNLINK (akey)+", Exact),
    t(8, "EXISTS (akey)+", Exact),
    t(4, "TOUCH (akey)+", Exact),
    t(12, "EXPIRE akey secs [NX|XX|GT|LT]*", Exact),
    t(8, "PEXPIRE akey ms [NX|XX|GT|LT]*", Exact),
    t(8, "EXPIREAT akey at [NX|XX|GT|LT]*", Exact),
    t(8, "PEXPIREAT akey atms [NX|XX|GT|LT]*", Exact),
    t(6, "EXPIRETIME akey", Seconds),
    t(6, "PEXPIRETIME akey", Millis),
    t(6, "TTL akey", Seconds),
    t(6, "PTTL akey", Millis),
    t(8, "PERSIST akey", Exact),
    t(6, "KEYS glob", AnyOrder),
    t(6, "MOVE akey db", Exact),
    t(8, "OBJECT ENCODING akey", Exact),
    t(2, "OBJECT FREQ akey", Exact),
    t(2, "OBJECT IDLETIME akey", Seconds),
    t(2, "OBJECT REFCOUNT akey", Exact),
    fixed(1, "OBJECT HELP", Kind),
    t(2, "OBJECT any key", Exact),
    fixed(2, "RANDOMKEY", Kind),
    t(8, "RENAME akey akey", Exact),
    t(8, "RENAMENX akey akey", Exact),
    t(8, "SCAN 0 [MATCH glob|COUNT count|TYPE type]*", Scan),
    t(2, "SCAN any [MATCH glob|COUNT count|TYPE type]*", Kind),
    t(6, "TYPE akey", Exact),
];

/// The connection.
const CONNECTION: &[Template] = &[
    t(2, "AUTH any", Exact),
    t(1, "AUTH DEFAULT any", Exact),
    t(1, "AUTH default any", Exact),
    t(3, "ECHO any", Exact),
    t(2, "PING", Exact),
    t(2, "PING any", Exact),
    t(1, "HELLO [2|3|4|any]?", MapKeys),
    t(1, "HELLO 2 [SETNAME any|AUTH default any|any]*", MapKeys),
    t(1, "HELLO 3 [SETNAME any|AUTH default any|any]*", MapKeys),
    t(6, "SELECT db", Exact),
    t(1, "RESET", Exact),
    // What is queued is answered later, all at once: `transactions` has that.
    t(2, "WATCH (key)+", Exact),
    fixed(1, "UNWATCH", Exact),
    fixed(1, "EXEC", Exact),
    fixed(1, "EXEC any", Exact),
    fixed(1, "DISCARD", Exact),
    fixed(1, "MULTI any", Exact),
    t(2, "CLIENT GETNAME", Exact),
    t(2, "CLIENT SETNAME any", Exact),
    t(2, "CLIENT SETINFO [LIB-NAME|LIB-VER|any]? any", Exact),
    fixed(1, "CLIENT ID", Kind),
    fixed(1, "CLIENT INFO", Kind),
    fixed(1, "CLIENT LIST", Kind),
    t(1, "CLIENT LIST TYPE any", Kind),
    t(1, "CLIENT LIST ID any", Kind),
    fixed(1, "CLIENT KILL ID 987654321", Exact),
    fixed(1, "CLIENT KILL 127.0.0.1:1", Exact),
    fixed(1, "CLIENT KILL ID any-id", Exact),
    fixed(1, "CLIENT KILL TYPE nonsense", Exact),
    fixed(1, "CLIENT KILL SKIPME maybe", Exact),
    fixed(1, "CLIENT KILL USER nobody", Exact),
    t(1, "CLIENT CAPA [REDIRECT|any]*", Exact),
    t(1, "CLIENT IMPORT-SOURCE [ON|OFF|any]?", Exact),
    t(1, "CLIENT NO-EVICT [ON|OFF|any]?", Exact),
    t(1, "CLIENT NO-TOUCH [ON|OFF|any]?", Exact),
    fixed(1, "CLIENT PAUSE 0", Exact),
    fixed(1, "CLIENT PAUSE -1", Exact),
    fixed(1, "CLIENT PAUSE abc", Exact),
    fixed(1, "CLIENT PAUSE 0 WRITE", Exact),
    fixed(1, "CLIENT PAUSE 0 SOMETIMES", Exact),
    fixed(1, "CLIENT UNPAUSE", Exact),
    fixed(1, "CLIENT UNPAUSE now", Exact),
    fixed(1, "CLIENT REPLY SKIP", Exact),
    fixed(1, "CLIENT REPLY OFF", Exact),
    fixed(1, "CLIENT REPLY ON", Exact),
    fixed(1, "CLIENT REPLY MAYBE", Exact),
    fixed(1, "CLIENT HELP", Kind),
    fixed(1, "CLIENT NONSENSE", Exact),
];

/// Pub/sub, as far as it has one reply: whoever has subscribed, and what it gets then, is compared in
/// `pubsub`.
const PUBSUB: &[Template] = &[
    t(1, "PUBLISH any any", Exact),
    t(1, "SPUBLISH any any", Exact),
    fixed(1, "UNSUBSCRIBE any", Exact),
    fixed(1, "PUNSUBSCRIBE any", Exact),
    fixed(1, "SUNSUBSCRIBE any", Exact),
    fixed(1, "UNSUBSCRIBE", Exact),
    fixed(1, "SUBSCRIBE", Exact),
    fixed(1, "PSUBSCRIBE", Exact),
    fixed(1, "SSUBSCRIBE", Exact),
    fixed(1, "PUBSUB CHANNELS", AnyOrder),
    t(1, "PUBSUB CHANNELS any [any]?", AnyOrder),
    t(1, "PUBSUB NUMSUB [any]?", Exact),
    fixed(1, "PUBSUB NUMPAT", Exact),
    t(1, "PUBSUB SHARDCHANNELS any [any]?", AnyOrder),
    t(1, "PUBSUB SHARDNUMSUB [any]?", Exact),
    fixed(1, "PUBSUB HELP", Kind),
    fixed(1, "PUBSUB NONSENSE", Exact),
];

/// The server, and what is no command at all.
const SERVER: &[Template] = &[
    fixed(1, "COMMAND COUNT", Kind),
    t(3, "COMMAND GETKEYS MSET (key val)+", Exact),
    t(2, "COMMAND GETKEYS GET key", Exact),
    t(2, "COMMAND GETKEYS MSETEX 2 key val key val", Exact),
    t(2, "COMMAND GETKEYS COPY key key", Exact),
    t(2, "COMMAND GETKEYSANDFLAGS SET key val [GET]?", Exact),
    t(2, "COMMAND GETKEYSANDFLAGS RENAME key key", Exact),
    t(2, "COMMAND GETKEYSANDFLAGS LCS key key", Exact),
    t(1, "COMMAND GETKEYS PING", Exact),
    t(1, "COMMAND GETKEYS any", Exact),
    t(1, "COMMAND INFO nonsense", Exact),
    t(1, "COMMAND DOCS nonsense", Exact),
    t(1, "COMMAND LIST FILTERBY any any", Exact),
    t(1, "COMMAND LIST FILTERBY PATTERN getr*", AnyOrder),
    t(1, "COMMAND LIST FILTERBY ACLCAT nonsense", Exact),
    fixed(1, "COMMAND HELP", Kind),
    t(2, "CONFIG GET databases", Pairs),
    t(2, "CONFIG GET timeout hash-max-listpack-entries", Pairs),
    t(1, "CONFIG GET nonsense*", Pairs),
    t(1, "CONFIG GET tcp-keepalive tcp-keep* TCP-KEEPALIVE", Pairs),
    fixed(1, "CONFIG SET timeout 0", Exact),
    fixed(1, "CONFIG SET timeout 5000", Exact),
    fixed(1, "CONFIG SET timeout abc", Exact),
    fixed(1, "CONFIG SET timeout -1", Exact),
    fixed(1, "CONFIG SET timeout 0 tcp-keepalive 300", Exact),
    fixed(1, "CONFIG SET timeout 1 timeout 2", Exact),
    fixed(1, "CONFIG SET timeout 7 tcp-keepalive abc", Exact),
    fixed(1, "CONFIG SET nonsense 1", Exact),
    fixed(1, "CONFIG SET timeout 9 nonsense 1", Exact),
    fixed(1, "CONFIG SET databases 17", Exact),
    fixed(1, "CONFIG SET loglevel loud", Exact),
    fixed(1, "CONFIG SET loglevel notice", Exact),
    fixed(1, "CONFIG SET timeout", Exact),
    fixed(1, "CONFIG SET timeout 1 tcp-keepalive", Exact),
    fixed(1, "CONFIG RESETSTAT", Exact),
    fixed(1, "CONFIG HELP", Kind),
    fixed(1, "CONFIG NONSENSE", Exact),
    t(8, "DBSIZE", Count),
    fixed(1, "DEBUG SLEEP 0", Exact),
    fixed(1, "DEBUG STRINGMATCH-LEN 10 a*", Exact),
    fixed(1, "DEBUG SET-ACTIVE-EXPIRE 1", Exact),
    t(1, "DEBUG NONSENSE", Exact),
    t(
        2,
        "DEBUG PROTOCOL [STRING|INTEGER|DOUBLE|NULL|ARRAY|SET|MAP|VERBATIM|TRUE|FALSE|BIGNUM|any]?",
        Exact,
    ),
    t(2, "FLUSHDB [SYNC|ASYNC|any]?", Exact),
    t(1, "FLUSHALL [SYNC|ASYNC|any]?", Exact),
    fixed(1, "LOLWUT", Kind),
    fixed(1, "TIME", Kind),
    fixed(1, "ROLE", Exact),
    fixed(1, "LASTSAVE", Kind),
    fixed(1, "LASTSAVE NOW", Exact),
    // Without an argument, every further command would be a reply.
    fixed(1, "MONITOR NOW", Exact),
    fixed(1, "SAVE NOW", Exact),
    fixed(1, "BGSAVE NOW", Exact),
    fixed(1, "BGSAVE SCHEDULE NOW", Exact),
    fixed(1, "BGREWRITEAOF NOW", Exact),
    fixed(1, "SHUTDOWN ABORT", Exact),
    fixed(1, "SHUTDOWN SOMETIMES", Exact),
    fixed(1, "SHUTDOWN SAVE NOSAVE", Exact),
    fixed(1, "SHUTDOWN ABORT NOW", Exact),
    t(3, "SWAPDB db db", Exact),
    t(2, "MEMORY USAGE akey", Kind),
    t(1, "MEMORY USAGE akey SAMPLES any", Kind),
    fixed(1, "MEMORY NONSENSE", Exact),
    fixed(1, "INFO keyspace", Kind),
    t(
        1,
        "COMMAND GETKEYS ZUNIONSTORE zkey 2 zkey zkey WEIGHTS 1 2",
        Exact,
    ),
    t(1, "COMMAND GETKEYS ZUNION int (zkey)+", Exact),
    t(
        1,
        "COMMAND GETKEYSANDFLAGS ZINTERSTORE zkey 2 zkey zkey",
        Exact,
    ),
    t(
        1,
        "COMMAND GETKEYS SORT lkey [BY w_*|GET #|STORE lkey|STORE akey|LIMIT 0 1]*",
        Exact,
    ),
    t(1, "COMMAND GETKEYS SORT_RO lkey [BY w_*|GET #]*", Exact),
    t(1, "COMMAND GETKEYS BLMPOP 0 2 lkey lkey LEFT", Exact),
    t(1, "COMMAND GETKEYS LMPOP int (lkey)+ LEFT", Exact),
    t(1, "COMMAND GETKEYS BLPOP (lkey)+ 0", Exact),
    t(
        1,
        "COMMAND GETKEYSANDFLAGS BLMOVE lkey lkey LEFT RIGHT 0",
        Exact,
    ),
    t(1, "COMMAND GETKEYSANDFLAGS SMOVE skey skey member", Exact),
    t(1, "COMMAND GETKEYS SINTERCARD 2 skey skey LIMIT 1", Exact),
    t(1, "COMMAND GETKEYSANDFLAGS SUNIONSTORE skey (skey)+", Exact),
    t(1, "COMMAND GETKEYS ZRANGESTORE zkey zkey 0 1", Exact),
    t(1, "COMMAND GETKEYSANDFLAGS HSET hkey field val", Exact),
    t(1, "COMMAND LIST FILTERBY PATTERN [hs*|lp*|z*]?", AnyOrder),
    fixed(1, "DEBUG OBJECT nokey", Exact),
    t(1, "DEBUG OBJECT akey", Kind),
    t(12, "DEBUG DIGEST-VALUE (akey)+", Exact),
    // Not commands at all.
    t(2, "NONSENSE (any)+", Exact),
    t(1, "any (any)+", Exact),
    t(1, "GETX", Exact),
    t(1, "nonsense|sub x", Exact),
    t(1, "client|id", Exact),
    t(1, "config|get x", Exact),
];
