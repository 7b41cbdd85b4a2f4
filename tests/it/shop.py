"""An online shop on one server, with redis-py: what applications do with transactions, optimistic locking,
blocking reads, expiry, messages, keyspace events and client-side caching, all at once.

    shop.py PORT PROTOCOL

Hats lie as hashes in database 1. Many buyers take the same few hats at a time, each with WATCH, MULTI and EXEC, until
all are sold; an auditor reads the books in transactions meanwhile, a listener hears of every sale, and a shop window
shows prices that it caches. Visitors are put on a list in database 5, where watchers take them with BLPOP and count them
in keys that expire. Prints `ok`; any deviation is an exception and exit code 1.
"""

import sys
import threading
import time
from collections import Counter

import redis

PORT, PROTOCOL = int(sys.argv[1]), int(sys.argv[2])
HATS = {
    "hat:56854717": {"color": "black", "price": 49.99, "style": "fitted", "quantity": 60, "sold": 0},
    "hat:1326692461": {"color": "maroon", "price": 59.99, "style": "hipster", "quantity": 45, "sold": 0},
    "hat:1236154736": {"color": "green", "price": 99.99, "style": "baseball", "quantity": 30, "sold": 0},
}
STOCK = {hat: item["quantity"] for hat, item in HATS.items()}
BUYERS = 24
PATIENCE = 60
failures = []


def connect(db, **options):
    return redis.Redis(port=PORT, db=db, protocol=PROTOCOL, decode_responses=True, socket_timeout=PATIENCE, **options)


def eventually(what, probe):
    deadline = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.003)


def start(work, *args):
    """A thread whose exception ends the script with exit code 1."""

    def run():
        try:
            work(*args)
        except BaseException as error:
            failures.append(f"{work.__name__}: {error!r}")
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def join(threads):
    deadline = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        assert not thread.is_alive(), f"{thread} does not end: {failures}"
    assert not failures, failures


class SoldOut(Exception):
    pass


def buy(shop, hat, buyer):
    """Takes one hat; its number is what was left before."""
    with shop.pipeline() as pipe:
        while True:
            try:
                pipe.watch(hat)
                left = int(pipe.hget(hat, "quantity"))
                if left == 0:
                    pipe.unwatch()
                    raise SoldOut(hat)
                pipe.multi()
                pipe.hincrby(hat, "quantity", -1)
                pipe.hincrby(hat, "sold", 1)
                pipe.rpush(f"orders:{hat}", f"{buyer}:{left}")
                pipe.publish(f"sales:{hat}", left)
                now, sold, orders, _ = pipe.execute()
                assert (now, sold, orders) == (left - 1, STOCK[hat] - left + 1, sold), (hat, left, now, sold, orders)
                return left
            except redis.WatchError:
                conflicts.append(hat)


conflicts = []
bought = []
books_are_open = threading.Event()


def buyer(number):
    shop = connect(1)
    for hat in list(HATS)[number % 3:] + list(HATS)[:number % 3]:
        try:
            while True:
                bought.append((hat, buy(shop, hat, number), number))
        except SoldOut:
            pass
    shop.close()


def auditor():
    """Whoever reads in a transaction finds the books in balance, whenever it is."""
    shop, audits = connect(1), 0
    while books_are_open.is_set() or audits == 0:
        with shop.pipeline(transaction=True) as pipe:
            for hat in HATS:
                pipe.hmget(hat, "quantity", "sold").llen(f"orders:{hat}")
            replies = pipe.execute()
        for hat, (left, sold), orders in zip(HATS, replies[::2], replies[1::2]):
            assert int(left) + int(sold) == STOCK[hat] and orders == int(sold), (hat, left, sold, orders)
        audits += 1
    shop.close()


def listener(news, heard):
    """Every sale is told once, in the order in which hats of a kind were sold."""
    while len(heard) < sum(STOCK.values()):
        message = news.get_message(ignore_subscribe_messages=True, timeout=PATIENCE)
        assert message, f"no news any more after {len(heard)}"
        heard.append((message["channel"], int(message["data"])))


