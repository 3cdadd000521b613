"""What others put into a home: symlinks to files that are not ours, FIFOs, and notes that name strangers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import IS_ROOT, NOBODY, Farm, eventually

from queuectl import control, pidfile

PATIENCE = 30.0

LONE = ("run/supervisor.log", "run/supervisor.lock", "run/.home.lock", "run/wake", "run/control", "job_logs/j.log")
"""Where something in the way may well keep workers from starting, or a job from running."""
TOGETHER = (
    "queuectl_config.json",
    "run/supervisor.pid",
    "run/supervisor.state",
    "run/stop.request",
    "run/cgroup",
    "run/queue",
    "run/worker-1.pid",
    "run/slot-worker-1",
)
PLACES = (*((place,) for place in LONE), TOGETHER)


def use(farm: Farm) -> None:
    """Work with the queue; everything returns, and what is refused is refused in one clear line."""
    ask(farm, "config", "set", "max_retries", "0")
    ask(farm, "enqueue", "--id", "j", "--", "echo", "hello")
    if ask(farm, "worker-start", "--count", "1"):
        ask(farm, "wait", "j", "--timeout", "20")
        ask(farm, "worker-stop", "--now")
    ask(farm, "logs", "j")
    assert not control.is_running(farm.home)


def ask(farm: Farm, *command: str) -> bool:
    """Run a command that may be refused; whether it was not."""
    done = farm.run(*command, timeout=PATIENCE)
    assert "mistake in queuectl" not in done.stderr
    assert done.returncode == 0 or re.fullmatch(r"queuectl: .+\n", done.stderr), done
    return done.returncode == 0


def put_in_place(path: Path) -> Path:
    """Make room at a path."""
    if path.is_symlink() or path.exists():
        path.unlink()
    return path


@pytest.mark.parametrize("target", ["precious", "missing"])
@pytest.mark.parametrize("places", PLACES, ids=lambda places: " ".join(places)[:30])
def test_nothing_is_written_through_a_symlink(farm: Farm, places: tuple[str, ...], target: str) -> None:
    elsewhere = farm.directory / "elsewhere"
    elsewhere.mkdir()
    precious = elsewhere / "precious"
    precious.write_text("{}")
    precious.chmod(0o640)
    os.utime(precious, (1, 1))
    before = precious.stat()
    for place in places:
        put_in_place(farm.directory / place).symlink_to(elsewhere / target)
    use(farm)
    after = precious.stat()
    assert (after.st_mode, after.st_mtime, after.st_size) == (before.st_mode, before.st_mtime, before.st_size)
    assert os.listdir(elsewhere) == ["precious"]


def test_no_log_is_written_through_a_symlink_planted_while_workers_run(farm: Farm, mode: str) -> None:
    precious = farm.directory / "precious"
    precious.write_text("precious")
    farm.start(1, mode)
    Path(farm.home.log("j")).symlink_to(precious)
    farm.queue.enqueue("echo overwritten", id="j", max_retries=0)
    farm.queue.wait(["j"], timeout=60)
    job = farm.queue.get("j")
    assert (job.state, job.outcome) == ("dead", "not_started")
    assert "cannot open its log" in str(job.reason)
    assert precious.read_text() == "precious"
    assert farm.run("enqueue", "--wait", "--", "true").returncode == 0


@pytest.mark.parametrize("places", PLACES, ids=lambda places: " ".join(places)[:30])
def test_nothing_hangs_on_a_fifo(farm: Farm, places: tuple[str, ...]) -> None:
    """Somebody holds it open, so that it can be opened, and nothing ever comes out of it."""
    with contextlib.ExitStack() as held:
        for place in places:
            held.enter_context(silent_fifo(put_in_place(farm.directory / place)))
        use(farm)


@contextlib.contextmanager
def silent_fifo(path: Path) -> Iterator[None]:
    """A FIFO at a path, open for both reading and writing."""
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        yield
    finally:
        os.close(descriptor)


def test_a_fifo_in_place_of_a_log_stops_no_job(farm: Farm, mode: str) -> None:
    """It would fill up, and the job would wait for a reader for ever."""
    farm.start(1, mode)
    os.mkfifo(farm.home.log("j"))
    farm.queue.enqueue("head -c 1000000 /dev/zero", id="j", max_retries=0)
    farm.queue.wait(["j"], timeout=60)
    job = farm.queue.get("j")
    assert (job.outcome, "not a regular file" in str(job.reason)) == ("not_started", True)


def test_a_fifo_in_place_of_a_slot_hangs_no_worker(farm: Farm, mode: str) -> None:
    """It counts as a death, which is told, and not as 30 seconds of silence."""
    farm.start(1, mode)
    slot = put_in_place(Path(farm.home.slot("worker-1")))
    os.mkfifo(slot)
    farm.queue.enqueue("test $QUEUECTL_ATTEMPT = 2 || kill -9 $PPID; exit 0", id="j")
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "not a regular file" in log.read_text(), patience=20)
    slot.unlink()
    assert farm.queue.wait(["j"], timeout=60)


def test_what_is_no_fifo_is_named_and_left_alone(farm: Farm) -> None:
    for name in ("wake", "control"):
        path = put_in_place(Path(farm.home.run, name))
        path.write_text("mine")
        done = farm.run("worker-start", "--count", "1", timeout=PATIENCE)
        assert done.returncode == 1
        assert f"{path} is not a FIFO: remove it" in done.stderr
        assert path.read_text() == "mine"
        path.unlink()


def test_a_fifo_of_somebody_else_delays_no_job_for_long(farm: Farm) -> None:
    """Its owner may take the bytes out of it; workers look by themselves, and a stop comes by a signal, too."""
    if not IS_ROOT:
        pytest.skip("needs root, to make a file of another user")
    readers = []
    for path in (farm.home.wake, farm.home.control):
        put_in_place(Path(path))
        os.mkfifo(path, 0o666)
        os.chown(path, NOBODY, NOBODY)
        readers.append(os.open(path, os.O_RDWR))
    thief = subprocess.Popen(
        ["sh", "-c", f"cat {farm.home.wake} & exec cat {farm.home.control}"], start_new_session=True
    )
    try:
        farm.start(1)
        farm.queue.enqueue("true", id="j")
        assert farm.queue.wait(["j"], timeout=60)
        farm.stop()
    finally:
        os.killpg(thief.pid, signal.SIGKILL)
        thief.wait()
        for reader in readers:
            os.close(reader)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of ours that has nothing to do with the queue."""
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def notes_of_nobody(farm: Farm, stranger: int) -> None:
    """PID files and slots that name a living process rightly, written by a user who may not signal it."""
    identity = pidfile.of(stranger)
    line = f"{identity.pid}\n{identity.started}\n{identity.boot}\n{identity.namespace}\n"
    note = (
        f'{{"pid": {identity.pid}, "not_before": {identity.started}, "started": {identity.started}, '
        f'"seq": 1, "number": 1, "log_offset": 0, "boot": "{identity.boot}", "namespace": "{identity.namespace}"}}'
    )
    for name, content in (
        ("supervisor.pid", line + "supervisor\n"),
        ("worker-9.pid", line + "worker\n"),
        ("slot-worker-9", note),
    ):
        path = put_in_place(Path(farm.home.run, name))
        path.write_text(content)
        path.chmod(0o666)
        os.chown(path, NOBODY, NOBODY)


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to make a file of another user")
def test_notes_of_somebody_else_have_no_stranger_killed(farm: Farm, stranger: subprocess.Popen[bytes]) -> None:
    farm.queue.enqueue("true", id="j")
    notes_of_nobody(farm, stranger.pid)
    assert farm.run("worker-stop").returncode == 0
    farm.start(1)
    assert farm.queue.wait(["j"], timeout=60)
    notes_of_nobody(farm, stranger.pid)
    farm.stop()
    notes_of_nobody(farm, stranger.pid)
    farm.start(1)
    farm.stop()
    assert stranger.poll() is None


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to make a file of another user")
def test_a_control_group_that_somebody_else_names_is_not_killed(farm: Farm, stranger: subprocess.Popen[bytes]) -> None:
    from queuectl import cgroup

    own = cgroup.own_group()
    if own is None:
        pytest.skip("no cgroup v2 here")
    group = Path(own, f"stranger-{stranger.pid}")
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(stranger.pid))
    except OSError as error:
        pytest.skip(f"no writable cgroup v2 here: {error}")
    try:
        note = Path(farm.home.cgroup)
        note.write_text(f"{group}\n{group.stat().st_ino}\n")
        os.chown(note, NOBODY, NOBODY)
        farm.start(1)
        farm.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        eventually(lambda: (group / "cgroup.procs").read_text() == "")
        group.rmdir()
