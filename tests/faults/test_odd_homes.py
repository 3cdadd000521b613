"""Homes on odd file systems and paths: everything works there, or is refused with the reason."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, eventually
from faults.altered import AlteredFarm
from faults.mounts import mounted

from queuectl import cli, control, pidfile


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[AlteredFarm]:
    farm = AlteredFarm(tmp_path, copied=True)
    yield farm
    farm.alter()
    farm.clean_up()
    identity = pidfile.read(farm.home.supervisor_pid)
    if identity is not None and identity.lives:  # a supervisor without a lock, as none of them should be
        os.kill(identity.pid, signal.SIGQUIT)


def refused(farm: Farm, *command: str) -> str:
    """Run a command that is refused for what the home's file system is; the one line that it says."""
    done = farm.run(*command)
    assert done.returncode == 5, done
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return line


# No locks


@pytest.mark.parametrize(
    ("command", "error"), [("worker-start", "ENOSYS"), ("worker-run", "ENOSYS"), ("worker-run", "ENOLCK")]
)
def test_workers_are_refused_where_there_are_no_locks(farm: AlteredFarm, command: str, error: str) -> None:
    """A file that exists is no lock: it outlives a crash, and keeps nobody out who takes it for stale."""
    farm.queue.enqueue("true", id="j")
    farm.alter(fcntl__flock=error)
    line = refused(farm, command, "--count", "1")
    assert f"the file system of {farm.home.run} has no locks ({os.strerror(getattr(errno, error))})" in line
    assert "local disk" in line
    assert not control.is_running(farm.home)
    assert farm.workers() == []
    assert farm.queue.get("j").state == "pending"
    farm.alter()
    assert farm.run("worker-run", "--count", "1", "--drain").returncode == 0, "nothing is left that looks like a lock"


@pytest.mark.parametrize("command", [("init",), ("worker-run", "--count", "1")])
def test_no_queue_is_made_where_there_are_no_locks(farm: AlteredFarm, command: tuple[str, ...]) -> None:
    farm.alter(fcntl__flock="ENOSYS")
    path = farm.directory / "there" / "queuectl.db"
    assert "has no locks" in refused(farm, "--db", str(path), *command)
    assert not path.exists()


def test_what_takes_no_lock_goes_on_without_locks(farm: AlteredFarm) -> None:
    """Nobody can have started workers here, so there are none: to stop them is no failure."""
    Path(farm.home.supervisor_lock).touch()
    farm.alter(fcntl__flock="ENOSYS")
    assert "has no locks" in refused(farm, "config", "set", "max_retries", "1")
    assert farm.run("enqueue", "--", "true").returncode == 0
    assert farm.run("worker-status").returncode == 3
    assert farm.run("worker-stop").returncode == 0
    done = farm.run("doctor")
    assert done.returncode == 1
    assert "no lock or FIFO can be made there" in done.stdout


# No FIFOs


@pytest.mark.parametrize("command", ["worker-start", "worker-run"])
def test_workers_are_refused_where_there_are_no_fifos(farm: AlteredFarm, command: str) -> None:
    farm.queue.enqueue("true", id="j")
    farm.alter(os__mkfifo="EPERM")
    done = farm.run(command, "--count", "1")
    assert done.returncode == 1, done
    assert f"cannot make the FIFO {farm.home.wake}: Operation not permitted" in done.stderr
    assert "local disk" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not control.is_running(farm.home)
    assert farm.workers() == []
    assert farm.run("enqueue", "--", "true").returncode == 0
    assert len(farm.queue.jobs(state="pending")) == 2


# Nothing may be written


