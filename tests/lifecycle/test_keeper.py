"""A keeper, spoken to as its thread does."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

from queuectl.inbox import Inbox
from queuectl.keeper import READY, Line, keep
from queuectl.model import Outcome
from queuectl.proctree import become_subreaper
from queuectl.runner import CANCEL, Assignment
from queuectl.slot import Slot


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
