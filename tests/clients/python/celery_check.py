"""Celery on Kivi, as broker and as result backend: real worker and beat processes do real tasks.

Results, groups, chains, chords, retries, errors, countdown and expiry of tasks, priorities, revoking, inspection and events
over pub/sub, a schedule, and workers that are killed with their task. Prints `ok`; any deviation is exit code 1.
"""

import os
import signal
import threading
import time
from datetime import datetime, timedelta, timezone

from celery import chain, chord, group
from celery.exceptions import TaskRevokedError
from celery.result import GroupResult
from jobs import add, app, fails, flaky, hangs, note, store, total
from processes import PATIENCE, check, eventually, start


def celery(folder, name, *args):
    return start(folder, name, "-m", "celery", "-A", "jobs", *args)


def worker(folder, name, queues="celery", more=()):
    args = ["worker", "-n", f"{name}@kivi", "-Q", queues, "-c", "3", "--loglevel", "WARNING", *more]
    return celery(folder, name, *args)


def results():
    done = [add.delay(number, number) for number in range(100)]
    assert [one.get(timeout=PATIENCE) for one in done] == [2 * number for number in range(100)]
    error = fails.delay("broken")
    try:
        error.get(timeout=PATIENCE)
        raise AssertionError("the task's error is missing")
    except ValueError as found:
        assert str(found) == "broken"
    assert error.state == "FAILURE" and "broken" in error.traceback
    error.forget()
    assert app.AsyncResult(error.id).state == "PENDING"


def canvases():
    assert group(add.s(number, 1) for number in range(30))().get(timeout=PATIENCE) == list(range(1, 31))
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(timeout=PATIENCE) == 10
    headers = [chord([add.s(number, turn) for number in range(12)], total.s())() for turn in range(6)]
    assert [one.get(timeout=PATIENCE) for one in headers] == [66 + 12 * turn for turn in range(6)]
    nested = chain(group(add.s(1, 1), chain(add.s(1, 2), add.s(3))), total.s())
    assert nested().get(timeout=PATIENCE) == 8
    try:
        chord([add.s(1, 1), fails.s("in a chord")], total.s())().get(timeout=PATIENCE)
        raise AssertionError("a chord with an error succeeds")
    except Exception as error:
        assert "in a chord" in str(error), error
    saved = group(add.s(1, 1), add.s(2, 2))()
    saved.save()
    assert GroupResult.restore(saved.id).join(timeout=PATIENCE) == [2, 4]


def later():
    begin = time.time()
    assert add.apply_async((1, 1), countdown=1).get(timeout=PATIENCE) == 2
    assert time.time() - begin >= 1, "a countdown was not kept"
    assert flaky.delay("flaky", 3).get(timeout=PATIENCE) == 3
    assert store.get("tries:flaky") == "4"
    late = note.apply_async(("expired",), expires=datetime.now(timezone.utc) - timedelta(seconds=1))
    assert app.control.revoke("revoked-early", reply=True, timeout=PATIENCE, limit=1)
    revoked = note.apply_async(("revoked",), task_id="revoked-early")
    for one in [late, revoked]:
        try:
            one.get(timeout=PATIENCE)
            raise AssertionError("a revoked task ran")
        except TaskRevokedError:
            pass
    assert store.get("ran:expired") is None and store.get("ran:revoked") is None


def priorities(folder):
    """With no worker yet on the queue: the order is that of priorities, and within one first come first served."""
    waiting = [
        note.apply_async(("urgent", f"{priority}{turn}"), queue="urgent", priority=priority)
        for turn in range(3)
        for priority in [9, 0, 6, 3]
    ]
    slow = worker(folder, "urgent", "urgent", ["-P", "solo"])
    for one in waiting:
        one.get(timeout=PATIENCE)
    order = store.lrange("order:urgent", 0, -1)
    assert order == [f"{priority}{turn}" for priority in [0, 3, 6, 9] for turn in range(3)], order
    stop(slow)


def looks():
    """Commands to workers and their answers go over pub/sub (a fanout exchange) and lists."""
    pongs = eventually("the worker answers", lambda: app.control.inspect(timeout=2, limit=1).ping())
    assert pongs == {"main@kivi": {"ok": "pong"}}, pongs
    assert "jobs.add" in app.control.inspect(timeout=PATIENCE, limit=1).registered()["main@kivi"]
    app.control.add_consumer("extra", destination=["main@kivi"], reply=True)
    assert add.apply_async((20, 22), queue="extra").get(timeout=PATIENCE) == 42
    events()


def events():
    """What workers tell of tasks is published; who listens hears of each from the moment that it hears of one."""
    seen = set()
    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"task-succeeded": lambda event: seen.add(event["uuid"])})
        thread = threading.Thread(target=lambda: receiver.capture(limit=None, wakeup=False), daemon=True)
        thread.start()

        def hears():
            return add.delay(0, 0).get(timeout=PATIENCE) == 0 and seen

        eventually("the first event", hears)
        wanted = {add.delay(1, number).id for number in range(5)}
        eventually("events of all tasks", lambda: wanted <= seen)
        receiver.should_stop = True
        # It looks at that when the next one comes.
        eventually("the receiver has ended", lambda: hears() and not thread.is_alive())


def killed():
    """The process of a task is killed: its worker gives the task to another one."""
    lost = hangs.delay("child")
    os.kill(int(eventually("it hangs", lambda: store.get("pid:child"))), signal.SIGKILL)
    assert lost.get(timeout=PATIENCE) == "saved"
    assert store.get("tries:child") == "2"


def inherited(folder):
    """A whole worker is killed: nobody acknowledges its task, and after the visibility timeout another worker has it."""
    victim = worker(folder, "victim", "doomed")
    lost = hangs.apply_async(("whole",), queue="doomed")
    eventually("it hangs", lambda: store.get("pid:whole"))
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    os.environ["VISIBILITY_S"] = "1"
    heir = worker(folder, "heir", "doomed")
    assert lost.get(timeout=PATIENCE) == "saved"
    assert store.get("tries:whole") == "2"
    stop(heir)


def beat(folder):
    clock = celery(folder, "beat", "beat", "-s", os.path.join(folder, "schedule"), "--loglevel", "WARNING", "--max-interval", "1")
    eventually("five beats", lambda: int(store.get("ran:beat") or 0) >= 5)
    # Its signal handler closes the schedule, which it may be looking at just then: so its exit code says nothing.
    stop(clock, codes=[0, 1])


def stop(process, codes=[0]):
    process.terminate()
    assert process.wait(PATIENCE) in codes, "a process of Celery does not end well"


def parts(folder):
    main_worker = worker(folder, "main", more=["-E"])
    for part in [results, canvases, later, looks]:
        part()
    priorities(folder)
    killed()
    beat(folder)
    stop(main_worker)
    inherited(folder)


check(parts)
