//! Which commands count as a use of which keys, and how often: the same as Valkey's, command by command.
//!
//! With `lfu-log-factor 0` a counter grows by one with every access, so it counts them; a key that
//! was made anew begins at five. Under an LRU policy it is seen whether a key was touched.
//!
//! To add a command: a line, of words separated by blanks; its keys among those of `KEYS`.

use crate::client::{Client, Reply, encode};
use crate::harness::Server;

const DEBUG: &[&str] = &["--enable-debug-command", "yes"];
/// What keys are restored with.
const FREQUENCY: i64 = 100;
const IDLE_SECS: i64 = 1000;
/// A test takes less.
const PASSED_SECS_MAX: i64 = 600;

/// What there is.
const KEYS: &str = "
    SET s 10
    SET n 20
    HSET h f 1 g 2 i 3
    RPUSH l 1 2 3
    RPUSH l2 1
    SADD t a b c
    SADD t2 a z
    ZADD z 1 a 2 b 3 c
    ZADD z2 1 a
    GEOADD g 1 1 a 1.1 1.1 b
    PFADD p a b c
    PFADD p2 d
    XADD x 1-1 f v
    XADD x 2-1 f v
    XADD x 3-1 f v
    XGROUP CREATE x gr 0
    XREADGROUP GROUP gr me COUNT 1 STREAMS x >
    SET w_1 3
    SET w_2 2
    SET w_3 1
    HSET hw_1 f 1
    HSET hw_2 f 2
    HSET hw_3 f 3
";

