"""Run queuectl where something of the system, or of its own, is other than usual.

``alter.py CHANGES COMMAND...``: CHANGES is a JSON object. Its keys are dotted names; a value that
names an error (``"ENOSYS"``) makes a function that always fails with it, any other value is set.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import sys
from typing import Any, NoReturn


def failing(name: str) -> Any:
    """A function that fails as a system call does."""
    number = getattr(errno, name)

    def fail(*arguments: object, **options: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def main(changes: str, *command: str) -> int:
    for path, value in json.loads(changes).items():
        module, _, name = path.rpartition(".")
        new = failing(value) if isinstance(value, str) else value
        setattr(importlib.import_module(module), name, new)
    # Only now: what others import by name is altered for them, too.
    from queuectl import cli

    return cli.run(command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