def assert_read_only_home_is_refused(farm: Farm) -> None:
    for command in (
        ("enqueue", "--", "true"),
        ("worker-start", "--count", "1"),
        ("worker-run", "--count", "1"),
        ("list",),
    ):
        line = refused(farm, *command)
        assert "read-only" in line, line
        assert str(farm.directory) in line
    done = farm.run("doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not control.is_running(farm.home)


def test_a_home_that_may_not_be_written(plain_farm: Farm) -> None:
    plain_farm.queue.enqueue("true", id="j")
    plain_farm.queue.close()
    parts = [plain_farm.directory, *plain_farm.directory.rglob("*")]
    modes = [path.stat().st_mode for path in parts if not path.is_fifo()]
    for path in parts:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        assert_read_only_home_is_refused(plain_farm)
    finally:
        for path, mode in zip(parts, modes, strict=True):
            path.chmod(mode)
    assert plain_farm.run("worker-run", "--count", "1", "--drain").returncode == 0
    assert plain_farm.queue.get("j").state == "completed"


def test_a_home_on_a_read_only_file_system(farm: AlteredFarm) -> None:
    home = str(farm.directory)
    farm.queue.enqueue("true", id="j")
    farm.queue.close()
    with mounted(farm.directory, "-o", "bind,ro", home):
        assert_read_only_home_is_refused(farm)
    assert farm.queue.get("j").state == "pending"


# Paths


NAMES = (
    "-rf",
    " a  b ",
    "a\nb'c\"`touch d`$(touch e)$HOME~;&|<>",
    "a%41?mode=memory&cache=shared#x",
    "[a-z]*{b,c}\\",
    "\u00fc\u6f22\U0001f40c e\u0301",
    "n" * 200,
)
"""What is an option, what is blank, what a shell expands, what an address quotes, a pattern, not ASCII, and long."""


def test_a_home_on_an_odd_path(tmp_path: Path, mode: str) -> None:
    directory = tmp_path.joinpath(*NAMES)
    directory.mkdir(parents=True)
    farm = Farm(directory)
    try:
        use(farm, mode)
    finally:
        farm.clean_up()
    inside = {path.name.partition("-")[0] for path in directory.iterdir()}
    assert inside == {"queuectl.db", "queuectl_config.json", "job_logs", "run"}
    for around in directory.parents[: len(NAMES)]:
        assert len(os.listdir(around)) == 1, "nothing was made by what a shell took for a command"


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_an_odd_path_that_is_named(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    database = f"{name}/{name}"[:247]
    assert cli.run(["--db", database, "enqueue", "--id", "j", "--", "true"]) == 0
    for arguments in (
        ["--db", database, "show", "j"],
        [f"--db={database}", "show", "j"],
        ["show", "j", "--db", database],
    ):
        assert cli.run(arguments) == 0
    monkeypatch.setenv("QUEUECTL_DB_PATH", database)
    assert cli.run(["show", "j"]) == 0
    assert os.listdir() == [name]


def test_a_home_behind_a_symlink(tmp_path: Path, mode: str) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    farm = Farm(tmp_path / "link")
    try:
        use(farm, mode)
        assert farm.home.directory == str(tmp_path / "real")
    finally:
        farm.clean_up()


def use(farm: Farm, mode: str) -> None:
    """Run and cancel a job, kill all workers amid another, have it rescued, and stop."""
    farm.queue.change_setting("backoff_base", 0)
    farm.start(1, mode)
    farm.queue.enqueue('printf "%s\\n" "$(pwd -P)" "$QUEUECTL_QUEUE"', id="told", cwd=farm.directory)
    assert farm.queue.wait(["told"], PATIENCE)
    assert Path(farm.home.log("told")).read_text() == f"{farm.home.directory}\n{farm.home.database}\n"
    farm.queue.enqueue(f"sleep {farm.token}", id="cancelled")
    eventually(farm.survivors)
    assert farm.run("cancel", "--wait", "cancelled").returncode == 0
    assert farm.survivors() == []
    farm.queue.enqueue(f"test $QUEUECTL_ATTEMPT = 2 || setsid sleep {farm.token}", id="rescued")
    eventually(farm.survivors)
    for pid in (farm.supervisor(), *farm.workers()):
        os.kill(pid, signal.SIGKILL)
    assert farm.run("worker-run", "--count", "1", "--mode", mode, "--drain").returncode == 0
    assert farm.survivors() == []
    assert [attempt.outcome for attempt in farm.queue.attempts("rescued")] == ["crashed", "succeeded"]
    farm.queue.close()
