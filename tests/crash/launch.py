"""Run queuectl, and kill one of its processes, once, where a function of its own is entered or left.

``launch.py WHERE EVENT MODULE FUNCTION VICTIM FLAG COMMAND...``: WHERE is ``supervisor`` or ``below``
it, EVENT ``call`` or ``return``, VICTIM ``self``, or ``all`` for that process and the supervisor at one
stroke. FLAG is a file that is made at the kill, so that there is one only. A profiler's hook does it, so that the
program has no places made for tests, and every function is one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

from queuectl import cli


def main(where: str, event: str, module: str, function: str, victim: str, flag: str, *command: str) -> int:
    supervisor = os.getpid()

    def look(frame: FrameType, seen: str, argument: object) -> None:
        if seen != event or frame.f_code.co_name != function or frame.f_globals.get("__name__") != module:
            return
        if (os.getpid() == supervisor) != (where == "supervisor"):
            return
        try:
            os.close(os.open(flag, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            return
        if victim == "all":
            os.kill(supervisor, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(look)
    sys.setprofile(look)
    return cli.run(command)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
