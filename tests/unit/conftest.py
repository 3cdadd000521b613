"""A place without a queue, and a queue in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from queuectl import Queue

hypothesis.settings.register_profile("queuectl", database=None, deadline=None, print_blob=True)
hypothesis.settings.load_profile("queuectl")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory: fresh, and no queue is named."""
    monkeypatch.delenv("QUEUECTL_DB_PATH", raising=False)
    directory = Path(os.path.realpath(tmp_path)) / "place"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def queue(place: Path) -> Iterator[Queue]:
    made = Queue.init()
    yield made
    made.close()
