"""Start a program as :mod:`subprocess` does, without what nobody needs here: half of what a start costs us.

It is what ``subprocess.Popen`` itself calls: ``vfork``, and in the child signals, session, directory and
descriptors before ``execve``. It is no public interface: on a Python on which it was not tried, Popen itself does it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

if sys.implementation.name == "cpython" and sys.version_info < (3, 14):
    import _posixsubprocess

    _fork_exec: Callable[..., int] | None = _posixsubprocess.fork_exec
else:
    _fork_exec = None

_GROUP_TO_JOIN, _MAY_VFORK = ((-1,), (True,)) if sys.version_info >= (3, 11) else ((), ())
_STANDARD = 3
"""Descriptors below are those that the program gets."""
_LONGEST_PIECE = 1024


def start(
    arguments: Sequence[bytes], cwd: bytes, environment: list[bytes], stdin: int, output: int, *, directly: bool = True
) -> int:
    """Start the program ``arguments[0]`` in a session of its own; returns its PID, which is the caller's to reap.

    ``environment`` has entries ``NAME=value``. The signals that Python ignores are at their defaults in it, and it
    inherits no descriptor that closes itself. Raises :class:`OSError` when it cannot be started, with the directory
    as its ``filename`` where something before the program itself is wrong. Not ``directly``: by way of Popen.
    """
    if _fork_exec is None or not directly:
        return _by_popen(arguments, cwd, environment, stdin, output)
    reader, writer = os.pipe()
    try:
        try:
            if writer < _STANDARD:  # the child would lose it when it gets its own
                return _by_popen(arguments, cwd, environment, stdin, output)
            pid = _fork_exec(
                arguments,
                arguments[:1],
                False,  # close no descriptors: those that are not meant for it close themselves
                (),
                cwd,
                environment,
                *(stdin, -1, -1, output, -1, output),
                *(reader, writer),
                True,  # restore the signals that Python ignores
                True,  # setsid
                *_GROUP_TO_JOIN,
                *(None, None, None, -1),  # no other group, groups, user or umask
                None,  # nothing to call before the program
                *_MAY_VFORK,
            )
        finally:
            os.close(writer)
        complaint = _read(reader)
    finally:
        os.close(reader)
    if complaint:
        os.waitpid(pid, 0)
        raise _error_of(complaint, cwd, arguments[0])
    return pid


def _read(reader: int) -> bytes:
    """All that a child says of its failure, nothing when its program runs: it says it in pieces."""
    said = b""
    while piece := os.read(reader, _LONGEST_PIECE):
        said += piece
    return said


def _error_of(complaint: bytes, cwd: bytes, program: bytes) -> OSError:
    """What a child says of its failure: ``OSError:2:noexec``, where the number is hexadecimal."""
    _, number, where = complaint.split(b":", 2)
    code = int(number, 16)
    return OSError(code, os.strerror(code), cwd if where.startswith(b"noexec") else program)


def _by_popen(arguments: Sequence[bytes], cwd: bytes, environment: list[bytes], stdin: int, output: int) -> int:
    import subprocess  # workers start faster without

    process = subprocess.Popen(  # nosec B603  # to run what users enqueue is the purpose
        arguments,
        cwd=cwd,
        env=dict(entry.split(b"=", 1) for entry in environment),
        stdin=stdin,
        stdout=output,
        stderr=output,
        start_new_session=True,
        close_fds=False,
    )
    process.returncode = 0  # it is not this object that reaps it
    return process.pid
