"""What a Python user does with Kivi: redis-py with protocol 2 and 3, with and without hiredis.

Run by smoke.rs: smoke.py PORT PROTOCOL PARSER, where PARSER is hiredis or python.
Exits with an assertion error when anything is not as with Redis.
"""
import sys
import threading
import time

import redis
from redis.connection import Connection

try:
    from redis._parsers import _HiredisParser, _RESP2Parser, _RESP3Parser
except ImportError:
    from redis.connection import _HiredisParser, _RESP2Parser, _RESP3Parser

port, protocol, parser = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
parser_class = _HiredisParser if parser == "hiredis" else {2: _RESP2Parser, 3: _RESP3Parser}[protocol]
pool = redis.ConnectionPool(
    connection_class=Connection, host="127.0.0.1", port=port, protocol=protocol,
    parser_class=parser_class, decode_responses=True, client_name="smoke",
)
r = redis.Redis(connection_pool=pool)


def refused(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as e:
        return str(e)
    raise AssertionError(f"{call} {args} was not refused")


def strings():
    assert r.set("a", "1") is True
    assert r.get("a") == "1"
    assert r.get("nokey") is None
    assert r.set("a", "2", nx=True) is None
    assert r.set("a", "2", xx=True, get=True) == "1"
    assert r.incr("a") == 3 and r.decr("a", 5) == -2 and r.incrbyfloat("f", 1.5) == 1.5
    assert r.append("t", "hello") == 5 and r.getrange("t", 1, 3) == "ell" and r.setrange("t", 5, "!") == 6
    assert r.mset({f"m{i}": i for i in range(100)}) is True
    assert r.mget([f"m{i}" for i in range(100)]) == [str(i) for i in range(100)]
    assert r.msetnx({"m0": 1, "new": 2}) in (False, 0)
    assert r.getdel("m0") == "0" and r.get("m0") is None
    assert r.lcs("t", "t") == "hello!"
    raw = redis.Redis(port=port, protocol=protocol)
    blob = bytes(range(256)) * 1000
    assert raw.set("blob", blob) and raw.get("blob") == blob
    raw.close()
    assert "integer" in refused(redis.ResponseError, r.incr, "t")


def keys():
    r.flushdb()
    for i in range(1000):
        r.set(f"key:{i}", i)
    assert r.dbsize() == 1000
    assert len(set(r.scan_iter(match="key:*", count=50))) == 1000
    assert sorted(r.keys("key:99?")) == [f"key:{i}" for i in range(990, 1000)]
    assert r.delete(*[f"key:{i}" for i in range(500)]) == 500
    assert r.exists("key:1", "key:600", "key:601") == 2
    assert r.type("key:600") == "string" and r.type("nokey") == "none"
    assert r.expire("key:600", 100) and 0 < r.ttl("key:600") <= 100
    assert r.persist("key:600") and r.ttl("key:600") == -1
    assert r.rename("key:600", "renamed") and r.copy("renamed", "copied")
    assert r.object("encoding", "copied") == "int"
    assert r.randomkey() is not None
    r.psetex("short", 30, "v")
    deadline = time.time() + 20
    while r.get("short") is not None:
        assert time.time() < deadline, "the key does not expire"


def pairs(reply):
    """Pairs come as tuples or lists, and a single one bare, depending on protocol and version."""
    return [tuple(pair) for pair in ([reply] if isinstance(reply[0], str) else reply)]


def hashes():
    r.flushdb()
    assert r.hset("h", mapping={f"f{i}": i for i in range(10)}) == 10
    assert r.hgetall("h") == {f"f{i}": str(i) for i in range(10)}
    assert r.hget("h", "f3") == "3" and r.hget("h", "no") is None and r.hlen("h") == 10
    assert r.hmget("h", "f1", "no", "f2") == ["1", None, "2"]
    assert r.hincrby("h", "f1", 5) == 6 and r.hincrbyfloat("h", "f1", 0.25) == 6.25
    assert r.hsetnx("h", "f1", "x") in (0, False) and r.hexists("h", "f1") and r.hstrlen("h", "f1") == 4
    assert sorted(r.hkeys("h"))[0] == "f0" and "9" in r.hvals("h")
    assert r.hdel("h", "f0", "no") == 1
    assert len(r.hrandfield("h", 5)) == 5 and r.hrandfield("h") in r.hkeys("h")
    assert r.hset("big", mapping={f"f{i}": "v" * 100 for i in range(2000)}) == 2000
    assert len(dict(r.hscan_iter("big", count=100))) == 2000
    assert len(set(r.hscan_iter("big", no_values=True))) == 2000
    assert r.object("encoding", "h") == "listpack" and r.object("encoding", "big") == "hashtable"
    assert r.hexpire("h", 100, "f1", "no") == [1, -2] and 0 < r.httl("h", "f1")[0] <= 100
    assert r.hpersist("h", "f1", "f2") == [1, -1] and r.hpttl("h", "f1") == [-1]
    assert r.hgetdel("h", "f1") == ["6.25"] and r.hgetex("h", "f2", ex=100) == ["2"]
    assert r.hsetex("h", "new", "v", px=30) == 1
    deadline = time.time() + 20
    while r.hexists("h", "new"):
        assert time.time() < deadline, "the field does not expire"
    assert "hash value is not an integer" in refused(redis.ResponseError, r.hincrby, "big", "f1")
    assert "wrong kind of value" in refused(redis.ResponseError, r.lpush, "h", "x")


def lists():
    assert r.rpush("l", *"abcdef") == 6 and r.lpush("l", "z") == 7
    assert r.lrange("l", 0, -1) == list("zabcdef") and r.lindex("l", -1) == "f"
    assert r.lpop("l") == "z" and r.rpop("l", 2) == ["f", "e"] and r.lpop("nokey") is None
    assert r.linsert("l", "before", "c", "x") == 5 and r.lpos("l", "x") == 2 and r.lset("l", 2, "y")
    assert r.lrem("l", 0, "y") == 1 and r.ltrim("l", 0, 2) and r.llen("l") == 3
    assert r.lmove("l", "m", "LEFT", "RIGHT") == "a" and r.rpoplpush("l", "m") == "c"
    assert list(r.lmpop(2, "nokey", "m", direction="RIGHT", count=5)) == ["m", ["a", "c"]]
    assert r.blpop("nokey", timeout=0.01) is None
    assert tuple(r.blpop(["nokey", "l"], timeout=5)) == ("l", "b")
    assert r.blmove("nokey", "l", 0.01) is None and r.brpoplpush("nokey", "l", 0.01) is None
    got = []
    consumer = threading.Thread(target=lambda: [got.append(tuple(r.blpop("jobs", 20))) for _ in range(100)])
    consumer.start()
    for i in range(100):
        r.rpush("jobs", i)
    consumer.join()
    assert got == [("jobs", str(i)) for i in range(100)]
    r.rpush("nums", 3, 1, 2)
    r.mset({"w_1": 30, "w_2": 10, "w_3": 20, "name_1": "one"})
    assert r.sort("nums") == ["1", "2", "3"] and r.sort("nums", desc=True, start=0, num=1) == ["3"]
    assert r.sort("nums", by="w_*") == ["2", "3", "1"]
    assert r.sort("nums", get=["#", "name_*"], groups=True) == [("1", "one"), ("2", None), ("3", None)]
    assert r.sort("nums", alpha=True, store="sorted") == 3 and r.lrange("sorted", 0, -1) == ["1", "2", "3"]


def sets():
    assert r.sadd("s", 1, 2, 3) == 3 and r.object("encoding", "s") == "intset"
    assert r.sadd("t", "a", 2, 3) == 3 and r.smembers("s") == {"1", "2", "3"}
    assert r.sinter("s", "t") == {"2", "3"} and r.sdiff("s", "t") == {"1"} and len(r.sunion("s", "t")) == 4
    assert r.sintercard(2, ["s", "t"], limit=1) == 1 and r.sinterstore("u", "s", "t") == 2
    assert r.sismember("s", 1) and r.smismember("s", [1, 9]) == [1, 0] and r.smove("s", "t", 1)
    assert r.scard("t") == 4 and r.srem("t", "a") == 1
    assert r.srandmember("t") in r.smembers("t") and len(r.srandmember("t", -10)) == 10
    assert len(r.spop("t", 2)) == 2 and r.spop("nokey") is None
    r.sadd("big set", *range(5000), "text")
    assert len(set(r.sscan_iter("big set", count=100))) == 5001 and r.type("big set") == "set"


def sorted_sets():
    assert r.zadd("z", {"a": 1, "b": 2.5, "c": float("inf"), "d": -3}) == 4
    assert r.zrange("z", 0, -1) == ["d", "a", "b", "c"]
    assert pairs(r.zrange("z", 0, 1, withscores=True)) == [("d", -3.0), ("a", 1.0)]
    assert r.zrangebyscore("z", "(1", "+inf") == ["b", "c"]
    assert pairs(r.zrevrangebyscore("z", "+inf", "-inf", start=1, num=2, withscores=True)) == [("b", 2.5), ("a", 1.0)]
    assert r.zscore("z", "b") == 2.5 and r.zscore("z", "no") is None and r.zmscore("z", ["a", "no"]) == [1.0, None]
    assert r.zrank("z", "b") == 2 and r.zrevrank("z", "b") == 1 and r.zcount("z", 0, 5) == 2
    assert r.zincrby("z", 1.25, "a") == 2.25 and r.zadd("z", {"a": 1}, gt=True, ch=True) == 0
    assert r.zadd("z", {"a": 1}, incr=True) == 3.25 and r.zadd("z", {"a": 1}, nx=True) == 0
    assert r.zrank("z", "a", withscore=True) == [2, 3.25]
    r.zadd("lex", {m: 0 for m in "abcdefg"})
    assert r.zrangebylex("lex", "[b", "(e") == ["b", "c", "d"] and r.zlexcount("lex", "-", "+") == 7
    assert r.zrange("lex", "+", "-", bylex=True, desc=True, offset=0, num=2) == ["g", "f"]
    assert r.zunionstore("dst", {"z": 2, "lex": 1}, aggregate="MAX") == 7
    assert r.zinter(["z", "lex"]) == ["d", "b", "a", "c"] and r.zdiff(["lex", "z"]) == ["e", "f", "g"]
    assert r.zrangestore("top", "z", 0, 1) == 2 and r.zintercard(2, ["z", "top"]) == 2
    assert pairs(r.zpopmin("z")) == [("d", -3.0)] and pairs(r.zpopmax("z", 2)) == [("c", float("inf")), ("a", 3.25)]
    assert tuple(r.bzpopmin(["nokey", "z"], 5)) == ("z", "b", 2.5) and r.bzpopmax("z", 0.01) is None
    assert r.zrem("lex", "a") == 1 and r.zremrangebyrank("lex", 0, 0) == 1
    assert r.zremrangebyscore("lex", 0, 0) == 5 and not r.exists("lex")
    r.zadd("big zset", {f"m{i}": i / 8 for i in range(3000)})
    assert dict(r.zscan_iter("big zset", count=100))["m4"] == 0.5 and r.object("encoding", "big zset") == "skiplist"
    assert r.zrandmember("big zset").startswith("m") and len(r.zrandmember("big zset", 10)) == 10
    with r.pipeline(transaction=False) as p:
        for i in range(300):
            p.zadd("p", {i: i}).zcard("p").hset("ph", i, i).rpush("pl", i).sadd("ps", i)
        replies = p.execute()
    assert replies[-4:] == [300, 1, 300, 1]


def pipelines_and_threads():
    with r.pipeline(transaction=False) as p:
        for i in range(500):
            p.set(f"p{i}", i).get(f"p{i}")
        replies = p.execute()
    assert replies[::2] == [True] * 500 and replies[1::2] == [str(i) for i in range(500)]
    with r.pipeline(transaction=False) as p:
        p.set("p", "text").incr("p").get("p")
        replies = p.execute(raise_on_error=False)
    assert replies[0] is True and isinstance(replies[1], redis.ResponseError) and replies[2] == "text"
    r.set("counter", 0)
    threads = [threading.Thread(target=lambda: [r.incr("counter") for _ in range(200)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert r.get("counter") == "1600"


def server():
    assert r.ping() is True and r.echo("hi") == "hi"
    info = r.info()
    assert info["redis_version"] and info["tcp_port"] == port and info["db0"]["keys"] >= 1
    assert r.info("commandstats")["cmdstat_get"]["calls"] > 0
    assert r.config_get("timeout") == {"timeout": "0"}
    assert r.config_set("timeout", 300) and r.config_get("time*out")["timeout"] == "300"
    r.config_set("timeout", 0)
    refused(redis.ResponseError, r.config_set, "nonsense", 1)
    assert r.client_getname() == "smoke" and r.client_id() > 0
    assert any(client["name"] == "smoke" for client in r.client_list())
    assert r.command_count() > 50 and "get" in r.command()
    assert r.command_getkeys("mset", "a", 1, "b", 2) == ["a", "b"]
    seconds, micros = r.time()
    assert abs(seconds - time.time()) < 60 and 0 <= micros < 1_000_000
    assert r.role()[0] in ("master", b"master")
    assert r.memory_usage("counter") > 0
    other = redis.Redis(port=port, db=5, protocol=protocol, decode_responses=True)
    other.set("only in 5", "v")
    assert r.get("only in 5") is None and r.swapdb(0, 5) and r.get("only in 5") == "v"
    r.swapdb(0, 5)
    other.flushdb()
    other.close()
    assert r.lolwut()
    assert "unknown command" in refused(redis.ResponseError, r.execute_command, "NONSENSE", "x")


strings()
keys()
hashes()
lists()
sets()
sorted_sets()
pipelines_and_threads()
server()
assert r.flushall() is True and r.dbsize() == 0
parsers = {type(c._parser).__name__ for c in pool._available_connections}
assert parsers == {parser_class.__name__}, parsers
print("ok")
