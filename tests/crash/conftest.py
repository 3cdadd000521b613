"""A stage for each mode, whose commands start quickly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from quick import QuickFarm
from stage import Stage


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[QuickFarm]:
    """A queue of the user who runs the tests."""
    farm = QuickFarm(tmp_path)
    yield farm
    farm.clean_up()


@pytest.fixture
def stage(farm: QuickFarm, mode: str) -> Stage:
    return Stage(farm, mode)
