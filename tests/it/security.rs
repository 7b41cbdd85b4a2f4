//! What was exploited in Redis and its kin, tried on Kivi: one test for each row that concerns what there is.
//!
//! | what | where it is tried |
//! |---|---|
//! | lengths past all limits, before and after authentication | `lengths_past_all_limits`; `protocol::headers_that_promise_much_cost_nothing`, `protocol::before_authentication_only_small_requests` |
//! | replies that an unauthenticated client does not read | `protocol::an_unauthenticated_client_that_never_reads_costs_little` |
//! | empty requests before others, grammar before authentication | `requests_before_authentication`; `protocol::*` |
//! | numbers at the ends of their range: SETRANGE, BITFIELD, ...RANDMEMBER, XAUTOCLAIM COUNT, HPEXPIREAT | `numbers_at_the_ends`; `commands::tests::fuzz` |
//! | NaN and infinity that are stored | `numbers_at_the_ends` |
//! | LCS of long texts | `work_that_grows_is_bounded` |
//! | globs that take exponential time | `work_that_grows_is_bounded`; `util::glob` |
//! | positions of keys in odd requests (COMMAND GETKEYS, ACL) | `keys_of_odd_requests`; `commands::tests::touched` |
//! | sparse HyperLogLogs that lie | `hyperloglogs_that_lie`; `commands::hyperloglog` |
//! | XACKDEL and its like with very many ids | `work_that_grows_is_bounded` |
//! | damaged RDB and RESTORE payloads | `commands::dump::tests`, `persist::rdb::decode::tests::corpus`, `fuzz/` |
//! | Lua: bytecode, libraries, globals and metatables of others | `scripts_find_no_way_out`; `script::sandbox::tests`, `scripts_real` |
//! | Lua: depth and size (`unpack`, cjson, `string.rep`, `bit`, cmsgpack) | `scripts_find_no_way_out`; `script::lib::tests`, `lualibs` |
//! | line breaks in errors | `errors_are_one_line` |
//! | ACL: SORT, GEORADIUS, XREAD, MSETEX, COPY DB, HGETEX, rights lost between MULTI and EXEC, while waiting | `exec::guard::tests`, `commands::tests::touched`, `rights` |
//! | ACL: BCAST tells names of keys | `exec::guard::tests::names_of_keys_are_told_to_those_who_may_read_them` |
//! | ACL: malformed selectors and files | `malformed_rules_change_nothing`; `acl` |
//! | ACL: a log that is repeated as a user who may not | `a_log_is_repeated_whoever_may_what` |
//! | clients that die while they are served (BLPOP, scripts) | `turmoil::kill_storms`, `blocking::killing_all_others_reaches_those_who_wait` |
//! | configuration lines with control characters | `config::tests`, `figures` |
//! | HTTP on the port | `protocol::http_is_cut_off_and_logged` |
//! | colliding hashes | `ds::hash` (keyed) |
//! | certificates with NUL, kill storms on TLS | `tls` |
//! | accept errors, floods, slow requests, rights of the unix socket | `door` |
//! | wrong passwords | `wrong_passwords_hold_nobody_up`; `server::attempts` |

use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Client, Reply, encode};
use crate::harness::{Launch, Server, eventually};

#[track_caller]
fn accepts(client: &mut Client, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let reply = client.cmd(&words);
    assert!(!reply.is_error(), "{line}: {reply:?}");
}

fn shown(reply: &Reply) -> String {
    format!("{reply:?}")
}

#[track_caller]
fn refuses(client: &mut Client, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let reply = client.cmd(&words);
    assert!(reply.is_error(), "{line}: {reply:?}");
}

#[test]
fn lengths_past_all_limits() {
    let mut server = Server::kivi(&["--enable-debug-command", "yes"]);
    for password in ["", "secret"] {
        server
            .connect()
            .cmd(&["CONFIG", "SET", "requirepass", password]);
        for header in [
            "*1\r\n$9223372036854775807\r\n",
            "*1\r\n$18446744073709551615\r\n",
            "*1\r\n$-9223372036854775808\r\n",
            "*9223372036854775807\r\n",
            "*2147483648\r\n",
            "*-2147483649\r\n",
            "*1\r\n$4294967296\r\n",
        ] {
            let mut client = server.connect();
            // It is refused, without waiting for bytes that nobody will send; nothing was allocated for them.
            client.send(format!("{header}x\r\n").as_bytes());
            let (_, reply) = client.read();
            assert!(reply.is_error(), "{header}: {reply:?}");
            assert!(server.rss_bytes() < 300 << 20, "{header}");
        }
    }
    server.assert_alive();
}

