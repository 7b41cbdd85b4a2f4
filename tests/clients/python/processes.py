"""Processes of job queues: started in groups of their own, waited for, and gone with the check.

What they say goes into files, whose ends are shown if the check fails. `eventually` waits for a condition.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PATIENCE = 90
processes = []


def eventually(what, probe):
    deadline = time.monotonic() + PATIENCE
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.01)


def start(folder, name, *args):
    """Starts Python with these arguments, in a group of its own."""
    log = open(os.path.join(folder, f"{name}.log"), "w")
    process = subprocess.Popen([sys.executable, *args], cwd=HERE, stdout=log, stderr=log, start_new_session=True)
    processes.append((process, log.name))
    return process


def check(parts):
    """Runs `parts` with a folder for their files; prints `ok` if nothing differs."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            parts(folder)
        except BaseException:
            for _, log in processes:
                sys.stderr.write(open(log).read()[-4000:])
            raise
        finally:
            for process, _ in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    print("ok")
