"""Lists of exit codes, such as ``2,64-78``: those that are worth a retry, or are not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from queuectl.errors import InvalidInput, shown

LOWEST, HIGHEST = 1, 255
"""0 is no failure, and a process has no code beyond."""
_PART = r"(?a)\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?"


def parse(value: object, what: str) -> str:
    """Check a list of codes: text, a number, or a list of either. Returns it in order, and as short as can be.

    Raises :class:`InvalidInput`.
    """
    parts = list(_parts(value, what))
    if not parts:
        raise InvalidInput(f"{what}: names no exit code (write such as 2,64-78)")
    return ",".join(_shortened(parts))


def includes(codes: str, code: int) -> bool:
    """Whether a list that :func:`parse` returned holds a code."""
    return any(first <= code <= last for first, last in _ranges(codes))


def _parts(value: object, what: str) -> Iterator[tuple[int, int]]:
    given = value if isinstance(value, (list, tuple)) else [value]
    for each in given:
        if isinstance(each, str):
            for part in each.split(","):
                yield _range(re.fullmatch(_PART, part), part, what)
        elif isinstance(each, int) and not isinstance(each, bool):
            yield _within(each, each, what)
        else:
            raise InvalidInput(f"{what}: {shown(each)} is not an exit code (write such as 2,64-78)")


def _range(match: re.Match[str] | None, part: str, what: str) -> tuple[int, int]:
    if match is None:
        raise InvalidInput(f"{what}: {shown(part)} is neither an exit code nor a range (write such as 2,64-78)")
    return _within(int(match[1]), int(match[2] or match[1]), what)


def _within(first: int, last: int, what: str) -> tuple[int, int]:
    text = shown(first) if first == last else f"{first}-{last}"
    if first > last:
        raise InvalidInput(f"{what}: the range {text} is empty")
    if first < LOWEST or last > HIGHEST:
        raise InvalidInput(f"{what}: {text} is not between {LOWEST} and {HIGHEST}, as the exit code of a failure is")
    return first, last


def _shortened(parts: Iterable[tuple[int, int]]) -> Iterator[str]:
    codes = sorted({code for first, last in parts for code in range(first, last + 1)})
    first = codes[0]
    for code, following in zip(codes, [*codes[1:], None], strict=True):
        if following != code + 1:
            yield str(code) if first == code else f"{first}-{code}"
            first = following or code


def _ranges(codes: str) -> Iterator[tuple[int, int]]:
    for part in codes.split(","):
        first, _, last = part.partition("-")
        yield int(first), int(last or first)
