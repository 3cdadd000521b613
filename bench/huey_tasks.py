"""The task that Huey runs in the throughput row; as a program, it puts so many of them into the queue."""

from __future__ import annotations

import os
import subprocess
import sys

from huey import SqliteHuey

huey = SqliteHuey(filename=os.environ["HUEY_DATABASE"], results=False)


@huey.task()
def true() -> None:
    subprocess.run(["/bin/sh", "-c", "true"], check=True, stdin=subprocess.DEVNULL)  # nosec B603


if __name__ == "__main__":
    for _ in range(int(sys.argv[1])):
        true()
