"""A terminal that is drawn on, and left as it was found, whatever ends us."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.control import Control
from rich.live import Live

from queuectl.cli.live.keys import Keys
from queuectl.inbox import Inbox

if TYPE_CHECKING:
    from rich.text import Text

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
_HEEDED = (*ENDING, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
_ESCAPE_PAUSE = 0.05
"""Seconds after which an escape that came alone is a key, and not the beginning of one."""
_REDRAW = b"\x0c"
"""Ctrl-L: somebody else has written over what was drawn."""
_USUAL = os.terminal_size((80, 24))


class Ended(Exception):
    """A signal asked for our end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Hangup(Exception):
    """The terminal is gone."""


class Terminal:
    """Standard output and, where it is the same terminal's, standard input.

    It takes part in what signals do while it is entered: the end, Ctrl-Z and its undoing, a new size. One that was ignored at the
    start (``nohup``) stays so.
    """

    def __init__(self) -> None:
        self._input = 0 if os.isatty(0) else None
        self._keys = Keys()
        self._found: list[Any] | None = None
        self._live: Live | None = None
        self._drawn: tuple[os.terminal_size, list[Text]] | None = None
        self._console = Console(
            highlight=False,
            markup=False,
            emoji=False,
            force_terminal=True,
            force_interactive=True,
            legacy_windows=False,
        )
        self._inbox = Inbox(number for number in _HEEDED if signal.getsignal(number) is not signal.SIG_IGN)

    @property
    def has_keys(self) -> bool:
        """Whether anything can be pressed."""
        return self._input is not None

    @property
    def encoding(self) -> str:
        """What the characters are written in."""
        return sys.stdout.encoding or "ascii"

    @property
    def size(self) -> os.terminal_size:
        """Columns and rows."""
        try:
            size = os.get_terminal_size(1)
        except OSError:
            return _USUAL
        return size if size.columns and size.lines else _USUAL

    @property
    def wants_drawing(self) -> bool:
        """Whether what was drawn is not there any more, or does not fit."""
        return self._drawn is None or self._drawn[0] != self.size

    def __enter__(self) -> Terminal:
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._give_back()

    def draw(self, lines: Sequence[Text], size: os.terminal_size) -> None:
        """Show these lines, as many as there are rows. Raises :class:`Hangup`."""
        assert self._live is not None
        drawing = size, list(lines)
        if drawing == self._drawn:
            return
        self._console.size = (size.columns, size.lines)
        try:
            self._live.update(Group(*lines), refresh=True)
        except OSError as error:
            raise Hangup from error
        self._drawn = drawing

    def wait(self, seconds: float) -> list[str]:
        """Sleep until something was pressed, the size may have changed, or time is up; the keys.

        Raises :class:`Ended` and :class:`Hangup`.
        """
        awaited = [self._inbox.fileno(), *([self._input] if self._input is not None else [])]
        if self._keys.is_amid:
            seconds = min(seconds, _ESCAPE_PAUSE)
        ready, _, _ = select.select(awaited, [], [], max(0.0, seconds))
        if self._inbox.fileno() in ready:
            for number in self._inbox.take():
                self._heed(number)
        if self._input in ready:
            received = self._read()
            if _REDRAW in received:
                self._drawn = None
            return self._keys.feed(received)
        return self._keys.settle() if self._keys.is_amid and not ready else []

    def _read(self) -> bytes:
        assert self._input is not None
        try:
            received = os.read(self._input, 4096)
        except OSError as error:
            raise Hangup from error
        if not received:
            raise Hangup
        return received

    def _heed(self, number: int) -> None:
        if number in ENDING:
            raise Ended(number)
        if number == signal.SIGTSTP:
            self._give_back()
            self._stop()
            self._take()
            for later in self._inbox.take():
                if later != signal.SIGCONT:  # it is what woke us
                    self._heed(later)
        elif number == signal.SIGCONT:
            # Whoever had the terminal meanwhile may have left it in any state.
            self._give_back()
            self._take()
        elif number == signal.SIGWINCH:
            self._drawn = None  # the size may be the same again, but what stands there need not

    def _stop(self) -> None:
        """Stop, as a program does that knows nothing of this signal; returns when we go on."""
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)

    def _take(self) -> None:
        """Begin to draw. In the background, the terminal stops us here until we are brought to the fore."""
        if self._input is not None:
            with contextlib.suppress(termios.error):
                found = termios.tcgetattr(self._input)
                termios.tcsetattr(self._input, termios.TCSADRAIN, _without_echo(found))
                self._found = found
        self._drawn = None
        self._live = Live(
            console=self._console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        try:
            self._live.start()
        except OSError as error:
            raise Hangup from error

    def _give_back(self) -> None:
        # A terminal that is gone needs nothing.
        with contextlib.suppress(OSError):
            if self._live is not None:
                # tmux would keep some of what stands here, where the size has changed meanwhile.
                self._console.control(Control.home(), Control.clear())
                self._live.stop()
        self._live = None
        if self._found is not None and self._input is not None:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._input, termios.TCSANOW, self._found)
                # What was pressed too often is not for the shell.
                termios.tcflush(self._input, termios.TCIFLUSH)
        self._found = None


def _without_echo(found: Sequence[Any]) -> list[Any]:
    """How a terminal is to be that hands on each key at once; Ctrl-C and Ctrl-Z stay signals, and Ctrl-S holds nothing up."""
    attributes = list(found)
    attributes[0] &= ~termios.IXON
    attributes[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
    attributes[6] = list(attributes[6])
    attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
    return attributes
