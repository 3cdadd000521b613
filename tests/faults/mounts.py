"""File systems of a test's own: a small disk that can be filled, and a directory that becomes read-only."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import IS_ROOT

_PAGE = 4096


class SmallDisk:
    """A file system of a few megabytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    def fill(self) -> None:
        """Take every block that is free. Somebody who ends may give some back a moment later: do it again."""
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(_PAGE))

    def use_up_names(self) -> None:
        """Leave no room for one more file; blocks are free. It may have to be done again, as ``fill``."""
        folder = self.path / "names"
        folder.mkdir(exist_ok=True)
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (folder / str(number)).touch()

    def make_room_for_names(self) -> None:
        """Undo ``use_up_names``."""
        shutil.rmtree(self.path / "names")

    def make_room(self) -> None:
        """Give back what was taken."""
        self._ballast.unlink()


@contextlib.contextmanager
def mounted(path: Path, *arguments: str) -> Iterator[None]:
    """Mount something at a path for as long as the context lasts; skips the test where nobody may."""
    path.mkdir(exist_ok=True)
    if not IS_ROOT:
        pytest.skip("only root can mount a file system")
    done = subprocess.run(["mount", *arguments, str(path)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        # Lazily: what a failed test left running there must not keep it.
        subprocess.run(["umount", "--lazy", str(path)], check=True)


@contextlib.contextmanager
def small_disk(path: Path, size: str = "12m") -> Iterator[SmallDisk]:
    """A small disk at a path."""
    with mounted(path, "-t", "tmpfs", "-o", f"size={size},nr_inodes=400", "tmpfs"):
        yield SmallDisk(path)
