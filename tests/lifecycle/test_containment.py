"""Nothing that a job starts outlives its attempt, however the attempt ends, in both worker modes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from farm import IS_ROOT, Farm, assert_books_balance, eventually
from lifecycle.escapes import all_at_once, escapes, unmarked

from queuectl import cgroup

ESCAPING = "escaping"


def escape(farm: Farm, then: str, **fields: object) -> None:
    """Enqueue a job that leaves processes behind in every way and then does something."""
    command = all_at_once({**escapes(farm.token), **unmarked(farm.token)})
    farm.queue.enqueue(f"{command}echo escaped\n{then}", id=ESCAPING, **fields)  # type: ignore[arg-type]


def await_escape(farm: Farm, starts: int = 1) -> None:
    """Until the job has started everything."""
    log = Path(farm.home.log(ESCAPING))
    eventually(lambda: log.exists() and log.read_text().count("escaped") == starts, "the job has started everything")


def only_outcome(farm: Farm) -> str | None:
    """The outcome of the one attempt."""
    (attempt,) = farm.queue.attempts(ESCAPING)
    return attempt.outcome


@pytest.mark.parametrize(
    ("then", "outcome"), [("exit 0", "succeeded"), ("exit 3", "failed"), ("kill -9 $$", "signaled")]
)
def test_at_its_end(farm: Farm, mode: str, then: str, outcome: str) -> None:
    escape(farm, then, max_retries=0)
    farm.start(2, mode)
    farm.queue.wait([ESCAPING], timeout=60)
    assert farm.survivors() == []
    assert only_outcome(farm) == outcome
    assert_books_balance(farm.queue)


def test_at_its_timeout(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "kill_grace", "0.3")
    escape(farm, f"sleep {farm.token}", max_retries=0, timeout=2)
    farm.start(2, mode)
    farm.queue.wait([ESCAPING], timeout=60)
    assert farm.survivors() == []
    assert only_outcome(farm) == "timed_out"


def test_at_a_cancel(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "kill_grace", "0.3")
    escape(farm, f"sleep {farm.token}")
    farm.start(2, mode)
    await_escape(farm)
    farm.queue.cancel(ESCAPING)
    farm.queue.wait([ESCAPING], timeout=60)
    assert farm.survivors() == []
    assert only_outcome(farm) == "cancelled"


@pytest.mark.parametrize("how", [("--timeout", "0"), ("--now",)])
def test_at_a_stop(farm: Farm, mode: str, how: tuple[str, ...]) -> None:
    farm.run("config", "set", "kill_grace", "0.3")
    escape(farm, f"sleep {farm.token}")
    farm.start(2, mode)
    await_escape(farm)
    farm.stop(*how)
    assert farm.survivors() == []
    assert only_outcome(farm) == "released"
    assert farm.queue.get(ESCAPING).attempts == 0


def kill_worker(farm: Farm) -> None:
    """``kill -9`` of the worker that runs the job."""
    started_by = farm.queue.get(ESCAPING).worker
    told = farm.run("worker-status", "--json").stdout
    (pid,) = {worker["pid"] for worker in json.loads(told)["workers"] if worker["name"] == started_by}
    os.kill(pid, signal.SIGKILL)


def kill_keeper(farm: Farm) -> None:
    """``kill -9`` of the process whose child the job is: in thread mode the keeper."""
    (job,) = (process for process in psutil.process_iter() if runs_the_job(process, farm))
    os.kill(job.ppid(), signal.SIGKILL)


def runs_the_job(process: psutil.Process, farm: Farm) -> bool:
    try:
        return (
            process.cmdline()[:2] == ["/bin/sh", "-c"]
            and "echo escaped" in process.cmdline()[2]
            and (farm.token in process.cmdline()[2])
            and os.getsid(process.pid) == process.pid
        )
    except (psutil.Error, IndexError, OSError):
        return False


@pytest.mark.parametrize("kill", [kill_worker, kill_keeper])
def test_at_the_death_of_its_worker(farm: Farm, mode: str, kill: Callable[[Farm], None]) -> None:
    escape(farm, f"sleep {farm.token}", max_retries=0)
    farm.start(2, mode)
    await_escape(farm)
    kill(farm)
    farm.queue.wait([ESCAPING], timeout=60)
    assert farm.survivors() == []
    assert only_outcome(farm) == "crashed"
    # The others, and the one in its place, work on.
    assert farm.queue.wait([job.id for job in farm.queue.enqueue_many([{"command": "true"}] * 4)], timeout=60)


def test_at_the_death_of_the_supervisor(farm: Farm, mode: str) -> None:
    escape(farm, f"sleep {farm.token}", max_retries=0)
    supervisor = farm.start(2, mode)
    await_escape(farm)
    workers = farm.workers()
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: farm.queue.get(ESCAPING).ended, "the workers see it, and end their job")
    assert farm.survivors() == []
    assert only_outcome(farm) == "crashed"
    eventually(lambda: not any(map(psutil.pid_exists, workers)), "the workers are gone as well")


def is_queuectl(process: psutil.Process) -> bool:
    try:
        return process.name().startswith("queuectl")
    except psutil.Error:  # a short-lived one of the job
        return False


def kill_all(farm: Farm) -> None:
    """Supervisor, workers and keepers at one stroke: they cannot even see each other die."""
    supervisor = psutil.Process(farm.supervisor())
    own = [supervisor, *filter(is_queuectl, supervisor.children(recursive=True))]
    for process in own:
        process.suspend()
    for process in own:
        process.kill()


def has_writable_cgroup() -> bool:
    group = cgroup.own_group()
    return group is not None and os.access(os.path.join(group, "cgroup.procs"), os.W_OK)


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("turn_of_a_crowd")
@pytest.mark.skipif(not has_writable_cgroup(), reason="needs a writable cgroup v2")
def test_at_the_death_of_all_with_control_groups(farm: Farm, mode: str) -> None:
    escape(farm, f"sleep {farm.token}", max_retries=0)
    farm.start(2, mode)
    await_escape(farm)
    kill_all(farm)
    assert farm.survivors() != []
    farm.start(1, mode)
    assert farm.survivors() == []
    assert only_outcome(farm) == "crashed"
    assert farm.queue.get(ESCAPING).state == "dead"


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("turn_of_a_crowd")
def test_at_the_death_of_all_without_control_groups(plain_farm: Farm, mode: str) -> None:
    """As a user without rights of that kind: what keeps any mark is ended all the same."""
    farm = plain_farm
    command = all_at_once(escapes(farm.token))
    farm.run(
        "enqueue", "--id", ESCAPING, "--max-retries", "0", "--command", f"{command}echo escaped\nsleep {farm.token}"
    )
    farm.start(2, mode)
    await_escape(farm)
    kill_all(farm)
    assert farm.survivors() != []
    farm.start(1, mode)
    assert farm.survivors() == []
    assert only_outcome(farm) == "crashed"


@pytest.mark.long
def test_a_process_that_cannot_be_ended_is_named(plain_farm: Farm, mode: str, tmp_path: Path) -> None:
    """A program with another user's rights outlives SIGKILL: it is waited for, named, and the worker goes on."""
    if not IS_ROOT:
        pytest.skip("needs root, to make a program that a user may start and not signal")
    farm = plain_farm
    program = farm.directory.parent / "become-root"
    program.write_bytes(Path(shutil.which("setpriv") or "").read_bytes())
    program.chmod(0o4755)
    if os.statvfs(program).f_flag & os.ST_NOSUID:
        pytest.skip("programs have no other rights on this file system")
    try:
        once_it_is_root = "until grep -q '^Uid:.0.0' /proc/$!/status; do sleep 0.02; done"
        farm.run(
            "enqueue", "--id", ESCAPING, "--command", f"{program} --reuid=0 sleep {farm.token} & {once_it_is_root}"
        )
        farm.start(1, mode)
        farm.queue.wait([ESCAPING], timeout=60)
        (attempt,) = farm.queue.attempts(ESCAPING)
        assert attempt.outcome == "succeeded"
        assert len(attempt.leftover) == 1
        assert str(eventually(farm.survivors)[0]).split(":")[0] in attempt.leftover[0]
        assert farm.run("enqueue", "--wait", "--", "true").returncode == 0
    finally:
        program.unlink()


