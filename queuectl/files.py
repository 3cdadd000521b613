"""Small files, written so that a crash leaves the old one or the new one, never half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700


def write_durably(path: str, content: str) -> None:
    """Replace a file's content: on disk before this returns, private to the owner of its directory."""
    _move(_write_beside(path, content, give=True, sync=True), path)
    sync_directory(os.path.dirname(path))


def write_atomically(path: str, content: str, *, give: bool = False) -> None:
    """Replace a file's content at one stroke; not forced to disk (for what a reboot makes stale).

    It is ours, or to ``give`` to the owner of its directory, who is to read what root wrote.
    """
    _move(_write_beside(path, content, give=give, sync=False), path)


def _write_beside(path: str, content: str, *, give: bool, sync: bool) -> str:
    """Write a private temporary file next to ``path`` and return its name."""
    directory = os.path.dirname(path)
    # As tempfile has it, which takes as long to import as some twenty such files take to be written.
    temporary = os.path.join(directory, f".{os.path.basename(path)[:60]}.{os.urandom(8).hex()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        with open(handle, "w", encoding="utf-8") as file:
            if give:
                hand_over(handle, directory)
            file.write(content)
            file.flush()
            if sync:
                os.fsync(handle)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary


def hand_over(descriptor: int, directory: str) -> None:
    """Have a file that root made in a directory belong to that directory's owner, who is to use it as well."""
    if os.geteuid() == 0:
        status = os.stat(directory or os.curdir)
        os.fchown(descriptor, status.st_uid, status.st_gid)


def _move(temporary: str, path: str) -> None:
    try:
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def sync_directory(path: str) -> None:
    """Make the names in a directory durable (a rename is only on disk after this)."""
    handle = os.open(path or os.curdir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_private_directory(path: str) -> None:
    """Make a directory that only its owner can enter; one that exists is left as it is."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, PRIVATE_DIRECTORY)
        sync_directory(os.path.dirname(path))


def make_private_directories(path: str) -> None:
    """Make a directory and those above it that are missing, all private and on disk (``makedirs`` does neither)."""
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        make_private_directories(parent)
    make_private_directory(path)


def open_regular(path: str, flags: int, *, follow: bool = False) -> int:
    """Open a regular file, made private where it is made; its descriptor. Raises :class:`OSError` for anything else.

    Never blocks on a FIFO that somebody planted in its place, nor takes a symlink, unless it is to ``follow`` one.
    """
    return open_and_look(path, flags, follow=follow)[0]


def open_and_look(path: str, flags: int, *, follow: bool = False) -> tuple[int, os.stat_result]:
    """As :func:`open_regular`, with what the file was like when it was opened."""
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags, PRIVATE_FILE)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "it is a symbolic link", path) from error
        if error.errno == errno.ENXIO:  # a socket, or a FIFO that nobody reads
            raise _not_regular(path) from error
        raise
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):
        os.close(handle)
        is_directory = stat.S_ISDIR(status.st_mode)
        raise IsADirectoryError(errno.EISDIR, "it is a directory", path) if is_directory else _not_regular(path)
    return handle, status


def _not_regular(path: str) -> OSError:
    return OSError(errno.EINVAL, "it is not a regular file", path)


def read_small(path: str, limit: int = 65_536) -> str | None:
    """The content of a small text file; None when there is no such readable regular file."""
    read = read_signed(path, limit)
    return None if read is None else read[0]


def read_signed(path: str, limit: int = 65_536) -> tuple[str, int] | None:
    """As :func:`read_small`, with the user id of the file's owner."""
    try:
        handle = open_regular(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        with open(handle, "rb", closefd=False) as file:
            return file.read(limit).decode("utf-8", "replace"), os.fstat(handle).st_uid
    except OSError:
        return None
    finally:
        os.close(handle)


def closed_directory(path: str) -> str | None:
    """The first directory on the way to a path that we may not enter; None where there is none."""
    directory, within = "", os.path.dirname(os.path.abspath(path))
    for name in within.split(os.sep):
        directory = f"{directory}{name}{os.sep}"
        if os.path.isdir(directory) and not os.access(directory, os.X_OK):
            return directory.rstrip(os.sep) or os.sep
    return None


def foreign_owner(path: str) -> str | None:
    """The name of whom a file belongs to; None where it is ours, or not there."""
    try:
        owner = os.stat(path).st_uid
    except OSError:
        return None
    if owner == os.geteuid():
        return None
    import pwd

    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user {owner}"


def remove(path: str) -> None:
    """Remove a file; one that is gone already is fine."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
