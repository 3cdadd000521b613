"""A stage for each mode."""

from __future__ import annotations

import pytest
from farm import Farm
from stage import Stage


@pytest.fixture
def stage(farm: Farm, mode: str) -> Stage:
    return Stage(farm, mode)
