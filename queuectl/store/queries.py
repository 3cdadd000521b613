"""Named queries: one ``-- name: x`` line, comments, then one statement."""

from __future__ import annotations

import os
from functools import cache

_FOLDER = os.path.join(os.path.dirname(__file__), "sql")  # importlib.resources would double what a command imports
_NAME = "-- name: "


@cache
def load(file: str = "queries.sql") -> dict[str, str]:
    """The statements of a file under ``sql/``, by name."""
    parts = (part.partition("\n") for part in _read(file).split(_NAME)[1:])
    return {name: _without_comments(body) for name, _, body in parts}


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
