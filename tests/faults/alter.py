"""Have something of the system, or of queuectl's own, be other than usual.

The keys of changes are dotted names. A value that names an error (``"ENOSYS"``) makes a function that always fails
with it, any other value is set.
"""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Mapping
from typing import Any, NoReturn


def failing(name: str) -> Any:
    """A function that fails as a system call does."""
    number = getattr(errno, name)

    def fail(*arguments: object, **options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def alter(changes: Mapping[str, Any]) -> None:
    """Make the changes in this process."""
    for path, value in changes.items():
        module, _, name = path.rpartition(".")
        new = failing(value) if isinstance(value, str) else value
        setattr(importlib.import_module(module), name, new)
