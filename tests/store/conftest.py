"""An empty database of every kind, and a store on it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from store.backends import BACKENDS, Backend, memory

from queuectl.store.base import Store

hypothesis.settings.register_profile("queuectl", database=None, deadline=None, print_blob=True)
hypothesis.settings.load_profile("queuectl")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory for files, in memory where there is enough: what is on disk when, is looked at by the tests of syncs."""
    directory = Path(tempfile.mkdtemp(prefix="queuectl-store-", dir=memory()))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return BACKENDS[request.param](tmp_path / "home")


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    opened = backend.open()
    yield opened
    opened.close()


@pytest.fixture
def other(backend: Backend) -> Iterator[Store]:
    """Another program's store on the same database."""
    opened = backend.open()
    yield opened
    opened.close()
