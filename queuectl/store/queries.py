"""Named queries: one ``-- name: x`` line, comments, then one statement."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from operator import itemgetter
from typing import Any, NamedTuple

_FOLDER = os.path.join(os.path.dirname(__file__), "sql")  # importlib.resources would double what a command imports
_NAME = "-- name: "
_PARAMETER = r":(\w+)"


@cache
def load(file: str = "queries.sql") -> dict[str, str]:
    """The statements of a file under ``sql/``, by name."""
    parts = (part.partition("\n") for part in _read(file).split(_NAME)[1:])
    return {name: _without_comments(body) for name, _, body in parts}


class Positional(NamedTuple):
    """A statement whose parameters have no names, and what picks their values from a mapping by the names they had."""

    sql: str
    pick: Callable[[Mapping[str, object]], Any]


@cache
def positional(name: str) -> Positional:
    """A statement that every job needs: :mod:`sqlite3` takes by far longer for parameters that have names.

    It looks each one up, and for each lets other threads in. There must be two parameters at least.
    """
    # One that is there twice is handed over twice: Python 3.12 took numbered ones for names, and complained.
    return Positional(re.sub(_PARAMETER, "?", load()[name]), itemgetter(*re.findall(_PARAMETER, load()[name])))


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Number and script of every migration, in order."""
    names = sorted(name for name in os.listdir(os.path.join(_FOLDER, "migrations")) if name.endswith(".sql"))
    return tuple((int(name[:4]), _read(os.path.join("migrations", name))) for name in names)


def _read(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return file.read()


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.strip().splitlines() if not line.startswith("--")).rstrip(";")
