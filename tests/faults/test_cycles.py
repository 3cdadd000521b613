"""Starting and stopping again and again, at odd moments, and over what strangers or a reboot left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, assert_books_balance, eventually

from queuectl import control, pidfile, slot

SLACK = 25.0
"""Seconds on top of what a stop may take; it only decides what counts as «does not return»."""
CYCLES = int(os.environ.get("CYCLES", "8"))
"""For each mode. ``CYCLES=100 make test TESTS=tests/faults/test_cycles.py`` takes some minutes."""


def assert_all_gone(farm: Farm) -> None:
    assert farm.survivors() == []
    assert not control.is_running(farm.home)
    assert list(Path(farm.home.run).glob("*.pid")) == []
    assert list(Path(farm.home.run).glob("slot-*")) == []


def is_up(farm: Farm, job_id: str) -> bool:
    log = Path(farm.home.log(job_id))
    return log.exists() and log.stat().st_size > 0


@pytest.mark.timeout(120 + 10 * CYCLES)
def test_cycles_under_load(farm: Farm, mode: str) -> None:
    """Jobs of every kind run, wait and come in; each stop returns in its time, and leaves nothing."""
    farm.run("config", "set", "kill_grace", "0.2")
    farm.run("config", "set", "backoff_base", "0")
    producer = subprocess.Popen(
        [sys.executable, "-c", _PRODUCER],
        cwd=farm.directory,
        env={**os.environ, "TOKEN": farm.token},
        stdin=subprocess.PIPE,
    )
    try:
        for cycle in range(CYCLES):
            farm.start(3, mode)
            began = time.monotonic()
            how = (("--timeout", "0.1"), ("--now",), ("--timeout", "0"))[cycle % 3]
            farm.stop(*how)
            assert time.monotonic() - began < 0.1 + 0.2 + SLACK
            assert_all_gone(farm)
            assert farm.queue.counts()["processing"] == 0
    finally:
        producer.communicate(timeout=PATIENCE)
    assert producer.returncode == 0
    endless = [job.id for job in farm.queue.jobs() if farm.token in job.command and not job.ended]
    if endless:
        farm.queue.cancel(*endless)
    farm.start(3, mode)
    farm.queue.wait(timeout=60)
    farm.stop()
    assert_books_balance(farm.queue)
    quick = [job for job in farm.queue.jobs() if farm.token not in job.command]
    assert quick
    assert {(job.state, job.attempts) for job in quick} == {("completed", 1)}
    assert_all_gone(farm)


_PRODUCER = """
import os, select, sys
from queuectl import Queue
queue, token = Queue("queuectl.db"), os.environ["TOKEN"]
for n in range(2000):
    queue.enqueue(f"trap '' TERM; setsid sleep {token} & sleep {token}" if n % 20 == 19 else "true")
    if select.select([sys.stdin], [], [], 0.1)[0]:
        break
