"""A few clients do anything that one client can notice of another, on Kivi and on Valkey; each must see the same.

    together.py KIVI_PORT VALKEY_PORT SEED STEPS

Every step sends one random command of one client to both servers and waits until all clients have got the same from
both, byte for byte: replies, messages, invalidations, what MONITOR shows, the end of a connection, in the same order. What
differs by nature (numbers of clients, addresses, times, the order of channels that are left all at once) is made equal
first. Names are few, so that clients meet; nothing depends on time. Prints `ok`, or the history that led to a difference.
"""

import os
import random
import re
import select
import socket
import sys
import time

PORTS = [int(sys.argv[1]), int(sys.argv[2])]
SEED, STEPS = int(sys.argv[3]), int(sys.argv[4])
PATIENCE = 30.0
# Client numbers from here on are no data.
FIRST_ID = 7000
rng = random.Random(SEED)


def encode(words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Incomplete(Exception):
    pass


def parse(data, at=0):
    """One reply as a nested tuple, and where it ends."""
    end = data.find(b"\r\n", at)
    if end < 0:
        raise Incomplete
    kind, line, at = data[at : at + 1], data[at + 1 : end], end + 2
    if kind in b"+-:,#_(":
        return (kind, line), at
    assert kind in b"$=*%~>", (kind, data[:300])
    count = int(line)
    if count < 0:
        return (kind, None), at
    if kind in b"$=":
        if len(data) < at + count + 2:
            raise Incomplete
        return (kind, data[at : at + count]), at + count + 2
    items = []
    for _ in range(count * (2 if kind == b"%" else 1)):
        item, at = parse(data, at)
        items.append(item)
    return (kind, tuple(items)), at


class Side:
    """One client's connection to one server."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.seen = []
        self.open = True
        self.id = self.ask("CLIENT", "ID")
        self.address = b"%s:%d" % (b"127.0.0.1", self.socket.getsockname()[1])

    def send(self, words):
        try:
            self.socket.sendall(encode(words))
        except OSError:
            pass

    def receive(self):
        """Takes what has come."""
        while self.open and select.select([self.socket], [], [], 0)[0]:
            try:
                piece = self.socket.recv(1 << 20)
            except OSError:
                piece = b""
            self.open = bool(piece)
            self.data += piece
        try:
            while self.data:
                reply, end = parse(self.data)
                self.data = self.data[end:]
                self.seen.append(reply)
        except Incomplete:
            pass
        if not self.open and self.seen[-1:] != ["closed"]:
            self.seen.append("closed")

    def ask(self, *words):
        self.send(words)
        deadline = time.monotonic() + PATIENCE
        while not self.seen:
            self.receive()
            assert time.monotonic() < deadline, words
        kind, value = self.seen.pop(0)
        return int(value) if kind == b":" else value


class Client:
    """The same client on both servers."""

    def __init__(self, name):
        self.name = name
        self.sides = [Side(port) for port in PORTS]
        # It has not answered: it waits, or has turned replies off.
        self.silent = False
        self.monitors = False


def equalise(reply, side):
    """What differs by nature in a reply, made equal."""
    if reply == "closed":
        return reply
    kind, value = reply
    if isinstance(value, tuple):
        if value and value[0][1] == b"server":
            # HELLO: what they are, and the modules that they bring along.
            value = value[4:-1]
        if [item[1] for item in value[:2]] == [b"message", b"__redis__:invalidate"] and value[2][0] == b"_":
            # Valkey says it in the protocol of the one who tracks.
            value = (*value[:2], (b"$", None))
        if len(value) == 2 and value[0][1] == b"invalidate" and value[1] == (b"$", None):
            value = (value[0], (b"_", b""))
        return (kind, tuple(equalise(item, side) for item in value))
    if kind == b":" and value.lstrip(b"-").isdigit() and int(value) >= FIRST_ID:
        return (kind, names[side].get(int(value), b"?"))
    if kind == b"+" and re.match(rb"\d+\.\d+ \[", value):
        value = re.sub(rb"^\d+\.\d+ ", b"TIME ", value)
        value = re.sub(rb"127\.0\.0\.1:\d+", lambda m: addresses[side].get(m[0], b"?"), value)
        value = re.sub(rb'"(\d{4,})"', lambda m: names[side].get(int(m[1]), m[0]), value)
    return (kind, value)


LEAVING = (b"unsubscribe", b"punsubscribe", b"sunsubscribe")


def ordered(replies):
    """Several channels left at once come in any order, with falling counts; a message that several patterns of a client
    match comes in any order of these."""
    out, run = [], []

    def flush():
        names = sorted(run, key=lambda r: (r[1][0], r[1][1][1] or b""))
        counts = [r[1][2] for r in run]
        out.extend((r[0], (*r[1][:2], count, *r[1][3:])) for r, count in zip(names, counts))
        run.clear()

    for reply in replies:
        kind = group(reply)
        if kind is None or run and group(run[0]) != kind:
            flush()
        (out if kind is None else run).append(reply)
    flush()
    return out


def group(reply):
    """What can stand in any order among its like."""
    if reply == "closed" or not isinstance(reply[1], tuple) or len(reply[1]) < 3:
        return None
    if len(reply[1]) == 3 and reply[1][0][1] in LEAVING:
        return "leaving"
    return reply[1][2:] if reply[1][0][1] == b"pmessage" else None


names, addresses = [{}, {}], [{}, {}]
history = []
# To look at some kinds of commands only.
parts = [float(word) for word in os.environ.get("TOGETHER_PARTS", "0 1").split()]


def connect(name):
    client = Client(name)
    for number, side in enumerate(client.sides):
        names[number][side.id] = name.encode()
        addresses[number][side.address] = name.encode()
    return client


def views(client):
    return [ordered([equalise(reply, n) for reply in side.seen]) for n, side in enumerate(client.sides)]


def settle(clients, asked):
    """Waits until both servers have answered and all clients have seen the same."""
    before = [len(side.seen) for side in asked.sides]
    begin = time.monotonic()
    while time.monotonic() - begin < 0.02:
        for side in asked.sides:
            side.receive()
        if all(len(side.seen) > had or not side.open for side, had in zip(asked.sides, before)):
            break
    while True:
        for client in clients:
            for side in client.sides:
                side.receive()
        different = [client for client in clients if views(client)[0] != views(client)[1]]
        if not different:
            break
        if time.monotonic() - begin > PATIENCE:
            fail(different[0])
    asked.silent = not asked.sides[0].seen
    for client in clients:
        for side in client.sides:
            side.seen.clear()


def fail(client):
    ours, theirs = views(client)
    print(f"seed {SEED}, step {len(history)}: client {client.name} has seen different things")
    for line in history[-60:]:
        print("  ", line)
    same = next((n for n, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
    print("Kivi:  ", ours[same : same + 9])
    print("Valkey:", theirs[same : same + 9])
    sys.exit(1)


LISTED = "name db sub psub ssub multi watch resp flags user capa lib-name lib-ver cmd redir".split()
GAUGES = (
    "blocked_clients tracking_clients pubsub_clients watching_clients total_watched_keys total_blocking_keys pubsub_channels "
    "pubsub_patterns pubsubshard_channels tracking_total_keys tracking_total_items tracking_total_prefixes "
    "connected_clients"
).split()


def compare(observer):
    """CLIENT LIST and the gauges of INFO."""
    lists, gauges = [], []
    for number, side in enumerate(observer.sides):
        lines = []
        for line in side.ask("CLIENT", "LIST").decode().splitlines():
            fields = dict(word.split("=", 1) for word in line.split(" "))
            redirect = int(fields["redir"])
            fields["redir"] = str(names[number].get(redirect, redirect))
            lines.append((names[number].get(int(fields["id"])), tuple((k, fields[k]) for k in LISTED)))
        lists.append(sorted(lines, key=str))
        info = dict(re.findall(r"^(\w+):(\S*)\r$", side.ask("INFO", "everything").decode(), re.M))
        gauges.append([(name, info[name]) for name in GAUGES])
    for ours, theirs, what in [(*lists, "CLIENT LIST"), (*gauges, "INFO")]:
        if ours != theirs:
            return what, [x for x in ours if x not in theirs], [x for x in theirs if x not in ours]
    return None


def compare_soon(observer):
    """The same, once whoever has gone has been noticed."""
    deadline = time.monotonic() + PATIENCE
    while difference := compare(observer):
        if time.monotonic() > deadline:
            for line in history[-60:]:
                print("  ", line)
            what, ours, theirs = difference
            print(f"seed {SEED}, step {len(history)}: {what} differs\nKivi:   {ours}\nValkey: {theirs}")
            sys.exit(1)


def key():
    return rng.choice(["k1", "k2", "k3", "list1", "list2", "h", "k:a", "k:b"])


def channel():
    return rng.choice(["c1", "c2", "d1", "__keyspace@0__:k1", "__redis__:invalidate"])


def data_command():
    k, other = key(), key()
    return rng.choice(
        [
            ["SET", k, rng.choice(["v", "w", "1"])],
            ["SET", k, "v", "EX", 1000],
            ["SET", k, "v", "GET"],
            ["GET", k],
            ["GET", k],
            ["MGET", k, other],
            ["MSET", k, "x", other, "y"],
            ["INCR", k],
            ["APPEND", k, "z"],
            ["DEL", k, other],
            ["EXPIRE", k, rng.choice([1000, -1])],
            ["PERSIST", k],
            ["RENAME", k, other],
            ["COPY", k, other],
            ["RPUSH", "list1", "a", "b"],
            ["LPUSH", "list2", "c"],
            ["LPOP", rng.choice(["list1", "list2"])],
            ["LRANGE", "list1", 0, -1],
            ["HSET", "h", "f", rng.choice("12")],
            ["HGET", "h", "f"],
            ["HINCRBY", "h", "n", 1],
            ["HDEL", "h", "f", "n"],
            ["EXISTS", k, other],
            ["TYPE", k],
            ["STRLEN", k],
            ["GETDEL", k],
            ["DBSIZE"],
            ["OBJECT", "ENCODING", k],
            ["TOUCH", k],
            ["SETRANGE", k, 0, ""],
            ["ZADD", "z", 1, "m"],
            ["SADD", "s", "m"],
            other_type_command(),
            other_type_command(),
            other_type_command(),
        ]
    )


def stream():
    return rng.choice(["st1", "st2"])


def other_type_command():
    k, other = stream(), stream()
    entry = f"{rng.randint(1, 40)}-*"
    read = [["STREAMS", k, rng.choice(["0", "5", "+"])], ["STREAMS", k, other, "0", "$"]]
    return rng.choice(
        [
            ["XADD", k, entry, "f", "v"],
            ["XADD", k, entry, "f", "v", "g", "w"],
            ["XADD", k, "MAXLEN", rng.choice([0, 2]), entry, "f", "v"],
            ["XADD", k, "NOMKSTREAM", entry, "f", "v"],
            ["XRANGE", k, "-", "+"],
            ["XLEN", k],
            ["XDEL", k, "5-0", "6-0", "7-0"],
            ["XTRIM", k, "MAXLEN", rng.choice([0, 1, 9])],
            ["XSETID", k, "40-40"],
            ["XREAD", *rng.choice(read)],
            ["XGROUP", "CREATE", k, "g", rng.choice("0$"), "MKSTREAM"],
            ["XGROUP", "CREATE", k, "g", rng.choice("0$")],
            ["XGROUP", "DESTROY", k, "g"],
            ["XGROUP", "SETID", k, "g", 0],
            ["XGROUP", "CREATECONSUMER", k, "g", "c"],
            ["XGROUP", "DELCONSUMER", k, "g", "c"],
            ["XREADGROUP", "GROUP", "g", rng.choice("cd"), "COUNT", 2, "STREAMS", k, rng.choice(">>0")],
            ["XREADGROUP", "GROUP", "g", "c", "NOACK", "STREAMS", k, ">"],
            ["XACK", k, "g", "5-0", "9-0", "12-0"],
            ["XPENDING", k, "g"],
            ["XCLAIM", k, "g", "e", 0, "5-0", "9-0", "FORCE"],
            ["XAUTOCLAIM", k, "g", "e", 0, 0, "COUNT", 2],
            ["XINFO", "STREAM", k],
            ["DEL", k],
            ["RENAME", k, other],
            ["SETBIT", "bits", rng.randint(0, 9), rng.choice("01")],
            ["GETBIT", "bits", 3],
            ["BITCOUNT", "bits"],
            ["BITOP", rng.choice(["OR", "NOT"]), "bits2", "bits"],
            ["BITFIELD", "bits", "GET", "u4", 0],
            ["BITFIELD", "bits", "INCRBY", "u4", 0, rng.choice([0, 1])],
            ["PFADD", "hll", rng.choice("abcdefgh")],
            ["PFCOUNT", "hll"],
            ["PFCOUNT", "hll", "hll2"],
            ["PFMERGE", "hll2", "hll"],
            ["GEOADD", "geo", rng.choice([13, 14]), 38, rng.choice("ab")],
            ["GEOSEARCH", "geo", "FROMLONLAT", 13, 38, "BYRADIUS", 200, "km", "ASC"],
            ["GEOSEARCHSTORE", "geo2", "geo", "FROMLONLAT", 13, 38, "BYRADIUS", rng.choice([1, 200]), "km"],
            ["GEORADIUS", "geo", 13, 38, 200, "km", "STORE", "geo2"],
            ["DEL", "bits", "hll", "geo"],
        ]
    )


def transaction_command():
    return rng.choice(
        [
            ["MULTI"],
            ["MULTI"],
            ["EXEC"],
            ["EXEC"],
            ["EXEC"],
            ["DISCARD"],
            ["WATCH", key()],
            ["WATCH", key(), key()],
            ["UNWATCH"],
            ["NONSENSE", "x"],
            ["GET"],
        ]
    )


def channel_command():
    c = channel()
    return rng.choice(
        [
            ["SUBSCRIBE", c],
            ["SUBSCRIBE", c, channel()],
            ["PSUBSCRIBE", rng.choice(["c*", "[cd]1", "*", "__key*__:*", "__keyevent@*"])],
            ["SSUBSCRIBE", c],
            ["UNSUBSCRIBE", c],
            ["PUNSUBSCRIBE", "c*"],
            ["SUNSUBSCRIBE", c],
            ["UNSUBSCRIBE"],
            ["PUNSUBSCRIBE"],
            ["SUNSUBSCRIBE"],
            ["PUBLISH", c, "text"],
            ["PUBLISH", c, "text"],
            ["SPUBLISH", c, "text"],
            ["PUBSUB", "NUMSUB", c, "c1"],
            ["PUBSUB", "NUMPAT"],
            ["PUBSUB", "SHARDNUMSUB", c],
        ]
    )


def tracking_command(clients, number):
    other = choose(clients).sides[number].id
    words = ["CLIENT", "TRACKING", "ON"]
    if chosen(0.3):
        words += ["BCAST"]
        words += ["PREFIX", "k"] * chosen(0.4) + ["PREFIX", "list"] * chosen(0.3) + ["PREFIX", "k1"] * chosen(0.1)
    words += ["REDIRECT", other] * chosen(0.3) + ["OPTIN"] * chosen(0.2) + ["OPTOUT"] * chosen(0.2)
    words += ["NOLOOP"] * chosen(0.3)
    return choose(
        [
            words,
            words,
            words,
            ["CLIENT", "TRACKING", "OFF"],
            ["CLIENT", "CACHING", "YES"],
            ["CLIENT", "CACHING", "NO"],
            ["CLIENT", "GETREDIR"],
            ["CLIENT", "TRACKINGINFO"],
        ]
    )


def client_command(clients, number):
    other = choose(clients).sides[number].id
    return choose(
        [
            ["HELLO", 3],
            ["HELLO", 3, "SETNAME", "n"],
            ["HELLO", 2],
            ["CLIENT", "REPLY", "OFF"],
            ["CLIENT", "REPLY", "ON"],
            ["CLIENT", "REPLY", "SKIP"],
            ["CLIENT", "SETNAME", "me"],
            ["CLIENT", "NO-TOUCH", "on"],
            ["CLIENT", "NO-EVICT", "on"],
            ["CLIENT", "SETINFO", "lib-name", "l"],
            ["CLIENT", "KILL", "ID", other],
            ["CLIENT", "KILL", "ID", other, "SKIPME", "no"],
            ["CLIENT", "KILL", "TYPE", "pubsub"],
            ["CLIENT", "UNBLOCK", other],
            ["CLIENT", "UNBLOCK", other, "ERROR"],
            ["CLIENT", "ID"],
            ["MONITOR"],
            ["MONITOR"],
            ["RESET"],
            ["RESET"],
            ["QUIT"],
            ["SELECT", choose([0, 0, 1])],
            ["SELECT", 0],
            ["SWAPDB", 0, 1],
            ["FLUSHALL"],
            ["FLUSHDB"],
            ["CONFIG", "SET", "notify-keyspace-events", choose(["KEA", "KEAmn", "Elg", "K$", ""])],
            ["PING"],
            ["PING", "x"],
            ["ECHO", "x"],
            ["BLPOP", "list1", "list2", 0],
            ["BLMOVE", "list1", "list2", "LEFT", "RIGHT", 0],
            ["BLPOP", "list1", 0.001],
            ["XREAD", "BLOCK", 0, "STREAMS", "st1", "st2", choose("$$5"), "$"],
            ["XREADGROUP", "GROUP", "g", choose("cd"), "BLOCK", 0, "STREAMS", choose(["st1", "st2"]), ">"],
            ["XREAD", "BLOCK", 1, "STREAMS", "st1", "$"],
        ]
    )


# Both servers get the same choices, though a command is made for each of them: with its numbers of clients.
chosen = lambda probability: twin.random() < probability
choose = lambda items: items[int(twin.random() * len(items))]
twin = None


def twins(make, clients):
    global twin
    state = rng.random()
    commands = []
    for number in range(2):
        twin = random.Random(state)
        commands.append(make(clients, number))
    return commands


def step(client, clients):
    dice = rng.random()
    if client.silent:
        # What it does when it is woken must not end anybody who is being answered, and Valkey never closes the
        # connection of one that leaves without a word.
        words = rng.choice([data_command(), data_command(), ["CLIENT", "REPLY", "ON"], ["RESET"]])
        return [words, words]
    while not parts[0] <= dice < parts[1]:
        dice = rng.random()
    if dice < 0.45:
        words = data_command()
        return [words, words]
    if dice < 0.62:
        words = transaction_command()
        return [words, words]
    if dice < 0.76:
        words = channel_command()
        return [words, words]
    return twins(tracking_command if dice < 0.88 else client_command, clients)


def main():
    for number, port in enumerate(PORTS):
        # Numbers of clients become recognisable.
        while Side(port).id < FIRST_ID:
            pass
    observer = connect("observer")
    for side in observer.sides:
        assert side.ask("FLUSHALL") == side.ask("CONFIG", "SET", "notify-keyspace-events", "") == b"OK"
    clients = [connect(f"client{number}") for number in range(4)]
    for number in range(STEPS):
        client = rng.choice(clients)
        commands = step(client, clients)
        word = commands[0][0]
        if client.monitors and word in ("MULTI", "EXEC"):
            # Valkey shows it the commands in the middle of the reply of EXEC.
            continue
        client.monitors = word == "MONITOR" or client.monitors and word != "RESET"
        shown = [[str(names[n].get(w, w)) for w in words] for n, words in enumerate(commands)]
        history.append(f"{client.name}: {' '.join(shown[0])}")
        for side, words in zip(client.sides, commands):
            side.send(words)
        settle(clients, client)
        for index, one in enumerate(clients):
            if not all(side.open for side in one.sides):
                history.append(f"({one.name} is new)")
                clients[index] = connect(f"client{number}-{index}")
        if number % 10 == 0:
            compare_soon(observer)
    compare_soon(observer)
    print("ok")


main()
