"""Run queuectl and note each SQL statement, with the PID: ``noting.py FILE COMMAND...``."""

from __future__ import annotations

import os
import sqlite3
import sys
from typing import Any

connect = sqlite3.connect


def main(path: str, *command: str) -> int:
    def note(statement: str) -> None:
        # Opened anew each time: a worker closes all that it inherits.
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {' '.join(statement.split())}\n")

    def noting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(note)
        return connection

    sqlite3.connect = noting
    from queuectl import cli

    return cli.run(command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
