"""Somebody who watches a queue at a terminal of their own, and what stands on it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import psutil
from farm import PATIENCE, eventually

ROOT = Path(__file__).resolve().parents[2]
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
ENTERED, LEFT = "\x1b[?1049h", "\x1b[?1049l"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Watcher:
    """``queuectl watch`` below a shell, which tells before and after how the terminal is set."""

    SCRIPT = 'trap : INT QUIT; stty -g; {python} -m queuectl {words}; echo "status $?"; stty -g; {more}'

    def __init__(
        self, directory: str | Path, words: str = "watch", columns: int = 80, rows: int = 24, more: str = "", **env: str
    ) -> None:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("QUEUECTL_") and name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        }
        script = self.SCRIPT.format(python=sys.executable, words=words, more=more)
        self.size = columns, rows
        self.process = pexpect.spawn(
            "/bin/sh",
            ["-m", "-c", script] if more else ["-c", script],
            cwd=str(directory),
            env={**inherited, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **env},
            dimensions=(rows, columns),
            encoding="utf-8",
            codec_errors="replace",
            timeout=PATIENCE,
        )
        self.seen = ""

    def read(self) -> str:
        """All that came until now."""
        try:
            while True:
                self.seen += self.process.read_nonblocking(1 << 16, timeout=0)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return self.seen

    def frame(self) -> list[str] | None:
        """The last picture that was drawn whole; None when there is none."""
        for drawn in reversed(self.read().split("\x1b[H")[1:]):
            lines = COLOUR.sub("", drawn.split("\x1b[?")[0]).split("\r\n")
            if len(lines) == self.size[1] and len(lines[-1]) == self.size[0]:
                return [line.rstrip() for line in lines]
        return None

    def until(self, condition: Callable[[str], object]) -> list[str]:
        """Wait for a picture, as one text, of which something holds; its lines."""

        def found() -> list[str] | None:
            frame = self.frame()
            return frame if frame is not None and condition("\n".join(frame)) else None

        try:
            lines: list[str] = eventually(found)
        except AssertionError as error:
            raise AssertionError("\n".join(self.frame() or [self.seen])) from error
        return lines

    def shows(self, text: str) -> list[str]:
        """Wait for a picture with this text; its lines."""
        return self.until(lambda picture: text in picture)

    def press(self, keys: str) -> None:
        """Type something."""
        self.process.send(keys)

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal larger or smaller."""
        self.size = columns, rows
        self.process.setwinsize(rows, columns)

    @property
    def pid(self) -> int:
        """The process that watches."""
        children: list[psutil.Process] = eventually(lambda: psutil.Process(self.process.pid).children())
        return children[0].pid

    def end(self) -> int:
        """Wait for the end; the status that the shell saw. The terminal must be as it was."""
        self.process.expect(pexpect.EOF)
        self.seen += self.process.before
        self.process.close()
        told = self.seen.split("\r\n")
        place = next(i for i, line in enumerate(told) if "status " in line)
        assert told[place + 1] == told[0], "the terminal is set differently"
        left = told[place].split("status ")[0]
        assert self.seen.count(ENTERED) == self.seen.count(LEFT), "another screen stays"
        assert self.seen.count(ENTERED) == 0 or self.seen.rfind(LEFT) > self.seen.rfind(ENTERED)
        assert self.seen.rfind(SHOWN) >= self.seen.rfind(HIDDEN), "the cursor stays hidden"
        assert "Traceback" not in left
        return int(told[place].split("status ")[1])

    def close(self) -> None:
        """End it, in whatever state it is."""
        self.process.close(force=True)
