"""Limits of the system that are hit, and jobs that use up or kill all that they can reach."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from farm import IS_ROOT, NOBODY, PATIENCE, Farm, as_nobody, assert_books_balance, eventually, pids_with
from lifecycle.escapes import escapes
from namespaces import needs_namespaces, pid_1

from queuectl import files

FEW_FILES = 11
"""Descriptors with which a supervisor can live, and a worker cannot."""

_BOMB = """
import os, sys, time
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(600)
        os._exit(0)
print("all there", flush=True)
time.sleep(600)
"""


def raise_again(kind: int, farm: Farm) -> None:
    """As somebody does who sees the message; whoever is replaced from now on has the new limit."""
    resource.prlimit(farm.supervisor(), kind, resource.prlimit(os.getpid(), kind))
    for pid in farm.workers():
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, resource.prlimit(os.getpid(), kind))


@pytest.mark.parametrize("most", [6, 7, 8, 9])
def test_too_few_open_files_for_a_command(farm: Farm, most: int) -> None:
    """It works, or says why not; with still fewer Python itself does not start."""
    command = [sys.executable, "-m", "queuectl", "enqueue", "--", "true"]
    done = subprocess.run(
        ["prlimit", f"--nofile={most}:", *command], cwd=farm.directory, capture_output=True, text=True, check=False
    )
    assert len(farm.queue.jobs()) == (done.returncode == 0)
    if done.returncode:
        assert re.fullmatch(r"queuectl: error: .*(Too many open files|cannot be opened).*\n", done.stderr), done


def test_too_few_open_files_for_workers(farm: Farm, mode: str) -> None:
    """They are tried again, less and less often, and the message tells why; then all goes on."""
    farm.queue.enqueue("true", id="j")
    process = subprocess.Popen(
        [
            "prlimit",
            f"--nofile={FEW_FILES}:",
            sys.executable,
            "-m",
            "queuectl",
            "worker-run",
            "--count=2",
            f"--mode={mode}",
        ],
        cwd=farm.directory,
        stderr=subprocess.DEVNULL,
    )
    try:
        log = Path(farm.home.supervisor_log)
        eventually(
            lambda: log.exists() and ("cannot start worker" in log.read_text() or "cannot work:" in log.read_text())
        )
        assert "Traceback" not in log.read_text()
        raise_again(resource.RLIMIT_NOFILE, farm)
        assert farm.queue.wait(["j"], timeout=60)
        assert_books_balance(farm.queue)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)


def test_a_stop_does_not_wait_for_what_cannot_be_recorded(farm: Farm) -> None:
    """A dead worker's attempt is left to the next start when the supervisor cannot open the database."""
    farm.queue.enqueue(f"test $QUEUECTL_ATTEMPT = 2 || {{ echo up; sleep {farm.token}; }}", id="j")
    farm.run("config", "set", "backoff_base", "0")
    supervisor = farm.start(1)
    eventually(lambda: Path(farm.home.log("j")).exists() and Path(farm.home.log("j")).read_text() == "up\n")
    (worker,) = farm.workers()
    resource.prlimit(supervisor, resource.RLIMIT_NOFILE, (9, resource.prlimit(supervisor, resource.RLIMIT_NOFILE)[1]))
    os.kill(worker, signal.SIGKILL)
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "cannot record what dead workers ran" in log.read_text())
    farm.stop("--timeout", "0")
    assert log.read_text().splitlines()[-1].endswith("stopped"), "by itself: nobody had to kill it"
    assert farm.survivors() == []
    assert farm.queue.get("j").state == "processing"
    farm.start(1)
    assert farm.queue.wait(["j"], timeout=60)
    first, second = farm.queue.attempts("j")
    assert (first.outcome, first.log_bytes, second.outcome) == ("crashed", len("up\n"), "succeeded")


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to become a user with no other processes")
def test_too_few_processes(plain_farm: Farm, mode: str) -> None:
    """What cannot be started now is tried again, a job as well as a worker; both say why."""
    farm, user = plain_farm, 60_000 + os.getpid() % 5000
    for path in (farm.directory, *farm.directory.rglob("*")):
        os.chown(path, user, user)
    run_as(farm, user, "enqueue", "--id", "j", "--max-retries", "100", "--", "true")
    run_as(farm, user, "config", "set", "backoff_base", "1")
    # One supervisor, and one worker; or one host, one keeper, one thread.
    limits = {"process": 2, "thread": 4}
    process = subprocess.Popen(
        command_as(
            user, "worker-run", "--count", "3", "--mode", mode, before=("prlimit", f"--nproc={limits[mode]}:500")
        ),
        cwd=farm.directory,
        stderr=subprocess.DEVNULL,
    )
    try:
        log = Path(farm.home.supervisor_log)
        eventually(lambda: log.exists() and "cannot start worker" in log.read_text())
        assert "Resource temporarily unavailable" in log.read_text() or "can't start new thread" in log.read_text()
        eventually(lambda: farm.queue.get("j").attempts > 0)
        (first, *_) = eventually(lambda: [each for each in farm.queue.attempts("j") if each.ended_at])
        assert (first.outcome, first.reason) == (
            "not_started",
            "could not be started: Resource temporarily unavailable",
        )
        eventually(lambda: not [raise_limit(user, pid) for pid in pids_with_fewer(user, 500)])
        assert farm.queue.wait(["j"], timeout=60)
        assert_books_balance(farm.queue)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)