@pytest.mark.parametrize("name", [*escapes("1"), *unmarked("1")])
def test_each_way_out(farm: Farm, name: str) -> None:
    """One at a time, so that a failure tells which."""
    command = {**escapes(farm.token), **unmarked(farm.token)}[name]
    farm.queue.enqueue(command, id="one", max_retries=0)
    farm.start(1)
    farm.queue.wait(["one"], timeout=60)
    assert farm.survivors() == []


def test_a_process_whose_first_thread_has_ended(farm: Farm, mode: str) -> None:
    """It shows as a zombie, and runs all the same."""
    program = farm.directory / "headless.py"
    program.write_text(
        "import ctypes, os, platform, threading, time\n"
        "open('pid', 'w').write(str(os.getpid()))\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "ctypes.CDLL(None).syscall({'x86_64': 60, 'aarch64': 93}[platform.machine()], 0)\n"
    )
    waited = "until grep -q Z /proc/$(cat pid)/stat; do sleep 0.02; done"
    farm.queue.enqueue(f"{sys.executable} {program} & sleep 0.2; {waited}", id="j", cwd=farm.directory, timeout=30)
    farm.start(1, mode)
    assert farm.queue.wait(["j"], timeout=60)
    pid = int((farm.directory / "pid").read_text())
    assert not Path(f"/proc/{pid}").exists()
    assert farm.queue.attempts("j")[0].leftover == ()
