"""What a worker notes about its attempt, and what can be told from it after its death."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from farm import IS_ROOT, NOBODY

from queuectl import processes, slot
from queuectl.model import CRASHED, SUCCEEDED, Outcome
from queuectl.slot import Slot

LONG_AGO = 1_000_000
BEGUN = 900_000
SUCCESS = Outcome(SUCCEEDED, exit_code=0, cpu_seconds=0.25, log_offset=14, log_bytes=3)


def ended(tmp_path: Path, number: int) -> slot.Ended:
    return slot.ended(str(tmp_path / "slot"), 7, number, str(tmp_path / "log"), "its worker died")


def success(log_offset: int) -> Outcome:
    return SUCCESS._replace(log_offset=log_offset)


def told(tmp_path: Path, number: int) -> tuple[int | None, int | None]:
    outcome = ended(tmp_path, number).outcome
    return outcome.log_offset, outcome.log_bytes


def test_the_slice_of_the_log_is_known_from_before_the_start_until_the_next_attempt(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before it: 14\n0123456789")
    note = Slot(str(tmp_path / "slot"))
    note.opened(7, 2, 14, BEGUN)
    assert told(tmp_path, 2) == (14, 10)
    note.started(os.getpid())
    assert told(tmp_path, 2) == (14, 10)
    note.ended(SUCCESS, LONG_AGO)
    assert told(tmp_path, 2) == (14, 3)
    note.opened(7, 3, 24, BEGUN)
    assert told(tmp_path, 3) == (24, 0)


def test_an_attempt_that_is_not_noted_wrote_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("0123456789")
    assert told(tmp_path, 1) == (10, 0)
    Slot(str(tmp_path / "slot"))
    assert told(tmp_path, 1) == (10, 0)


def test_a_process_is_named_only_while_it_may_live(tmp_path: Path) -> None:
    path = str(tmp_path / "slot")
    note = Slot(path)
    note.opened(7, 1, 0, BEGUN)
    process = subprocess.Popen(["sleep", "60"])
    note.started(process.pid)
    (running,) = slot.read(path)
    seen = processes.look(process.pid)
    process.kill()
    process.wait()
    assert seen is not None
    assert running.is_first(seen)
    assert not running.is_first(seen._replace(started=running.started + 1))
    assert not running.is_first(seen._replace(started=running.not_before - 1))
    note.ended(SUCCESS, LONG_AGO)
    (over,) = slot.read(path)
    assert over.pid == 0


def test_a_keepers_successor_keeps_what_its_thread_has_not_read_yet(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("0123456789")
    note = Slot(str(tmp_path / "slot"))
    note.opened(7, 1, 4, BEGUN)
    note.started(os.getpid())
    note.ended(SUCCESS, LONG_AGO)
    Slot(str(tmp_path / "slot"))
    assert ended(tmp_path, 1) == slot.Ended(SUCCESS, LONG_AGO, BEGUN)
    assert told(tmp_path, 2) == (10, 0)
    (running,) = slot.read(str(tmp_path / "slot"))
    assert running.pid == 0


def test_an_outcome_is_that_of_its_attempt_alone(tmp_path: Path) -> None:
    note = Slot(str(tmp_path / "slot"))
    note.opened(7, 1, 14, BEGUN)
    note.ended(SUCCESS, LONG_AGO)
    assert ended(tmp_path, 1) == slot.Ended(SUCCESS, LONG_AGO, BEGUN)
    assert ended(tmp_path, 2).outcome.kind == CRASHED
    note.opened(7, 2, 17, BEGUN)
    assert [ended(tmp_path, number).outcome.kind for number in (1, 2)] == [SUCCEEDED, CRASHED]


def test_as_many_attempts_are_noted_as_a_worker_holds(tmp_path: Path) -> None:
    note = Slot(str(tmp_path / "slot"))
    for number in range(1, 3 * slot.PLACES):
        note.opened(7, number, number, BEGUN)
        held = range(max(1, number - slot.PLACES + 1), number)
        assert all(ended(tmp_path, each) == slot.Ended(success(each), LONG_AGO, BEGUN) for each in held)
        note.started(os.getpid())
        assert [running.number for running in slot.read(str(tmp_path / "slot")) if running.pid] == [number]
        note.ended(success(number), LONG_AGO)
    assert ended(tmp_path, number - slot.PLACES).began_at is None, "it had to make room"


def test_a_successor_drops_the_oldest_first(tmp_path: Path) -> None:
    note = Slot(str(tmp_path / "slot"))
    for number in range(1, slot.PLACES + 3):
        note.opened(7, number, number, BEGUN + number)
        note.ended(success(number), LONG_AGO)
        last = number
    note = Slot(str(tmp_path / "slot"))
    for number in range(last + 1, last + slot.PLACES):
        note.opened(7, number, number, BEGUN + number)
        held = range(number - slot.PLACES + 1, last + 1)
        assert all(ended(tmp_path, each).outcome == success(each) for each in held)


def test_what_a_former_worker_ran_is_named_no_more(tmp_path: Path) -> None:
    path = str(tmp_path / "slot")
    note = Slot(path)
    note.opened(7, 1, 0, BEGUN)
    note.ended(SUCCESS, LONG_AGO)
    note.opened(8, 1, 0, BEGUN)
    note.started(os.getpid())
    Slot(path)
    assert [running.pid for running in slot.read(path)] == [0, 0]
    assert ended(tmp_path, 1) == slot.Ended(SUCCESS, LONG_AGO, BEGUN)


def test_an_outcome_takes_no_more_room_than_there_is(tmp_path: Path) -> None:
    note = Slot(str(tmp_path / "slot"))
    size = os.stat(tmp_path / "slot").st_size
    note.opened(7, 1, 14, BEGUN)
    note.ended(Outcome(CRASHED, reason="ü" * 9000, leftover=("1 (x, user y)",) * 900), LONG_AGO)
    assert os.stat(tmp_path / "slot").st_size == size
    outcome = ended(tmp_path, 1).outcome
    assert (outcome.kind, (outcome.reason or "")[:9]) == (CRASHED, "ü" * 9)
    assert outcome.leftover == ("1 (x, user y)",) * 8, "the first are named"


def test_letters_that_take_more_room_than_others(tmp_path: Path) -> None:
    note = Slot(str(tmp_path / "slot"))
    for seq in (7, 8):
        note.opened(seq, 1, 14, BEGUN)
        note.ended(Outcome(CRASHED, reason="🐌" * 300, leftover=("🐌" * 300,) * 8), LONG_AGO)
    assert [running.seq for running in slot.read(str(tmp_path / "slot"))] == [7, 8], (
        "none reaches into the next one's place"
    )
    assert ended(tmp_path, 1).outcome.kind == CRASHED


@pytest.mark.parametrize("outcome", ["{}", '"x"', "[]", '{"kind": "succeeded"}', '{"kind": "?", "leftover": []}'])
def test_an_outcome_that_cannot_be_read_is_a_crash(tmp_path: Path, outcome: str) -> None:
    note = Slot(str(tmp_path / "slot"))
    note.opened(7, 1, 0, BEGUN)
    content = (tmp_path / "slot").read_text()
    (tmp_path / "slot").write_text(content.replace('"outcome": null', f'"outcome": {outcome}'))
    assert ended(tmp_path, 1).outcome.kind == CRASHED


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a file away")
def test_a_stranger_cannot_tell_what_came_of_a_job(tmp_path: Path) -> None:
    note = Slot(str(tmp_path / "slot"))
    note.opened(7, 1, 0, BEGUN)
    note.ended(SUCCESS, LONG_AGO)
    os.chown(tmp_path / "slot", NOBODY, NOBODY)
    assert ended(tmp_path, 1).outcome.kind == CRASHED
    os.chown(tmp_path, NOBODY, NOBODY)
    assert ended(tmp_path, 1) == slot.Ended(SUCCESS, LONG_AGO, BEGUN)