/// What is done with it.
const COMMANDS: &str = "
    GET s
    GET h
    MGET s n s
    SET s 1
    SET s 1 NX
    SET s 1 XX
    SET s 1 GET
    SET s 1 KEEPTTL
    SET s 1 IFEQ 10
    SET s 1 IFEQ 11
    SETNX s 1
    SETEX s 100 1
    PSETEX s 100000 1
    GETSET s 1
    GETDEL n
    GETEX s
    GETEX s EX 100
    GETEX s PERSIST
    APPEND s 1
    INCR s
    INCR h
    DECR s
    INCRBY s 1
    DECRBY s 2
    INCRBYFLOAT s 1.5
    STRLEN s
    GETRANGE s 0 1
    SUBSTR s 0 1
    SETRANGE s 0 1
    SETRANGE s 0 %
    SETRANGE missing 0 %
    MSET s 1 n 2
    MSETNX s 1 n 2
    MSETEX 2 s 1 n 2 EX 100
    LCS s n
    LCS s s
    DELIFEQ s 11
    SETBIT s 1 1
    SETBIT s 1 0
    GETBIT s 1
    BITCOUNT s
    BITPOS s 1
    BITOP AND dst s n
    BITOP AND s s n
    BITFIELD s GET u8 0
    BITFIELD s SET u8 0 1
    BITFIELD s INCRBY u8 0 1
    BITFIELD_RO s GET u8 0
    HGET h f
    HGET h nof
    HGET s f
    HMGET h f g
    HGETALL h
    HKEYS h
    HVALS h
    HLEN h
    HEXISTS h f
    HSTRLEN h f
    HSET h f 1
    HSET h f 7
    HMSET h f 7
    HSETNX h f 1
    HDEL h nof
    HDEL h f
    HINCRBY h i 1
    HINCRBYFLOAT h i 1.5
    HRANDFIELD h
    HRANDFIELD h 2 WITHVALUES
    HSCAN h 0
    HEXPIRE h 100 FIELDS 1 f
    HPEXPIRE h 100000 FIELDS 1 f
    HEXPIREAT h 99999999999 FIELDS 1 f
    HPEXPIREAT h 9999999999999 FIELDS 1 f
    HPERSIST h FIELDS 1 f
    HTTL h FIELDS 1 f
    HPTTL h FIELDS 1 f
    HEXPIRETIME h FIELDS 1 f
    HPEXPIRETIME h FIELDS 1 f
    HGETEX h FIELDS 1 f
    HGETEX h EX 100 FIELDS 1 f
    HSETEX h EX 100 FIELDS 1 f 1
    HSETEX h FXX FIELDS 1 nof 1
    HGETDEL h FIELDS 1 f
    LPUSH l 1
    RPUSH l 1
    LPUSHX l 1
    RPUSHX l 1
    LPOP l
    RPOP l
    LPOP l 2
    LLEN l
    LRANGE l 0 -1
    LINDEX l 0
    LSET l 0 x
    LINSERT l BEFORE 1 x
    LINSERT l BEFORE no x
    LREM l 0 no
    LREM l 0 1
    LTRIM l 0 -1
    LPOS l 1
    LMOVE l l LEFT RIGHT
    LMOVE l dst LEFT RIGHT
    LMOVE l l2 LEFT RIGHT
    RPOPLPUSH l l2
    LMPOP 2 none l LEFT
    LMPOP 1 l LEFT COUNT 2
    BLPOP l 0
    BRPOP l 0
    BLPOP none l 0
    BLMOVE l l2 LEFT LEFT 0
    BRPOPLPUSH l l2 0
    BLMPOP 0 1 l LEFT
    SADD t a
    SADD t new
    SREM t no
    SREM t a
    SCARD t
    SISMEMBER t a
    SMISMEMBER t a b
    SMEMBERS t
    SRANDMEMBER t
    SRANDMEMBER t 2
    SRANDMEMBER t -2
    SPOP t
    SPOP t 2
    SMOVE t t2 a
    SMOVE t t2 no
    SMOVE t t a
    SINTER t t2
    SINTERCARD 2 t t2
    SUNION t t2
    SDIFF t t2
    SINTER t none
    SINTERSTORE dst t t2
    SUNIONSTORE dst t t2
    SDIFFSTORE dst t t2
    SUNIONSTORE t t t2
    SINTERSTORE t none t2
    SSCAN t 0
    ZADD z 1 a
    ZADD z 1 new
    ZADD z XX 5 no
    ZADD z INCR 1 a
    ZINCRBY z 1 a
    ZREM z no
    ZREM z a
    ZCARD z
    ZSCORE z a
    ZMSCORE z a b
    ZRANK z a
    ZREVRANK z a WITHSCORE
    ZRANGE z 0 -1
    ZRANGE z 0 9 BYSCORE
    ZRANGE z [a [b BYLEX
    ZREVRANGE z 0 -1
    ZRANGEBYSCORE z 0 9
    ZREVRANGEBYSCORE z 9 0
    ZRANGEBYLEX z - +
    ZREVRANGEBYLEX z + -
    ZCOUNT z 0 9
    ZLEXCOUNT z - +
    ZREMRANGEBYRANK z 5 6
    ZREMRANGEBYSCORE z 0 1
    ZREMRANGEBYLEX z [a [a
    ZRANGESTORE dst z 0 -1
    ZRANGESTORE z z 0 -1
    ZUNION 2 z z2
    ZINTER 2 z z2
    ZDIFF 2 z z2
    ZINTERCARD 2 z z2
    ZUNIONSTORE dst 2 z z2
    ZINTERSTORE dst 2 z z2
    ZDIFFSTORE dst 2 z z2
    ZUNIONSTORE z 2 z z2
    ZUNION 2 z t
    ZRANDMEMBER z
    ZRANDMEMBER z 2 WITHSCORES
    ZPOPMIN z
    ZPOPMAX z
    ZPOPMIN z 0
    ZMPOP 1 z MIN
    ZMPOP 2 none z MIN COUNT 2
    BZPOPMIN z 0
    BZPOPMAX z 0
    BZMPOP 0 1 z MIN
    ZSCAN z 0
    GEOADD g 1 1 a
    GEOADD g 2 2 new
    GEOPOS g a
    GEODIST g a b
    GEOHASH g a
    GEOSEARCH g FROMMEMBER a BYRADIUS 100 km
    GEOSEARCHSTORE dst g FROMMEMBER a BYRADIUS 100 km
    GEORADIUS g 1 1 100 km
    GEORADIUS g 1 1 100 km STORE dst
    GEORADIUS_RO g 1 1 100 km
    GEORADIUSBYMEMBER g a 100 km
    GEORADIUSBYMEMBER_RO g a 100 km
    PFADD p a
    PFADD p new
    PFCOUNT p
    PFCOUNT p p2
    PFMERGE p p2
    PFDEBUG ENCODING p
    PFDEBUG GETREG p
    PFMERGE dst p p2
    XADD x * f v
    XADD x NOMKSTREAM * f v
    XADD x MAXLEN 2 * f v
    XLEN x
    XRANGE x - +
    XREVRANGE x + -
    XREAD STREAMS x 0
    XREAD COUNT 1 STREAMS x $
    XREADGROUP GROUP gr me STREAMS x >
    XREADGROUP GROUP gr me STREAMS x 0
    XACK x gr 1-1
    XPENDING x gr
    XPENDING x gr - + 10
    XCLAIM x gr me 0 1-1
    XAUTOCLAIM x gr me 0 0
    XDEL x 1-1
    XDEL x 9-9
    XTRIM x MAXLEN 1
    XTRIM x MAXLEN 100
    XSETID x 9-9
    XINFO STREAM x
    XINFO GROUPS x
    XINFO CONSUMERS x gr
    XGROUP CREATE x gr2 $
    XGROUP CREATECONSUMER x gr you
    XGROUP DELCONSUMER x gr no
    XGROUP SETID x gr 0
    XGROUP DESTROY x no
    EXISTS s
    EXISTS s s none
    TOUCH s
    TOUCH s s none
    TYPE s
    TTL s
    PTTL s
    EXPIRETIME s
    PEXPIRETIME s
    EXPIRE s 100
    EXPIRE s 100 NX
    EXPIRE s 100 XX
    PEXPIRE s 100000
    EXPIREAT s 99999999999
    PEXPIREAT s 9999999999999
    PERSIST s
    DUMP s
    OBJECT ENCODING s
    OBJECT FREQ s
    OBJECT IDLETIME s
    OBJECT REFCOUNT s
    DEBUG OBJECT s
    MEMORY USAGE s
    MEMORY USAGE h
    COPY s dst
    COPY s n
    COPY s n REPLACE
    COPY s s2 DB 1
    RENAME s dst
    RENAME s n
    RENAME s s
    RENAMENX s n
    RENAMENX s s
    MOVE s 0
    SORT l
    SORT l ALPHA
    SORT l BY nokey
    SORT l BY w_*
    SORT l BY w_* GET #
    SORT l GET w_*
    SORT l BY hw_*->f GET hw_*->f
    SORT l STORE dst ALPHA
    SORT_RO l ALPHA
    SCAN 0
    SCAN 0 TYPE string
    KEYS *
    RANDOMKEY
    DEL none
    UNLINK none
    WATCH s
    EVAL return(1) 1 s
    EVAL return(redis.call('get',KEYS[1])) 1 s
    DEBUG DIGEST-VALUE s
    DEBUG DIGEST
    DBSIZE
    PUBLISH s 1
    DEBUG LISTPACK z
";

/// Commands with keys that are not in the list, and why.
const NOT_LISTED: &[&str] = &[
    // It is what sets the clocks here.
    "restore",
    // As EVAL.
    "evalsha",
    "eval_ro",
    "evalsha_ro",
    "fcall",
    "fcall_ro",
    // Channels, which are no keys.
    "spublish",
    "ssubscribe",
    "sunsubscribe",
    // Valkey has no such commands.
    "xdelex",
    "xackdel",
];

/// How the keys' use is looked at.
#[derive(Clone, Copy, Debug)]
struct Mode {
    policy: &'static str,
    maxmemory: &'static str,
    no_touch: bool,
}

const MODES: &[Mode] = &[
    Mode::of("allkeys-lfu", "0"),
    Mode::of("allkeys-lfu", "100gb"),
    Mode::of("allkeys-lru", "0"),
    Mode::of("volatile-lru", "100gb"),
    Mode {
        no_touch: true,
        ..Mode::of("allkeys-lfu", "100gb")
    },
];

impl Mode {
    const fn of(policy: &'static str, maxmemory: &'static str) -> Mode {
        Mode {
            policy,
            maxmemory,
            no_touch: false,
        }
    }

    fn is_lfu(self) -> bool {
        self.policy.ends_with("lfu")
    }
}

/// A line's words; `%` is none.
fn words(line: &str) -> Vec<&str> {
    let word = |word| if word == "%" { "" } else { word };
    line.split_whitespace().map(word).collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Sends all of it at once.
fn pipeline(client: &mut Client, commands: &[Vec<Vec<u8>>]) -> Vec<Reply> {
    let bytes: Vec<u8> = commands.iter().flat_map(|argv| encode(argv)).collect();
    client.send(&bytes);
    commands.iter().map(|_| client.read().1).collect()
}

fn argv(words: &[&str]) -> Vec<Vec<u8>> {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

struct Watched {
    client: Client,
    /// Runs what is looked at.
    user: Client,
    /// Brings every key back.
    restore: Vec<Vec<Vec<u8>>>,
    mode: Mode,
}

impl Watched {
    fn new(server: &Server, mode: Mode) -> Watched {
        let (mut client, mut user) = (server.connect(), server.connect());
        for (name, value) in [
            ("maxmemory-policy", mode.policy),
            ("maxmemory", mode.maxmemory),
            ("lfu-log-factor", "0"),
            ("lfu-decay-time", "0"),
        ] {
            client.cmd(&["CONFIG", "SET", name, value]);
        }
        if mode.no_touch {
            user.cmd(&["CLIENT", "NO-TOUCH", "ON"]);
        }
        client.cmd(&["FLUSHALL"]);
        for line in lines(KEYS) {
            assert!(!client.cmd(&words(line)).is_error(), "{line}");
        }
        let mut restore = vec![argv(&["FLUSHALL"])];
        for key in keys(&mut client) {
            let payload = client.cmd(&[&b"DUMP"[..], &key]);
            let (option, value) = match mode.is_lfu() {
                true => ("FREQ", FREQUENCY),
                false => ("IDLETIME", IDLE_SECS),
            };
            let value = value.to_string();
            restore.push(vec![
                b"RESTORE".to_vec(),
                key,
                b"0".to_vec(),
                payload.bytes().to_vec(),
                option.into(),
                value.into(),
            ]);
        }
        Watched {
            client,
            user,
            restore,
            mode,
        }
    }

    /// Which keys the command has used, and how often.
    fn uses_of(&mut self, line: &str) -> String {
        for reply in pipeline(&mut self.client, &self.restore) {
            assert!(!reply.is_error(), "{reply:?}");
        }
        self.user.cmd(&words(line));
        self.user.cmd(&["UNWATCH"]);
        let keys = keys(&mut self.client);
        let word = if self.mode.is_lfu() {
            "FREQ"
        } else {
            "IDLETIME"
        };
        let ask = |key: &Vec<u8>| vec![b"OBJECT".to_vec(), word.into(), key.clone()];
        let asked: Vec<_> = keys.iter().map(ask).collect();
        let mut uses = String::new();
        for (key, reply) in keys.iter().zip(pipeline(&mut self.client, &asked)) {
            let key = String::from_utf8_lossy(key);
            match (self.mode.is_lfu(), reply.int()) {
                (true, FREQUENCY) => {}
                (true, counter) => uses += &format!("{key}:{counter} "),
                (false, IDLE_SECS..) => {}
                (false, secs) => {
                    assert!(secs < PASSED_SECS_MAX, "{line}: {key} {secs}");
                    uses += &format!("{key} ");
                }
            }
        }
        uses
    }
}

fn keys(client: &mut Client) -> Vec<Vec<u8>> {
    let reply = client.cmd(&["KEYS", "*"]);
    let mut keys: Vec<Vec<u8>> = reply
        .items()
        .iter()
        .map(|key| key.bytes().to_vec())
        .collect();
    keys.sort();
    keys
}

#[test]
fn keys_are_used_as_in_valkey() {
    let Some(valkey) = Server::valkey(DEBUG) else {
        return;
    };
    let kivi = Server::kivi(DEBUG);
    let mut wrong = Vec::new();
    for &mode in MODES {
        let (mut ours, mut theirs) = (Watched::new(&kivi, mode), Watched::new(&valkey, mode));
        for line in lines(COMMANDS) {
            let (ours, theirs) = (ours.uses_of(line), theirs.uses_of(line));
            if ours != theirs {
                wrong.push(format!("{mode:?} {line}: {ours}, not {theirs}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_command_with_keys_is_looked_at() {
    let kivi = Server::kivi(DEBUG);
    let mut client = kivi.connect();
    let listed: Vec<String> = lines(COMMANDS)
        .map(|line| words(line)[0].to_lowercase())
        .collect();
    let missing: Vec<String> = client
        .cmd(&["COMMAND"])
        .items()
        .iter()
        .filter(|row| {
            let flags = row.items()[2].items();
            let movable = flags.iter().any(|flag| flag.text() == "movablekeys");
            row.items()[3].int() != 0 || movable
        })
        .map(|row| row.items()[0].text())
        .filter(|name| !listed.contains(name) && !NOT_LISTED.contains(&name.as_str()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// What is known of keys' use is kept over a restart, by the policy that is in force then.
#[test]
fn use_is_kept_in_snapshots_and_logs() {
    let mut servers = vec![Server::kivi(DEBUG)];
    servers.extend(Server::valkey(DEBUG));
    for server in servers {
        let mut client = server.connect();
        let mut set = |name: &str, value: &str| client.cmd(&["CONFIG", "SET", name, value]);
        set("lfu-decay-time", "0");
        set("save", "");
        for (saved_by, loaded_by, expected) in [
            ("allkeys-lru", "allkeys-lru", (Some(1000), None)),
            ("volatile-lru", "noeviction", (Some(1000), None)),
            ("noeviction", "noeviction", (Some(0), None)),
            ("volatile-ttl", "allkeys-lru", (Some(0), None)),
            ("allkeys-lfu", "volatile-lfu", (None, Some(77))),
            ("allkeys-lfu", "allkeys-lru", (Some(0), None)),
            ("allkeys-lru", "allkeys-lfu", (None, Some(5))),
        ] {
            for maxmemory in ["0", "100gb"] {
                let what = format!("{saved_by} {loaded_by} {maxmemory}");
                client.cmd(&["CONFIG", "SET", "maxmemory", maxmemory]);
                client.cmd(&["CONFIG", "SET", "maxmemory-policy", saved_by]);
                client.cmd(&["FLUSHALL"]);
                client.cmd(&["SET", "k", "v"]);
                let payload = client.cmd(&["DUMP", "k"]).bytes().to_vec();
                let (option, value) = match saved_by.ends_with("lfu") {
                    true => (&b"FREQ"[..], &b"77"[..]),
                    false => (&b"IDLETIME"[..], &b"1000"[..]),
                };
                let restore = [
                    b"RESTORE",
                    &b"k"[..],
                    b"0",
                    &payload,
                    b"REPLACE",
                    option,
                    value,
                ];
                assert!(!client.cmd(&restore).is_error(), "{what}");
                client.cmd(&["SAVE"]);
                client.cmd(&["CONFIG", "SET", "maxmemory-policy", loaded_by]);
                let loaded = client.cmd(&["DEBUG", "RELOAD", "NOSAVE", "NOFLUSH", "MERGE"]);
                assert!(!loaded.is_error(), "{what}: {loaded:?}");
                let idle = client.cmd(&["OBJECT", "IDLETIME", "k"]);
                let freq = client.cmd(&["OBJECT", "FREQ", "k"]);
                let about = |reply: &Reply| (!reply.is_error()).then(|| reply.int() / 60 * 60);
                let exactly = |reply: &Reply| (!reply.is_error()).then(|| reply.int());
                let idle_expected = expected.0.map(|secs: i64| secs / 60 * 60);
                assert_eq!(
                    (about(&idle), exactly(&freq)),
                    (idle_expected, expected.1),
                    "{what}"
                );
            }
        }
    }
}
