"""Watching: look when something changed, draw what is new, and do what is pressed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from queuectl import clock
from queuectl.cli.live import keys
from queuectl.cli.live.board import Board
from queuectl.cli.live.logview import LogView
from queuectl.cli.live.pen import GAP, Cell, Pen, width_of
from queuectl.cli.summary import when
from queuectl.errors import QueueError
from queuectl.model import DEAD, PROCESSING, Job

if TYPE_CHECKING:
    from queuectl.api import Queue
    from queuectl.cli.live.terminal import Terminal
    from queuectl.observer import Observer, Picture

_GLANCE = 0.1
"""Seconds between two questions whether anything has changed, which cost next to nothing."""
_APART = 0.2
"""Seconds between two looks at the least: nobody reads faster."""
_LATER = 1.0
"""Seconds after which a queue that could not be read is tried again."""
_TICK = 1.0
"""Seconds between two pictures that differ only in how long something runs."""
_MESSAGE = 6.0
"""Seconds for which is told what came of a key."""

_HINTS = (
    ("up/down select", "enter log", "c cancel", "r retry", "? help", "q quit"),
    ("enter log", "c cancel", "r retry", "? help", "q quit"),
    ("? help", "q quit"),
)
_LOG_HINTS = (
    ("up/down scroll", "G end", "esc back", "q back"),
    ("esc back",),
)
_HELP = (
    ("up, k", "select the job above"),
    ("down, j", "select the job below"),
    ("g, G", "select the first, the last"),
    ("enter, l", "show the log of the selected job"),
    ("c", "cancel the selected job, after a question"),
    ("r", "run the selected dead job again"),
    ("esc", "select none; back"),
    ("q, Ctrl-C", "quit"),
    ("Ctrl-Z", "stop for a while; 'fg' goes on"),
    ("Ctrl-L", "draw all anew"),
)

_MOVES = {
    keys.UP: "up",
    "k": "up",
    keys.DOWN: "down",
    "j": "down",
    keys.HOME: "first",
    "g": "first",
    keys.END: "last",
    "G": "last",
    keys.PAGE_UP: "page up",
    keys.PAGE_DOWN: "page down",
}
_DEEDS = {keys.ENTER: "log", "l": "log", "c": "cancel", "r": "retry"}


class Session:
    """One watch at one terminal."""

    def __init__(self, queue: Queue, observer: Observer, picture: Picture, terminal: Terminal) -> None:
        self._queue = queue
        self._observer = observer
        self._picture = picture
        self._terminal = terminal
        self._pen = Pen(terminal.encoding)
        self._trouble: str | None = None
        self._selected: str | None = None
        self._place = 0
        self._log: LogView | None = None
        self._read_job: Job | None = None
        self._helps = False
        self._question: tuple[str, Callable[[], None]] | None = None
        self._message: tuple[Cell, float] | None = None
        self._next_look = time.monotonic() + _APART
        self._over = False

    def run(self) -> None:
        """Watch until somebody has seen enough. Raises what ends it otherwise: ``Ended``, ``Hangup``."""
        self._draw()
        drawn_at = time.monotonic()
        while not self._over:
            pressed = self._terminal.wait(_GLANCE)
            for key in pressed:
                self._press(key)
            seen = self._look()
            now = time.monotonic()
            if pressed or seen or now - drawn_at >= _TICK or self._terminal.wants_drawing:
                self._draw()
                drawn_at = now

    # Looking

    def _look(self) -> bool:
        """Look at the queue if something changed and it is time; whether there is anything new."""
        seen = self._log is not None and self._log.look()
        started = time.monotonic()
        if started < self._next_look:
            return seen
        trouble = self._trouble
        try:
            if self._trouble is None and not self._observer.has_changed():
                return seen
            self._picture = self._observer.look()
            if self._log is not None:
                self._read_job = self._queue.get(self._log.job_id)
            self._trouble = None
        except (QueueError, OSError) as error:
            self._trouble = str(error)
            self._next_look = time.monotonic() + _LATER
            return seen or self._trouble != trouble
        ended = time.monotonic()
        self._next_look = ended + max(_APART, 2 * (ended - started))
        return True

    # Drawing

    def _draw(self) -> None:
        size = self._terminal.size
        if self._helps:
            lines = self._help(size)
        elif self._log is not None:
            lines = self._log.lines(self._title(), size, self._footer(_LOG_HINTS, size))
        else:
            board = self._board(size)
            self._keep_selected(board.jobs)
            lines = board.lines(self._selected, self._trouble, self._footer(_HINTS, size))
        self._terminal.draw(lines, size)

    def _board(self, size: os.terminal_size) -> Board:
        picture = self._observer.aged(self._picture)
        return Board(picture, self._queue.home.database, clock.SYSTEM_CLOCK.now(), size, self._pen)

    def _keep_selected(self, jobs: Sequence[Job]) -> None:
        """Where the selected job is gone, select the one in its place."""
        ids = [job.id for job in jobs]
        if self._selected is None:
            return
        if self._selected in ids:
            self._place = ids.index(self._selected)
        else:
            self._selected = ids[min(self._place, len(ids) - 1)] if ids else None

    def _title(self) -> str:
        job = self._read_job
        if job is None:
            return ""
        told = when(job, clock.SYSTEM_CLOCK.now())
        return f"{job.id}  {job.state}, {told}  {job.command}"

    def _help(self, size: os.terminal_size) -> list[Text]:
        width = max(len(name) for name, _ in _HELP) + GAP
        lines = [self._pen.line(f"{name:{width}}{what}", size.columns) for name, what in _HELP]
        room = size.lines - 1
        lines = lines[: max(0, room)]
        return [*lines, *[Text()] * (room - len(lines)), self._pen.line("any key: back", size.columns, "dim")]

    def _footer(self, hints: Sequence[Sequence[str]], size: os.terminal_size) -> Text:
        """The last line: a question, else what came of a key, else what can be pressed."""
        if self._question is not None:
            return self._pen.line(self._question[0], size.columns, "bold yellow")
        if self._message is not None and time.monotonic() < self._message[1]:
            return self._pen.line(self._message[0].text, size.columns, self._message[0].style)
        if not self._terminal.has_keys:
            hints = (("Ctrl-C quits",),)
        cells = [[Cell(hint, "dim") for hint in each] for each in hints]
        return self._pen.pieces(
            next((each for each in cells if width_of(each) <= size.columns), cells[-1]), size.columns
        )

    # Keys

    def _press(self, key: str) -> None:
        self._message = None
        if self._question is not None:
            self._answer(key)
        elif self._helps:
            self._helps = False
        elif self._log is not None:
            self._press_at_log(self._log, key)
        elif key in ("?", "h"):
            self._helps = True
        elif key == "q":
            self._over = True
        elif key == keys.ESCAPE:
            self._selected = None
        elif key in _MOVES:
            self._move(key)
        elif key in _DEEDS:
            self._do(key)

    def _press_at_log(self, log: LogView, key: str) -> None:
        if key in (keys.ESCAPE, "q"):
            self._log = self._read_job = None
        elif key == "?":
            self._helps = True
        else:
            log.press(key, self._terminal.size.lines - 2)

    def _answer(self, key: str) -> None:
        assert self._question is not None
        _, deed = self._question
        self._question = None
        if key in ("y", "Y"):
            deed()
        else:
            self._say("nothing was done")

    def _move(self, key: str) -> None:
        ids = [job.id for job in self._board(self._terminal.size).jobs]
        if not ids:
            self._say("there is no job to select: none runs, and none has failed")
            return
        page = max(1, self._terminal.size.lines // 2)
        here = ids.index(self._selected) if self._selected in ids else None
        if here is None:
            chosen = len(ids) - 1 if key in ("G", keys.END) else 0
        else:
            steps = {"up": -1, "down": 1, "first": -len(ids), "last": len(ids), "page up": -page, "page down": page}
            chosen = max(0, min(len(ids) - 1, here + steps[_MOVES[key]]))
        self._selected = ids[chosen]

    def _do(self, key: str) -> None:
        job = next((job for job in self._board(self._terminal.size).jobs if job.id == self._selected), None)
        if job is None:
            self._say("select a job first: with the arrow keys, or j and k")
        elif _DEEDS[key] == "log":
            self._log, self._read_job = LogView(self._queue.home, job.id, self._pen), job
        elif _DEEDS[key] == "cancel":
            self._ask_to_cancel(job)
        else:
            self._retry(job)

    def _ask_to_cancel(self, job: Job) -> None:
        if job.state == DEAD:
            self._say(f"job {job.id} has ended already", "yellow")
            return
        self._question = f"cancel {job.id}? y/n   {job.command}", lambda: self._cancel(job)

    def _cancel(self, job: Job) -> None:
        ending = "is being ended" if job.state == PROCESSING else "is cancelled"
        self._try(lambda: self._queue.cancel(job.id), f"job {job.id} {ending}")

    def _retry(self, job: Job) -> None:
        if job.state != DEAD:
            self._say(f"job {job.id} is not dead: only what has ended is run again", "yellow")
            return
        self._try(lambda: self._queue.retry_dead(job.id), f"job {job.id} is put back")

    def _try(self, deed: Callable[[], object], done: str) -> None:
        try:
            deed()
        except (QueueError, OSError) as error:
            self._say(str(error), "bold red")
        else:
            self._say(done, "green")
        self._next_look = 0.0

    def _say(self, text: str, style: str = "yellow") -> None:
        self._message = Cell(text, style), time.monotonic() + _MESSAGE
