"""A farm whose commands, and workers, run where something is other than usual."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from farm import Farm


class AlteredFarm(Farm):
    """What is run after ``alter`` runs with its changes (see ``alter.py``)."""

    def __init__(self, directory: Path, unprivileged: bool = False, *, copied: bool = False) -> None:
        self._changes: dict[str, Any] = {}
        super().__init__(directory, unprivileged, copied=copied)

    def alter(self, **changes: Any) -> None:
        """Change functions and values from now on, instead of what was changed before; ``__`` stands for a dot."""
        self._changes = {name.replace("__", "."): value for name, value in changes.items()}

    def prepare(self) -> Callable[[], None] | None:
        return partial(_prepare, self._changes, super().prepare())


def _prepare(changes: dict[str, Any], more: Callable[[], None] | None) -> None:
    from faults.alter import alter

    alter(changes)
    if more is not None:
        more()
