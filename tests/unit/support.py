"""What the tests of the foundations share: a clock to turn, children, threads."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from farm import IS_ROOT, NOBODY, PATIENCE

from queuectl import Queue
from queuectl.clock import SECOND, Clock


class HandClock(Clock):
    """A clock that stands still until it is moved."""

    def __init__(self, now: int = 1_800_000_000 * SECOND) -> None:
        self.time = now

    def now(self) -> int:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += round(seconds * SECOND)


class StandingClock(HandClock):
    """One whose monotonic time stands still as well."""

    def monotonic(self) -> float:  # type: ignore[override]
        return self.time / SECOND


class Child:
    """A forked process that runs a function; it must succeed, and within the deadline."""

    def __init__(self, work: Callable[[], object], *, unprivileged: bool = False) -> None:
        self._output, write = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(write)
            return
        code = 1
        try:
            signal.alarm(int(PATIENCE))
            if unprivileged and IS_ROOT:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            work()
            code = 0
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-4000:])
        finally:
            os._exit(code)

    def join(self) -> None:
        """Wait for its end; fail as it failed."""
        with open(self._output, "rb") as file:
            said = file.read().decode()
        _, status = os.waitpid(self.pid, 0)
        assert status == 0, f"the child ended with {os.waitstatus_to_exitcode(status)}\n{said}"


def in_child(work: Callable[[], object], *, unprivileged: bool = False) -> None:
    """Run a function in a process of its own."""
    Child(work, unprivileged=unprivileged).join()


@contextlib.contextmanager
def unprivileged_directory() -> Iterator[Path]:
    """A directory of the user under whom unprivileged children run."""
    # What Python loads on demand is loaded now: it may lie where a child cannot read it any more.
    with tempfile.TemporaryDirectory() as elsewhere:
        Queue.init(Path(elsewhere) / "q.db").close()
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="queuectl-unprivileged-")))
    try:
        if IS_ROOT:
            os.chown(directory, NOBODY, NOBODY)
        yield directory
    finally:
        for path in (directory, *directory.rglob("*")):
            if path.is_dir():
                path.chmod(0o700)
        shutil.rmtree(directory)


def in_threads(*works: Callable[[], object]) -> None:
    """Run functions at once, each in a thread; fail with the first error."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(works))

    def guarded(work: Callable[[], object]) -> None:
        try:
            start.wait(PATIENCE)
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,), daemon=True) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]