def pids_with_fewer(user: int, processes: int) -> list[int]:
    """A user's processes that are allowed fewer. One that begins has what its parent had at that moment."""
    return [pid for pid in pids_of(user) if (allowed(pid) or processes) < processes]


def allowed(pid: int) -> int | None:
    """How many processes the user of a process may have, as it sees that; None when it is gone."""
    limits = files.read_small(f"/proc/{pid}/limits")
    found = re.search(r"^Max processes +(\d+)", limits or "", re.MULTILINE)
    return int(found[1]) if found else None


def raise_limit(user: int, pid: int) -> None:
    subprocess.run(as_user(user, ["prlimit", f"--pid={pid}", "--nproc=500"]), cwd="/", capture_output=True, check=False)


def command_as(user: int, *arguments: str, before: Sequence[str] = ()) -> list[str]:
    """A command of queuectl with the rights of a user, behind another."""
    return as_user(user, [*before, sys.executable, "-m", "queuectl", *arguments])


def as_user(user: int, command: list[str]) -> list[str]:
    return [word.replace(str(NOBODY), str(user)) if word.startswith("--re") else word for word in as_nobody(command)]


def run_as(farm: Farm, user: int, *arguments: str) -> None:
    subprocess.run(command_as(user, *arguments), cwd=farm.directory, check=True, capture_output=True)


def pids_of(user: int) -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and owner(path) == user]


def owner(path: Path) -> int | None:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def test_a_job_that_hits_its_limits_fails_alone(farm: Farm, mode: str) -> None:
    program = f"{sys.executable} -c 'bytearray(1 << 30)'"
    farm.queue.enqueue(f"ulimit -v 200000; {program}", id="memory", max_retries=0)
    farm.queue.enqueue("ulimit -n 3; exec 9</dev/null", id="files", max_retries=0)
    farm.queue.enqueue("ulimit -t 1; while :; do :; done", id="time", max_retries=0)
    farm.queue.enqueue("ulimit -f 1; head -c 100000 /dev/zero > big", id="size", max_retries=0, cwd=farm.directory)
    farm.start(1, mode)
    workers = farm.workers()
    farm.queue.wait(timeout=60)
    found = {job.id: (job.outcome, job.reason) for job in farm.queue.jobs()}
    assert found["memory"] == ("failed", "exit code 1")
    assert found["files"][0] == "failed"
    assert found["time"][0] == "signaled"
    assert found["time"][1] in ("ended by SIGXCPU", "ended by SIGKILL")
    assert found["size"][0] in ("failed", "signaled")
    assert farm.workers() == workers


@pytest.mark.parametrize("kib", [35_000, 45_000, 55_000])
def test_workers_that_are_short_of_memory(farm: Farm, mode: str, kib: int) -> None:
    """They work, or it is told why not; nothing is lost."""
    farm.queue.enqueue("true", id="j", max_retries=0)
    command = [sys.executable, "-m", "queuectl", "worker-run", "--count", "1", "--drain", "--mode", mode]
    process = subprocess.Popen(
        ["prlimit", f"--as={kib * 1024}:", *command], cwd=farm.directory, stderr=subprocess.PIPE, text=True
    )
    try:
        log = Path(farm.home.supervisor_log)
        eventually(lambda: process.poll() is not None or (log.exists() and "cannot work:" in log.read_text()))
    finally:
        process.send_signal(signal.SIGQUIT)
        _, said = process.communicate(timeout=PATIENCE)
    assert "mistake in queuectl" not in said
    assert "Traceback" not in said or "MemoryError" not in said
    farm.start(1)
    farm.queue.wait(["j"], timeout=60)
    assert farm.queue.get("j").outcome in ("succeeded", "failed", "crashed")


