"""Reading jobs and commands from files. All is read, and understood, before anything is done with it."""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO, NamedTuple, NoReturn

from queuectl.errors import InvalidInput
from queuectl.model import MAX_COMMAND_BYTES

STDIN = "-"
_CHUNK = 1 << 20
_LONGEST_NUMBER = 400
"""Digits; the interpreter refuses more than a few thousand, and no key takes even twenty."""


class Entry(NamedTuple):
    """One job of a file, not yet checked, and where it stands: ``line 7``, or ``job 3``."""

    fields: Any
    place: str


def read_jobs(path: str) -> list[Entry]:
    """The jobs of a file (``-`` is standard input): an object, an array, or one object a line.

    Raises :class:`InvalidInput` for what is no such file, and for one without a job.
    """
    shown = _shown(path)
    text = _read_text(path, shown, None)
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise InvalidInput(f"{shown}: holds no job")
    if text.lstrip().startswith("["):
        entries = [Entry(fields, f"job {number}") for number, fields in enumerate(_parse(text, shown, 1), 1)]
        if not entries:
            raise InvalidInput(f"{shown}: holds no job")
        return entries
    if _goes_on(lines[first]):
        return [Entry(_parse(text, shown, 1), f"line {first + 1}")]
    return [
        Entry(_parse(line, shown, number), f"line {number}") for number, line in enumerate(lines, 1) if line.strip()
    ]


def read_command(path: str) -> str:
    """The command in a file (``-`` is standard input), without the line end that closes it."""
    shown = _shown(path)
    text = _read_text(path, shown, MAX_COMMAND_BYTES + 2)
    command = text.rstrip("\n")
    if not command.strip():
        raise InvalidInput(f"{shown}: holds no command")
    return command


def _shown(path: str) -> str:
    return "standard input" if path == STDIN else path


def _read_text(path: str, shown: str, limit: int | None) -> str:
    content = _read(path, shown, limit)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"{shown}, line {line}: is not UTF-8 text") from error
    if text.startswith("\ufeff"):
        raise InvalidInput(f"{shown}: begins with a byte order mark: save it as plain UTF-8")
    return text


def _read(path: str, shown: str, limit: int | None) -> bytes:
    if not path or "\0" in path:
        raise InvalidInput(f"{path!r} is not a file's path")
    try:
        if path == STDIN:
            if sys.stdin is None:
                raise InvalidInput("standard input is closed")
            return _read_all(sys.stdin.buffer, shown, limit)
        with open(path, "rb", opener=_open) as file:
            return _read_all(file, shown, limit)
    except OSError as error:
        raise InvalidInput(f"cannot read {shown}: {error.strerror or error}") from error


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY)


def _read_all(file: BinaryIO, shown: str, limit: int | None) -> bytes:
    """Everything, but no more of an endless device than it takes to know that it is none of ours."""
    content = bytearray()
    while chunk := file.read(_CHUNK):
        zero = chunk.find(b"\0")
        if zero >= 0:
            line = content.count(b"\n") + chunk.count(b"\n", 0, zero) + 1
            raise InvalidInput(f"{shown}, line {line}: is binary (it holds a NUL byte)")
        content += chunk
        if limit is not None and len(content) > limit:
            raise InvalidInput(
                f"{shown}: holds a command of more than the {MAX_COMMAND_BYTES} bytes that a shell can be passed"
            )
    return bytes(content)


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
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_whole)
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
