"""Homes on odd file systems and paths: everything works there, or is refused with the reason."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import Farm
from faults.altered import AlteredFarm

from queuectl import control, pidfile


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[AlteredFarm]:
    farm = AlteredFarm(tmp_path)
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
