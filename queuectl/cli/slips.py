"""Names of groups that are probably meant to be others."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from queuectl.cli import output
from queuectl.errors import QueueError, closest
from queuectl.model import DEFAULT_GROUP

if TYPE_CHECKING:
    from queuectl.api import Queue

_ALIKE = 0.8
"""How much alike the names of two groups are, from 0 to 1, when one is taken for a slip."""


def tell_of_groups(queue: Queue, added: Mapping[str, int]) -> None:
    """Say of groups without a limit that their names are like those of some that have one.

    ``added`` tells how many jobs each was just given; one that had others before is meant as it is, unless it differs
    by case, or by two letters that changed places. What was done is on disk by now, so that nothing here may end with
    an error.
    """
    if not added.keys() - {DEFAULT_GROUP}:
        return
    with contextlib.suppress(QueueError):
        limited = queue.limited_groups()
        meant = {name: other for name in added if name not in limited for other in _meant(name, limited)}
        states = {each.name: each for each in queue.groups()} if meant else {}
        for name, other in meant.items():
            state = states.get(name)
            is_new = state is None or state.pending + state.processing <= added[name]
            if is_new or _is_surely(name, other):
                output.note(f"group {name} has no limit; did you mean {other}?")


def _meant(name: str, known: list[str]) -> list[str]:
    """The one that is most like a name, if any."""
    if name == DEFAULT_GROUP:
        return []
    sure = [other for other in known if _is_surely(name, other)]
    # Those that differ by a number alone are of one kind, and all meant.
    others = [other for other in known if not (_is_numbered(name) and _kind(name) == _kind(other) != other)]
    return sure[:1] or closest(name, others, 1, _ALIKE)


def _is_surely(name: str, other: str) -> bool:
    """Whether names differ by nothing but case, or two neighbours that changed places."""
    one, two = name.lower(), other.lower()
    if one == two:
        return True
    differing = [at for at, (left, right) in enumerate(zip(one, two, strict=False)) if left != right]
    at = differing[0] if differing else 0
    swapped = one[:at] + one[at : at + 2][::-1] + one[at + 2 :]
    return swapped == two and not any(map(str.isdigit, one[at : at + 2]))


def _is_numbered(name: str) -> bool:
    return _kind(name) != name


def _kind(name: str) -> str:
    """A name without its numbers."""
    return re.sub(r"\d", "", name)
