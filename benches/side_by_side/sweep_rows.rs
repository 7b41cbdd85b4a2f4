//! The workloads of the sweep, family by family: lists of what is sent.
//!
//! To add a workload: a line in the list of its family. Commands of one line are sent in turn by each
//! connection; they are separated by `; `, their words by blanks. Places in them:
//!
//! | | |
//! |---|---|
//! | `%k` `%K` | a key among those of the word's prefix (`sweep_data`; of others among 100,000); two choices |
//! | `%e` `%E` `%f` | an element of it, in twelve or six digits |
//! | `%d` `%a` | an element, or as likely one that is not there; one that is not there |
//! | `%i` `%j` | the same of integers |
//! | `%s` `%n` | a score of six digits, a number of eight |
//! | `%b` | a bit of a mebibyte |
//! | `%x` `%y` | two and six digits, for positions |
//! | `%c` `%p` | the number of the connection, and of the pair of connections |
//! | `%v` | the value |
//! | `%S` | the SHA1 of the script that releases a lock |
//!
//! The same letter is the same number in a line. What a line adds it takes away again, or it meets
//! its bounds soon: no line depends on those before it.

/// Every pipeline.
const ALL: &[u64] = &[1, 16, 64];
const SHORT: &[u64] = &[1, 16];
const ONE: &[u64] = &[1];
const MID: &[u64] = &[16];

/// How a workload is driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drive {
    /// Connections that repeat the commands.
    Commands,
    /// The same, while every other connection repeats these.
    Partners(&'static str),
    /// Messages of 64 B to so many subscribers; counted are deliveries.
    Publish(usize),
    /// One client follows the cursor of the command to its end; counted are elements.
    Walk,
    /// Clients that connect, send a PING and go.
    Connect,
}

/// One line of a list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) commands: &'static str,
    pub(crate) pipelines: &'static [u64],
    /// 0: as many as the options say.
    pub(crate) connections: usize,
    /// Of `%v`.
    pub(crate) bytes: usize,
    pub(crate) drive: Drive,
    /// Replies may be nil or empty.
    pub(crate) lenient: bool,
    /// Prefixes of keys that must be there without being named.
    pub(crate) needs: &'static str,
}

const fn line(name: &'static str, commands: &'static str, pipelines: &'static [u64]) -> Line {
    Line {
        name,
        commands,
        pipelines,
        connections: 0,
        bytes: 16,
        drive: Drive::Commands,
        lenient: false,
        needs: "",
    }
}

impl Line {
    const fn connections(self, connections: usize) -> Self {
        Self {
            connections,
            ..self
        }
    }

    const fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    const fn drive(self, drive: Drive) -> Self {
        Self { drive, ..self }
    }

    const fn needs(self, needs: &'static str) -> Self {
        Self { needs, ..self }
    }