#[test]
fn requests_before_authentication() {
    let mut server = Server::kivi(&["--requirepass", "secret"]);
    for bytes in [
        "*0\r\n*1\r\n$4\r\nPING\r\n",
        "\r\n*1\r\n$4\r\nPING\r\n",
        "*-1\r\n*1\r\n$4\r\nPING\r\n",
        "\r\n\r\n\r\nPING\r\n",
        "*1\r\n$0\r\n\r\n*1\r\n$4\r\nPING\r\n",
        "  \r\nPING\r\n",
    ] {
        let mut client = server.connect();
        client.send(bytes.as_bytes());
        let (_, reply) = client.read();
        assert!(reply.is_error(), "{bytes:?}: {reply:?}");
    }
    server.assert_alive();
}

#[test]
fn numbers_at_the_ends() {
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    for line in [
        "HSET h f 1",
        "RPUSH l a b c",
        "SADD s a b c",
        "ZADD z 1 a 2 b",
        "SET n 1",
        "XADD x 1-1 f v",
        "XGROUP CREATE x g 0",
        "XREADGROUP GROUP g c STREAMS x >",
    ] {
        accepts(&mut client, line);
    }
    for line in [
        "HRANDFIELD h -9223372036854775808 WITHVALUES",
        "SRANDMEMBER s -9223372036854775808",
        "ZRANDMEMBER z -9223372036854775808 WITHSCORES",
        "SETRANGE n 4294967295 x",
        "SETRANGE n 9223372036854775807 x",
        "SETRANGE n -1 x",
        "BITFIELD n SET u8 9223372036854775807 1",
        "SETBIT n 4294967296 1",
        "SETBIT n -1 1",
        "INCRBYFLOAT n nan",
        "INCRBYFLOAT n inf",
        "HINCRBYFLOAT h f nan",
        "HINCRBYFLOAT h f -inf",
        "ZADD z nan a",
        "ZINCRBY z nan a",
        "HEXPIRE h 9223372036854775807 FIELDS 1 f",
        "HPEXPIRE h 9223372036854775807 FIELDS 1 f",
        "HEXPIREAT h 9223372036854775807 FIELDS 1 f",
        "EXPIRE n 9223372036854775807",
        "PEXPIRE n 9223372036854775807",
        "SET n 1 EX 9223372036854775807",
        "XAUTOCLAIM x g c 0 0 COUNT 9223372036854775807",
        "LPOP l -1",
        "SPOP s -1",
        "XADD x MAXLEN -1 * f v",
        "LMPOP 9223372036854775807 l LEFT",
        "ZUNION 9223372036854775807 z",
        "EVAL x 9223372036854775807",
        "OBJECT FREQ",
    ] {
        refuses(&mut client, line);
    }
    // These have a meaning.
    for line in [
        "XAUTOCLAIM x g c 0 0 COUNT 1000000",
        "LRANGE l -9223372036854775808 9223372036854775807",
        "ZRANGE z -9223372036854775808 9223372036854775807",
        "GETRANGE n -9223372036854775808 9223372036854775807",
        "LPOS l a RANK 1 COUNT 0 MAXLEN 9223372036854775807",
        "HPEXPIREAT h 1 FIELDS 1 nosuch",
        "ZADD z inf a -inf b",
        "MSETNX m 1 m 2",
    ] {
        accepts(&mut client, line);
    }
    refuses(&mut client, "ZINCRBY z -inf a");
    assert_eq!(client.cmd(&["GET", "n"]).bytes(), b"1");
    assert_eq!(client.cmd(&["HGET", "h", "f"]).bytes(), b"1");
    assert_eq!(client.cmd(&["GET", "m"]).bytes(), b"2");
    server.assert_alive();
}

