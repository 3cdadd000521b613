"""Lists of exit codes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl import InvalidInput
from queuectl.codes import includes, parse


@pytest.mark.parametrize(
    ("given_as", "kept"),
    [
        ("2", "2"),
        ("2,64-78", "2,64-78"),
        (" 2 , 64 - 78 ", "2,64-78"),
        ("78,2,64-77,70-75", "2,64-78"),
        ("1,2,3", "1-3"),
        ("1,3,5-5", "1,3,5"),
        ("1-255", "1-255"),
        ("007", "7"),
        (7, "7"),
        ([2, "64-78", 3], "2-3,64-78"),
        ((255, 1), "1,255"),
    ],
)
def test_a_list_is_kept_in_order_and_short(given_as: Any, kept: str) -> None:
    assert parse(given_as, "retry_on") == kept
    assert parse(kept, "retry_on") == kept


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("", "'' is neither an exit code nor a range"),
        ("2,", "'' is neither"),
        ("x", "'x' is neither"),
        ("-1", "'-1' is neither"),
        ("1-2-3", "neither"),
        ("1.5", "neither"),
        ("٣", "neither"),
        ("9" * 30, "neither"),
        ("0", "0 is not between 1 and 255"),
        ("0-5", "0-5 is not between"),
        ("256", "256 is not between"),
        ("200-300", "not between"),
        ("5-2", "the range 5-2 is empty"),
        (0, "not between"),
        (-3, "not between"),
        (10**400, "not between"),
        (True, "is not an exit code"),
        (1.0, "is not an exit code"),
        (None, "is not an exit code"),
        ({"a": 1}, "is not an exit code"),
        ([[1]], "is not an exit code"),
        ([], "names no exit code"),
    ],
)
def test_what_is_no_list(wrong: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=f"^retry_on: .*{says}"):
        parse(wrong, "retry_on")


@given(st.sets(st.integers(1, 255), min_size=1))
def test_it_holds_just_what_was_named(codes: set[int]) -> None:
    kept = parse(list(codes), "retry_on")
    assert {code for code in range(256) if includes(kept, code)} == codes
