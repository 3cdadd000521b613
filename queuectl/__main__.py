"""The program ``queuectl``, also as ``python -m queuectl``."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # signal itself imports much, and all start faster without
import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def main() -> None:
    """Run the command line and exit with its status."""
    # An interrupt ends us quietly, as it does any program, until there is somebody to answer it.
    is_interruptible = _signal.getsignal(_signal.SIGINT) in (_signal.default_int_handler, _signal.SIG_DFL)
    if is_interruptible:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    # What a start allocates is here to stay: looking for garbage in it would only take time.
    gc.set_threshold(20_000, 20, 20)
    if os.getpid() == 1:
        # The kernel keeps from PID 1 what it does not handle; a container could not be stopped.
        _signal.signal(_signal.SIGTERM, _exit_at)
    from queuectl.cli import INTERRUPTED, run

    try:
        if is_interruptible:
            _signal.signal(_signal.SIGINT, _signal.default_int_handler)
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # another one, while the first was answered
        code = INTERRUPTED
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exit without taking the interpreter apart, which would last longer than most commands.

    Databases are closed by now.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError, KeyboardInterrupt):  # whoever read it is gone, and has been answered
            pass
    os._exit(code)


def _exit_at(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
