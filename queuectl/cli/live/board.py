"""The picture of a queue as lines, in as many columns and rows as there are."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.text import Text

from queuectl import clock
from queuectl.cli.live.pen import GAP, Cell, Column, Pen, Table, width_of
from queuectl.cli.output import STATE_STYLES
from queuectl.cli.summary import apart, stop_in_words
from queuectl.model import CANCELLED, COMPLETED, DEAD, PENDING, PROCESSING, STATES, GroupState, Job
from queuectl.observer import IDLE, LOST, RUNNING, Picture, Worker

_NAMED_FROM = 50
"""Columns from which the lines at the top have names."""
_NAME = 9
_MATTERS = (PENDING, PROCESSING, DEAD, COMPLETED, CANCELLED)
"""What to know first, where there is no room for all."""
_SHORT = {"pending": "wait", "processing": "run", "completed": "done", "dead": "dead", "cancelled": "canc"}


class Row(NamedTuple):
    """A row that tells of a job, or of a worker that has none."""

    job: Job | None
    cells: Sequence[Cell]


class Part(NamedTuple):
    """Rows of one kind, under a title."""

    columns: Sequence[Column]
    rows: Sequence[Row]


class Board:
    """A picture of the queue, laid out. ``now`` is the wall clock in microseconds."""

    def __init__(self, picture: Picture, database: str, now: int, size: os.terminal_size, pen: Pen) -> None:
        self._picture = picture
        self._database = database
        self._now = now
        self._width, self._height = size.columns, size.lines
        self._pen = pen
        self._parts = [part for part in (self._workers(), self._groups(), self._failures()) if part.rows]

    @property
    def jobs(self) -> list[Job]:
        """The jobs that can be selected, from top to bottom."""
        return [row.job for part in self._parts for row in part.rows if row.job is not None]

    def lines(self, selected: str | None, trouble: str | None, footer: Text) -> list[Text]:
        """The whole screen."""
        top = self._top(trouble)
        room = self._height - len(top) - 1
        blank = Text()
        roomy = room >= 6
        below: list[Text] = []
        for part, share in zip(self._parts, self._shares(room, roomy, selected), strict=True):
            if share <= 0:
                continue
            if roomy:
                below.append(blank)
            below.extend(self._part(part, share - roomy, selected, titled=roomy))
        below = below[:room]
        return [*top, *below, *[blank] * (room - len(below)), footer][: self._height]

    def _shares(self, room: int, roomy: bool, selected: str | None) -> list[int]:
        """How many lines each part gets: what it wants, the first ones first.

        But a third is kept for the last, and a row for the one that is selected.
        """
        around = 2 if roomy else 0
        wanted = [len(part.rows) + around for part in self._parts]
        shares = [0] * len(wanted)
        for i, part in enumerate(self._parts):
            if selected in ids_of(part):
                shares[i] = min(around + 1, room)
        if wanted:
            kept = max(room // 3, around + 1 if roomy else 0)
            shares[-1] = max(shares[-1], min(wanted[-1], kept, room - sum(shares[:-1])))
        for i, each in enumerate(wanted):
            more = min(each - shares[i], room - sum(shares))
            if shares[i] + more > around:  # a title without a row says nothing
                shares[i] += more
        # What the last part had no need of, and what was too little for others, is for whom it helps.
        for i, each in enumerate(wanted):
            if shares[i]:
                shares[i] += min(each - shares[i], room - sum(shares))
        return shares

    # The lines at the top

    def _top(self, trouble: str | None) -> list[Text]:
        told: list[tuple[str, Sequence[Cell], int]] = [
            ("queue", [Cell(self._database)], 10),
            ("jobs", self._counts(), 0),
            ("workers", self._crew(), 7),
            ("pace", self._pace(), 9),
        ]
        lines = [self._named(name, cells) for name, cells, least in told if self._height >= least]
        if trouble is not None:
            place = 2 if self._height >= 10 else 1
            lines.insert(place, self._named("trouble", [Cell(trouble, "bold red")]))
        return lines[: max(1, self._height - 2)]

    def _named(self, name: str, cells: Sequence[Cell]) -> Text:
        if self._width < _NAMED_FROM:
            return self._pen.pieces(cells, self._width, 1 if width_of(cells) > self._width else GAP)
        line = Text(f"{name:{_NAME}}", "bold", no_wrap=True)
        return Text.assemble(line, self._pen.pieces(cells, self._width - _NAME), no_wrap=True)

    def _counts(self) -> list[Cell]:
        """How many jobs there are in each state, in as many words as there is room for."""
        counts, told = self._picture.counts, self._picture
        others = apart(told.held, told.blocked, told.scheduled, "{:,}".format)
        room = self._width - (_NAME if self._width >= _NAMED_FROM else 0)
        some = [state for state in STATES if counts[state] or state in (PENDING, PROCESSING)]

        def long(state: str) -> str:
            return plain(state) + (others if state == PENDING else "")

        def plain(state: str) -> str:
            return f"{counts[state]:,} {state}"

        def short(state: str) -> str:
            return f"{in_short(counts[state])} {_SHORT[state]}"

        ways: list[tuple[Callable[[str], str], Sequence[str]]] = [
            (long, STATES),
            (long, some),
            (plain, some),
            (short, some),
            (short, sorted(some, key=_MATTERS.index)),
        ]
        for word, states in ways:
            cells = [Cell(word(state), STATE_STYLES[state] if counts[state] else "dim") for state in states]
            if width_of(cells) <= room:
                break
        return cells

    def _crew(self) -> list[Cell]:
        supervisor, workers = self._picture.supervisor, self._picture.workers
        if supervisor is None:
            style = "bold yellow" if self._picture.counts[PENDING] else ""
            hint = Cell("start them with 'queuectl worker-start'")
            return [Cell("none running", style), *([hint] if style else [])]
        states = [worker.state for worker in workers]
        told = [Cell(f"{len(states) - states.count(LOST)} running"), Cell(f"{states.count(RUNNING)} busy", "cyan")]
        if stop := stop_in_words(supervisor, self._now):
            told.append(Cell(stop, "bold yellow"))
        return [*told, Cell(f"supervisor {supervisor.get('pid', '-')}, {supervisor.get('mode', '-')} mode", "dim")]

    def _pace(self) -> list[Cell]:
        told = [Cell(in_words(self._picture.rate))]
        if self._picture.paused:
            told.append(Cell("paused: 'queuectl resume' lets jobs start again", "bold yellow"))
        left = self._picture.seconds_left
        if left is not None:
            told.append(Cell(f"{_whole(left)} left"))
        upcoming = self._picture.next_scheduled
        if upcoming is not None and upcoming.next_run_at is not None:
            due = clock.timestamp(upcoming.next_run_at)
            told.append(Cell(f"next: {upcoming.id} {'in ' + self._until(due) if due > self._now else 'now'}", "dim"))
        return told

    # The parts below

    def _workers(self) -> Part:
        """What runs; the idle workers, too, where there is room for all."""
        busy = [worker for worker in self._picture.workers if worker.job is not None]
        others = [worker for worker in self._picture.workers if worker.job is None]
        room = self._height - 8 - min(len(self._picture.failures) + 2, self._height // 3)
        shown = [*busy, *others] if len(busy) + len(others) <= room else busy
        most = max(8, self._width // 4)
        columns = (
            Column("WORKER", 12, needs=60),
            Column("JOB", most),
            Column("FOR", 8, right=True),
            Column("TRY", 7, needs=_NAMED_FROM, right=True),
            Column("COMMAND", 0),
        )
        return Part(columns, [self._worker(worker) for worker in sorted(shown, key=_in_order)])

    def _worker(self, worker: Worker) -> Row:
        job = worker.job
        if job is None:
            return Row(None, [Cell(worker.name, "dim"), *[Cell("-", "dim")] * 3, Cell(worker.state, "dim")])
        command = Cell(job.command)
        if job.cancel_requested:
            command = Cell(f"(being cancelled) {job.command}", STATE_STYLES["cancelled"])
        elif worker.state == LOST:
            command = Cell(f"(its worker is gone) {job.command}", STATE_STYLES[DEAD])
        since = self._since(job.started_at or job.updated_at)
        tries = f"{job.attempts}/{job.max_retries + 1}"
        return Row(job, [Cell(worker.name), Cell(job.id, "cyan"), Cell(since), Cell(tries), command])

    def _groups(self) -> Part:
        """The groups, where there are any besides the default one."""
        columns = (
            Column("GROUP", max(8, self._width // 3)),
            Column("RUNNING", 12, right=True),
            Column("WAITING", 12, needs=34, right=True),
            Column("", 0),
        )
        groups = self._picture.groups if self._picture.has_groups else ()
        return Part(columns, [self._group(group) for group in groups])

    def _group(self, group: GroupState) -> Row:
        most = "" if group.limit is None else f" of {group.limit}"
        state = Cell("paused", "yellow") if group.paused or self._picture.paused else Cell("")
        return Row(None, [Cell(group.name), Cell(f"{group.processing:,}{most}"), Cell(f"{group.pending:,}"), state])

    def _failures(self) -> Part:
        most = max(8, self._width // 4)
        columns = (
            Column("FAILED", most),
            Column("WHEN", 16, needs=34),
            Column("REASON", max(8, self._width // 3)),
            Column("COMMAND", 0, needs=_NAMED_FROM),
        )
        return Part(columns, [self._failure(job) for job in self._picture.failures])

    def _failure(self, job: Job) -> Row:
        style = STATE_STYLES[job.state]
        if job.state == DEAD:
            when = f"{self._since(job.ended_at or job.updated_at)} ago"
        else:
            due = clock.timestamp(job.next_run_at) if job.next_run_at else self._now
            when = f"again in {self._until(due)}" if due > self._now else "again now"
        reason = job.reason or job.outcome or job.state
        return Row(job, [Cell(job.id, style), Cell(when), Cell(reason), Cell(job.command)])

    def _part(self, part: Part, room: int, selected: str | None, *, titled: bool) -> list[Text]:
        """A part in so many lines; of rows that are too many, those around the selected one."""
        table = Table(self._pen, part.columns, [row.cells for row in part.rows], self._width)
        names = [row.job.id if row.job is not None else None for row in part.rows]
        most = room - titled
        chosen = names.index(selected) if selected in names and selected is not None else 0
        first = max(0, min(chosen - most + 1, len(names) - most))
        shown = range(first, min(first + most, len(names)))
        lines = [table.row(i, "reverse" if selected is not None and names[i] == selected else "") for i in shown]
        return [self._title(table, shown, len(names)), *lines] if titled else lines

    def _title(self, table: Table, shown: range, of: int) -> Text:
        title = table.title()
        where = f"{shown.start + 1}-{shown.stop} of {of}"
        if len(shown) == of or self._width < _NAMED_FROM:
            return title
        title.truncate(self._width - len(where) - 1, pad=True)
        return title.append(f" {where}", "dim")

    def _since(self, moment: str) -> str:
        return _whole((self._now - clock.timestamp(moment)) / clock.SECOND)

    def _until(self, moment: int) -> str:
        return _whole((moment - self._now) // clock.SECOND)


def ids_of(part: Part) -> list[str]:
    """The ids of the jobs that the rows of a part tell of."""
    return [row.job.id for row in part.rows if row.job is not None]


def _in_order(worker: Worker) -> tuple[bool, list[int], str]:
    """Workers by their number, so that a row stays where it is; those that have nothing come last."""
    return worker.state in (IDLE,), [int(digits) for digits in re.findall(r"\d+", worker.name)], worker.name


def _whole(seconds: float) -> str:
    """A duration to the second: a picture that is drawn once a second has no use for more."""
    seconds = max(0, int(seconds))
    return clock.human(seconds) if seconds >= 10 else f"{seconds}s"


def in_words(rate: float | None) -> str:
    """How many jobs end in a second, or in a minute where they are slow."""
    if rate is None:
        return "-"
    return f"{rate:,.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"


def in_short(number: int) -> str:
    """A number in at most four characters: 999, 1.2k, 15k, 1.5M."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= size:
            part = number / size
            return f"{int(part * 10) / 10:.1f}{letter}" if part < 10 else f"{int(part)}{letter}"
    return str(number)
