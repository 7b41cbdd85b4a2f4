"""What a Python user does with streams, bitmaps, HyperLogLogs and coordinates: redis-py with protocol 2 and 3.

Run by smoke.rs: smoke_types.py PORT PROTOCOL PARSER, where PARSER is hiredis or python.
Prints what each call has returned, a line each, times taken out: the same lines whatever the server. `new` also makes the
calls of Redis 8.2: smoke_types.py PORT PROTOCOL PARSER new.
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
    parser_class=parser_class, decode_responses=True,
)
r = redis.Redis(connection_pool=pool)

TIMES = {"idle", "inactive", "seen-time", "active-time", "time_since_delivered"}


def timeless(value, name=None):
    """A value without points in time, which lie between all other numbers, and without idle times."""
    if isinstance(value, dict):
        return {key: timeless(item, key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [timeless(item) for item in value]
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, int) and (name in TIMES or 1 << 40 < value < 1 << 41):
        return "time" if value >= 0 else value
    return value


def show(name, call, *args, **kwargs):
    try:
        reply = timeless(call(*args, **kwargs))
    except redis.RedisError as error:
        reply = f"{type(error).__name__}: {error}"
    print(name, args, kwargs, "->", reply)
    return reply


class Shown:
    """The client, with every call shown."""

    def __getattr__(self, name):
        return lambda *args, **kwargs: show(name, getattr(r, name), *args, **kwargs)


s = Shown()


def streams():
    first = r.xadd("auto", {"f": "v"})
    second = r.xadd("auto", {"f": "v"})
    ms, sequence = map(int, first.split("-"))
    assert abs(ms - time.time() * 1000) < 60_000 and (ms, sequence) < tuple(map(int, second.split("-")))
    for n in range(1, 30):
        s.xadd("s", {"n": n, "text": "x" * n}, id=f"{n}-1")
    s.xadd("s", {"n": 1}, id="29-*")
    s.xadd("s", {"n": 1}, id="1-1")
    s.xadd("none", {"n": 1}, nomkstream=True)
    s.xadd("s", {"n": 1}, id="30-1", maxlen=20, approximate=False)
    s.xadd("s", {"n": 1}, id="31-1", maxlen=5)
    s.xadd("s", {"n": 1}, id="32-1", minid="15", approximate=False)
    s.xadd("s", {"n": 1}, id="33-1", minid="16", limit=10)
    s.xlen("s")
    s.xrange("s")
    s.xrange("s", "20", "25", count=3)
    s.xrange("s", "(20-1", "(25-1")
    s.xrevrange("s", "25", "20", 2)
    s.xdel("s", "20-1", "20-2")
    s.xtrim("s", maxlen=12, approximate=False)
    s.xtrim("s", minid="24", approximate=False)
    s.xtrim("s", maxlen=1, limit=5)
    s.xread({"s": "30", "none": 0})
    s.xread({"s": "$"})
    s.xread({"s": "+"}, count=1)
    s.xread({"s": 0}, count=2, block=10)
    s.xread({"none": "$"}, block=5)
    s.xinfo_stream("s")
    s.xinfo_stream("none")
    s.object("encoding", "s")
    s.type("s")


def groups():
    s.xgroup_create("jobs", "crew", mkstream=True)
    s.xgroup_create("jobs", "crew")
    s.xgroup_create("none", "crew")
    for n in range(1, 13):
        r.xadd("jobs", {"job": n}, id=f"{n}-1")
    s.xreadgroup("crew", "ann", {"jobs": ">"}, count=5)
    s.xreadgroup("crew", "bob", {"jobs": ">"}, count=3, block=10)
    s.xreadgroup("crew", "cy", {"jobs": ">"}, count=1, noack=True)
    s.xreadgroup("crew", "ann", {"jobs": "2-1"})
    s.xreadgroup("none", "ann", {"jobs": ">"})
    s.xack("jobs", "crew", "1-1", "1-1", "9-9")
    s.xpending("jobs", "crew")
    s.xpending_range("jobs", "crew", "-", "+", 4)
    s.xpending_range("jobs", "crew", "-", "+", 4, consumername="bob")
    s.xpending_range("jobs", "crew", "-", "+", 4, idle=1_000_000)
    s.xclaim("jobs", "crew", "cy", 0, ["2-1", "3-1"])
    s.xclaim("jobs", "crew", "cy", 0, ["4-1"], idle=5000, retrycount=7, justid=True)
    s.xclaim("jobs", "crew", "cy", 0, ["11-1"], force=True, time=1000)
    s.xclaim("jobs", "crew", "cy", 1_000_000, ["5-1"])
    s.xdel("jobs", "7-1")
    s.xautoclaim("jobs", "crew", "dee", 0, count=3)
    s.xautoclaim("jobs", "crew", "dee", 0, start_id="5-1", justid=True)
    s.xautoclaim("jobs", "crew", "dee", 0)
    s.xinfo_groups("jobs")
    s.xinfo_consumers("jobs", "crew")
    s.xinfo_stream("jobs", full=True)
    s.xgroup_createconsumer("jobs", "crew", "eve")
    s.xgroup_delconsumer("jobs", "crew", "dee")
    s.xgroup_setid("jobs", "crew", "3-1", entries_read=3)
    s.xinfo_groups("jobs")
    s.xgroup_destroy("jobs", "crew")
    s.xgroup_destroy("jobs", "crew")
    s.xinfo_groups("jobs")


def readers_that_wait():
    r.xgroup_create("bell", "crew", mkstream=True)
    heard = []

    def listen(name):
        heard.append((name, r.xreadgroup("crew", name, {"bell": ">"}, block=20_000, count=1)))

    def follow():
        heard.append(("follower", r.xread({"bell": "$"}, block=20_000)))

    listeners = [threading.Thread(target=listen, args=(name,)) for name in "ab"] + [threading.Thread(target=follow)]
    for listener in listeners:
        listener.start()
    deadline = time.time() + 20
    while r.info("clients")["blocked_clients"] < 3:
        assert time.time() < deadline
    r.xadd("bell", {"n": 1}, id="1-1")
    r.xadd("bell", {"n": 2}, id="2-1")
    for listener in listeners:
        listener.join()
    print(sorted((str(reply) for name, reply in heard)), sorted(name for name, _ in heard))
    with r.pipeline(transaction=True) as p:
        for n in range(3, 200):
            p.xadd("bell", {"n": n}, id=f"{n}-1").xlen("bell").xreadgroup("crew", "a", {"bell": ">"})
        show("pipeline", p.execute)


def bits():
    s.setbit("b", 7, 1)
    s.setbit("b", 7, 0)
    s.setbit("b", 2**32, 1)
    s.setbit("b", 1_000_000, 1)
    s.getbit("b", 1_000_000)
    s.getbit("b", 5)
    s.bitcount("b")
    s.bitcount("b", 0, 5, mode="BIT")
    s.bitpos("b", 1)
    s.bitpos("b", 0, 3, -1, mode="BIT")
    r.set("x", b"\xff\x0f\x80")
    r.set("y", b"\x0f\xff")
    for operation in ["AND", "OR", "XOR"]:
        s.bitop(operation, "z", "x", "y")
        s.bitcount("z")
    s.bitop("NOT", "z", "x")
    s.bitop("NOT", "z", "x", "y")
    show("bitfield", r.bitfield("f").set("u8", 0, 200).get("i4", "#1").incrby("u2", 100, 3, overflow="SAT").execute)
    show("bitfield", r.bitfield("f", default_overflow="FAIL").incrby("u8", 0, 100).incrby("u8", 0, 1).execute)
    s.bitfield_ro("f", "u8", 0, items=[("i5", "#3"), ("u63", 1)])


def estimates():
    s.pfadd("h", *(f"element {n}" for n in range(1000)))
    s.pfadd("h", "element 5")
    s.pfadd("g", *range(500))
    s.pfcount("h")
    s.pfcount("h", "g", "none")
    s.pfmerge("m", "h", "g")
    s.pfcount("m")
    s.pfadd("none")
    s.pfadd("x", 1)


def places():
    s.geoadd("Sicily", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))
    s.geoadd("Sicily", (13.583333, 37.316667, "Agrigento", 13.361389, 38.2, "Palermo"), ch=True)
    s.geoadd("Sicily", (0, 0, "Null"), xx=True)
    s.geoadd("Sicily", (200, 0, "Nowhere"))
    s.geodist("Sicily", "Palermo", "Catania")
    s.geodist("Sicily", "Palermo", "Catania", unit="mi")
    s.geodist("Sicily", "Palermo", "Nowhere")
    s.geohash("Sicily", "Palermo", "Nowhere", "Catania")
    s.geopos("Sicily", "Palermo", "Nowhere", "Catania")
    s.georadius("Sicily", 15, 37, 200, unit="km", sort="ASC")
    s.georadius("Sicily", 15, 37, 200, unit="km", withdist=True, withcoord=True, withhash=True, sort="DESC", count=2)
    s.georadius("Sicily", 15, 37, 200, unit="km", store="stored")
    s.georadiusbymember("Sicily", "Agrigento", 100, unit="km", sort="ASC", withdist=True)
    s.geosearch("Sicily", longitude=15, latitude=37, radius=200, unit="km", sort="ASC", withdist=True)
    s.geosearch("Sicily", member="Palermo", width=400, height=400, unit="km", sort="DESC", withcoord=True, withhash=True)
    s.geosearch("Sicily", member="Palermo", radius=1, unit="m", count=1, any=True)
    s.geosearchstore("stored", "Sicily", member="Palermo", radius=200, unit="km", storedist=True)
    s.zrange("stored", 0, -1, withscores=True)


def of_redis_8_2():
    for n in range(1, 10):
        r.xadd("refs", {"n": n}, id=f"{n}-1")
    r.xgroup_create("refs", "one", "0")
    r.xgroup_create("refs", "two", "0")
    r.xreadgroup("one", "c", {"refs": ">"})
    r.xreadgroup("two", "c", {"refs": ">"}, count=4)
    s.xdelex("refs", "1-1", "99-1")
    s.xdelex("refs", "1-1", "2-1", ref_policy="DELREF")
    s.xdelex("refs", "3-1", "8-1", ref_policy="ACKED")
    s.xackdel("refs", "one", "3-1", "4-1", ref_policy="ACKED")
    s.xackdel("refs", "one", "5-1", ref_policy="DELREF")
    s.xackdel("refs", "one", "6-1", "77-1")
    s.xadd("refs", {"n": 1}, id="10-1", maxlen=4, approximate=False, ref_policy="ACKED")
    s.xtrim("refs", maxlen=2, approximate=False, ref_policy="DELREF")
    s.xtrim("refs", maxlen=1, approximate=False, ref_policy="KEEPREF")
    s.xinfo_stream("refs", full=True)
    r.set("b1", b"\x0f")
    r.set("b2", b"\x33")
    r.set("b3", b"\x55")
    for operation in ["DIFF", "DIFF1", "ANDOR", "ONE"]:
        s.bitop(operation, "d", "b1", "b2", "b3")
        print(redis.Redis(port=port).get("d"))


r.flushall()
for part in [streams, groups, readers_that_wait, bits, estimates, places]:
    part()
if "new" in sys.argv:
    of_redis_8_2()
print("ok")
