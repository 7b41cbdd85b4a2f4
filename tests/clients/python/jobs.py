"""Jobs of Celery and RQ, and the applications they belong to: what the workers of celery_check.py and rq_check.py import.

What a job has done it writes into keys, so that the check can tell how often it ran, whatever the queue says of it.
"""

import os
import time
from datetime import timedelta

import redis
from celery import Celery

PORT = int(os.environ["SERVER_PORT"])
store = redis.Redis(port=PORT, db=5, decode_responses=True)

app = Celery("jobs", broker=f"redis://127.0.0.1:{PORT}/0", backend=f"redis://127.0.0.1:{PORT}/1")
app.conf.update(
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "priority_steps": [0, 3, 6, 9],
        "queue_order_strategy": "priority",
        # After how many seconds a task that nobody has acknowledged is somebody else's.
        "visibility_timeout": int(os.environ.get("VISIBILITY_S", "600")),
        # A worker looks for such tasks when it starts, then every interval * throttle seconds: 100 s, if it is not told.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # One at a time looks. Who is killed while he does keeps all others from it for so many seconds.
        "unacked_mutex_expire": 5,
    },
    result_expires=3600,
    result_extended=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_track_started=True,
    worker_prefetch_multiplier=1,
    timezone="UTC",
    beat_schedule={
        "often": {"task": "jobs.note", "schedule": timedelta(milliseconds=300), "args": ["beat"]},
    },
)


@app.task
def add(first, second):
    return first + second


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def note(name, value=None):
    """Counts itself, and keeps the order."""
    store.rpush(f"order:{name}", "" if value is None else value)
    return store.incr(f"ran:{name}")


@app.task(bind=True, max_retries=5)
def flaky(self, name, failures):
    """Fails so many times, then succeeds."""
    if store.incr(f"tries:{name}") <= failures:
        raise self.retry(exc=ValueError("not yet"), countdown=0.05)
    return self.request.retries


@app.task
def fails(text):
    raise ValueError(text)


@app.task
def hangs(name):
    """The first run hangs until its worker is killed, the second succeeds."""
    if store.incr(f"tries:{name}") == 1:
        store.set(f"pid:{name}", os.getpid())
        time.sleep(600)
    return "saved"


# ---- RQ's: plain functions ----


def multiply(first, second):
    return first * second


def count(name):
    return store.incr(f"ran:{name}")


def sum_of(keys):
    return sum(int(store.get(key) or 0) for key in keys)


def fails_at_first(name, failures):
    if store.incr(f"tries:{name}") <= failures:
        raise ValueError(f"try {name}")
    return "at last"


def dies(name):
    """Ends its process without a word, as the kernel does when memory is short."""
    store.incr(f"tries:{name}")
    os.kill(os.getpid(), 9)


def told(job, connection, result=None, *rest):
    """A callback of RQ."""
    store.rpush("callbacks", f"{job.id}:{result if not rest else rest[0]}")
