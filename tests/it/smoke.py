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
pipelines_and_threads()
server()
assert r.flushall() is True and r.dbsize() == 0
parsers = {type(c._parser).__name__ for c in pool._available_connections}
assert parsers == {parser_class.__name__}, parsers
print("ok")
