"""Reading jobs and commands from files. Whoever does something with them has read all of them before."""

from __future__ import annotations

import json
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple, NoReturn, Protocol, cast

from queuectl.errors import InvalidInput
from queuectl.model import MAX_COMMAND_BYTES

STDIN = "-"
_CHUNK = 1 << 20
_AT_ONCE = 100
"""Lines that are taken together when they are alike. Where one is not, so many are read one by one."""
_PLAIN = r'[^"\\\x00-\x1f]*'
"""Text that JSON has between quotes as it is."""
_LONGEST_NUMBER = 400
"""Digits; the interpreter refuses more than a few thousand, and no key takes even twenty."""


class _Bytes(Protocol):
    """A file, of which one read is one read: the end of what is typed at a terminal is told once."""

    def read1(self, size: int, /) -> bytes: ...


class Entry(NamedTuple):
    """One job of a file, not yet checked, and where it stands: ``line 7``, or ``job 3``.

    With ``commands`` there is a job for each of them, on that line and those after it: with this command, and for the rest
    with the fields, which are those of an entry that came before.
    """

    fields: Any
    unit: str
    number: int
    commands: Sequence[str] | None = None


def read_jobs(path: str) -> Iterator[Entry]:
    """The jobs of a file (``-`` is standard input): an object, an array, or one object a line.

    Lines are read as they are asked for. Raises :class:`InvalidInput` for what is no such file, and for
    one without a job.
    """
    shown = shown_path(path)
    with _opened(path) as file:
        more = _lines(file, shown)
        number, lines = next(more, (1, []))
        if not lines:
            raise InvalidInput(f"{shown}: holds no job")
        line = lines[0]
        if line.lstrip().startswith("["):
            text = "\n".join(chain(lines, *(rest for _, rest in more)))
            entries = _parse(text, shown, number)
            if not entries:
                raise InvalidInput(f"{shown}: holds no job")
            yield from (Entry(fields, "job", place) for place, fields in enumerate(entries, 1))
        elif _goes_on(line):
            text = "\n".join(chain(lines, *(rest for _, rest in more)))
            yield Entry(_parse(text, shown, number), "line", number)
        else:
            yield from _on_lines(chain([(number, lines)], more), shown)


def _on_lines(pieces: Iterable[tuple[int, list[str]]], shown: str) -> Iterator[Entry]:
    """Jobs that have a line each."""
    like: _Like | None = None
    for number, lines in pieces:
        if like is not None and (commands := like.commands(lines)) is not None:
            yield Entry(like.fields, "line", number, commands)
            continue
        for place, line in enumerate(lines, number):
            if line and not line.isspace():
                fields = _parse(line, shown, place)
                yield Entry(fields, "line", place)
                like = _Like(line, fields)


class _Like:
    """What a line has in common with those that differ from it in nothing but their command.

    To decode a line takes by far longer than to see that it is such a one.
    """

    def __init__(self, line: str, fields: Any) -> None:
        self.fields = fields
        self._line = line

    def commands(self, lines: Sequence[str]) -> list[str] | None:
        """The commands on some lines, at least one; None unless all are such lines."""
        around = self._around
        if around is None:
            return None
        head, tail = around
        text = "\n".join(lines)
        if len(text) < len(head) + len(tail) or not (text.startswith(head) and text.endswith(tail)):
            return None
        # No command in which a line ends is plain: so there is one for each line.
        commands = text[len(head) : len(text) - len(tail)].split(f"{tail}\n{head}")
        return commands if re.fullmatch(_PLAIN, "".join(commands)) else None

    @cached_property
    def _around(self) -> tuple[str, str] | None:
        """The line up to its command, with the quote that begins it, and from the quote on that ends it.

        None when another command, between the same quotes, is not all that is different then.
        """
        command = self.fields.get("command") if isinstance(self.fields, dict) else None
        if not isinstance(command, str):
            return None
        head, quoted, tail = self._line.partition(f'"{command}"')
        another = "?" * (len(command) + 1)  # there is nothing in JSON, but for strings, that a question mark is part of
        try:
            found = _DECODER.decode(f'{head}"{another}"{tail}')
        except (InvalidInput, ValueError, RecursionError):
            return None
        return (f'{head}"', f'"{tail}') if quoted and found == {**self.fields, "command": another} else None


