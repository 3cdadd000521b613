"""Named queries: one ``-- name: x`` line, comments, then one statement."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def load(file: str = "queries.sql") -> dict[str, str]:
    """The statements of a file under ``sql/``, by name."""
    text = (resources.files("queuectl.store") / "sql" / file).read_text(encoding="utf-8")
    parts = _NAME.split(text)[1:]
    return {name: _without_comments(body) for name, body in zip(parts[::2], parts[1::2], strict=True)}


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Number and script of every migration, in order."""
    folder = resources.files("queuectl.store") / "sql" / "migrations"
    scripts = [
        (int(file.name[:4]), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    return tuple(sorted(scripts))


def _without_comments(body: str) -> str:
    return "\n".join(line for line in body.strip().splitlines() if not line.startswith("--")).rstrip(";")
