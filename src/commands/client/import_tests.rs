//! CLIENT IMPORT-SOURCE and `import-mode`; expected replies are Valkey 9.1.2's.

use crate::commands::tests::Test;
use crate::commands::tests::propagation::Logged;

/// A server in import mode, its import source, and another client; a string, a list and a field of a
/// hash have expired.
fn importing() -> (Test, Test) {
    let mut other = Test::new();
    let mut source = other.client();
    other.run("CONFIG SET import-mode yes").is("+OK");
    source.run("CLIENT IMPORT-SOURCE ON").is("+OK");
    other.run("SET k 5 PX 20").is("+OK");
    other.run("RPUSH l x").is(":1");
    other.run("PEXPIRE l 20").is(":1");
    other.run("HSET h f v g w").is(":2");
    other.run("HPEXPIRE h 20 FIELDS 1 f").is("*1 :1");
    other.clock.advance(100);
    expire(&other);
    (source, other)
}

/// Runs the expiry cycle.
fn expire(test: &Test) {
    let server = test.session.server();
    server.keyspace.expire_due(server.clock.unix_ms());
}

#[test]
fn only_in_import_mode() {
    let mut test = Test::new();
    let refused = "-ERR Server is not in import mode";
    test.run("CLIENT IMPORT-SOURCE ON").is(refused);
    test.run("CLIENT IMPORT-SOURCE foo").is(refused);
    test.run("CLIENT IMPORT-SOURCE off").is("+OK");
    test.run("CONFIG SET import-mode yes").is("+OK");
    test.run("CLIENT IMPORT-SOURCE foo").is("-ERR syntax error");
    test.run("CLIENT IMPORT-SOURCE on").is("+OK");
    test.run("CLIENT INFO").has(" flags=I ");
    test.run("CLIENT LIST FLAGS I").has(" flags=I ");
    // It stays one when the mode ends, until it says so or is reset.
    test.run("CONFIG SET import-mode no").is("+OK");
    test.run("CLIENT INFO").has(" flags=I ");
    test.run("RESET").is("+RESET");
    test.run("CLIENT INFO").has(" flags=N ");
}

#[test]
fn others_do_not_see_what_has_expired_and_leave_it() {
    let (mut source, mut other) = importing();
    for (line, reply) in [
        ("GET k", "$-1"),
        ("EXISTS k", ":0"),
        ("TTL k", ":-2"),
        ("TYPE k", "+none"),
        ("SCAN 0 COUNT 1000", "*2 $1 0 *1 $1 h"),
        ("KEYS *", "*1 $1 h"),
        ("RANDOMKEY", "$1 h"),
        ("HGETALL h", "*2 $1 g $1 w"),
        ("HGET h f", "$-1"),
        ("HLEN h", ":1"),
        ("HTTL h FIELDS 1 f", "*1 :-2"),
        ("LRANGE l 0 -1", "*0"),
        ("MGET k l", "*2 $-1 $-1"),
        ("DUMP k", "$-1"),
        ("COPY k k2", ":0"),
        ("GETEX k PERSIST", "$-1"),
        ("DBSIZE", ":3"),
    ] {
        assert_eq!(other.run(line).text(), reply, "{line}");
    }
    source.run("MGET k").is("*1 $1 5");
    source.run("HGET h f").is("$1 v");
    source.run("LLEN l").is(":1");
}

#[test]
fn others_that_write_delete_it() {
    let (mut source, mut other) = importing();
    other.run("INCR k").is(":1");
    other.run("LPUSHX l y").is(":0");
    other.run("DBSIZE").is(":2");
    source.run("TTL k").is(":-1");
}

#[test]
fn the_source_sees_everything() {
    let (mut source, mut other) = importing();
    for (line, reply) in [
        ("GET k", "$1 5"),
        ("EXISTS k l", ":2"),
        ("TTL k", ":0"),
        ("PTTL k", ":0"),
        ("TYPE l", "+list"),
        ("HMGET h f g", "*2 $1 v $1 w"),
        ("HLEN h", ":2"),
        ("HTTL h FIELDS 1 f", "*1 :0"),
        ("LRANGE l 0 -1", "*1 $1 x"),
        ("INCR k", ":6"),
        ("PTTL k", ":0"),
        ("LPUSHX l y", ":2"),
        ("COPY k k2", ":1"),
        ("PTTL k2", ":0"),
        ("EXPIRE l -1", ":1"),
        ("EXISTS l", ":1"),
        ("SET old 1 PXAT 1", "+OK"),
        ("GET old", "$1 1"),
        ("HPEXPIREAT h 1 FIELDS 1 g", "*1 :1"),
        ("HGET h g", "$1 w"),
        ("DBSIZE", ":5"),
        ("MULTI", "+OK"),
        ("GET k", "+QUEUED"),
        ("EXEC", "*1 $1 6"),
        ("OBJECT IDLETIME k", ":0"),
    ] {
        assert_eq!(source.run(line).text(), reply, "{line}");
    }
    source.run("SCAN 0 COUNT 1000").has("$3 old");
    source.run("CLIENT INFO").has(" age=0 idle=0 ");
    // Times count from now for it, too.
    source.run("SET new 1 PX 1000").is("+OK");
    other.run("PTTL new").is(":1000");
    let waiter = source.blocks("BLPOP nolist 1");
    source.clock.advance(999);
    assert!(source.waited(&waiter).is_none());
    source.clock.advance(1);
    source.waited(&waiter).unwrap().is("*-1");
    // Whoever says that it imports no longer sees what others see.
    source.run("CLIENT IMPORT-SOURCE OFF").is("+OK");
    source.run("GET old").is("$-1");
}

