"""How it looks to somebody at a terminal of 80 columns, or of 40."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pexpect
import pytest
from unit.support import HandClock

from queuectl import Queue
from queuectl.clock import SECOND, SYSTEM_CLOCK
from queuectl.model import Outcome
from queuectl.retry import Verdict
from queuectl.settings import MEANINGS
from queuectl.store.sqlite import SQLiteStore

ROOT = Path(__file__).resolve().parents[2]
_NOT_HANDED_ON = ("NO_COLOR", "COLUMNS", "LINES")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    made = Queue.init(tmp_path / "queuectl.db")
    made.enqueue("echo " + "a long command that does not fit into the width of a terminal " * 3, id="long")
    made.enqueue("echo 日本語\necho \x1b[31mred", id="odd", cwd="/")
    made.enqueue("true", id="later", delay=3600)
    return made


def at_terminal(queue: Queue, *args: str, columns: int = 80, **env: str) -> pexpect.spawn:
    clean = {
        key: value for key, value in os.environ.items() if not key.startswith("QUEUECTL_") and key not in _NOT_HANDED_ON
    }
    return pexpect.spawn(
        sys.executable,
        ["-m", "queuectl", *args],
        cwd=queue.home.directory,
        env={**clean, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **env},
        dimensions=(40, columns),
        encoding="utf-8",
        timeout=30,
    )


def screen(queue: Queue, *args: str, columns: int = 80, **env: str) -> str:
    process = at_terminal(queue, *args, columns=columns, **env)
    process.expect(pexpect.EOF)
    process.close()
    text: str = process.before
    return text


@pytest.mark.parametrize("args", [(), ("list",), ("dlq", "list"), ("config", "list")], ids=" ".join)
def test_nothing_wraps_at_80_columns(queue: Queue, args: tuple[str, ...]) -> None:
    from rich.cells import cell_len

    lines = COLOUR.sub("", screen(queue, *args)).splitlines()
    assert lines
    assert all(cell_len(line) <= 80 for line in lines)
    assert all("\x1b" not in line for line in lines)


def test_what_became_of_a_schedules_last_run_is_never_cut(queue: Queue) -> None:
    queue.cancel(*(job.id for job in queue.jobs()))
    yesterday = Queue(queue.home.database, clock=HandClock(SYSTEM_CLOCK.now() - 86_400 * SECOND))
    yesterday.add_schedule("disk-usage", "30 * * * *", "df -h > usage.txt", tz="America/Buenos_Aires")
    store = SQLiteStore(queue.home.database, 5)
    claim = store.claim("w", SYSTEM_CLOCK.now())
    assert claim is not None
    store.finish(claim, Outcome("succeeded"), Verdict("completed"), SYSTEM_CLOCK.now(), SYSTEM_CLOCK.now())
    store.close()
    for columns in (80, 100):
        first = COLOUR.sub("", screen(queue, "cron", columns=columns)).splitlines()[1]
        assert re.search(r" active +completed +df ", first)
        assert claim.id not in first, "it has no room, and would lose its end"
    assert re.search(f" completed +{claim.id} +df ", COLOUR.sub("", screen(queue, "cron", columns=160)))


def test_list_has_one_line_a_job_and_colours(queue: Queue) -> None:
    text = screen(queue, "list")
    assert len(text.splitlines()) == 4
    assert "\x1b[33mpending" in text
    assert "…" in text
    assert r"echo 日本語\necho \x1b[31mred" in COLOUR.sub("", text)


def test_no_color_is_honoured(queue: Queue) -> None:
    for args in (["list"], ["status"], ["show", "odd"]):
        assert not re.search(r"\x1b\[(3|4|9)\d", screen(queue, *args, NO_COLOR="1"))


def test_show_keeps_the_lines_of_a_command(queue: Queue) -> None:
    text = COLOUR.sub("", screen(queue, "show", "odd"))
    assert "command    echo 日本語\r\n           echo \\x1b[31mred\r\n" in text


def test_logs_cannot_play_tricks(queue: Queue) -> None:
    queue.cancel("long")
    store = SQLiteStore(queue.home.database, 5)
    assert store.claim("worker-1", SYSTEM_CLOCK.now()) is not None
    store.close()
    Path(queue.home.log("odd")).write_bytes(
        "tab\there äöü 日本\n\x1b]0;title\x07\x1b[2J\x9b \xff".encode() + b"\xff\xc3"
    )
    text = screen(queue, "logs", "odd")
    assert "tab\there äöü 日本\r\n" in text.replace("        ", "\t")
    assert r"\x1b]0;title\x07\x1b[2J\x9b ÿ\xff\xc3" in text
    assert "\x1b" not in text


def test_wait_draws_a_bar_and_hints_at_missing_workers(queue: Queue) -> None:
    queue.cancel("odd", "later")
    process = at_terminal(queue, "wait")
    process.expect("no workers are running: start them with 'queuectl worker-start'")
    process.expect("0/1 done")
    store = SQLiteStore(queue.home.database, 5)
    claim = store.claim("worker-1", SYSTEM_CLOCK.now())
    assert claim is not None
    process.expect(r"1 running.*waited \d")
    now = SYSTEM_CLOCK.now()
    store.finish(claim, Outcome("failed", exit_code=1), Verdict("dead"), now, now)
    process.expect("1/1 done")
    process.expect("1 failed")
    process.expect("not all completed")
    process.expect(pexpect.EOF)
    process.wait()
    assert process.exitstatus == 1


def test_an_interrupted_cancel_says_what_holds(queue: Queue) -> None:
    queue.enqueue("true", id="runs", priority=1)
    store = SQLiteStore(queue.home.database, 5)
    assert store.claim("w", SYSTEM_CLOCK.now()) is not None
    store.close()
    process = at_terminal(queue, "cancel", "--wait", "runs", columns=60)
    process.expect("0/1 done")
    process.sendintr()
    process.expect("queuectl: interrupted; the jobs are cancelled, and what still ran of them goes on ending")
    process.expect(pexpect.EOF)
    process.wait()
    assert process.exitstatus == 130


def test_interrupt_at_the_terminal(queue: Queue) -> None:
    process = at_terminal(queue, "wait", "later", columns=60)
    process.expect("0/1 done")
    drawn = process.before + process.after
    process.sendintr()
    process.expect("interrupted; the jobs go on")
    drawn += process.before
    process.expect(pexpect.EOF)
    # The terminal writes ^C behind the bar. Were there no room, the bar would be drawn anew below, and stand there twice.
    bars = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn)) if "0/1 done" in line]
    assert "^C" in drawn
    assert {len(bar.removesuffix("^C")) for bar in bars} == {58}, bars
    process.wait()
    assert process.exitstatus == 130
    assert "Traceback" not in process.before


@pytest.fixture
def narrow(queue: Queue) -> Queue:
    """The same queue, looked at from a terminal of 40 columns, with a job that is dead."""
    queue.enqueue("exit 3 # and a long explanation of it", id="lost", max_retries=0)
    store = SQLiteStore(queue.home.database, 5)
    queue.cancel("long", "odd")
    claim = store.claim("worker-1", SYSTEM_CLOCK.now())
    assert claim is not None
    now = SYSTEM_CLOCK.now()
    store.finish(claim, Outcome("failed", exit_code=3, reason="exit code 3"), Verdict("dead"), now, now)
    store.close()
    return queue


@pytest.mark.parametrize("args", [(), ("list",), ("dlq", "list"), ("config", "list"), ("show", "lost")], ids=" ".join)
def test_nothing_is_wider_than_a_narrow_terminal(narrow: Queue, args: tuple[str, ...]) -> None:
    lines = COLOUR.sub("", screen(narrow, *args, columns=40)).splitlines()
    assert lines
    assert all(len(line) <= 40 for line in lines), lines


def test_a_narrow_table_keeps_what_a_row_is_called_by_and_its_state(narrow: Queue) -> None:
    lines = COLOUR.sub("", screen(narrow, "list", columns=40)).splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [
        ["long", "cancelled"],
        ["odd", "cancelled"],
        ["later", "pending"],
        ["lost", "dead"],
    ]
    assert lines[0].split() == ["ID", "STATE", "ATTEMPTS", "COMMAND"]
    assert COLOUR.sub("", screen(narrow, "list", columns=26)).splitlines()[0].split() == ["ID", "STATE", "COMMAND"]
    assert "exit code 3" in screen(narrow, "dlq", "list", columns=40)


@pytest.mark.parametrize("columns", [100, 40])
def test_the_meaning_of_a_setting_is_never_cut(queue: Queue, columns: int) -> None:
    queue.change_setting("job_timeout", "90m")
    lines = COLOUR.sub("", screen(queue, "config", "list", columns=columns)).splitlines()
    assert all(len(line) <= columns for line in lines)
    assert "…" not in "".join(lines)
    assert any(re.match(r"job_timeout +90m ", line) for line in lines)
    begin = lines[0].index("MEANING")
    told = " ".join(line[begin:].strip() for line in lines[1:])
    assert told == " ".join(MEANINGS.values())


def test_a_narrow_status_loses_no_number(narrow: Queue) -> None:
    words = " ".join(COLOUR.sub("", screen(narrow, "status", columns=40)).split())
    assert "1 pending, 0 processing, 0 completed, 1 dead, 2 cancelled" in words
    assert "queuectl dlq list" in words
