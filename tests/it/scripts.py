"""What a Python user does with scripts: redis-py's Script objects, pipelines of them, locks.

Run by scripts.rs: scripts.py PORT PROTOCOL. Exits with an assertion error when anything is not as with Redis.
"""
import sys
import threading

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])
r = redis.Redis(port=port, protocol=protocol, decode_responses=True)
r.flushall()
r.script_flush()


def refused(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as e:
        return str(e)
    raise AssertionError(f"{call} {args} was not refused")


multiply = r.register_script("""
local value = redis.call('GET', KEYS[1])
value = tonumber(value)
return value * ARGV[1]""")
r.set("n", 3)
assert r.script_exists(multiply.sha) == [False]
assert multiply(keys=["n"], args=[5]) == 15
assert r.script_exists(multiply.sha, "x" * 40) == [True, False]
r.script_flush("ASYNC")
assert r.script_exists(multiply.sha) == [False]
refused(redis.exceptions.NoScriptError, r.evalsha, multiply.sha, 1, "n", 2)
assert multiply(keys=["n"], args=[7]) == 21
assert r.evalsha(multiply.sha, 1, "n", 2) == 6
assert r.evalsha_ro(multiply.sha, 1, "n", 2) == 6
assert r.eval("return {KEYS[1], ARGV[1], 'x'}", 1, "k", "a") == ["k", "a", "x"]
assert r.eval_ro("return redis.call('GET', KEYS[1])", 1, "n") == "3"
assert r.script_load("return 1") == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"

# In a pipeline a script is loaded first, if the server does not have it.
pipe = r.pipeline()
pipe.set("a", 2).get("a")
multiply(keys=["a"], args=[2], client=pipe)
r.script_flush()
assert pipe.execute() == [True, "2", 4]

with r.pipeline(transaction=False) as pipe:
    for i in range(200):
        pipe.eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "sum", i)
    assert pipe.execute()[-1] == sum(range(200))

assert "WRONGTYPE" in refused(redis.ResponseError, r.eval, "return redis.call('LPUSH', 'n', 1)", 0)
assert "nosuch" in refused(redis.ResponseError, r.eval, "return nosuch()", 0)
assert "Error compiling script" in refused(redis.ResponseError, r.eval, "return (", 0)
assert refused(redis.ResponseError, r.eval, "return {err = 'MY error'}", 0) == "MY error"

big = "x" * 1_000_000
assert r.eval("return ARGV[1]", 0, big) == big
assert len(r.eval("return ARGV", 0, *range(5000))) == 5000

# A lock is released and prolonged by scripts.
lock = r.lock("lock", timeout=10)
assert lock.acquire(blocking=False) and not r.lock("lock", timeout=10).acquire(blocking=False)
assert lock.extend(10) and lock.reacquire() and lock.owned()
lock.release()
refused(redis.exceptions.LockError, lock.release)
counter = {"n": 0}


def work():
    own = redis.Redis(port=port, protocol=protocol)
    for _ in range(20):
        with own.lock("busy", timeout=10, sleep=0.001):
            seen = counter["n"]
            own.ping()
            counter["n"] = seen + 1


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert counter["n"] == 80, counter
refused(redis.exceptions.ResponseError, r.script_kill)
print("ok")
