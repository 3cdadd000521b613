"""A keeper, spoken to as its thread does."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.inbox import Inbox
from queuectl.keeper import READY, Line, keep
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


def test_an_order_that_comes_too_late_harms_nobody(tmp_path: Path) -> None:
    """Neither the keeper, which has nothing to run by then, nor the next attempt."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        become_subreaper()
        keep(theirs.detach(), Slot(str(tmp_path / "slot")), Inbox((signal.SIGCHLD,)))
        os._exit(0)
    theirs.close()
    keeper = Line(ours.detach())
    assert keeper.recv() == READY
    for number in (1, 2):
        # For the attempt before, which has ended, or never was: once idle, once as the next begins.
        keeper.send((7, number - 1, CANCEL.outcome, CANCEL.gently))
        log = str(tmp_path / "log")
        keeper.send(tuple(Assignment("j", 7, number, 0, "sleep 0.2; exit 5", "/", {}, 0, 1, log, 0)))
        keeper.send((7, number - 1, CANCEL.outcome, CANCEL.gently))
        outcome = Outcome(*keeper.recv())
        assert (outcome.kind, outcome.exit_code) == ("failed", 5)
    keeper.close()
    assert os.waitpid(child, 0)[1] == 0