def sale():
    shop = connect(1)
    with shop.pipeline() as pipe:
        for hat, item in HATS.items():
            pipe.hset(hat, mapping=item)
        assert pipe.execute() == [5, 5, 5]
    assert shop.hgetall("hat:56854717")["style"] == "fitted" and sorted(shop.keys()) == sorted(HATS)
    news, heard = shop.pubsub(), []
    news.psubscribe("sales:*")
    assert news.get_message(timeout=PATIENCE)["type"] == "psubscribe"
    books_are_open.set()
    others = [start(auditor), start(auditor), start(listener, news, heard)]
    join([start(buyer, number) for number in range(BUYERS)])
    books_are_open.clear()
    join(others)
    everything = {(hat, number) for hat, count in STOCK.items() for number in range(1, count + 1)}
    assert Counter((hat, number) for hat, number, _ in bought) == Counter(everything), "a hat was sold twice, or not at all"
    for hat, count in STOCK.items():
        assert shop.hmget(hat, "quantity", "sold") == ["0", str(count)]
        orders = [tuple(map(int, order.split(":"))) for order in shop.lrange(f"orders:{hat}", 0, -1)]
        assert [left for _, left in orders] == list(range(count, 0, -1)), orders
        assert Counter(orders) == Counter((who, left) for kind, left, who in bought if kind == hat)
        assert [left for channel, left in heard if channel == f"sales:{hat}"] == list(range(count, 0, -1))
    assert conflicts, "nobody ever met another buyer: the test has shown nothing"
    news.close()
    shop.close()


def refill():
    """Restocking by the short form of optimistic locking, and what a transaction refuses."""
    shop = connect(1)

    def more(pipe):
        sold = int(pipe.hget("hat:56854717", "sold"))
        pipe.multi()
        pipe.hset("hat:56854717", "quantity", sold)

    assert shop.transaction(more, "hat:56854717") == [0]
    assert shop.hget("hat:56854717", "quantity") == "60"
    with shop.pipeline() as pipe:
        pipe.hset("hat:1326692461", "quantity", 7).lpush("hat:1326692461", "no list").hget("hat:1326692461", "quantity")
        replies = pipe.execute(raise_on_error=False)
    assert replies[0] == 0 and isinstance(replies[1], redis.ResponseError) and replies[2] == "7", replies
    with shop.pipeline() as pipe:
        pipe.hset("hat:1326692461", "quantity", 8).execute_command("HSET", "hat:1326692461")
        try:
            pipe.execute()
            raise AssertionError("a transaction with a refused command was executed")
        except redis.ResponseError as error:
            assert "wrong number of arguments" in str(error), error
    assert shop.hget("hat:1326692461", "quantity") == "7"
    with shop.pipeline() as pipe:
        pipe.watch("hat:1326692461")
        connect(1).delete("hat:1326692461")
        pipe.multi()
        pipe.hset("hat:1326692461", "quantity", 9)
        try:
            pipe.execute()
            raise AssertionError("a watched key went unnoticed")
        except redis.WatchError:
            pass
    assert not shop.exists("hat:1326692461")
    shop.close()


def window():
    """Prices that a client keeps until it is told that they have changed: redis-py's own cache, fed by pushes of
    protocol 3, or with protocol 2 one whose messages go to another connection."""
    shop, showcase = connect(1), cached() if PROTOCOL == 3 else Redirected()
    for price in range(100, 120):
        shop.hset("hat:1236154736", "price", price)
        eventually("the new price in the window", lambda: showcase.hget("hat:1236154736", "price") == str(price))
    before = shop.info("commandstats")["cmdstat_hget"]["calls"]
    assert all(showcase.hget("hat:1236154736", "price") == "119" for _ in range(100))
    assert shop.info("commandstats")["cmdstat_hget"]["calls"] - before <= 1, "the price is not cached"
    shop.flushall()
    eventually("the empty window", lambda: showcase.hget("hat:1236154736", "price") is None)
    showcase.close()
    shop.close()


