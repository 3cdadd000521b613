"""``logs``: what a job wrote, byte by byte in a pipe, made harmless on a terminal."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Protocol

import click

from queuectl.cli import output
from queuectl.cli.base import App, command, pass_app
from queuectl.cli.jobs import count
from queuectl.cli.logtext import Gap, LogFile
from queuectl.errors import NotFound, QueueError
from queuectl.model import CANCELLED, NOT_STARTED, RELEASED, STOPPED

if TYPE_CHECKING:
    from queuectl.api import Queue
    from queuectl.model import Attempt

_PAUSE = 0.1
"""Seconds between two looks at a log that is followed."""


@command(
    "logs",
    examples=("queuectl logs 1", "queuectl logs -n 20 1", "queuectl logs -f 1", "queuectl logs --attempt 1 1"),
    after_help=(
        "Standard output and standard error are in one log, in the order written; the attempts follow each other. "
        "In a pipe the bytes are passed on as they are; on a terminal control characters are made visible.",
    ),
)
@click.argument("job_id", metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on printing until the job has ended.")
@click.option("-n", "--lines", metavar="N", help="Only the last N lines.")
@click.option("--attempt", metavar="K", help="Only what attempt number K wrote.")
@pass_app
def cmd_logs(app: App, job_id: str, follow: bool, lines: str | None, attempt: str | None) -> None:
    """Print a job's output."""
    last = None if lines is None else count(lines, "-n")
    number = None if attempt is None else count(attempt, "--attempt", 1)
    if follow and app.json:
        raise click.UsageError("-f and --json exclude each other: one value cannot be followed")
    queue = app.existing_queue()
    part = _Part(queue, job_id, number)
    reader = _Reader(queue.home.log(job_id), part)
    if app.json:
        collected = _Collected()
        reader.print(collected, last)
        output.emit_json({"id": job_id, "attempt": number, "text": collected.text, "dropped_bytes": collected.dropped})
        _tell_what_is_missing(queue, job_id, reader)
        return
    sink = _Terminal() if output.on_terminal() else _Pipe()
    wrote = _follow(queue, reader, sink, last) if follow else reader.print(sink, last)
    sink.end()
    _tell_what_is_missing(queue, job_id, reader)
    if not wrote:
        output.note(f"job {job_id} has written nothing{f': {part.not_started}' if part.not_started else ''}")


def _tell_what_is_missing(queue: Queue, job_id: str, reader: _Reader) -> None:
    """Say so where attempts wrote more than the log holds. Raises :class:`QueueError` where there is no log at all."""
    if missing := reader.missing:
        text = (
            f"{missing} {'byte' if missing == 1 else 'bytes'} of the output of job {job_id} "
            f"{'is' if missing == 1 else 'are'} missing from {queue.home.logs}: 'queuectl doctor' says more"
        )
        if not reader.has_log:
            raise QueueError(text)
        output.note(text)  # the job may have cut it short
    elif reader.part.is_forgotten and not reader.has_log:
        raise QueueError(f"the output of job {job_id} is lost, as 'queuectl doctor --repair' has noted")


class _Part:
    """Which part of a job's log is wanted: all, or that of one attempt."""

    start: int
    end: int | None
    is_over: bool
    recorded: int
    """Where that ends which was recorded as written."""
    is_forgotten: bool
    """Whether it was noted that some of it is lost."""
    not_started: str | None
    """Why there is no attempt at all; None when there is one."""

    def __init__(self, queue: Queue, job_id: str, number: int | None) -> None:
        self._queue, self._job_id, self._number = queue, job_id, number
        self.look()

    def look(self) -> None:
        """Ask the database again. Raises ``NoSuchJob``, and :class:`NotFound` for the attempt."""
        job = self._queue.get(self._job_id)
        attempts = self._queue.attempts(self._job_id)
        never = "it was cancelled before it started" if job.state == CANCELLED else "it has not started yet"
        self.not_started = None if attempts else never
        chosen = [each for each in attempts if self._number in (None, each.number)]
        self.recorded = max(((each.log_offset or 0) + each.log_bytes for each in chosen if each.log_bytes), default=0)
        # One that came to no log has none either.
        ran = [each for each in chosen if each.outcome not in (None, NOT_STARTED, RELEASED, STOPPED)]
        self.is_forgotten = any(each.log_bytes is None for each in ran)
        if self._number is None:
            # A log that is there before the first attempt is of a job of this name that was removed.
            self.start, self.end, self.is_over = 0, None if attempts else 0, job.ended
            return
        index = next((i for i, each in enumerate(attempts) if each.number == self._number), None)
        if index is None:
            there = f"it has {attempts[0].number} to {attempts[-1].number}" if attempts else never
            raise NotFound(f"job {self._job_id} has no attempt {self._number} ({there})")
        self.start, self.end = _slice(attempts, index)
        self.is_over = attempts[index].ended_at is not None