    const fn lenient(self) -> Self {
        Self {
            lenient: true,
            ..self
        }
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All families and their lines.
pub(crate) const FAMILIES: &[(&str, &[Line])] = &[
    ("strings", STRINGS),
    ("sizes", SIZES),
    ("connections", CONNECTIONS),
    ("hashes", HASHES),
    ("lists", LISTS),
    ("sets", SETS),
    ("sorted sets", ZSETS),
    ("streams", STREAMS),
    ("bitmaps", BITMAPS),
    ("hyperloglogs", HLLS),
    ("geo", GEO),
    ("keys", KEYS),
    ("scan", SCAN),
    ("scripts", SCRIPTS),
    ("transactions", TRANSACTIONS),
    ("pubsub", PUBSUB),
    ("blocking", BLOCKING),
    ("server", SERVER),
];

const STRINGS: &[Line] = &[
    line("GET", "GET str:%k", ALL),
    line("SET", "SET str:%k %v", ALL),
    line("INCR", "INCR num:%k", ALL),
    line("GET, missing", "GET non:%k", MID).lenient(),
    line(
        "MGET 10",
        "MGET str:%k str:%k+1 str:%k+2 str:%k+3 str:%k+4 str:%k+5 str:%k+6 \
        str:%k+7 str:%k+8 str:%k+9",
        SHORT,
    ),
    line(
        "MSET 10",
        "MSET str:%k %v str:%k+1 %v str:%k+2 %v str:%k+3 %v str:%k+4 %v \
        str:%k+5 %v str:%k+6 %v str:%k+7 %v str:%k+8 %v str:%k+9 %v",
        SHORT,
    ),
    line("SET EX", "SET ttl:%k %v EX 100000", SHORT),
    line("SET NX GET", "SET str:%k %v NX GET", MID),
    line("SETNX", "SETNX str:%k %v", MID),
    line("GETSET", "GETSET str:%k %v", MID),
    line("GETRANGE", "GETRANGE str:%k 2 9", MID),
    line("SETRANGE", "SETRANGE str:%k 2 abcd", MID),
    line("STRLEN", "STRLEN str:%k", MID),
    line("INCRBYFLOAT", "INCRBYFLOAT flt:%k 1.5", SHORT),
    line("SET+APPEND", "SET app:%k %v; APPEND app:%k %v", MID),
    line("SET+GETDEL", "SET gdl:%k %v; GETDEL gdl:%k", MID).lenient(),
];

const SIZES: &[Line] = &[
    line("GET 1 KB", "GET kib:%k", ALL),
    line("SET 1 KB", "SET kib:%k %v", ALL).bytes(KIB),
    line("GET 16 KB", "GET k16:%k", SHORT),
    line("SET 16 KB", "SET k16:%k %v", SHORT).bytes(16 * KIB),
    line("GET 1 MB", "GET mib:%k", ONE).connections(10),
    line("SET 1 MB", "SET mib:%k %v", ONE)
        .bytes(MIB)
        .connections(10),
    line("HGET 1 KB", "HGET hkb:%k f:%f", SHORT),
    line("HSET 1 KB", "HSET hkb:%k f:%f %v", SHORT).bytes(KIB),
    line("RPUSH+LPOP 1 KB", "RPUSH lkb:%k %v; LPOP lkb:%k", SHORT).bytes(KIB),
    line("RPUSH+LPOP 16 KB", "RPUSH l16:%k %v; LPOP l16:%k", MID).bytes(16 * KIB),
    line("SADD+SREM 1 KB", "SADD tmp:s:%k %v; SREM tmp:s:%k %v", MID).bytes(KIB),
    line("XADD 1 KB", "XADD xkb:%c MAXLEN 100 * field %v", MID).bytes(KIB),
    line("PUBLISH 16 KB, nobody listens", "PUBLISH news %v", MID).bytes(16 * KIB),
    line("ECHO 1 KB", "ECHO %v", MID).bytes(KIB),
];

const CONNECTIONS: &[Line] = &[
    line("GET", "GET str:%k", SHORT).connections(1),
    line("SET", "SET str:%k %v", SHORT).connections(1),
    line("GET", "GET str:%k", ALL).connections(1000),
    line("SET", "SET str:%k %v", ALL).connections(1000),
    line("HGET", "HGET hsh:%k f:%f", SHORT).connections(1000),
    line("RPUSH+LPOP", "RPUSH lst:%k item:%f; LPOP lst:%k", SHORT).connections(1000),
    line("ZADD", "ZADD zst:%k %s mem:%e", SHORT).connections(1000),
    line("GET", "GET str:%k", SHORT).connections(10_000),
    line("SET", "SET str:%k %v", SHORT).connections(10_000),
    line("INCR", "INCR num:%k", ONE).connections(10_000),
    line("connect, PING, close", "PING", ONE).drive(Drive::Connect),
];

const HASHES: &[Line] = &[
    line("HSET, listpack", "HSET hsh:%k f:%f %v", ALL),
    line("HGET, listpack", "HGET hsh:%k f:%f", ALL),
    line("HSET, table of 1M", "HSET HSH:%k f:%e %v", ALL),
    line("HGET, table of 1M", "HGET HSH:%k f:%e", ALL),
    line("HINCRBY, listpack", "HINCRBY hct:%k f:%f 3", SHORT),
    line(
        "HMGET 5, listpack",
        "HMGET hsh:%k f:000001 f:000003 f:000005 f:000007 f:%f",
        SHORT,
    ),
    line("HGETALL 10, listpack", "HGETALL hsh:%k", ALL),
    line("HGETALL 100, table", "HGETALL hmd:%k", SHORT),
    line(
        "HDEL+HSET, listpack",
        "HDEL hsh:%k f:%f; HSET hsh:%k f:%f %v",
        SHORT,
    ),
    line(
        "HDEL+HSET, table of 1M",
        "HDEL HSH:%k f:%e; HSET HSH:%k f:%e %v",
        MID,
    ),
    line("HEXISTS, listpack", "HEXISTS hsh:%k f:%f", MID),
    line("HLEN", "HLEN hsh:%k", MID),
    line("HRANDFIELD, table of 1M", "HRANDFIELD HSH:%k", MID),
    line(
        "HEXPIRE, 10 fields",
        "HEXPIRE hxp:%k 10000 FIELDS 1 f:%f",
        MID,
    ),
];

const LISTS: &[Line] = &[
    line(
        "RPUSH+LPOP, listpack",
        "RPUSH lst:%k item:%f; LPOP lst:%k",
        ALL,
    ),
    line(
        "RPUSH+LPOP, list of 1M",
        "RPUSH LST:%k item:%f; LPOP LST:%k",
        ALL,
    ),
    line(
        "LPUSH+RPOP, listpack",
        "LPUSH lst:%k item:%f; RPOP lst:%k",
        MID,
    ),
    line("LRANGE 10, listpack", "LRANGE lst:%k 0 9", ALL),
    line("LRANGE 100 of 1,000", "LRANGE lmd:%k 100 199", SHORT),
    line("LINDEX, listpack", "LINDEX lst:%k 5", MID),
    line("LINDEX of 1,000", "LINDEX lmd:%k 500", SHORT),
    line("LSET of 1,000", "LSET lmd:%k 500 item:000500", MID),
    line("LLEN", "LLEN lst:%k", MID),
    line("LMOVE", "LMOVE lst:%k lst:%k LEFT RIGHT", SHORT),
    line("LPOS of 1,000", "LPOS lmd:%k item:%f", MID).lenient(),
    line(
        "LINSERT+LREM, listpack",
        "LINSERT lst:%k BEFORE item:000005 x; LREM lst:%k 0 x",
        MID,
    ),
];

const SETS: &[Line] = &[
    line(
        "SADD+SREM, listpack",
        "SADD set:%k mem:%a; SREM set:%k mem:%a",
        ALL,
    ),
    line("SISMEMBER, listpack", "SISMEMBER set:%k mem:%d", ALL),
    line("SADD+SREM, intset", "SADD int:%k %j; SREM int:%k %j", SHORT),
    line("SISMEMBER, intset", "SISMEMBER int:%k %i", SHORT),
    line(
        "SADD+SREM, table of 1M",
        "SADD SET:%k mem:%n; SREM SET:%k mem:%n",
        SHORT,
    ),
    line("SISMEMBER, table of 1M", "SISMEMBER SET:%k mem:%d", SHORT),
    line(
        "SMISMEMBER 4, listpack",
        "SMISMEMBER set:%k mem:%d mem:%e mem:%E a",
        MID,
    ),
    line(
        "SPOP+SADD, table of 100k",
        "SPOP spp:%k; SADD spp:%k mem:%n",
        MID,
    ),
    line("SRANDMEMBER, table of 1M", "SRANDMEMBER SET:%k", MID),
    line("SMEMBERS, intset of 10", "SMEMBERS int:%k", SHORT),
    line("SMEMBERS 500, table", "SMEMBERS smd:%k", SHORT),
    line("SCARD", "SCARD set:%k", MID),
    line("SINTER of two, intset of 10", "SINTER int:%k int:%K", SHORT),
    line("SINTER of two of 500", "SINTER smd:%k smd:%K", SHORT),
    line(
        "SINTERCARD of two of 500",
        "SINTERCARD 2 smd:%k smd:%K LIMIT 100",
        MID,
    ),
    line("SUNION of two of 500", "SUNION smd:%k smd:%K", ONE),
    line(
        "SDIFFSTORE of two of 500",
        "SDIFFSTORE tmp:d:%k smd:%k smd:%K",
        ONE,
    ),
];

const ZSETS: &[Line] = &[
    line("ZADD, listpack", "ZADD zst:%k %s mem:%e", ALL),
    line("ZSCORE, listpack", "ZSCORE zst:%k mem:%e", ALL),
    line("ZADD, skiplist of 1M", "ZADD ZST:%k %s mem:%e", ALL),
    line("ZSCORE, skiplist of 1M", "ZSCORE ZST:%k mem:%e", SHORT),
    line("ZINCRBY, listpack", "ZINCRBY zst:%k 3 mem:%e", SHORT),
    line("ZRANK, skiplist of 1M", "ZRANK ZST:%k mem:%e", SHORT),
    line("ZRANGE 10, listpack", "ZRANGE zst:%k 0 9", ALL),
    line(
        "ZRANGE 100 WITHSCORES of 1M",
        "ZRANGE ZST:%k 5000 5099 WITHSCORES",
        SHORT,
    ),
    line(
        "ZRANGEBYSCORE LIMIT 10 of 1M",
        "ZRANGEBYSCORE ZST:%k %s +inf LIMIT 0 10",
        SHORT,
    )
    .lenient(),
    line("ZREVRANGE 10 of 1M", "ZREVRANGE ZST:%k 0 9", MID),
    line("ZCOUNT of 1M", "ZCOUNT ZST:%k %s +inf", MID),
    line(
        "ZREM+ZADD, skiplist of 1M",
        "ZREM ZST:%k mem:%e; ZADD ZST:%k %s mem:%e",
        MID,
    ),
    line(
        "ZPOPMIN+ZADD, skiplist of 500",
        "ZPOPMIN zpp:%k; ZADD zpp:%k %s mem:%n",
        SHORT,
    ),
    line("ZRANDMEMBER of 1M", "ZRANDMEMBER ZST:%k", MID),
    line("ZINTER of two of 500", "ZINTER 2 zmd:%k zmd:%K", ONE),
    line(
        "ZUNIONSTORE of two of 500",
        "ZUNIONSTORE tmp:z:%k 2 zmd:%k zmd:%K",
        ONE,
    ),
];

const STREAMS: &[Line] = &[
    line(
        "XADD MAXLEN 1000",
        "XADD xad:%c MAXLEN 1000 * user %n action clicked",
        ALL,
    ),
    line("XRANGE 10", "XRANGE STM:%k 500 +inf COUNT 10", ALL),
    line("XRANGE 100", "XRANGE STM:%k 500 +inf COUNT 100", SHORT),
    line("XREVRANGE 1", "XREVRANGE stm:%k + - COUNT 1", MID),
    line("XREAD 10", "XREAD COUNT 10 STREAMS stm:%k 50", SHORT),
    line("XLEN", "XLEN stm:%k", MID),
    line(
        "XADD+XDEL",
        "XADD xdl:%c 5-5 field value; XDEL xdl:%c 5-5; DEL xdl:%c",
        MID,
    ),
    line(
        "XADD+XREADGROUP NOACK",
        "XADD grp:%c MAXLEN 100 * user %n; \
         XREADGROUP GROUP g me COUNT 1 NOACK STREAMS grp:%c >",
        ALL,
    ),
    line("XINFO STREAM", "XINFO STREAM stm:%k", MID),
];

const BITMAPS: &[Line] = &[
    line("SETBIT, 1 MiB", "SETBIT bit:%k %b 1", ALL),
    line("GETBIT, 1 MiB", "GETBIT bit:%k %b", ALL),
    line("BITCOUNT of 16 B", "BITCOUNT str:%k", SHORT),
    line("BITCOUNT of 16 KB", "BITCOUNT b16:%k", SHORT),
    line("BITPOS behind 16 KB", "BITPOS b16:%k 1", MID),
    line(
        "BITOP AND of two 16 KB",
        "BITOP AND tmp:b:%k b16:%k b16:%K",
        SHORT,
    ),
    line("BITFIELD", "BITFIELD bit:%k GET u8 %b SET u4 %b 7", SHORT),
];

const HLLS: &[Line] = &[
    line("PFADD, dense", "PFADD hll:%k mem:%n", ALL),
    line("PFADD, sparse", "PFADD hls:%k mem:%d", SHORT),
    line("PFCOUNT, cached", "PFCOUNT hls:%k", SHORT),
    line("PFCOUNT of two", "PFCOUNT hll:%k hll:%K", ONE),
    line("PFMERGE of two", "PFMERGE tmp:h:%k hll:%k hll:%K", ONE),
];

const GEO: &[Line] = &[
    line("GEOADD", "GEOADD geo:%k %x.%y %X.%Y mem:%e", ALL),
    line("GEODIST", "GEODIST geo:%k mem:%e mem:%E km", ALL),
    line("GEOPOS", "GEOPOS geo:%k mem:%e", MID),
    line("GEOHASH", "GEOHASH geo:%k mem:%e", MID),
    line(
        "GEOSEARCH 100 km",
        "GEOSEARCH geo:%k FROMLONLAT %x.%y %X.%Y BYRADIUS 100 km",
        SHORT,
    )
    .lenient(),
    line(
        "GEOSEARCH box of 500 km, COUNT 10",
        "GEOSEARCH geo:%k FROMMEMBER mem:%e BYBOX 500 500 km ASC COUNT 10 WITHDIST",
        ONE,
    ),
];

const KEYS: &[Line] = &[
    line("EXISTS", "EXISTS str:%k", ALL),
    line("SET+DEL", "SET tmp:%k %v; DEL tmp:%k", ALL),
    line("EXPIRE", "EXPIRE ttl:%k 100000", ALL),
    line("TTL", "TTL ttl:%k", SHORT),
    line(
        "PERSIST+EXPIRE",
        "PERSIST ttl:%k; EXPIRE ttl:%k 100000",
        MID,
    ),
    line("GETEX", "GETEX ttl:%k EX 100000", MID),
    line("SET PX 20, expiring", "SET exp:%k %v PX 20", SHORT),
    line("TYPE", "TYPE hsh:%k", MID),
    line("TOUCH 4", "TOUCH str:%k str:%K str:%k+1 str:%K+1", MID),
    line("UNLINK+SET", "UNLINK tmp:%k; SET tmp:%k %v", MID),
    line("SET+RENAME", "SET ren:%c %v; RENAME ren:%c new:%c", SHORT),
    line("COPY", "COPY hsh:%k cpy:%c REPLACE", MID),
    line("OBJECT ENCODING", "OBJECT ENCODING hsh:%k", MID),
    line("RANDOMKEY", "RANDOMKEY", MID).needs("str:"),
    line("DBSIZE", "DBSIZE", MID),
    line("DUMP", "DUMP hsh:%k", SHORT),
    line("SORT 10", "SORT int:%k", SHORT),
    line("SORT 10 ALPHA LIMIT", "SORT lst:%k ALPHA LIMIT 0 3", MID),
];

const SCAN: &[Line] = &[
    line("SCAN COUNT 10", "SCAN 0 COUNT 10", ALL).needs("str:"),
    line(
        "SCAN COUNT 100 MATCH",
        "SCAN 0 MATCH str:*9 COUNT 100",
        SHORT,
    ),
    line("SCAN to the end", "SCAN %z COUNT 100", ONE)
        .drive(Drive::Walk)
        .needs("str:"),
    line("HSCAN, listpack", "HSCAN hsh:%k 0", SHORT),
    line(
        "HSCAN COUNT 100, table of 1M",
        "HSCAN HSH:%k 0 COUNT 100",
        SHORT,
    ),
    line(
        "HSCAN to the end, 1M fields",
        "HSCAN HSH:000000000000 %z COUNT 100",
        ONE,
    )
    .drive(Drive::Walk),
    line(
        "SSCAN COUNT 100, table of 1M",
        "SSCAN SET:%k 0 COUNT 100",
        SHORT,
    ),
    line(
        "ZSCAN COUNT 100, skiplist of 1M",
        "ZSCAN ZST:%k 0 COUNT 100",
        SHORT,
    ),
];

const SCRIPTS: &[Line] = &[
    line(
        "EVAL of INCR",
        "EVAL return\nredis.call('INCR',KEYS[1]) 1 num:%k",
        ALL,
    ),
    line(
        "EVAL of GET",
        "EVAL return\nredis.call('GET',KEYS[1]) 1 str:%k",
        ALL,
    ),
    line(
        "EVAL of an undeclared INCR",
        "EVAL return\nredis.call('INCR',ARGV[1]) 0 num:%k",
        MID,
    ),
    line(
        "SET NX + EVALSHA that releases the lock",
        "SET lok:%k %n NX PX 30000; EVALSHA %S 1 lok:%k %n",
        SHORT,
    )
    .lenient(),
    line(
        "FCALL of HSET",
        "FCALL write 1 hfn:%k field value-%n",
        SHORT,
    ),
    line(
        "EVAL of 100 GETs",
        "EVAL for\ni=1,100\ndo\nredis.call('GET',KEYS[1])\nend\nreturn\n1 1 str:%k",
        SHORT,
    ),
    line(
        "EVAL that computes",
        "EVAL local\ns=0\nfor\ni=1,1000\ndo\ns=s+i*i\nend\nreturn\ns 0",
        ONE,
    ),
];

const TRANSACTIONS: &[Line] = &[
    line(
        "MULTI, INCR, INCR, EXEC",
        "MULTI; INCR num:%k; INCR num:%K; EXEC",
        ALL,
    ),
    line(
        "MULTI, 8 SETs, EXEC",
        "MULTI; SET str:%k %v; SET str:%k+1 %v; SET str:%k+2 %v; \
        SET str:%k+3 %v; SET str:%K %v; SET str:%K+1 %v; SET str:%K+2 %v; SET str:%K+3 %v; EXEC",
        SHORT,
    ),
    line(
        "WATCH, GET, MULTI, SET, EXEC",
        "WATCH wat:%c; GET wat:%c; MULTI; SET wat:%c %v; EXEC",
        SHORT,
    ),
    line("MULTI, GET, DISCARD", "MULTI; GET str:%k; DISCARD", MID),
];

const PUBSUB: &[Line] = &[
    line("PUBLISH, nobody listens", "PUBLISH chn:%k %v", ALL),
    line("SPUBLISH, nobody listens", "SPUBLISH chn:%k %v", MID),
    line("PUBLISH to 1", "", ALL).drive(Drive::Publish(1)),
    line("PUBLISH to 50", "", SHORT).drive(Drive::Publish(50)),
    line("PUBLISH to 1,000", "", ONE).drive(Drive::Publish(1000)),
    line(
        "SUBSCRIBE+UNSUBSCRIBE",
        "SUBSCRIBE chn:%k; UNSUBSCRIBE chn:%k",
        SHORT,
    ),
    line(
        "PSUBSCRIBE+PUNSUBSCRIBE",
        "PSUBSCRIBE chn:%k*; PUNSUBSCRIBE chn:%k*",
        MID,
    ),
    line("PUBSUB NUMSUB", "PUBSUB NUMSUB chn:%k", MID),
];

const BLOCKING: &[Line] = &[
    line(
        "RPUSH+BLPOP, served at once",
        "RPUSH blk:%k %v; BLPOP blk:%k 0",
        ALL,
    ),
    line(
        "BLPOP, woken by RPUSH",
        "BLPOP bla:%p 0; RPUSH blb:%p %v",
        ONE,
    )
    .drive(Drive::Partners("RPUSH bla:%p %v; BLPOP blb:%p 0")),
    line(
        "BLPOP, woken by RPUSH",
        "BLPOP bla:%p 0; RPUSH blb:%p %v",
        ONE,
    )
    .drive(Drive::Partners("RPUSH bla:%p %v; BLPOP blb:%p 0"))
    .connections(1000),
    line(
        "BLMOVE, woken by RPUSH",
        "BLMOVE bma:%p bmd:%p LEFT RIGHT 0; RPUSH bmb:%p %v; DEL bmd:%p",
        ONE,
    )
    .drive(Drive::Partners("RPUSH bma:%p %v; BLPOP bmb:%p 0; PING")),
    line(
        "BZPOPMIN, woken by ZADD",
        "BZPOPMIN bza:%p 0; ZADD bzb:%p 1 %v",
        ONE,
    )
    .drive(Drive::Partners("ZADD bza:%p 1 %v; BZPOPMIN bzb:%p 0")),
    line("WAIT 0", "WAIT 0 0", MID),
];

const SERVER: &[Line] = &[
    line("PING", "PING", ALL),
    line("ECHO", "ECHO %v", MID),
    line("SELECT", "SELECT 0", MID),
    line("CLIENT ID", "CLIENT ID", MID),
    line("TIME", "TIME", MID),
    line("CONFIG GET", "CONFIG GET maxmemory", SHORT),
    line("COMMAND INFO", "COMMAND INFO get", MID),
    line("ACL WHOAMI", "ACL WHOAMI", MID),
    line("INFO", "INFO", ONE),
];
