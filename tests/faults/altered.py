"""A farm whose commands, and workers, run where something is other than usual."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from farm import Farm, as_nobody

_LAUNCHER = str(Path(__file__).with_name("alter.py"))


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

    def _command(self, *arguments: str) -> list[str]:
        if not self._changes:
            return super()._command(*arguments)
        command = [sys.executable, _LAUNCHER, json.dumps(self._changes), *arguments]
        return as_nobody(command) if self.unprivileged else command


def _prepare(changes: dict[str, Any], more: Callable[[], None] | None) -> None:
    from faults.alter import alter

    alter(changes)
    if more is not None:
        more()
