"""A keeper, spoken to as its thread does."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import homes
import pytest
from farm import PATIENCE, eventually

from queuectl import recall, slot
from queuectl.home import Home
from queuectl.inbox import Inbox
from queuectl.keeper import HOLD, ORDER, READY, RUN, Line, keep
from queuectl.model import Outcome
from queuectl.proctree import become_subreaper
from queuectl.runner import CANCEL, Assignment
from queuectl.slot import Slot


@pytest.fixture
def lines() -> Iterator[tuple[Line, Line]]:
    """Both ends of one."""
    ends = socket.socketpair()
    both = Line(ends[0].detach()), Line(ends[1].detach())
    yield both
    for each in both:
        each.close()


def test_a_message_that_does_not_fit_into_the_socket(lines: tuple[Line, Line]) -> None:
    ours, theirs = lines
    said = ("j", 7, {"A": "x" * 5_000_000, "é": "\0"}, None, 0.5)
    thread = threading.Thread(target=ours.send, args=(said,))
    thread.start()
    assert theirs.recv() == said
    thread.join()


def test_of_two_messages_the_second_still_shows(lines: tuple[Line, Line]) -> None:
    ours, theirs = lines
    ours.send((1,))
    ours.send((2,))
    assert theirs.recv() == (1,)
    assert select.select([theirs], [], [], 0)[0]
    assert theirs.recv() == (2,)
    assert not select.select([theirs], [], [], 0)[0]


@pytest.mark.parametrize("part", [0, 3, 4, 10])
def test_an_end_that_closes_amid_a_message(part: int) -> None:
    ours, theirs = socket.socketpair()
    line = Line(theirs.detach())
    ours.sendall(((100).to_bytes(4, "big") + b"x" * 100)[:part])
    ours.close()
    with pytest.raises(EOFError):
        line.recv()
    line.close()


class Thread:
    """The thread's end, and a keeper in a child; its slot and its jobs' logs are in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.home = Home(str(homes.copy(directory)))
        self.directory = directory
        ours, theirs = socket.socketpair()
        self.keeper = os.fork()
        if self.keeper == 0:
            ours.close()
            become_subreaper()
            keep(theirs.detach(), Slot(self.home.slot("w")), Inbox((signal.SIGCHLD,)), self.home)
            os._exit(0)
        theirs.close()
        self.line = Line(ours.detach())
        assert self.line.recv() == READY

    def send(self, *commands: str, number: int = 1, until: float = PATIENCE) -> None:
        """Have commands run one after the other, all of them begun within so many seconds."""
        tasks = [
            tuple(
                Assignment(f"j{seq}", seq, number, 7_000_000, command, str(self.directory), {}, 0, 1, self.log(seq), 0)
            )
            for seq, command in enumerate(commands)
        ]
        self.sent_at = time.monotonic()
        self.line.send((RUN, tasks, (7_000_000, self.sent_at), self.sent_at + until, recall.mark(self.home)))

    def log(self, seq: int) -> str:
        return self.home.log(f"j{seq}")

    def hear(self) -> tuple[list[int | None], float | None]:
        """A report: the exit codes of what ended, and since when another runs."""
        ended, since = self.line.recv()
        return [Outcome(*outcome).exit_code for _, outcome in ended], since

    def has(self, name: str) -> bool:
        return (self.directory / name).exists()

    def close(self) -> None:
        self.line.close()
        assert os.waitpid(self.keeper, 0)[1] == 0


@pytest.fixture
def thread(tmp_path: Path) -> Iterator[Thread]:
    made = Thread(tmp_path)
    yield made
    made.close()


GATE = "until test -e gate; do sleep 0.01; done"


def test_an_order_that_comes_too_late_harms_nobody(thread: Thread) -> None:
    """Neither the keeper, which has nothing to run by then, nor the next attempt."""
    for number in (1, 2):
        # For the attempt before, which has ended, or never was: once idle, once as the next begins.
        for late in ((HOLD,), (ORDER, 0, number - 1, CANCEL.outcome, CANCEL.gently)):
            thread.line.send(late)
        thread.send("sleep 0.2; exit 5", number=number)
        thread.line.send((ORDER, 0, number - 1, CANCEL.outcome, CANCEL.gently))
        assert thread.hear() == ([5], None)


def test_a_series_is_run_one_after_the_other(thread: Thread) -> None:
    thread.send("exit 1", f"touch second; {GATE}; exit 2", "exit 3")
    eventually(lambda: thread.has("second"))
    assert not select.select([thread.line], [], [], 0)[0], "it tells of all of them at once"
    (thread.directory / "gate").touch()
    ended, since = thread.line.recv()
    assert [Outcome(*outcome).exit_code for _, outcome in ended] == [1, 2, 3]
    assert since is None
    begun = [began for began, _ in ended]
    assert begun == sorted(begun)
    assert begun[0] == thread.sent_at, "its first one began with the claim"
    noted = {each.seq: each for each in slot.read(thread.home.slot("w"))}
    for seq, began in enumerate(begun):
        assert noted[seq].began_at == 7_000_000 + round((began - thread.sent_at) * 1_000_000)


def test_a_series_that_is_held_goes_on_with_what_runs_alone(thread: Thread) -> None:
    thread.send("exit 1", f"touch second; {GATE}; exit 2", "touch third")
    eventually(lambda: thread.has("second"))
    thread.line.send((HOLD,))
    codes, since = thread.hear()
    assert codes == [1]
    assert since is not None
    assert thread.sent_at < since < time.monotonic()
    thread.line.send((ORDER, 1, 1, CANCEL.outcome, CANCEL.gently))
    ended, since = thread.line.recv()
    assert [Outcome(*outcome).kind for _, outcome in ended] == [CANCEL.outcome]
    assert since is None
    assert not thread.has("third")


def test_a_series_ends_where_something_speaks_against_the_next(thread: Thread) -> None:
    """Somebody recalls what was claimed ahead, or it is too late to begin it."""
    thread.send(f"touch first; {GATE}", "touch second")
    eventually(lambda: thread.has("first"))
    recall.claims(thread.home)
    (thread.directory / "gate").touch()
    assert thread.hear() == ([0], None)
    thread.send("true", "touch second", number=2, until=0)
    assert thread.hear() == ([0], None)
    assert not thread.has("second")


def test_a_keeper_whose_thread_is_gone_begins_nothing_more(tmp_path: Path) -> None:
    thread = Thread(tmp_path)
    thread.send("touch first; sleep 60", "touch second")
    eventually(lambda: thread.has("first"))
    thread.close()
    assert not thread.has("second")
    (noted,) = slot.read(thread.home.slot("w"))
    assert (noted.outcome or {})["kind"] == "crashed"