def read_commands(path: str) -> Iterator[tuple[int, str]]:
    """The commands of a file (``-`` is standard input), one a line, each with the line's number.

    Lines with nothing but blanks are left out, and so are those that begin with ``#``. For the rest as :func:`read_values`.
    """
    for number, line in enumerate(read_values(path, about_nul=""), 1):
        if number == 1:
            _refuse_mark(line, shown_path(path))
        start = line.lstrip()
        if start and not start.startswith("#"):
            yield number, line


def read_values(
    path: str, separator: bytes = b"\n", about_nul: str = "; -0 is for values that NUL bytes separate"
) -> Iterator[str]:
    """What separators end in a file (``-`` is standard input): its lines, or with NUL what ``find -print0`` writes.

    What follows the last one counts, unless it is empty. All is read as it is asked for. Raises
    :class:`InvalidInput` for what is not UTF-8 text, or longer than any command.
    """
    shown = shown_path(path)
    unit = "line" if separator == b"\n" else "value"
    number = 0
    rest = b""
    with _opened(path) as file:
        while chunk := file.read1(_CHUNK):
            *values, rest = (rest + chunk).split(separator)
            for value in values:
                number += 1
                yield _value(value, f"{shown}, {unit} {number}", about_nul)
            if len(rest) > MAX_COMMAND_BYTES:
                # An endless device would never come to an end.
                _value(rest, f"{shown}, {unit} {number + 1}", about_nul)
    if rest:
        yield _value(rest, f"{shown}, {unit} {number + 1}", about_nul)


def _value(content: bytes, place: str, about_nul: str) -> str:
    if b"\0" in content:
        raise InvalidInput(f"{place}: is binary (it holds a NUL byte{about_nul})")
    if len(content) > MAX_COMMAND_BYTES:
        raise InvalidInput(f"{place}: has more than the {MAX_COMMAND_BYTES} bytes that a shell can be passed")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{place}: is not UTF-8 text") from error


def read_command(path: str) -> str:
    """The command in a file (``-`` is standard input), without the line end that closes it."""
    shown = shown_path(path)
    with _opened(path) as file:
        # More would be refused anyhow, and a device may have no end.
        content = _read(file, MAX_COMMAND_BYTES + 3)
    text = _decoded(content, shown, 1)
    if len(content) > MAX_COMMAND_BYTES + 2:
        raise InvalidInput(
            f"{shown}: holds a command of more than the {MAX_COMMAND_BYTES} bytes that a shell can be passed"
        )
    command = text.rstrip("\n")
    if not command.strip():
        raise InvalidInput(f"{shown}: holds no command")
    return command


def shown_path(path: str) -> str:
    """What errors call a file."""
    return "standard input" if path == STDIN else path


@contextmanager
def _opened(path: str) -> Iterator[_Bytes]:
    """The file to read. Errors of reading become :class:`InvalidInput`."""
    if not path or "\0" in path:
        raise InvalidInput(f"{path!r} is not a file's path")
    try:
        if path != STDIN:
            with open(path, "rb", opener=_open) as file:
                yield file
        elif sys.stdin is None:
            raise InvalidInput("standard input is closed")
        elif sys.stdin.isatty() and threading.current_thread() is threading.main_thread():
            with _typed(cast(_Bytes, sys.stdin.buffer), sys.stdin.fileno()) as file:
                yield file
        else:
            yield cast(_Bytes, sys.stdin.buffer)
    except OSError as error:
        raise InvalidInput(f"cannot read {shown_path(path)}: {error.strerror or error}") from error


