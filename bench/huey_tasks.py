"""The task that Huey runs in the throughput row."""

from __future__ import annotations

import os
import subprocess

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ["HUEY_DATABASE"], results=False)


@huey.task()
def true() -> None:
    subprocess.run(["/bin/sh", "-c", "true"], check=True, stdin=subprocess.DEVNULL)  # nosec B603


def fill(count: int) -> None:
    """Put so many of them into the queue; not as a program, whose name its workers would not find it by."""
    for _ in range(count):
        true()