"""


def test_hung_jobs_at_a_stop(farm: Farm, mode: str) -> None:
    """The time-out and the grace, and no more, however many of them there are, and whatever they ignore."""
    farm.run("config", "set", "kill_grace", "1")
    deaf = f"trap '' TERM HUP INT QUIT; echo up; setsid sleep {farm.token} & sleep {farm.token}"
    jobs = farm.queue.add_many([{"command": deaf}] * 4)
    farm.start(4, mode)
    eventually(lambda: all(is_up(farm, job_id) for job_id in jobs))
    began = time.monotonic()
    farm.stop("--timeout", "1")
    took = time.monotonic() - began
    assert 1 < took < 1 + 1 + SLACK
    assert_all_gone(farm)
    assert {(job.state, job.attempts) for job in farm.queue.jobs()} == {("pending", 0)}
    assert {farm.queue.attempts(job_id)[0].outcome for job_id in jobs} == {"released"}


@pytest.mark.parametrize("first", ["signal", "drain"])
def test_a_second_signal_cuts_a_stop_short(farm: Farm, mode: str, first: str) -> None:
    """Also where it would have waited for an hour, or the workers were to leave once all is done."""
    farm.run("config", "set", "kill_grace", "3600")
    farm.run("config", "set", "stop_timeout", "3600")
    farm.queue.enqueue(f"trap '' TERM; echo up; sleep {farm.token}", id="j")
    process = farm.foreground("--count", "2", "--mode", mode, *(["--drain"] if first == "drain" else []))
    eventually(lambda: is_up(farm, "j"))
    process.send_signal(signal.SIGTERM)
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "stopping: running jobs have 3600 seconds" in log.read_text())
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(SLACK).returncode == 128 + signal.SIGINT
    assert_all_gone(farm)
    assert farm.queue.attempts("j")[0].outcome == "released"


def test_a_stop_in_the_midst_of_a_start(farm: Farm, mode: str) -> None:
    """Whichever comes first, nothing is left, and the start says how it went."""
    for _ in range(3):
        start = farm.launch("worker-start", "--count", "8", "--mode", mode)
        eventually(Path(farm.home.supervisor_pid).exists)
        farm.stop("--now")
        done = start.wait(PATIENCE)
        assert done.returncode in (0, 1)
        if done.returncode:
            assert done.stdout == ""
            assert done.stderr.startswith("queuectl: error: ")
            assert done.stderr.count("\n") == 1
        assert_all_gone(farm)


def test_a_start_in_the_midst_of_a_stop(farm: Farm, mode: str) -> None:
    """It is refused while the one before is there, and goes well afterwards; there is never more than one."""
    farm.run("config", "set", "kill_grace", "0.5")
    farm.queue.enqueue(f"trap '' TERM; echo up; sleep {farm.token}", id="j")
    farm.start(1, mode)
    eventually(lambda: is_up(farm, "j"))
    stop = farm.launch("worker-stop", "--timeout", "1")
    codes = []
    while not codes or (codes[-1] != 0 and len(codes) < 100):
        codes.append(farm.run("worker-start", "--count", "1", "--mode", mode).returncode)
    assert stop.wait(PATIENCE).returncode == 0
    assert codes[-1] == 0
    assert set(codes[:-1]) <= {4}
    eventually(lambda: len(farm.queue.attempts("j")) == 2)
    assert farm.queue.attempts("j")[0].outcome == "released"
    farm.stop("--now")
    assert_all_gone(farm)


# --- strangers


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's process, with a child, in a session of its own."""
    process = subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True)
    yield process
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("differs", ["started", "boot", "namespace"])
def test_what_a_reboot_left_names_no_stranger(farm: Farm, stranger: subprocess.Popen[bytes], differs: str) -> None:
    """PID files, a claim and its slot, written in another life of the machine; their PIDs are somebody else's now."""
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue("test $QUEUECTL_ATTEMPT = 2 || { echo up; sleep 600; }", id="j")
    supervisor = farm.start(1)
    eventually(lambda: is_up(farm, "j"))
    (worker,) = farm.workers()
    place = Path(farm.home.slot("worker-1"))
    # The job may have begun before its worker has noted its PID; and to kill 0 is to kill ourselves.
    note = eventually(
        lambda: next((noted for noted in slot.read(str(place)) if noted.pid), None),
        "the job's process is noted",
    )
    os.kill(supervisor, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    os.kill(supervisor, signal.SIGKILL)
    os.kill(note.pid, signal.SIGKILL)
    eventually(lambda: not control.is_running(farm.home))
    identity = pidfile.of(stranger.pid)
    true = {"started": identity.started, "boot": identity.boot, "namespace": identity.namespace}
    false = true | {differs: 1 if differs == "started" else "another"}
    lines = "".join(f"{each}\n" for each in (stranger.pid, *false.values()))
    for name in ("supervisor.pid", "worker-1.pid", "worker-5.pid"):
        Path(farm.home.run, name).write_text(f"{lines}worker\n")
    place.write_text(json.dumps(note._asdict() | {"pid": stranger.pid} | false))
    assert farm.run("worker-status").returncode == 3
    assert farm.run("worker-stop").returncode == 0
    farm.start(1)
    assert farm.queue.wait(["j"], timeout=60)
    assert [each.outcome for each in farm.queue.attempts("j")] == ["crashed", "succeeded"]
    # While workers run, too: whoever stops them finds a stranger's PID in the supervisor's file.
    Path(farm.home.supervisor_pid).write_text(f"{lines}supervisor\n")
    farm.stop()
    assert stranger.poll() is None
    assert Path(f"/proc/{stranger.pid}/task/{stranger.pid}/children").read_text().split()
    assert_all_gone(farm)
