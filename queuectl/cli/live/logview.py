"""The end of a job's log, to be read while it grows."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.cells import chop_cells
from rich.text import Text

from queuectl.cli import output
from queuectl.cli.live import keys
from queuectl.cli.live.pen import Pen
from queuectl.cli.logtext import Gap, LogFile
from queuectl.errors import QueueError
from queuectl.home import Home

_MOST = 1 << 18
"""Bytes of the end that can be read here; 'queuectl logs' has all of it."""


class LogView:
    """One job's log. ``scroll`` counts screen lines up from the end; at 0 it follows what is written."""

    def __init__(self, home: Home, job_id: str, pen: Pen) -> None:
        self.job_id = job_id
        self._path = home.log(job_id)
        self._pen = pen
        self._scroll = 0
        self._stamp: tuple[int, int] | None = None
        self._text: list[str] = []
        self._note: str | None = None
        self.look()

    def look(self) -> bool:
        """Read what was written meanwhile; whether anything was."""
        stamp = self._stamped()
        if stamp is not None and stamp == self._stamp:
            return False
        before, self._stamp = (self._text, self._note), stamp
        held = len(self._text)
        try:
            self._text, self._note = self._read()
        except (QueueError, OSError) as error:
            self._text, self._note = [], str(error)
        if self._scroll:  # what is read stays where it is
            self._scroll += max(0, len(self._text) - held)
        return (self._text, self._note) != before

    def _stamped(self) -> tuple[int, int] | None:
        try:
            status = os.lstat(self._path)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def _read(self) -> tuple[list[str], str | None]:
        file = LogFile.open(self._path)
        if file is None:
            return [], "nothing was written yet"
        try:
            end = file.size
            start = max(0, end - _MOST)
            content, dropped = bytearray(), 0
            for piece in file.read(start, end):
                if isinstance(piece, Gap):
                    dropped += piece.size
                else:
                    content += piece
        finally:
            file.close()
        if start:
            content = content[content.find(b"\n") + 1 :]  # of the first line, the beginning is not here
        text = output.escape_lines(content.decode("utf-8", "backslashreplace")).replace("\r\n", "\n")
        lines = [self._pen.spelled(line.expandtabs(8)) for line in text.removesuffix("\n").split("\n")] if text else []
        if start or dropped:
            return lines, f"the end of {end:,} bytes: 'queuectl logs {self.job_id}' has what there is"
        return lines, None if lines else "nothing was written yet"

    def press(self, key: str, rows: int) -> None:
        """Scroll."""
        page = max(1, rows - 1)
        step = {
            keys.UP: 1,
            "k": 1,
            keys.DOWN: -1,
            "j": -1,
            keys.PAGE_UP: page,
            "b": page,
            keys.PAGE_DOWN: -page,
            " ": -page,
            keys.HOME: 1 << 30,
            "g": 1 << 30,
            keys.END: -(1 << 30),
            "G": -(1 << 30),
        }
        self._scroll = max(0, self._scroll + step.get(key, 0))

    def lines(self, title: str, size: os.terminal_size, footer: Text) -> list[Text]:
        """The whole screen."""
        width, height = size.columns, size.lines
        top = [self._pen.line(title, width, "bold")]
        if self._note is not None and height >= 4:
            top.append(self._pen.line(self._note, width, "dim"))
        room = max(0, height - len(top) - 1)
        shown = [Text(line, no_wrap=True) for line in self._shown(width, room)]
        return [*top, *shown, *[Text()] * (room - len(shown)), footer][:height]

    def _shown(self, width: int, room: int) -> list[str]:
        """As many lines as there is room for; too long ones go on in the next."""
        found: list[str] = []
        for line in self._upwards(width):
            found.append(line)
            if len(found) == self._scroll + room:
                break
        self._scroll = max(0, min(self._scroll, len(found) - room))
        found = found[self._scroll : self._scroll + room]
        return found[::-1]

    def _upwards(self, width: int) -> Iterator[str]:
        for line in reversed(self._text):
            yield from reversed(chop_cells(line, max(2, width)) if len(line) * 2 > width else [line])

    @property
    def follows(self) -> bool:
        """Whether the end is in sight."""
        return self._scroll == 0
