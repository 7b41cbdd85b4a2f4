"""redis-py's own machinery against Kivi: what stands between an application and the commands.

Pools shared by threads, pipelines with WATCH, locks under contention, scripts, pub/sub in a thread and on an event loop,
streams read by groups, reconnecting after CLIENT KILL and timeouts, asyncio with many tasks: in both
protocols, with both parsers, over TCP and the unix socket. (redis-py's client-side caching asks for a server that says it is Redis 7.4;
Kivi says 7.2.4, as Valkey does.) Prints `ok`; any deviation is an exception and exit code 1.
"""

import asyncio
import os
import queue
import threading
import time

import redis
import redis.asyncio
from redis._parsers import _AsyncHiredisParser, _AsyncRESP2Parser, _AsyncRESP3Parser
from redis._parsers import _HiredisParser, _RESP2Parser, _RESP3Parser
from redis.backoff import ConstantBackoff
from redis.retry import Retry

PORT, SOCKET = int(os.environ["SERVER_PORT"]), os.environ["SERVER_SOCKET"]
PATIENCE = 60
WAYS = [
    (2, _HiredisParser, _AsyncHiredisParser),
    (2, _RESP2Parser, _AsyncRESP2Parser),
    (3, _HiredisParser, _AsyncHiredisParser),
    (3, _RESP3Parser, _AsyncRESP3Parser),
]


def eventually(what, probe):
    deadline = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.002)


def in_threads(count, work):
    """Runs work(0), work(1), ... in as many threads, and passes on the first exception."""
    failures = []

    def guarded(index):
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(index,), daemon=True) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread does not end"
    if failures:
        raise failures[0]


def pools(connect):
    """Threads share a pool of fewer connections, which come back to it clean."""
    pool = connect(max_connections=4, blocking=True, client_name="pool")
    client = redis.Redis(connection_pool=pool)

    def work(index):
        for turn in range(60):
            key = f"pool:{index}:{turn}"
            assert client.set(key, turn, px=60000, nx=True) is True
            assert client.get(key) == str(turn)
            with client.pipeline(transaction=turn % 2 == 0) as pipe:
                pipe.incr("pool:sum").expire(key, 100).ttl(key).hset(key + ":h", mapping={"a": 1, "b": turn})
                _, expires, ttl, added = pipe.execute()
            assert (expires, added) == (True, 2) and 0 < ttl <= 100

    in_threads(12, work)
    assert client.get("pool:sum") == "720"
    mine = [one for one in client.client_list() if one["name"] == "pool"]
    assert 1 <= len(mine) <= 4, mine
    pool.disconnect()


def optimistic(client):
    """WATCH in transactions that retry: no increment is lost."""

    def increment(pipe):
        value = int(pipe.get("watched") or 0)
        pipe.multi()
        pipe.set("watched", value + 1)

    in_threads(6, lambda _: [client.transaction(increment, "watched") for _ in range(15)])
    assert client.get("watched") == "90"
    with client.pipeline() as pipe:
        pipe.watch("watched")
        client.set("watched", "touched")
        pipe.multi()
        pipe.get("watched")
        try:
            pipe.execute()
            raise AssertionError("a touched key does not stop EXEC")
        except redis.WatchError:
            pass


def errors(client):
    """Errors in the middle of pipelines stand where they belong."""
    with client.pipeline(transaction=True) as pipe:
        pipe.set("text", "x").incr("text").get("text")
        first, second, third = pipe.execute(raise_on_error=False)
    assert (first, third) == (True, "x") and isinstance(second, redis.ResponseError), second
    with client.pipeline(transaction=True) as pipe:
        pipe.set("text", "y").execute_command("NOSUCH", 1)
        try:
            pipe.execute()
            raise AssertionError("EXECABORT is missing")
        except redis.ResponseError as error:
            assert "unknown command" in str(error), error
    assert client.get("text") == "x"
    for call in [lambda: client.lpush("text", 1), lambda: client.set("text", 1, ex=0), lambda: client.zadd("z", {"m": "nan"})]:
        try:
            call()
            raise AssertionError("an error is missing")
        except redis.ResponseError:
            pass


def locks(client):
    """redis-py's locks: one holder at a time, extended, lost when they expire, waited for."""
    held = []

    def work(index):
        for _ in range(5):
            with client.lock("lock", timeout=30, blocking_timeout=PATIENCE, sleep=0.001):
                held.append(index)
                assert len(held) == 1, "two hold the lock"
                held.pop()

    in_threads(6, work)
    first, second = client.lock("lock", timeout=30), client.lock("lock", timeout=30)
    assert first.acquire(blocking=False) and not second.acquire(blocking=False)
    assert first.extend(10, replace_ttl=True) and client.pttl("lock") <= 10000
    assert first.reacquire() and first.owned() and not second.owned()
    client.pexpire("lock", 1)
    eventually("the lock expires", lambda: second.acquire(blocking=False))
    try:
        first.release()
        raise AssertionError("a lock that was lost is released")
    except redis.exceptions.LockNotOwnedError:
        second.release()