#[test]
fn work_that_grows_is_bounded() {
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    let text = "ab".repeat(2 << 10);
    client.cmd(&["MSET", "a", &text, "b", &text]);
    let reply = client.cmd(&["LCS", "a", "b", "LEN"]);
    assert_eq!(reply.int(), 4 << 10);
    let long = "x".repeat(64 << 20);
    client.cmd(&["MSET", "c", &long, "d", &long]);
    assert!(client.cmd(&["LCS", "c", "d"]).is_error());
    client.cmd(&["DEL", "c", "d"]);
    // A pattern with thousands of stars, on a key of a megabyte.
    let key = "a".repeat(1 << 20);
    client.cmd(&["SET", &key, "1"]);
    let pattern = format!("{}b", "*a".repeat(5_000));
    assert!(client.cmd(&["KEYS", &pattern]).items().is_empty());
    let reply = client.cmd(&["SCAN", "0", "COUNT", "1000", "MATCH", &pattern]);
    assert!(!reply.is_error());
    client.cmd(&["PSUBSCRIBE", &pattern]);
    let mut other = server.connect();
    assert_eq!(other.cmd(&["PUBLISH", &key, "x"]).int(), 0);
    // Very many ids.
    other.cmd(&["XADD", "x", "1-1", "f", "v"]);
    other.cmd(&["XGROUP", "CREATE", "x", "g", "0"]);
    let ids: Vec<String> = (0..100_000).map(|id| format!("{id}-0")).collect();
    let count = ids.len().to_string();
    let mut request = vec!["XACKDEL", "x", "g", "IDS", &count];
    request.extend(ids.iter().map(String::as_str));
    assert_eq!(other.cmd(&request).items().len(), ids.len());
    let mut request = vec!["XDEL", "x"];
    request.extend(ids.iter().map(String::as_str));
    assert_eq!(other.cmd(&request).int(), 0);
    server.assert_alive();
}

#[test]
fn keys_of_odd_requests() {
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    client.cmd(&["ACL", "SETUSER", "anna", "on", "nopass", "+@all", "~a*"]);
    let mut anna = server.connect();
    assert_eq!(anna.cmd(&["AUTH", "anna", "x"]).text(), "OK");
    for line in [
        "EVAL x",
        "EVAL x 1",
        "EVAL x -1 a",
        "EVAL x 9223372036854775807 a",
        "XREAD STREAMS",
        "XREAD STREAMS a",
        "XREAD COUNT STREAMS STREAMS a",
        "XREADGROUP GROUP g c STREAMS",
        "MSETEX -1 a 1",
        "MSETEX 2 a 1",
        "ZUNIONSTORE a 9 a",
        "SORT a STORE",
        "GEORADIUS a 0 0 1 km STORE",
        "LMPOP x a LEFT",
        "BLMPOP 0 2 a",
        "MIGRATE h 1",
        "BITOP",
        "OBJECT",
        "MEMORY USAGE",
        "FCALL f 3 a",
        "SINTERCARD 0",
        "COPY a",
        "GETKEYS",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let request: Vec<&str> = ["COMMAND", "GETKEYS"]
            .into_iter()
            .chain(words.clone())
            .collect();
        client.cmd(&request);
        let request: Vec<&str> = ["ACL", "DRYRUN", "anna"]
            .into_iter()
            .chain(words.clone())
            .collect();
        client.cmd(&request);
        anna.cmd(&words);
    }
    // What may not be read is not read through another command's door.
    client.cmd(&["SET", "secret", "1"]);
    for line in [
        "GEORADIUS a 0 0 1 km STORE a STORE secret",
        "XREAD STREAMS a secret 0 0",
        "MSETEX 2 a 1 secret 1",
        "COPY secret a",
        "SORT a BY nosort GET secret",
        "SORT_RO a GET secret*",
        "HGETEX secret FIELDS 1 f",
        "PFMERGE secret",
        "ZUNIONSTORE secret 1 a",
    ] {
        refuses(&mut anna, line);
    }
    assert_eq!(client.cmd(&["GET", "secret"]).bytes(), b"1");
    server.assert_alive();
}

#[test]
fn hyperloglogs_that_lie() {
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    client.cmd(&["PFADD", "good", "a", "b"]);
    let good = client.cmd(&["GET", "good"]).bytes().to_vec();
    let mut seed = 0x9E37_79B9_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize
    };
    for _ in 0..2_000 {
        let mut bad = good.clone();
        for _ in 0..=next() % 4 {
            let at = next() % bad.len();
            bad[at] = next() as u8;
        }
        bad.truncate(bad.len() - next() % 8);
        client.cmd(&[b"SET".as_slice(), b"bad", &bad]);
        for request in [
            &["PFCOUNT", "bad"][..],
            &["PFADD", "bad", "x", "y"],
            &["PFMERGE", "m", "bad", "good"],
        ] {
            client.cmd(request);
        }
    }
    server.assert_alive();
}

