"""The parts of the live picture: keys, pace, and lines that fit."""

from __future__ import annotations

import itertools
import os

import pytest
from rich.cells import cell_len
from rich.text import Text

from queuectl.cli.live.board import Board, in_short, in_words
from queuectl.cli.live.keys import Keys
from queuectl.cli.live.pen import Cell, Column, Pen, Table
from queuectl.clock import SECOND, iso
from queuectl.model import STATES, GroupState, Job
from queuectl.observer import IDLE, LOST, RUNNING, Pace, Picture, Worker

NOW = 1_800_000_000 * SECOND


GROUPS = [GroupState(f"group-{i}", 2, True, 12, 2) for i in range(9)]


def a_job(name: str, state: str = "processing", **fields: object) -> Job:
    told = iso(NOW - 75 * SECOND)
    assert told is not None
    values: dict[str, object] = {
        **dict.fromkeys(Job._fields),
        **Job._field_defaults,
        "id": name,
        "command": f"echo {name} 日本語\t\x1b[2J",
        "state": state,
        "attempts": 1,
        "max_retries": 3,
        "created_at": told,
        "updated_at": told,
        "started_at": told,
        "cwd": "/",
        "env": {},
        "cancel_requested": False,
    }
    return Job(**{**values, **fields})  # type: ignore[arg-type]


def a_picture(running: int = 3, idle: int = 1, failures: int = 2, **fields: object) -> Picture:
    workers = [Worker(f"worker-{i}", 100 + i, RUNNING, a_job(f"run-{i}")) for i in range(1, running + 1)]
    workers += [Worker(f"worker-{i}", 100 + i, IDLE, None) for i in range(running + 1, running + idle + 1)]
    failed = [a_job(f"dead-{i}", "dead", reason="exit code 3", ended_at=iso(NOW)) for i in range(failures)]
    counts = {**dict.fromkeys(STATES, 0), "pending": 1_234_567, "processing": running, "dead": failures}
    supervisor = {"pid": 99, "mode": "process"}
    return Picture(counts, 5, 2.5, None, supervisor, workers, failed, (), False)._replace(**fields)  # type: ignore[arg-type]


def drawn(
    picture: Picture, columns: int, rows: int, selected: str | None = None, trouble: str | None = None
) -> list[Text]:
    size = os.terminal_size((columns, rows))
    board = Board(picture, "/somewhere/queuectl.db", NOW, size, Pen("utf-8"))
    return board.lines(selected, trouble, Text("hints"[:columns]))


@pytest.mark.parametrize(
    ("received", "keys"),
    [
        (b"jk", ["j", "k"]),
        (b"\x1b[A\x1b[B\x1bOA", ["up", "down", "up"]),
        (b"\x1b[5~\x1b[6~\x1b[1~\x1b[F", ["page up", "page down", "home", "end"]),
        (b"\r\n", ["enter", "enter"]),
        (b"\x1b[1;5A", []),
        (b"\x1b[200~", []),
        (b"\x1bj", []),
        (b"\x1b\x1bq", ["escape"]),
        ("ä日".encode(), ["ä", "日"]),
        (b"\x00\x01\x07", []),
    ],
)
def test_keys_however_they_are_cut(received: bytes, keys: list[str]) -> None:
    whole = Keys()
    assert whole.feed(received) + whole.settle() == keys
    single = Keys()
    assert [key for byte in received for key in single.feed(bytes([byte]))] + single.settle() == keys


def test_an_escape_alone_is_a_key_once_nothing_follows() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.is_amid
    assert keys.settle() == ["escape"]
    assert not keys.is_amid
    assert keys.feed(b"[") == ["["]


def test_the_pace_is_that_of_the_last_minute() -> None:
    pace = Pace(0.0, 1000)
    assert pace.rate_at(1.0) is None
    for moment in range(1, 11):
        pace.add(float(moment), 1000 + 3 * moment)
    assert pace.rate_at(10.0) == pytest.approx(3)
    assert pace.rate_at(20.0) == pytest.approx(1.5)
    assert pace.rate_at(1000.0) == 0
    pace.add(1000.0, 1030)
    for moment in range(1001, 1101):
        pace.add(float(moment), 1030 + 2 * (moment - 1000))
    assert pace.rate_at(1100.0) == pytest.approx(2, rel=0.05)


def test_jobs_that_are_removed_or_run_again_do_not_slow_the_pace() -> None:
    pace = Pace(0.0, 1000)
    pace.add(5.0, 1010)
    pace.add(6.0, 10)
    pace.add(10.0, 20)
    assert pace.rate_at(10.0) == pytest.approx(2)


def test_the_pace_keeps_few_samples() -> None:
    pace = Pace(0.0, 0)
    for tick in range(100_000):
        pace.add(tick / 100, tick)
        pace.rate_at(tick / 100)
    assert len(pace._samples) < 200
    assert pace.rate_at(1000.0) == pytest.approx(100, rel=0.05)