@contextmanager
def _typed(file: _Bytes, descriptor: int) -> Iterator[_Bytes]:
    """What is typed at a terminal, where an interrupt in the moment before a read is heard, too.

    Python heeds one that comes while a read waits. One that came just before (and took with it what had been typed, as
    terminals have it) would wait for the next line. So no read waits; that the terminal does not is for us alone.
    """
    import signal  # few commands come here

    try:
        terminal = os.open(os.ttyname(descriptor), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # it is another user's, or has no name here
        yield file
        return
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield _Typed(terminal, reader)
    finally:
        signal.set_wakeup_fd(former)
        for each in (terminal, reader, writer):
            os.close(each)


class _Typed:
    """Waits for something to read, or for a signal: then ``signals`` is readable. Neither descriptor waits itself."""

    def __init__(self, terminal: int, signals: int) -> None:
        import select

        self._terminal, self._signals = terminal, signals
        self._poll = select.poll()
        self._poll.register(terminal, select.POLLIN)
        self._poll.register(signals, select.POLLIN)

    def read1(self, size: int, /) -> bytes:
        while True:
            self._poll.poll()
            with suppress(BlockingIOError):
                return os.read(self._terminal, size)
            with suppress(BlockingIOError):
                os.read(self._signals, 4096)  # of a signal whose handler raised nothing


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY)


def _read(file: _Bytes, size: int) -> bytes:
    """So many bytes, or all there are: a pipe gives what it has."""
    content = bytearray()
    while len(content) < size and (chunk := file.read1(size - len(content))):
        content += chunk
    return bytes(content)


def _lines(file: _Bytes, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Lines as they come in, some at a time, from the first on that is not blank; with each the number of the first of them."""
    pieces = _pieces(file, shown)
    for number, lines in pieces:
        blank = next((place for place, line in enumerate(lines) if line.strip()), None)
        if blank is not None:
            yield number + blank, lines[blank:]
            break
    yield from pieces


def _pieces(file: _Bytes, shown: str) -> Iterator[tuple[int, list[str]]]:
    number = 1
    unfinished: list[bytes] = []
    while chunk := file.read1(_CHUNK):
        head, end, tail = chunk.rpartition(b"\n")
        if end:
            lines = _decoded(b"".join((*unfinished, head)), shown, number).split("\n")
            for start in range(0, len(lines), _AT_ONCE):
                yield number + start, lines[start : start + _AT_ONCE]
            number += len(lines)
            unfinished = []
            del lines  # none is needed when the next come, which takes memory
        # An endless device would never come to a line's end.
        _refuse_zeros(tail, shown, number)
        unfinished.append(tail)
    if last := b"".join(unfinished):
        yield number, [_decoded(last, shown, number)]


def _decoded(content: bytes, shown: str, line: int) -> str:
    """Text that begins at a line's beginning."""
    _refuse_zeros(content, shown, line)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        raise InvalidInput(f"{shown}, line {line}: is not UTF-8 text") from error
    if line == 1:
        _refuse_mark(text, shown)
    return text


def _refuse_mark(text: str, shown: str) -> None:
    if text.startswith("\ufeff"):
        raise InvalidInput(f"{shown}: begins with a byte order mark: save it as plain UTF-8")


def _refuse_zeros(content: bytes, shown: str, line: int) -> None:
    zero = content.find(b"\0")
    if zero >= 0:
        line += content.count(b"\n", 0, zero)
        raise InvalidInput(f"{shown}, line {line}: is binary (it holds a NUL byte)")


def _goes_on(line: str) -> bool:
    """Whether a line is the beginning of a JSON value that ends further down."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(line.rstrip())
    except (ValueError, RecursionError):
        return False
    return False


def _parse(text: str, shown: str, line: int) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{shown}, line {line + error.lineno - 1}: is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise InvalidInput(f"{shown}, line {line}: is nested too deeply") from error
    except InvalidInput as error:
        where = shown if "\n" in text.strip() else f"{shown}, line {line}"
        raise InvalidInput(f"{where}: {error}") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InvalidInput(f"the key {twice[:60]!r} is there twice in one object")
    return found


def _constant(name: str) -> NoReturn:
    raise InvalidInput(f"{name} is not a number")


def _whole(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise InvalidInput(f"a number of {len(digits)} digits is too large")
    return int(digits)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_int=_whole)