def scripts(client):
    transfer = client.register_script(
        "local have = tonumber(redis.call('GET', KEYS[1]) or '0') "
        "if have < tonumber(ARGV[1]) then return redis.error_reply('POOR ' .. have) end "
        "redis.call('DECRBY', KEYS[1], ARGV[1]) return {redis.call('INCRBY', KEYS[2], ARGV[1]), 'done'}"
    )
    client.set("from", 100)
    assert transfer(keys=["from", "to"], args=[30]) == [30, "done"]
    client.script_flush()
    assert transfer(keys=["from", "to"], args=[30]) == [60, "done"], "NOSCRIPT is not answered by loading"
    client.script_flush()
    with client.pipeline() as pipe:
        transfer(keys=["from", "to"], args=[10], client=pipe)
        pipe.get("from")
        assert pipe.execute() == [[70, "done"], "30"]
    try:
        transfer(keys=["from", "to"], args=[1000])
        raise AssertionError("the script's error is missing")
    except redis.ResponseError as error:
        assert "POOR 30" in str(error), error
    client.function_load("#!lua name=mine\nredis.register_function('twice', function(k, a) return a[1] * 2 end)", replace=True)
    assert client.fcall("twice", 0, 21) == 42 and client.function_list()[0]


def messages(client):
    """A subscriber in redis-py's own thread, with patterns, while others publish."""
    got, boss = queue.Queue(), client.pubsub(ignore_subscribe_messages=True)
    boss.subscribe(**{"news": lambda message: got.put(("news", message["data"]))})
    boss.psubscribe(**{"job:*": lambda message: got.put((message["channel"], message["data"]))})
    thread = boss.run_in_thread(sleep_time=0.01, daemon=True)
    eventually("subscribed", lambda: client.pubsub_numsub("news")[0][1] == 1 and client.pubsub_numpat() == 1)
    in_threads(4, lambda index: [client.publish(f"job:{index}", turn) for turn in range(25)])
    assert client.publish("news", "end") == 1
    seen = {}
    while True:
        channel, data = got.get(timeout=PATIENCE)
        if channel == "news":
            break
        seen.setdefault(channel, []).append(int(data))
    assert seen == {f"job:{index}": list(range(25)) for index in range(4)}, seen
    thread.stop()
    thread.join(PATIENCE)
    eventually("unsubscribed", lambda: client.pubsub_numpat() == 0)


def groups(client):
    """Workers of a stream's group: all entries once, one worker's abandoned entries claimed by the others."""
    client.xgroup_create("stream", "group", id="0", mkstream=True)
    for number in range(60):
        client.xadd("stream", {"number": number}, maxlen=1000, approximate=True)
    ((_, lost),) = entries(client.xreadgroup("group", "lazy", {"stream": ">"}, count=10))
    assert len(lost) == 10
    done, guard = [], threading.Lock()

    def work(index):
        while True:
            batch = client.xreadgroup("group", f"worker{index}", {"stream": ">"}, count=7, block=20)
            found = entries(batch)[0][1] if batch else client.xautoclaim("stream", "group", f"worker{index}", 0, count=3)[1]
            mine = [entry for entry in found if client.xack("stream", "group", entry[0])]
            with guard:
                done.extend(int(fields["number"]) for _, fields in mine)
                if len(done) >= 60:
                    return

    in_threads(4, work)
    assert sorted(done) == list(range(60)), sorted(done)
    assert client.xpending("stream", "group")["pending"] == 0
    assert client.xinfo_stream("stream")["length"] == 60


def entries(reply):
    """What XREADGROUP gives: a list of pairs, or a map where redis-py has left RESP3's as it is."""
    if isinstance(reply, dict):
        return [(key, found[0] if len(found) == 1 and isinstance(found[0], list) else found) for key, found in reply.items()]
    return reply


def scans(client):
    client.mset({f"scan:{number}": number for number in range(500)})
    assert sum(1 for _ in client.scan_iter("scan:*", count=37)) == 500
    client.hset("big", mapping={f"f{number}": number for number in range(1000)})
    assert len(dict(client.hscan_iter("big", count=50))) == 1000
    client.zadd("rank", {f"m{number}": number / 8 for number in range(300)})
    assert client.zrange("rank", 0, 2, withscores=True, desc=True)[0][1] == 299 / 8
    assert len(dict(client.zscan_iter("rank"))) == 300