@pytest.mark.timeout(400)
@pytest.mark.usefixtures("turn_of_a_crowd")
def test_a_fork_bomb(farm: Farm, mode: str) -> None:
    program = farm.directory / "bomb.py"
    program.write_text(_BOMB)
    farm.run("config", "set", "kill_grace", "0")
    farm.queue.enqueue(f"exec {sys.executable} -I {program} 2000 {farm.token}", id="bomb", max_retries=0)
    farm.start(1, mode)
    workers = farm.workers()
    log = Path(farm.home.log("bomb"))
    eventually(lambda: log.exists() and "all there" in log.read_text(), patience=120)
    assert len(pids_with(farm.token)) > 1900
    first = next(pid for pid in pids_with(farm.token) if os.getsid(pid) == pid)
    os.kill(first, signal.SIGKILL)
    farm.queue.wait(["bomb"], timeout=60)
    job = farm.queue.get("bomb")
    assert (job.outcome, job.signal, job.reason) == ("signaled", signal.SIGKILL, "ended by SIGKILL")
    assert farm.survivors() == []
    assert farm.queue.attempts("bomb")[0].leftover == ()
    assert farm.workers() == workers


@pytest.mark.parametrize("name", ["re-forks itself", "re-forks itself in new sessions", "ignored signals"])
def test_what_does_not_want_to_end_at_its_timeout(farm: Farm, mode: str, name: str) -> None:
    farm.run("config", "set", "kill_grace", "0.2")
    farm.queue.enqueue(f"{escapes(farm.token)[name]}\nsleep {farm.token}", id="j", timeout=1, max_retries=0)
    farm.start(1, mode)
    workers = farm.workers()
    farm.queue.wait(["j"], timeout=60)
    job = farm.queue.get("j")
    assert (job.outcome, job.signal) == ("timed_out", signal.SIGTERM)
    assert farm.survivors() == []
    assert farm.workers() == workers


@pytest.fixture
def small_group(farm: Farm) -> Iterator[Path]:
    """A control group with little memory."""
    for root, limit in (
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
        ("/sys/fs/cgroup", "memory.max"),
    ):
        group = Path(root, f"queuectl-test-{farm.token}")
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / limit).write_text(str(48 << 20))
            yield group
        except OSError:
            continue
        finally:
            eventually(lambda group=group: (group / "cgroup.procs").read_text() == "")
            group.rmdir()
        return
    pytest.skip("needs a control group whose memory can be limited")


def test_a_memory_hog_killed_by_the_kernel(farm: Farm, mode: str, small_group: Path) -> None:
    hog = f"exec {sys.executable} -c 'bytearray(b\"x\" * (1 << 30))'"
    farm.queue.enqueue(f"echo $$ > {small_group}/cgroup.procs && {hog}", id="hog", max_retries=0)
    farm.start(1, mode)
    workers = farm.workers()
    farm.queue.wait(["hog"], timeout=60)
    job = farm.queue.get("hog")
    assert (job.outcome, job.signal, job.reason) == ("signaled", signal.SIGKILL, "ended by SIGKILL")
    assert farm.run("enqueue", "--wait", "--", "true").returncode == 0
    assert farm.workers() == workers


@needs_namespaces
def test_a_job_that_kills_all_that_it_can_find(farm: Farm, mode: str) -> None:
    """In a container that is started again: it is dead after its retries, and the others go on."""
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue("kill -9 -1; sleep 60", id="killer", max_retries=1)
    farm.queue.enqueue_many([{"id": f"j{n}", "command": "true"} for n in range(3)])
    command = [sys.executable, "-m", "queuectl", "worker-run", "--count", "1", "--mode", mode, "--drain"]
    began = time.monotonic()
    for _ in range(6):
        with pid_1(command, cwd=farm.directory, stderr=subprocess.DEVNULL) as container:
            if container.ends() == 0:
                break
    assert time.monotonic() - began < 60
    killer = farm.queue.get("killer")
    assert (killer.state, [each.outcome for each in farm.queue.attempts("killer")]) == ("dead", ["crashed"] * 2)
    assert [farm.queue.get(f"j{n}").state for n in range(3)] == ["completed"] * 3
    assert_books_balance(farm.queue)
