"""RQ on Kivi: real worker processes with forked work horses do real jobs.

Many jobs by several workers, results, dependencies, retries with intervals, scheduled and repeated jobs, failures and
callbacks, a horse that dies, a worker that is killed with its job, stopping jobs by command (pub/sub), worker pools' and
queues' registries. Prints `ok`; any deviation is an exception and exit code 1.
"""

import os
import signal
import sys
import time
from datetime import timedelta

import redis
from rq import Callback, Queue, Repeat, Retry, Worker
from rq.command import send_stop_job_command
from rq.job import Dependency, Job, JobStatus
from rq.registry import FailedJobRegistry, FinishedJobRegistry, StartedJobRegistry

import jobs
from processes import PATIENCE, check, eventually, start

PORT = int(os.environ["SERVER_PORT"])
connection = redis.Redis(port=PORT)


def worker(folder, name, *queues, more=()):
    rq = os.path.join(os.path.dirname(sys.executable), "rq")
    return start(folder, name, rq, "worker", "--url", f"redis://127.0.0.1:{PORT}/0", "--name", name, *more, *queues)


def finished(job):
    return eventually(f"{job.id} ends well", lambda: job.get_status(refresh=True) == JobStatus.FINISHED)


def many(folder):
    queue = Queue("many", connection=connection)
    waiting = queue.enqueue_many([Queue.prepare_data(jobs.multiply, (number, 3), job_id=f"many-{number}") for number in range(60)])
    assert queue.count == 60
    crew = [worker(folder, f"crew-{index}", "many", more=["--burst", "--worker-class", "rq.SimpleWorker"]) for index in range(2)]
    for process in crew:
        assert process.wait(PATIENCE) == 0
    assert [job.return_value(refresh=True) for job in waiting] == [3 * number for number in range(60)]
    assert queue.is_empty() and len(FinishedJobRegistry(queue=queue)) == 60


def dependencies(queue):
    first = [queue.enqueue(jobs.count, "first") for _ in range(3)]
    last = queue.enqueue(jobs.sum_of, ["ran:first"], depends_on=first)
    finished(last)
    assert last.return_value() == 3
    bad = queue.enqueue(jobs.fails_at_first, "bad", 99)
    after = queue.enqueue(jobs.count, "after", depends_on=Dependency(bad, allow_failure=True))
    finished(after)
    assert bad.get_status() == JobStatus.FAILED and "try bad" in bad.latest_result().exc_string
    assert bad.id in FailedJobRegistry(queue=queue)
    jobs.store.set("tries:bad", 99)
    FailedJobRegistry(queue=queue).requeue(bad.id)
    finished(bad)


def retries(queue):
    job = queue.enqueue(jobs.fails_at_first, "retry", 2, retry=Retry(max=3, interval=[0, 1]), on_success=Callback(jobs.told))
    finished(job)
    assert job.return_value() == "at last" and jobs.store.get("tries:retry") == "3"
    eventually("the callback was called", lambda: jobs.store.lrange("callbacks", 0, -1) == [f"{job.id}:at last"])


def later(queue):
    begin = time.time()
    # RQ counts in whole seconds, so a job may be early by nearly one.
    job = queue.enqueue_in(timedelta(seconds=2), jobs.count, "later")
    assert job.get_status() == JobStatus.SCHEDULED
    finished(job)
    assert time.time() - begin >= 1, "too early"
    repeated = queue.enqueue(jobs.count, "repeated", repeat=Repeat(times=2, interval=1))
    eventually("it ran three times", lambda: jobs.store.get("ran:repeated") == "3")
    assert repeated.get_status() in (JobStatus.FINISHED, JobStatus.STARTED)
    cancelled = queue.enqueue_in(timedelta(hours=1), jobs.count, "cancelled")
    cancelled.cancel()
    assert cancelled.get_status() == JobStatus.CANCELED


def deaths(folder, queue):
    """A horse that dies fails its job; a job is stopped by command; a killed worker's job is found by the next one."""
    job = queue.enqueue(jobs.dies, "horse")
    eventually("the job has failed", lambda: job.get_status(refresh=True) == JobStatus.FAILED)
    assert jobs.store.get("tries:horse") == "1"
    stopped = queue.enqueue(time.sleep, 600, job_timeout=900)
    eventually("it runs", lambda: stopped.get_status(refresh=True) == JobStatus.STARTED)
    send_stop_job_command(connection, stopped.id)
    eventually("it was stopped", lambda: stopped.get_status(refresh=True) == JobStatus.STOPPED)
    doomed = Queue("doomed", connection=connection)
    victim = worker(folder, "victim", "doomed", more=["--worker-ttl", "3"])
    lost = doomed.enqueue(time.sleep, 600, job_timeout=900)
    eventually("it runs", lambda: lost.get_status(refresh=True) == JobStatus.STARTED and lost.id in StartedJobRegistry(queue=doomed))
    os.killpg(victim.pid, signal.SIGKILL)
    victim.wait()
    eventually("it is nobody's", lambda: give_up(doomed, lost))
    assert Job.fetch(lost.id, connection=connection).get_status() == JobStatus.FAILED


def give_up(queue, job):
    """What a worker's maintenance does, with the heartbeat of the dead worker taken for an old one."""
    registry = StartedJobRegistry(queue=queue)
    registry.cleanup(timestamp=time.time() + 3600)
    return job.get_status(refresh=True) == JobStatus.FAILED


def parts(folder):
    connection.flushall()
    many(folder)
    boss = worker(folder, "boss", "high", "low", more=["--with-scheduler"])
    high, low = (Queue(name, connection=connection) for name in ["high", "low"])
    eventually("the worker is there", lambda: [one.name for one in Worker.all(queue=high)] == ["boss"])
    dependencies(low)
    retries(high)
    later(high)
    deaths(folder, high)
    boss.terminate()
    assert boss.wait(PATIENCE) == 0
    eventually("it has said good-bye", lambda: not Worker.all(queue=high))


check(parts)