/// Panics unless a script finds what it shall find, and nothing else.
#[track_caller]
fn assert_unharmed(client: &mut Client, after: &str) {
    let script = "return {type(rawget(_G, 'io')), type(os.execute), type(rawget(_G, 'evil')), ('x'):rep(3), \
        redis.call('ECHO', 'y')}";
    let reply = client.cmd(&["EVAL", script, "0"]);
    assert!(matches!(reply, Reply::Array(_)), "{after}: {reply:?}");
    let texts: Vec<String> = reply.items().iter().map(Reply::text).collect();
    assert_eq!(texts, ["nil", "nil", "nil", "xxx", "y"], "{after}");
}

#[test]
fn scripts_find_no_way_out() {
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    for script in [
        "return loadstring('\\27Lua')()",
        "return load(function() return '\\27LuaQ' end)()",
        "return io.open('/etc/passwd')",
        "return os.execute('true')",
        "return package.loadlib('x', 'y')",
        "return require('os')",
        "return dofile('/etc/passwd')",
        "return loadfile('/etc/passwd')",
        "return debug.getregistry()",
        "return ffi.C",
        "getmetatable('').__index = nil",
        "getmetatable('').__index.rep = function() return 'mine' end",
        "string.rep = function() return 'mine' end",
        "redis.call = function() return 'mine' end",
        "_G.evil = 1",
        "setmetatable(_G, {})",
        "rawset(_G, 'evil', 1)",
        "return unpack({}, 1, 1e9)",
        "return {unpack({}, 0, 2^31 - 1)}",
        "local function f() return f() + 1 end return f()",
        "local s = string.rep('[', 100000) return cjson.decode(s)",
        "local t = {} for i = 1, 100000 do t = {t} end return cjson.encode(t)",
        "return cmsgpack.unpack(string.rep('\\145', 100000))",
        "return struct.unpack('i99', 'x')",
        "return struct.pack('>I2147483647', 1)",
        "return string.format('%99999999d', 1)",
    ] {
        let reply = client.cmd(&["EVAL", script, "0"]);
        assert!(reply.is_error(), "{script}: {reply:?}");
        assert_unharmed(&mut client, script);
    }
    // These end as they do in a real server: a length that overflows, nesting that is cut, and a pattern that
    // nobody looks at to its end.
    for (script, expected) in [
        ("return string.rep('x', 1e12)", &b"$0\r\n\r\n"[..]),
        (
            "local t = {} for i = 1, 100000 do t = {t} end return cmsgpack.pack(t)",
            b"$17\r\n\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\x91\xc0\r\n",
        ),
        (
            "return ('x'):rep(100):find(('a?'):rep(100) .. ('a'):rep(100) .. ('('):rep(33))",
            b"$-1\r\n",
        ),
    ] {
        assert_eq!(client.raw(&["EVAL", script, "0"]), expected, "{script}");
        assert_unharmed(&mut client, script);
    }
    // Whoever comes next finds everything as it was, as another user, too.
    client.cmd(&["ACL", "SETUSER", "anna", "on", "nopass", "+@all", "~*"]);
    let mut anna = server.connect();
    anna.cmd(&["AUTH", "anna", "x"]);
    assert!(anna.cmd(&["EVAL", "return evil", "0"]).is_error());
    let reply = anna.cmd(&["EVAL", "return {('x'):rep(3), type(redis.call)}", "0"]);
    let texts: Vec<&[u8]> = reply.items().iter().map(Reply::bytes).collect();
    assert_eq!(texts, [b"xxx".as_slice(), b"function"]);
    let reply = client.cmd(&["EVAL", "return bit.tohex(1, -2147483648)", "0"]);
    assert!(!reply.is_error(), "{reply:?}");
    server.assert_alive();
}

#[test]
fn errors_are_one_line() {
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    let evil = "x\r\n$4\r\nevil\r\n";
    for request in [
        vec![evil],
        vec!["GET", "a", evil],
        vec!["CLIENT", evil],
        vec!["CONFIG", "SET", evil, evil],
        vec!["EVAL", "return redis.error_reply(ARGV[1])", "0", evil],
        vec!["EVAL", "return redis.status_reply(ARGV[1])", "0", evil],
        vec!["EVAL", "error(ARGV[1])", "0", evil],
        vec!["EVAL", "return {err = ARGV[1]}", "0", evil],
        vec!["EVAL", "return {ok = ARGV[1]}", "0", evil],
        vec!["EVAL", evil, "0"],
        vec!["FCALL", evil, "0"],
        vec!["ACL", "SETUSER", "anna", evil],
        vec!["ACL", "DRYRUN", evil, "get"],
        vec!["ACL", "CAT", evil],
        vec!["CLIENT", "KILL", "USER", evil],
        vec!["AUTH", evil, evil],
    ] {
        client.send(&encode(&request));
        client.send(&encode(&["ECHO", "mark"]));
        client.read();
        assert_eq!(client.read().1.bytes(), b"mark", "{request:?}");
    }
    server.assert_alive();
}