def test_time_left_is_for_what_waits_and_is_not_held_or_for_later() -> None:
    counts = {**dict.fromkeys(STATES, 0), "pending": 25, "processing": 5}
    assert a_picture(counts=counts).seconds_left == 10
    assert a_picture(counts=counts, held=15).seconds_left == 4
    assert a_picture(counts=counts, held=20).seconds_left is None, "nothing waits, and what runs may never end"
    assert a_picture(counts=counts, rate=0.0).seconds_left is None
    assert a_picture(counts=counts, rate=None).seconds_left is None
    assert a_picture(counts=dict.fromkeys(STATES, 0), scheduled=0).seconds_left is None


@pytest.mark.parametrize("trouble", [None, "the database is gone"])
def test_a_board_has_every_size(trouble: str | None) -> None:
    pictures = a_picture(), a_picture(64, 3, 100), a_picture(0, 0, 0, supervisor=None), a_picture(groups=GROUPS)
    sizes = itertools.product((1, 2, 5, 19, 20, 33, 34, 49, 50, 60, 80, 200), (1, 2, 3, 5, 7, 9, 10, 13, 24, 60))
    for columns, rows in sizes:
        for picture in pictures:
            lines = drawn(picture, columns, rows, "run-2", trouble)
            assert len(lines) == rows
            assert all(cell_len(line.plain) <= columns for line in lines), (columns, rows)
            assert not any("\x1b" in line.plain or "\t" in line.plain for line in lines)


def test_the_selected_row_is_always_in_sight() -> None:
    picture = a_picture(64, 0, 100)
    for rows, selected in itertools.product(
        (3, 5, 7, 9, 10, 12, 13, 24), ("run-1", "run-40", "run-64", "dead-0", "dead-99")
    ):
        shown = [line.plain for line in drawn(picture, 80, rows, selected)]
        assert sum(f"{selected} " in line for line in shown) == 1, (rows, selected)


def test_idle_workers_are_shown_where_there_is_room() -> None:
    assert any("worker-4" in line.plain for line in drawn(a_picture(), 80, 24))
    assert not any("worker-4 " in line.plain for line in drawn(a_picture(3, 60), 80, 24))


def test_what_is_special_about_a_running_job() -> None:
    lost = Worker("worker-7", None, LOST, a_job("lost"))
    ending = Worker("worker-8", 1, RUNNING, a_job("ending", cancel_requested=True))
    text = "\n".join(line.plain for line in drawn(a_picture(workers=[lost, ending]), 100, 24))
    assert "(its worker is gone) echo lost" in text
    assert "(being cancelled) echo ending" in text
    assert "1m 15s" in text


def test_groups_are_shown_where_there_are_any() -> None:
    alone = GroupState("default", None, False, 5, 3)
    assert "GROUP" not in "\n".join(line.plain for line in drawn(a_picture(groups=[alone]), 80, 24))
    more = [alone, GroupState("gpu", 2, True, 1_234, 2), GroupState("net", None, False, 0, 1)]
    shown = [line.plain.split() for line in drawn(a_picture(groups=more), 80, 24)]
    place = shown.index(["GROUP", "RUNNING", "WAITING"])
    assert shown[place + 1 : place + 4] == [
        ["default", "3", "5"],
        ["gpu", "2", "of", "2", "1,234", "paused"],
        ["net", "1", "0"],
    ]
    shown = [line.plain.split() for line in drawn(a_picture(groups=more, paused=True), 80, 24)]
    assert [line[-1] for line in shown[place + 1 : place + 4]] == ["paused"] * 3
    assert len(drawn(a_picture(64, 3, 100, groups=more * 20), 80, 24)) == 24


def test_a_pause_is_told_and_there_is_no_time_left() -> None:
    text = "\n".join(line.plain for line in drawn(a_picture(paused=True), 80, 24))
    assert "paused: 'queuectl resume' lets jobs start again" in text
    assert " left" not in text


def test_trouble_is_told_in_the_smallest_picture() -> None:
    assert any("gone" in line.plain for line in drawn(a_picture(), 20, 4, None, "the db is gone"))


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (9999, "9.9k"), (15_300, "15k"), (999_999, "999k"), (1_500_000, "1.5M")],
)
def test_numbers_in_short(number: int, text: str) -> None:
    assert in_short(number) == text


def test_a_rate_in_words() -> None:
    assert [in_words(rate) for rate in (None, 0.0, 0.5, 1234.56)] == ["-", "0.0/min", "30.0/min", "1,234.6/s"]


def test_a_table_drops_what_has_no_room() -> None:
    columns = (Column("ID", 8), Column("N", 5, needs=30, right=True), Column("REST", 0))
    rows = [[Cell("a"), Cell("1"), Cell("x" * 50)], [Cell("b" * 20), Cell("23"), Cell("")]]
    wide = Table(Pen("utf-8"), columns, rows, 40)
    assert [wide.title().plain.rstrip(), wide.row(0).plain, wide.row(1).plain.rstrip()] == [
        "ID         N  REST",
        "a          1  " + "x" * 25 + "…",
        "bbbbbbb…  23",
    ]
    assert wide.row(0, "reverse").cell_len == 40
    assert Table(Pen("utf-8"), columns, rows, 20).title().plain.rstrip() == "ID        REST"


def test_a_terminal_of_few_characters_gets_no_others() -> None:
    pen = Pen("ascii")
    line = pen.line("日本語 and more than there is room for", 20)
    assert line.plain.isascii()
    assert line.plain.endswith("~")
    assert len(line.plain) == 20
