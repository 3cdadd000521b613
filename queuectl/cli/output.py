"""What is printed: data to stdout, all else to stderr, nothing that could play tricks on a terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

STATE_STYLES: Mapping[str, str] = {
    "pending": "yellow",
    "processing": "cyan",
    "completed": "green",
    "dead": "red",
    "cancelled": "magenta",
    "succeeded": "green",
    "failed": "red",
    "signaled": "red",
    "timed_out": "red",
    "crashed": "red",
    "not_started": "red",
    "released": "yellow",
    "running": "cyan",
    "wrong": "red",
    "repaired": "yellow",
}

_MOST_DRAWN = 1000
"""Rows of a table that rich draws; more come faster as plain columns."""
_GAP = 2
"""Columns of the terminal between two of a table."""
_LEAST = 8
"""What is cut shorter than this tells nothing."""
_LEAST_WRAPPED = 12
"""What is wrapped into lines shorter than this is hard to read."""

# Besides the control characters: line separators, and marks that turn the direction of writing around.
_HARMFUL = [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF]
_ESCAPES = {
    **{code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _HARMFUL},
    **{ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"},
}
_ESCAPES_IN_TEXT = {code: text for code, text in _ESCAPES.items() if code not in (ord("\n"), ord("\t"), ord("\r"))}
_LONE_RETURN = r"\r(?!\n)"
"""It goes back to the line's beginning, so that what follows replaces what was read there."""
_ESCAPES_IN_JSON = {code: f"\\u{code:04x}" for code in _HARMFUL if code >= 0x7F}


class StdoutClosed(Exception):
    """Whoever read standard output went away."""


class StdoutFailed(Exception):
    """Standard output cannot be written: closed from the start, or its disk is full."""


def secure_standard_streams() -> None:
    """Make sure that descriptors 0 to 2 are open, so that no database takes the place of one, and print any text."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def escape(text: str) -> str:
    """Text on one line, with control characters made visible."""
    return text.translate(_ESCAPES)


def escape_lines(text: str) -> str:
    """As :func:`escape`, but line ends and tabs stay."""
    visible = re.sub(_LONE_RETURN, r"\\r", text) if "\r" in text else text
    return visible.translate(_ESCAPES_IN_TEXT)


def on_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def stderr_on_terminal() -> bool:
    """Whether somebody watches standard error."""
    return sys.stderr is not None and sys.stderr.isatty()


def emit(text: str) -> None:
    """Write data to standard output."""
    try:
        _stdout().write(text)
    except OSError as error:
        _fail(error)


def emit_bytes(content: bytes) -> None:
    """Write raw data to standard output, at once."""
    try:
        _stdout().flush()
        _stdout().buffer.write(content)
        _stdout().buffer.flush()
    except OSError as error:
        _fail(error)


def flush() -> None:
    """Have everything written that was printed."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        _fail(error)


def probe() -> None:
    """Raise before anything is done when standard output is closed, or a device that is full.

    A command that must not end with an error after it has changed something asks this first.
    """
    _stdout()
    try:
        os.write(1, b"")
    except OSError as error:
        _fail(error)


def pause(seconds: float) -> None:
    """Sleep, but raise :class:`StdoutClosed` as soon as whoever reads standard output went away."""
    import select

    poll = select.poll()
    poll.register(1, 0)
    if poll.poll(seconds * 1000):
        raise StdoutClosed