#[test]
fn everything_expires_when_the_mode_ends() {
    let (mut source, mut other) = importing();
    other.run("DBSIZE").is(":3");
    other.run("CONFIG SET import-mode no").is("+OK");
    source.run("GET k").is("$-1");
    expire(&other);
    other.run("DBSIZE").is(":1");
    other.run("HLEN h").is(":1");
}

/// Commands with several keys look them up together; what has expired may even be of another type.
#[test]
fn others_do_not_see_it_among_several_keys_either() {
    let (mut source, mut other) = importing();
    other.run("ZADD z 1 m").is(":1");
    other.run("SADD s m").is(":1");
    for (line, reply) in [
        ("ZUNION 2 z k", "*1 $1 m"),
        ("ZDIFF 3 z l k", "*1 $1 m"),
        ("ZINTERCARD 2 z l", ":0"),
        ("SUNION s k l", "*1 $1 m"),
        ("SINTERCARD 2 s l", ":0"),
        ("BITOP OR to k l", ":0"),
        ("EXISTS to", ":0"),
    ] {
        other.run(line).is(reply);
    }
    source
        .run("ZUNION 2 z k")
        .is("-WRONGTYPE Operation against a key holding the wrong kind of value");
    source.run("BITOP OR to k").is(":1");
}

/// A request that is logged has to find the same when it is repeated, and then nothing has expired. Not
/// Valkey's: there what it reads stays, and after a restart the result is another one.
#[test]
fn with_a_log_writes_delete_what_they_read() {
    for lines in [
        &["SUNIONSTORE to set other"][..],
        &["MULTI", "GET string", "SINTERSTORE to set set", "EXEC"],
        &["EVAL \"redis.call('sunionstore','to','set','other')\" 3 to set other"],
        &["ZRANGESTORE to zset 0 -1"],
        &["ZUNIONSTORE to 2 set other"],
        &["SORT list BY nosort STORE to"],
        &["SORT sorted BY weight_* STORE to"],
        &["GEOSEARCHSTORE to geo FROMLONLAT 13 52 BYRADIUS 100 km ASC"],
        &["BITOP NOT to string"],
        &["PFMERGE to log"],
        &["COPY string to REPLACE"],
        &["GET string", "APPEND string d"],
    ] {
        let mut logged = Logged::new();
        let test = &mut logged.test;
        test.run("CONFIG SET import-mode yes").is("+OK");
        for (key, line) in [
            ("set", "SADD set a b"),
            ("zset", "ZADD zset 1 a 2 b"),
            ("list", "RPUSH list 2 1"),
            ("geo", "GEOADD geo 13.4 52.5 a"),
            ("string", "SET string abc"),
            ("log", "PFADD log a b c"),
            ("weight_1", "SET weight_1 2"),
        ] {
            test.run(line);
            test.run(&format!("PEXPIRE {key} 20")).is(":1");
        }
        test.run("PFADD to a").is(":1");
        test.run("SADD other b c").is(":2");
        test.run("RPUSH sorted 1 2").is(":2");
        test.clock.advance(100);
        for line in lines {
            test.run(line);
        }
        test.run("CONFIG SET import-mode no").is("+OK");
        logged.repeats();
    }
}

#[test]
fn with_a_log_reads_leave_what_has_expired() {
    let mut logged = Logged::new();
    let test = &mut logged.test;
    test.run("CONFIG SET import-mode yes").is("+OK");
    test.run("SET k 1 PX 20").is("+OK");
    test.clock.advance(100);
    logged.records();
    for line in [
        "MULTI",
        "SUNIONSTORE to from",
        "GET k",
        "EXEC",
        "EVAL \"redis.call('sunionstore','to','from') return redis.call('get','k')\" 3 to from k",
        "GET k",
        "SCAN 0",
    ] {
        logged.logs(line, &[]);
    }
    logged.test.run("DBSIZE").is(":1");
    logged.logs("COPY k to", &["UNLINK k"]);
    logged.test.run("DBSIZE").is(":0");
    logged.repeats();
}