def cached():
    from redis.cache import CacheConfig
    from redis.connection import CacheProxyConnection

    # It asks for a name and a version of its own maker; what it then sends is any server's.
    hello = connect(1).execute_command("HELLO", 3)
    CacheProxyConnection.DEFAULT_SERVER_NAME = hello["server"]
    CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"
    return connect(1, cache_config=CacheConfig())


class Redirected:
    """A cache whose connection asks while another one listens."""

    def __init__(self):
        self.kept = {}
        self.ears = connect(1).pubsub()
        self.ears.execute_command("CLIENT", "ID")
        number = self.ears.parse_response()
        self.ears.subscribe("__redis__:invalidate")
        assert self.ears.get_message(timeout=PATIENCE)["type"] == "subscribe"
        self.asking = connect(1, single_connection_client=True)
        assert self.asking.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", number)
        assert self.asking.execute_command("CLIENT", "GETREDIR") == number

    def hget(self, key, field):
        while message := self.ears.get_message():
            for stale in message["data"] or list({key for key, _ in self.kept}):
                self.kept = {name: value for name, value in self.kept.items() if name[0] != stale}
        if (key, field) not in self.kept:
            self.kept[key, field] = self.asking.hget(key, field)
        return self.kept[key, field]

    def close(self):
        self.ears.close()
        self.asking.close()


VISITS = {"51.218.112.236": 40, "90.213.45.98": 15, "115.215.230.176": 3, "104.174.118.18": 120}
LIMIT = 30


def watcher(seen):
    """Takes visitors one by one; who comes too often is noted. An empty text ends it."""
    log = connect(5)
    while True:
        _, address = log.blpop("visitors", timeout=PATIENCE)
        if not address:
            return log.close()
        with log.pipeline() as pipe:
            pipe.incrby(f"visits:{address}", 1).expire(f"visits:{address}", 60)
            count, _ = pipe.execute()
        if count == LIMIT:
            log.sadd("banned", address)
        seen.append(address)


def visitors():
    log, seen = connect(5), []
    watchers = [start(watcher, seen) for _ in range(3)]
    eventually("three watchers to wait", lambda: log.info("clients")["blocked_clients"] == 3)
    queue = [address for address, count in VISITS.items() for _ in range(count)]

    def door(part):
        visitor = connect(5)
        for address in part:
            visitor.rpush("visitors", address)
        visitor.close()

    join([start(door, queue[number::4]) for number in range(4)])
    for _ in watchers:
        log.rpush("visitors", "")
    join(watchers)
    assert Counter(seen) == Counter(VISITS) and not log.exists("visitors")
    for address, count in VISITS.items():
        assert log.get(f"visits:{address}") == str(count) and 0 < log.ttl(f"visits:{address}") <= 60
    assert log.smembers("banned") == {address for address, count in VISITS.items() if count >= LIMIT}
    assert connect(1).keys("visits:*") == []
    # The count ends when a visitor stays away, and whoever listens hears of it.
    log.config_set("notify-keyspace-events", "Ex")
    events = log.pubsub()
    events.psubscribe("__keyevent@5__:expired")
    assert events.get_message(timeout=PATIENCE)["type"] == "psubscribe"
    for address in VISITS:
        assert log.pexpire(f"visits:{address}", 50)
    expired = [events.get_message(timeout=PATIENCE)["data"] for _ in VISITS]
    assert sorted(expired) == sorted(f"visits:{address}" for address in VISITS), expired
    assert log.keys() == ["banned"]
    log.config_set("notify-keyspace-events", "")
    events.close()
    log.close()


sale()
refill()
visitors()
window()
assert connect(1).flushall() and not failures, failures
print("ok")
