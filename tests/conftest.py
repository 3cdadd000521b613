"""What all tests share: a queue with real workers in a fresh directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import IS_ROOT, NOBODY, Farm, eventually
from filelock import FileLock

from queuectl import processes

for number, usual in {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
}.items():
    # «nohup make test &»: a script that starts us in the background has us, and all whom we start, ignore these.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    """A queue of the user who runs the tests."""
    farm = Farm(tmp_path, copied=True)
    yield farm
    farm.clean_up()


@pytest.fixture(params=["process", "thread"])
def mode(request: pytest.FixtureRequest) -> str:
    """Both ways to host workers."""
    mode: str = request.param
    return mode


@pytest.fixture
def turn_of_a_crowd() -> Iterator[None]:
    """For what makes thousands of processes, or of zombies that wait for a slow init: one such test at a time.

    Two are more than some systems have room for, and would fail other tests. The zombies of the last one count, too.
    """
    with FileLock(Path(tempfile.gettempdir(), f"queuectl-crowd-{os.geteuid()}.lock")):
        with contextlib.suppress(AssertionError):  # where init takes none, to wait longer does not help
            eventually(lambda: zombies() < FEW_ZOMBIES)
        yield


FEW_ZOMBIES = 500


def zombies() -> int:
    """How many there are of all users' processes."""
    return sum(process.is_zombie for process in processes.newest_first())


@pytest.fixture
def plain_farm() -> Iterator[Farm]:
    """A queue of a user without special rights: of ``nobody`` when root runs the tests."""
    directory = Path(tempfile.mkdtemp(prefix="queuectl-plain-"))
    directory.chmod(0o755)
    home = directory / "home"
    home.mkdir()
    if IS_ROOT:
        os.chown(home, NOBODY, NOBODY)
    farm = Farm(home, unprivileged=IS_ROOT, copied=True)
    yield farm
    farm.clean_up()
    shutil.rmtree(directory)
