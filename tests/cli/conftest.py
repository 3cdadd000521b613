"""A queue in a fresh directory, and directories without one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from farm import NOBODY
from program import Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    for name in ("QUEUECTL_DB_PATH", "NO_COLOR", "FORCE_COLOR", "QUEUECTL_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    made = Bench(tmp_path)
    yield made
    made.queue.close()
    made.store.close()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory without a queue, as the current one."""
    monkeypatch.delenv("QUEUECTL_DB_PATH", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def public_directory() -> Iterator[Path]:
    """A directory that belongs to an ordinary user, reachable for them."""
    directory = Path(tempfile.mkdtemp(prefix="queuectl-test-", dir="/tmp"))
    if os.geteuid() == 0:
        os.chown(directory, NOBODY, NOBODY)
    directory.chmod(0o755)
    yield directory
    for path in directory.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    directory.chmod(0o700)
    shutil.rmtree(directory)
