"""The program ``queuectl``, also as ``python -m queuectl``."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line and exit with its status."""
    if os.getpid() == 1:
        # The kernel keeps from PID 1 what it does not handle; a container could not be stopped.
        signal.signal(signal.SIGTERM, _exit_at)
    try:
        from queuectl.cli import run
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run(sys.argv[1:]))


def _exit_at(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