def waits(client):
    """Blocking commands: served in order, timed out, and unblocked by others."""
    got = queue.Queue()

    def take():
        got.put(client.blpop(["jobs:high", "jobs:low"], timeout=PATIENCE))

    threads = [threading.Thread(target=take, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    eventually("three wait", lambda: client.info("clients")["blocked_clients"] == 3)
    client.rpush("jobs:low", "a", "b")
    client.rpush("jobs:high", "c")
    found = sorted(tuple(got.get(timeout=PATIENCE)) for _ in range(3))
    assert found == [("jobs:high", "c"), ("jobs:low", "a"), ("jobs:low", "b")], found
    assert client.blpop("jobs:low", timeout=0.02) is None
    assert client.blmove("jobs:low", "jobs:high", 0.02) is None


def reconnects(connect):
    """A connection that was killed is made anew by the retry that redis-py is told to make."""
    client = redis.Redis(
        connection_pool=connect(retry=Retry(ConstantBackoff(0.01), 5), retry_on_error=[redis.ConnectionError])
    )
    other = redis.Redis(port=PORT)
    for _ in range(10):
        assert other.client_kill_filter(_id=client.client_id()) == 1
        assert client.incr("survived") > 0
    assert client.get("survived") == "10"


def pool_of(kind, protocol, parser, path):
    def connect(blocking=False, **options):
        where = {"connection_class": kind.UnixDomainSocketConnection, "path": SOCKET} if path else {"port": PORT}
        of = kind.BlockingConnectionPool if blocking else kind.ConnectionPool
        more = {"decode_responses": True, "socket_timeout": PATIENCE}
        return of(protocol=protocol, parser_class=parser, **where, **more, **options)

    return connect


async def on_a_loop(connect):
    """asyncio: a hundred tasks on a pool, a pipeline each, pub/sub, blocking reads and locks between them."""
    client = redis.asyncio.Redis(connection_pool=connect(max_connections=20, blocking=True, timeout=PATIENCE))
    await client.flushall()

    async def work(index):
        for turn in range(5):
            async with client.pipeline(transaction=True) as pipe:
                pipe.incr("sum").rpush("list", index).zadd("zset", {index: turn}).get("sum")
                done = await pipe.execute()
                assert done[0] == int(done[3]), done
        async with client.lock("async", timeout=30, blocking_timeout=PATIENCE, sleep=0.005):
            value = int(await client.get("guarded") or 0)
            await asyncio.sleep(0)
            await client.set("guarded", value + 1)

    await asyncio.gather(*[work(index) for index in range(40)])
    assert (await client.get("sum"), await client.llen("list")) == ("200", 200)
    assert await client.get("guarded") == "40"

    async def listen(ready):
        async with client.pubsub() as boss:
            await boss.subscribe("a", "b")
            seen = []
            async for message in boss.listen():
                if message["type"] == "subscribe":
                    if message["channel"] == "b":
                        ready.set()
                elif message["data"] == "end":
                    return seen
                else:
                    seen.append(int(message["data"]))

    ready = [asyncio.Event() for _ in range(5)]
    listeners = [asyncio.create_task(listen(one)) for one in ready]
    await asyncio.gather(*[one.wait() for one in ready])
    for number in range(50):
        assert await client.publish("ab"[number % 2], number) == 5
    await client.publish("b", "end")
    assert await asyncio.wait_for(asyncio.gather(*listeners), PATIENCE) == [list(range(50))] * 5

    takers = [asyncio.create_task(client.blpop("queue", timeout=PATIENCE)) for _ in range(8)]
    await client.rpush("queue", *range(8))
    found = await asyncio.gather(*takers)
    assert sorted(int(one[1]) for one in found) == list(range(8)), found
    assert [key async for key in client.scan_iter("zs*")] == ["zset"]
    # A task that is cancelled in the middle leaves no half-read connection in the pool.
    waiter = asyncio.create_task(client.blpop("never", timeout=PATIENCE))
    while int((await client.info("clients"))["blocked_clients"]) == 0:
        await asyncio.sleep(0.001)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert await asyncio.gather(*[client.echo(str(number)) for number in range(30)]) == [str(number) for number in range(30)]
    await client.aclose()
    await client.connection_pool.disconnect()


def main():
    for number, (protocol, parser, async_parser) in enumerate(WAYS):
        connect = pool_of(redis, protocol, parser, path=number % 2 == 1)
        client = redis.Redis(connection_pool=connect())
        client.flushall()
        pools(connect)
        for part in [optimistic, errors, locks, scripts, messages, groups, scans, waits]:
            part(client)
        reconnects(connect)
        asyncio.run(on_a_loop(pool_of(redis.asyncio, protocol, async_parser, path=number % 2 == 0)))
    print("ok")


main()