def _slice(attempts: list[Attempt], index: int) -> tuple[int, int | None]:
    """Offsets of what an attempt wrote; the end is None while it is that of the file.

    Of one that runs, or crashed, only its neighbours are known.
    """
    attempt = attempts[index]
    if attempt.log_offset is not None and attempt.log_bytes is not None:
        return attempt.log_offset, attempt.log_offset + attempt.log_bytes
    ends = [(each.log_offset or 0) + (each.log_bytes or 0) for each in attempts[:index]]
    start = attempt.log_offset if attempt.log_offset is not None else max(ends, default=0)
    return start, next((each.log_offset for each in attempts[index + 1 :] if each.log_offset is not None), None)


class _Sink(Protocol):
    def write(self, chunk: bytes) -> None: ...

    def gap(self, gap: Gap) -> None: ...

    def end(self) -> None: ...


class _Pipe:
    """Passes bytes on as they are."""

    def write(self, chunk: bytes) -> None:
        output.emit_bytes(chunk)

    def gap(self, gap: Gap) -> None:
        output.note(f"{gap.size} bytes of the output were dropped here, to keep it below log_max_bytes")

    def end(self) -> None:
        pass


class _Terminal(_Pipe):
    """Shows control characters instead of obeying them. A character may come in two pieces."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._at_line_start = True

    def write(self, chunk: bytes) -> None:
        self._show(self._decoder.decode(chunk))

    def gap(self, gap: Gap) -> None:
        self.end()
        super().gap(gap)

    def end(self) -> None:
        self._show(self._decoder.decode(b"", final=True))
        if not self._at_line_start:
            self._show("\n")

    def _show(self, text: str) -> None:
        if text:
            self._at_line_start = text.endswith("\n")
            output.emit(output.escape_lines(text))
            output.flush()


class _Collected:
    """Keeps the text for JSON."""

    def __init__(self) -> None:
        self._content = bytearray()
        self.dropped = 0

    @property
    def text(self) -> str:
        return self._content.decode("utf-8", "replace")

    def write(self, chunk: bytes) -> None:
        self._content += chunk

    def gap(self, gap: Gap) -> None:
        self.dropped += gap.size

    def end(self) -> None:
        pass


class _Reader:
    """Prints a part of a log, and what was added since."""

    def __init__(self, path: str, part: _Part) -> None:
        self._path, self.part = path, part
        self._file: LogFile | None = None
        self._position: int | None = None

    @property
    def has_log(self) -> bool:
        """Whether a log was found."""
        return self._file is not None

    @property
    def missing(self) -> int:
        """How many bytes were recorded as written beyond the log's end."""
        return max(0, self.part.recorded - (0 if self._file is None else self._file.size))

    def print(self, sink: _Sink, last: int | None = None) -> bool:
        """Print what is there and was not printed yet, at first the ``last`` lines only; whether there was any."""
        if self._file is None and self.part.end != 0:
            self._file = LogFile.open(self._path)
        if self._file is None:
            return False
        end = self._file.size if self.part.end is None else min(self.part.end, self._file.size)
        if self._position is None:
            self._position = self.part.start
            if last is not None:
                self._position = self._file.last_lines(self._position, end, last)
        start, self._position = self._position, max(self._position, end)
        for piece in self._file.read(start, end):
            if isinstance(piece, Gap):
                sink.gap(piece)
            else:
                sink.write(piece)
        return end > self.part.start


def _follow(queue: Queue, reader: _Reader, sink: _Sink, last: int | None) -> bool:
    """Print what is added until it is over; whether there was anything."""
    from queuectl.cli.waiting import Hint

    hint = Hint(queue)
    while True:
        # What was written before the job ended is in the file by then: look at the state first.
        reader.part.look()
        is_over = reader.part.is_over
        wrote = reader.print(sink, last)
        if is_over:
            return wrote
        hint.give_in_time()
        output.pause(_PAUSE)
