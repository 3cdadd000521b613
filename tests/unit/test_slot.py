"""What a worker notes about its attempt, and what can be told from it after its death."""

from __future__ import annotations

import os
from pathlib import Path

from queuectl import slot
from queuectl.slot import Slot


def told(tmp_path: Path, number: int) -> tuple[int | None, int | None]:
    outcome = slot.crashed(str(tmp_path / "slot"), 7, number, str(tmp_path / "log"), "its worker died")
    return outcome.log_offset, outcome.log_bytes


def test_the_slice_of_the_log_is_known_from_before_the_start_until_the_next_attempt(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before it: 14\n0123456789")
    note = Slot(str(tmp_path / "slot"))
    note.opened(7, 2, 14)
    assert told(tmp_path, 2) == (14, 10)
    note.started(os.getpid())
    assert told(tmp_path, 2) == (14, 10)
    note.ended()
    assert told(tmp_path, 2) == (14, 10)
    note.opened(7, 3, 24)
    assert told(tmp_path, 3) == (24, 0)


def test_an_attempt_that_is_not_noted_wrote_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("0123456789")
    assert told(tmp_path, 1) == (10, 0)
    Slot(str(tmp_path / "slot"))
    assert told(tmp_path, 1) == (10, 0)


def test_a_process_is_named_only_while_it_may_live(tmp_path: Path) -> None:
    path = str(tmp_path / "slot")
    note = Slot(path)
    note.opened(7, 1, 0)
    note.started(os.getpid())
    running = slot.read(path)
    assert running is not None
    assert running.identity.lives
    note.ended()
    ended = slot.read(path)
    assert ended is not None
    assert ended.pid == 0


def test_a_keepers_successor_keeps_what_its_thread_has_not_read_yet(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("0123456789")
    note = Slot(str(tmp_path / "slot"))
    note.opened(7, 1, 4)
    note.started(os.getpid())
    Slot(str(tmp_path / "slot"))
    assert told(tmp_path, 1) == (4, 6)
    running = slot.read(str(tmp_path / "slot"))
    assert running is not None
    assert running.pid == 0