#[test]
fn malformed_rules_change_nothing() {
    let mut server = Server::kivi(&[]);
    let mut client = server.connect();
    client.cmd(&[
        "ACL",
        "SETUSER",
        "anna",
        "on",
        ">pw",
        "+get",
        "~a*",
        "(+set ~b*)",
    ]);
    let before = shown(&client.cmd(&["ACL", "GETUSER", "anna"]));
    for rule in [
        "(",
        ")",
        "()(",
        "((+get))",
        "(+get",
        "+get)",
        "(+get))",
        "+",
        "-",
        "+@",
        "+@nosuch",
        "+nosuch",
        "+get|",
        "+config|nosuch",
        "-config|get|x",
        "%",
        "%X~a",
        "%~a b",
        "#abc",
        "#",
        "!",
        "!zz",
        "<nosuch",
        "(on)",
        "(>x)",
        "db=",
        "db=x",
        "db=-1",
        "db=99999999999999999999",
        "\u{0}",
        "nosuch",
    ] {
        let reply = client.cmd(&["ACL", "SETUSER", "anna", "+@all", "~zz", rule]);
        assert!(reply.is_error(), "{rule:?}: {reply:?}");
        assert_eq!(
            shown(&client.cmd(&["ACL", "GETUSER", "anna"])),
            before,
            "{rule:?}"
        );
    }
    server.assert_alive();
}

#[test]
fn a_log_is_repeated_whoever_may_what() {
    let config = "user default off -@all\nuser admin on >pw ~* &* +@all\n";
    let dir = TempDir::new().expect("a folder");
    let path = dir.path().join("kivi.conf");
    std::fs::write(&path, config).expect("a configuration");
    let path = path.to_str().expect("a path");
    let data = dir.path().to_str().expect("a path");
    let start = || {
        Launch {
            config: &[path],
            args: &["--dir", data, "--appendonly", "yes"],
            ..Launch::KIVI
        }
        .start()
    };
    let server = start();
    let mut admin = server.connect();
    assert_eq!(admin.cmd(&["AUTH", "admin", "pw"]).text(), "OK");
    for line in [
        "SET a 1",
        "RPUSH l 1 2 3",
        "HSET h f v",
        "MULTI",
        "SET b 2",
        "XADD s 1-1 f v",
        "EXEC",
        "EVAL redis.call('set','c','3') 0",
    ] {
        accepts(&mut admin, line);
    }
    server.signal_and_wait("TERM");
    let server = start();
    let mut admin = server.connect();
    assert!(admin.cmd(&["GET", "a"]).is_error());
    assert_eq!(admin.cmd(&["AUTH", "admin", "pw"]).text(), "OK");
    assert_eq!(admin.cmd(&["DBSIZE"]).int(), 6);
}

#[test]
fn wrong_passwords_hold_nobody_up() {
    let mut server = Server::kivi(&[
        "--requirepass",
        "secret",
        "--proxy-protocol-trusted",
        "127.0.0.1",
    ]);
    let from = |address: &str| {
        let mut client = server.connect();
        let header = format!("PROXY TCP4 {address} 192.0.2.1 4000 6379\r\n");
        client.send(header.as_bytes());
        client
    };
    const DELAY: Duration = Duration::from_millis(900);
    let mut round = 0;
    eventually("others to be let in meanwhile", || {
        round += 1;
        let address = format!("203.0.113.{round}");
        let mut guessing = from(&address);
        for _ in 0..24 {
            assert!(guessing.cmd(&["AUTH", "wrong"]).is_error());
        }
        // Its next answer takes a second; others, of the same address, too, are let in meanwhile.
        let sent = Instant::now();
        guessing.send(&encode(&["AUTH", "wrong"]));
        for address in [&address, "198.51.100.8"] {
            assert_eq!(from(address).cmd(&["AUTH", "secret"]).text(), "OK");
        }
        let others = sent.elapsed();
        assert!(guessing.read().1.is_error());
        let took = sent.elapsed();
        assert!(took >= DELAY, "answered after {took:?}");
        // A machine that is busy may have taken as long.
        (others < DELAY).then_some(())
    });
    server.assert_alive();
}