def discard_stdout() -> None:
    """Let what is left in the buffer go nowhere, so that the interpreter does not complain at exit."""
    with contextlib.suppress(OSError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def _stdout() -> io.TextIOWrapper:
    if sys.stdout is None:
        raise StdoutFailed("it is closed")
    return sys.stdout  # type: ignore[return-value]


def _fail(error: OSError) -> NoReturn:
    if isinstance(error, BrokenPipeError):
        raise StdoutClosed from error
    raise StdoutFailed(error.strerror or str(error)) from error


def stderr(text: str) -> None:
    """Print a line to standard error; nobody can be told when that fails."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            flush_quietly()
            sys.stderr.write(escape_lines(text) + "\n")
            sys.stderr.flush()


def flush_quietly() -> None:
    """Bring data before messages where both go to one terminal."""
    if on_terminal():
        with contextlib.suppress(OSError):
            sys.stdout.flush()


def note(text: str) -> None:
    """Say something besides the data, in one line."""
    stderr(f"queuectl: {escape(text)}")


def error(text: str) -> None:
    """Say what went wrong, in one line."""
    stderr(f"queuectl: error: {escape(text)}")


def emit_json(value: Any) -> None:
    """Print one JSON value."""
    emit(_json(value, indent=2) + "\n")


def emit_json_array(elements: Iterable[Any]) -> None:
    """Print a JSON array, one element a line."""
    separator = "\n "
    emit("[")
    for element in elements:
        emit(separator + _json(element))
        separator = ",\n "
    emit("]\n" if separator == "\n " else "\n]\n")


def _json(value: Any, indent: int | None = None) -> str:
    import json

    unicode = (_stdout().encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, ensure_ascii=not unicode, indent=indent).translate(_ESCAPES_IN_JSON)


class Column(NamedTuple):
    """A column of a table. Where the terminal is narrow, ``cut`` may lose its end, and what is ``spare`` goes.

    What may ``wrap`` has several lines there instead, and of what is spare it goes last.
    """

    title: str
    right: bool = False
    cut: bool = False
    spare: bool = False
    wrap: bool = False
    styles: Mapping[str, str] = MappingProxyType({})


def emit_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal and cut to its width, else plain columns that lose nothing."""
    cells = [[escape(cell) for cell in row] for row in rows]
    if on_terminal() and len(rows) <= _MOST_DRAWN:
        _draw(columns, cells)
    else:
        _emit_columns(columns, cells)


def _emit_columns(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    titles = [column.title for column in columns]
    widths = [max(map(len, each)) for each in zip(titles, *rows, strict=True)]
    room = os.get_terminal_size(1).columns if on_terminal() else None
    for row in (titles, *rows):
        cells = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, column, width in zip(row, columns, widths, strict=True)
        ]
        emit("  ".join(cells).rstrip()[:room] + "\n")


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    widths = [max(map(cell_len, each)) for each in zip([column.title for column in columns], *rows, strict=True)]
    kept = _fitting(columns, widths, console.width)
    columns, rows = [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
    widths = _narrowed(columns, [widths[i] for i in kept], console.width)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.title,
            justify="right" if column.right else "left",
            width=width,
            no_wrap=not column.wrap,
            overflow="fold" if column.wrap else "ellipsis",
        )
    for row in rows:
        table.add_row(
            *(Text(cell, column.styles.get(cell.split(" ")[0], "")) for cell, column in zip(row, columns, strict=True))
        )
    with console.capture() as drawn:
        console.print(table)
    emit("".join(line.rstrip(" ") + "\n" for line in drawn.get().splitlines()))


def _fitting(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Which columns there is room for: of the spare ones, the last go first, but for those that wrap."""
    kept = list(range(len(columns)))
    least = [
        min(width, _LEAST_WRAPPED if column.wrap else _LEAST) if column.cut or column.wrap else width
        for column, width in zip(columns, widths, strict=True)
    ]
    # Rows whose names are cut at their ends may look the same, and a name is what is typed next.
    least[0] = max(least[0], min(widths[0], room // 2))
    for i in sorted(kept, key=lambda i: (columns[i].wrap, -i)):
        if sum(least[k] + _GAP for k in kept) - _GAP > room and columns[i].spare:
            kept.remove(i)
    return kept


def _narrowed(columns: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """Widths that fit: taken from the widest that may be cut; from the first, which is the row's name, only then."""
    narrowed = list(widths)
    room -= _GAP * (len(columns) - 1)
    cut = [i for i, column in enumerate(columns) if column.cut or column.wrap]
    for chosen in ([i for i in cut if i > 0], cut, list(range(len(columns)))):
        while chosen and sum(narrowed) > room and max(narrowed[i] for i in chosen) > _LEAST:
            narrowed[max(chosen, key=lambda i: narrowed[i])] -= 1
    return narrowed


Pairs = Iterable[tuple[str, str]]


def emit_fields(pairs: Pairs, *, cut: Collection[str] = ()) -> None:
    """Print names and values, one a line; a value may have several lines.

    Where the terminal is narrow they wrap; those with a name in ``cut`` lose their end.
    """
    shown = [(name, escape_lines(value)) for name, value in pairs]
    width = max(len(name) for name, _ in shown)
    if on_terminal():
        _draw_fields(shown, cut)
        return
    for name, value in shown:
        first, *more = value.split("\n")
        emit(f"{name.ljust(width)}  {first}".rstrip() + "\n")
        for line in more:
            emit(f"{'':{width}}  {line}".rstrip() + "\n")


def _draw_fields(pairs: Sequence[tuple[str, str]], cut: Collection[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="bold", min_width=max(len(name) for name, _ in pairs))
    grid.add_column(overflow="fold")
    for name, value in pairs:
        text = Text(value, no_wrap=True, overflow="ellipsis") if name in cut else Text(value)
        for state, style in STATE_STYLES.items():
            text.highlight_regex(rf"\b[1-9]\d* {state}\b", style)
        text.stylize(STATE_STYLES.get(value.split(",")[0].split(":")[0], ""))
        grid.add_row(name, text)
    with console.capture() as drawn:
        console.print(grid)
    emit("".join(line.rstrip(" ") + "\n" for line in drawn.get().splitlines()))
