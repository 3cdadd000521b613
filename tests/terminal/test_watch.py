"""``watch`` at a real terminal: what it shows, what keys do, and that it leaves the terminal as it was."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from farm import Farm, eventually
from rich.cells import cell_len
from terminal.watching import COLOUR, ENTERED, LEFT, Watcher

from queuectl import Queue
from queuectl.clock import SYSTEM_CLOCK
from queuectl.model import Outcome
from queuectl.retry import judge
from queuectl.store.sqlite import SQLiteStore

Watch = Callable[..., Watcher]


class Scene:
    """A queue whose jobs run and fail as they are told."""

    def __init__(self, directory: Path) -> None:
        self.queue = Queue.init(directory / "queuectl.db")
        self.store = SQLiteStore(self.queue.home.database, 30)

    def runs(self, name: str, command: str = "sleep 1", worker: str = "worker-1") -> None:
        """Let a job run."""
        self.queue.enqueue(command, id=name)
        claim = self.store.claim(worker, SYSTEM_CLOCK.now())
        assert claim is not None
        assert claim.id == name

    def ends(self, kind: str = "succeeded", **how: object) -> None:
        """Let the only job that runs end."""
        (claim,) = self.store.claims()
        verdict = judge(kind, claim.attempts, claim.max_retries, 100, 86_400)
        now = SYSTEM_CLOCK.now()
        assert self.store.finish(claim, Outcome(kind, **how), verdict, now, now)[0]  # type: ignore[arg-type]

    def dies(self, name: str, command: str = "exit 3", reason: str = "exit code 3") -> None:
        """Let a job fail for good."""
        self.queue.enqueue(command, id=name, max_retries=0)
        claim = self.store.claim("worker-9", SYSTEM_CLOCK.now())
        assert claim is not None
        assert claim.id == name
        now = SYSTEM_CLOCK.now()
        outcome = Outcome("failed", exit_code=3, reason=reason)
        assert self.store.finish(claim, outcome, judge("failed", 1, 0, 2, 9), now, now)[0]

    def log(self, name: str, content: bytes) -> None:
        """Let a job have written something."""
        with open(self.queue.home.log(name), "ab") as file:
            file.write(content)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.store.close()
    made.queue.close()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    """Start watchers in the queue's directory."""
    started: list[Watcher] = []

    def start(words: str = "watch", **options: object) -> Watcher:
        started.append(Watcher(tmp_path, words, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.close()


def marked(watcher: Watcher) -> str | None:
    """What stands in the line that is shown as selected."""
    lines = watcher.read().split("\x1b[H")[-1].split("\r\n")
    reverse = [COLOUR.sub("", line) for line in lines if "\x1b[7m" in line or ";7m" in line or "\x1b[7;" in line]
    return " ".join(reverse) or None


def test_it_shows_what_runs_waits_and_failed_and_what_changes(scene: Scene, watch: Watch) -> None:
    scene.dies("lost", "wc -l < names.csv", "exit code 2")
    scene.runs("long", "sleep 100")
    scene.queue.enqueue("true", id="next")
    scene.queue.enqueue("true", id="later", delay=7200)
    watcher = watch()
    lines = watcher.shows("q quit")
    text = "\n".join(lines)
    assert str(scene.queue.home.database)[:30] in text
    assert "2 pending (1 for later)  1 processing  0 completed  1 dead  0 cancelled" in text
    assert "none running" in text
    assert [line.split()[:2] for line in lines if "sleep 100" in line] == [["worker-1", "long"]]
    assert [line.split()[0] for line in lines if "exit code 2" in line] == ["lost"]
    assert "later in 1h 59m" in text
    scene.ends()
    watcher.shows("1 completed")
    watcher.press("q")
    assert watcher.end() == 0
    assert "names.csv" not in watcher.seen.split(LEFT)[-1], "nothing of it stays"


def test_times_go_on_and_what_stays_the_same_is_not_drawn_again(scene: Scene, watch: Watch) -> None:
    scene.runs("long")
    ticking, still = watch(), watch()

    def seconds() -> int:
        return int(re.findall(r" long +(\d+)s ", "\n".join(ticking.shows(" long ")))[0])

    still.shows("q quit")
    still.press("?")
    still.shows("any key: back")
    drawn, begun = still.read(), seconds()
    eventually(lambda: seconds() >= begun + 2)
    assert still.read() == drawn
    for watcher, keys in ((ticking, "q"), (still, "xq")):
        watcher.press(keys)
        assert watcher.end() == 0


@pytest.mark.parametrize(("columns", "rows"), [(20, 5), (80, 24), (200, 60), (1, 1), (7, 2), (300, 3)])
def test_it_fits_into_every_size(scene: Scene, watch: Watch, columns: int, rows: int) -> None:
    for number in range(12):
        scene.dies(f"dead-{number}", "echo 日本語 " * 20, "exit code 3 \x1b[2J" * 5)
    for number in range(12):
        scene.runs(f"run-{number}", "echo 日本語 " * 20, f"worker-{number}")
    watcher = watch(columns=columns, rows=rows)
    lines = watcher.until(lambda picture: bool(picture.strip()))
    assert len(lines) == rows
    assert all(cell_len(line) <= columns for line in lines)
    if rows >= 5:
        text = "\n".join(lines)
        for needed in ("12", "run-", "dead-", "q quit"):
            assert needed in text
    watcher.press("jjj")
    if rows >= 3:
        eventually(lambda: marked(watcher) is not None)
    watcher.press("\rqq")
    assert watcher.end() == 0


def test_a_resize_is_followed_at_once(scene: Scene, watch: Watch) -> None:
    scene.runs("long")
    watcher = watch()
    watcher.shows("q quit")
    for columns, rows in ((20, 5), (200, 60), (5, 2), (40, 12), (80, 24)):
        watcher.resize(columns, rows)
        lines = watcher.until(lambda picture: bool(picture.strip()))
        assert len(lines) == rows
        assert all(cell_len(line) <= columns for line in lines)
    watcher.shows("worker-1  long")
    watcher.press("q")
    assert watcher.end() == 0


def test_keys_move_the_selection(scene: Scene, watch: Watch) -> None:
    scene.dies("dead-1")
    scene.dies("dead-2")
    scene.runs("run-1")
    watcher = watch()
    watcher.shows("q quit")
    assert marked(watcher) is None
    for keys, expected in (
        ("j", "run-1"),
        ("\x1b[B", "dead-2"),
        ("\x1bOB", "dead-1"),
        ("j", "dead-1"),
        ("k", "dead-2"),
        ("\x1b[A", "run-1"),
        ("k", "run-1"),
        ("G", "dead-1"),
        ("g", "run-1"),
        ("\x1b[F", "dead-1"),
        ("\x1b[H", "run-1"),
    ):
        watcher.press(keys)
        eventually(lambda expected=expected: f"{expected} " in (marked(watcher) or ""), f"{keys!r} selects {expected}")
    watcher.press("\x1b")
    eventually(lambda: marked(watcher) is None, "escape selects none")
    watcher.press("c")
    watcher.shows("select a job first")
    watcher.press("q")
    assert watcher.end() == 0


def test_the_selection_stays_with_its_job_and_goes_on_when_that_is_gone(scene: Scene, watch: Watch) -> None:
    scene.dies("dead-1")
    scene.runs("run-1")
    watcher = watch()
    watcher.shows("q quit")
    watcher.press("j")
    eventually(lambda: "run-1 " in (marked(watcher) or ""))
    scene.ends("failed", exit_code=9, reason="exit code 9")
    watcher.shows("again in")
    eventually(lambda: "exit code 9" in (marked(watcher) or ""), "it is selected where it is now")
    scene.queue.cancel("run-1")
    watcher.shows("1 cancelled")
    eventually(lambda: "dead-1 " in (marked(watcher) or ""))
    watcher.press("q")
    assert watcher.end() == 0


def test_cancel_asks_first(scene: Scene, watch: Watch) -> None:
    scene.runs("run-1")
    watcher = watch()
    watcher.shows("q quit")
    watcher.press("jc")
    watcher.shows("cancel run-1? y/n")
    watcher.press("n")
    watcher.shows("nothing was done")
    assert not scene.queue.get("run-1").cancel_requested
    watcher.press("cy")
    watcher.shows("job run-1 is being ended")
    watcher.shows("(being cancelled)")
    assert scene.queue.get("run-1").cancel_requested
    watcher.press("q")
    assert watcher.end() == 0


def test_a_dead_job_is_put_back(scene: Scene, watch: Watch) -> None:
    scene.dies("dead-1")
    watcher = watch()
    watcher.shows("1 dead")
    watcher.press("jc")
    watcher.shows("job dead-1 has ended already")
    watcher.press("r")
    watcher.shows("job dead-1 is put back")
    watcher.shows("1 pending")
    assert scene.queue.get("dead-1").state == "pending"
    watcher.press("q")
    assert watcher.end() == 0


def test_a_log_is_read_while_it_grows(scene: Scene, watch: Watch) -> None:
    scene.runs("run-1")
    watcher = watch(rows=10)
    watcher.shows("q quit")
    watcher.press("j\r")
    watcher.shows("nothing was written yet")
    scene.log("run-1", b"first\n" + b"".join(b"line %d\n" % number for number in range(50)))
    assert watcher.shows("line 49")[-2] == "line 49"
    scene.log("run-1", b"a\x1b[31m\x9b\xff\ttab " + "日本語 ".encode() * 30 + b"fin\n")
    lines = watcher.shows("fin")
    assert r"a\x1b[31m" in "\n".join(lines)
    assert all(cell_len(line) <= 80 for line in lines)
    watcher.press("g")
    assert watcher.shows("first")[1] == "first"
    scene.log("run-1", b"more\n")
    watcher.press("k")
    assert "first" in watcher.shows("line 3")[1], "what is read stays where it is"
    watcher.press("G")
    watcher.shows("more")
    watcher.press("\x1b")
    watcher.shows("q quit")
    watcher.press("l")
    watcher.shows("esc back")
    watcher.press("qq")
    assert watcher.end() == 0


def test_of_a_long_log_the_end_is_there(scene: Scene, watch: Watch) -> None:
    scene.runs("run-1")
    with open(scene.queue.home.log("run-1"), "wb") as file:
        file.write(b"beginning\n")
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    watcher = watch()
    watcher.shows("q quit")
    watcher.press("j\r")
    assert "queuectl logs run-1" in watcher.shows("the end")[1]
    watcher.press("qq")
    assert watcher.end() == 0


def test_all_is_drawn_anew_on_demand(scene: Scene, watch: Watch) -> None:
    watcher = watch()
    watcher.shows("q quit")
    before = watcher.read().count("\x1b[H")
    watcher.press("\x0c")
    eventually(lambda: watcher.read().count("\x1b[H") > before)
    watcher.press("q")
    assert watcher.end() == 0


def test_the_help(scene: Scene, watch: Watch) -> None:
    watcher = watch()
    watcher.shows("q quit")
    watcher.press("?")
    watcher.shows("cancel the selected job")
    watcher.press(" ")
    watcher.shows("q quit")
    watcher.press("q")
    assert watcher.end() == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT"])
def test_a_signal_ends_it_and_the_terminal_is_as_it_was(scene: Scene, watch: Watch, name: str) -> None:
    watcher = watch()
    watcher.shows("q quit")
    number = signal.Signals[name]
    os.kill(watcher.pid, number)
    assert watcher.end() == 128 + number


@pytest.mark.parametrize(("key", "status"), [("\x03", 130), ("\x1c", 131)])
def test_interrupted_at_the_terminal(scene: Scene, watch: Watch, key: str, status: int) -> None:
    watcher = watch()
    watcher.shows("q quit")
    watcher.press(key)
    assert watcher.end() == status


def test_it_stops_and_goes_on(scene: Scene, watch: Watch) -> None:
    watcher = watch(more="fg; stty -g")
    watcher.shows("q quit")
    watcher.press("\x1a")
    eventually(lambda: watcher.read().count(ENTERED) == 2, "it goes on in the foreground")
    between = watcher.seen.split(LEFT)[1].split(ENTERED)[0]
    before = watcher.seen.split("\r\n")[0]
    assert f"\r\n{before}\r\n" in between, "the shell had the terminal as it was"
    scene.queue.enqueue("true", id="meanwhile")
    watcher.shows("1 pending")
    watcher.press("q")
    eventually(lambda: watcher.read().count(before) == 3, "the terminal is as it was")
    assert watcher.seen.count(ENTERED) == watcher.seen.count(LEFT)


def test_a_hangup_of_the_terminal_ends_it(scene: Scene, watch: Watch) -> None:
    import psutil

    watcher = watch()
    watcher.shows("q quit")
    process = psutil.Process(watcher.pid)
    watcher.process.close(force=False)
    eventually(lambda: not process.is_running())


def test_a_queue_that_vanishes_comes_back(scene: Scene, watch: Watch) -> None:
    scene.runs("run-1")
    scene.queue.close()
    watcher = watch(rows=10)
    watcher.shows("q quit")
    home = Path(scene.queue.home.directory)
    moved = list(home.glob("queuectl.db*"))
    keep = home / "kept"
    keep.mkdir()
    scene.store.close()
    with sqlite3.connect(scene.queue.home.database) as whole, sqlite3.connect(keep / "copy.db") as copy:
        whole.backup(copy)
    whole.close()
    copy.close()
    for path in moved:
        path.unlink(missing_ok=True)
    watcher.until(lambda picture: "trouble" in picture)
    assert "run-1" in "\n".join(watcher.frame() or []), "what was seen last stays"
    shutil.copy(keep / "copy.db", scene.queue.home.database)
    watcher.until(lambda picture: "trouble" not in picture)
    again = Queue(scene.queue.home.database)
    again.enqueue("true", id="new")
    watcher.shows("1 pending")
    again.close()
    watcher.press("q")
    assert watcher.end() == 0


def test_a_key_says_that_the_database_is_locked(scene: Scene, watch: Watch) -> None:
    scene.dies("dead-1")
    watcher = watch(columns=200)
    watcher.shows("1 dead")
    lock = sqlite3.connect(scene.queue.home.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    watcher.press("jr")
    watcher.shows("is locked by another program")
    lock.execute("ROLLBACK")
    lock.close()
    watcher.press("r")
    watcher.shows("is put back")
    watcher.press("q")
    assert watcher.end() == 0


def test_groups_come_and_go(scene: Scene, watch: Watch) -> None:
    watcher = watch()
    watcher.shows("q quit")
    scene.queue.set_group("gpu", 2)
    scene.queue.enqueue("true", group="gpu")
    lines = watcher.until(lambda picture: "gpu" in picture and "1 pending" in picture)
    assert ["gpu", "0", "of", "2", "1"] in [line.split() for line in lines]
    scene.queue.pause()
    watcher.shows("paused: 'queuectl resume'")
    scene.queue.resume()
    watcher.until(lambda picture: "paused" not in picture)
    watcher.press("q")
    assert watcher.end() == 0


def test_no_color_is_honoured_and_the_selection_is_seen(scene: Scene, watch: Watch) -> None:
    scene.dies("dead-1")
    watcher = watch(NO_COLOR="1")
    watcher.shows("q quit")
    watcher.press("j")
    eventually(lambda: "dead-1" in (marked(watcher) or ""))
    watcher.press("q")
    assert watcher.end() == 0
    assert not [
        code
        for code in COLOUR.findall(watcher.seen)
        if {"3", "4", "9"} & {part[:1] for part in code[2:-1].split(";") if len(part) == 2}
    ]


def test_a_dumb_terminal_gets_one_picture(scene: Scene, watch: Watch) -> None:
    scene.dies("dead-1")
    watcher = watch(TERM="dumb")
    assert watcher.end() == 0
    assert "dead-1" in watcher.seen
    assert ENTERED not in watcher.seen


def test_without_keys_it_can_be_watched(scene: Scene, watch: Watch) -> None:
    watcher = watch("watch < /dev/null")
    watcher.shows("Ctrl-C quits")
    scene.dies("dead-1")
    watcher.shows("dead-1")
    watcher.press("\x03")
    assert watcher.end() == 130


def test_a_terminal_of_few_characters(scene: Scene, watch: Watch) -> None:
    scene.dies("dead-1", "echo 日本語 " * 20)
    watcher = watch(PYTHONIOENCODING="ascii")
    lines = watcher.shows("dead-1")
    assert all(line.isascii() for line in lines)
    watcher.press("q")
    assert watcher.end() == 0


def test_workers_at_work(farm: Farm, mode: str, watch: Watch) -> None:
    farm.queue.enqueue(f"echo started; sleep {farm.token}", id="long")
    farm.start(2, mode)
    watcher = watch()
    watcher.shows("2 running  1 busy")
    lines = watcher.shows("idle")
    assert [line.split()[0] for line in lines if line.startswith("worker-")] == ["worker-1", "worker-2"] or len(
        [line for line in lines if line.startswith("worker-")]
    ) == 2
    watcher.press("j\r")
    watcher.shows("started")
    watcher.press("\x1b")
    watcher.shows("q quit")
    watcher.press("cy")
    watcher.shows("1 cancelled")
    assert farm.queue.get("long").state == "cancelled"
    farm.stop()
    watcher.shows("none running")
    watcher.press("q")
    assert watcher.end() == 0
