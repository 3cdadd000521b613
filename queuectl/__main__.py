"""The program ``queuectl``, also as ``python -m queuectl``."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from types import FrameType
from typing import NoReturn


def main() -> None:
    """Run the command line and exit with its status."""
    # What a start allocates is here to stay: looking for garbage in it would only take time.
    gc.set_threshold(20_000, 20, 20)
    if os.getpid() == 1:
        import signal  # nobody else needs it, and all start faster without

        # The kernel keeps from PID 1 what it does not handle; a container could not be stopped.
        signal.signal(signal.SIGTERM, _exit_at)
    try:
        from queuectl.cli import run
    except KeyboardInterrupt:
        sys.exit(130)
    _leave(run(sys.argv[1:]))


def _leave(code: int) -> NoReturn:
    """Exit without taking the interpreter apart, which would last longer than most commands.

    Databases are closed by now.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it is gone, and has been answered
            if stream is not None:
                stream.flush()
    os._exit(code)


def _exit_at(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
