"""The kinds of jobs that the rig enqueues, and how each may end when nobody meddles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from queuectl.model import CRASHED, FAILED, NOT_STARTED, SIGNALED, SUCCEEDED, TIMED_OUT

GROUP, LIMIT = "pair", 2
"""A group that some jobs are in, and how many of it may run at once."""
FAR_OFF = 3600.0
"""Seconds of delay that no round outlasts: such jobs are cancelled at its end."""


@dataclass(frozen=True)
class Kind:
    """A kind of job. ``outcomes`` are those that it may have of itself.

    In ``body`` the token stands as ``@`` (a number of seconds that nothing else sleeps for) and a
    short pause as ``~``. ``unmarked`` needs control groups to be found after all was killed at once.
    """

    name: str
    weight: int
    body: str
    outcomes: frozenset[str]
    retries: tuple[int, int] = (2, 4)
    timeout: float | None = None
    delay: float | None = None
    cwd: str | None = None
    unmarked: bool = False


_SIGNED_SLEEP = """'. "$CHAOS_EVIDENCE/job.sh"; sign_in; exec sleep @'"""
_OK = frozenset({SUCCEEDED})
_TIMES_OUT = frozenset({TIMED_OUT})

KINDS: tuple[Kind, ...] = (
    Kind("quick", 6, "finish", _OK),
    Kind("slow", 6, "sleep ~; finish", _OK),
    Kind("delayed", 3, "finish", _OK, delay=1.5),
    Kind("far-off", 1, "finish", _OK, delay=FAR_OFF),
    Kind("fails", 3, "sleep ~; exit 3", frozenset({FAILED}), retries=(0, 2)),
    Kind("flaky", 4, '[ "$QUEUECTL_ATTEMPT" -ge 2 ] || exit 4; finish', frozenset({FAILED, SUCCEEDED})),
    Kind("kills-itself", 1, "kill -9 $$", frozenset({SIGNALED}), retries=(0, 1)),
    Kind("kills-parent", 1, "kill_parent", frozenset({CRASHED, FAILED}), retries=(0, 1)),
    Kind("nowhere", 1, "finish", frozenset({NOT_STARTED}), retries=(0, 1), cwd="/nonexistent/queuectl"),
    Kind("times-out", 2, "sleep @", _TIMES_OUT, retries=(0, 1), timeout=0.3),
    Kind("stubborn", 2, "trap '' TERM HUP INT; sleep @; sleep @", _TIMES_OUT, retries=(0, 1), timeout=0.3),
    Kind("long", 3, "sleep @", _TIMES_OUT, retries=(0, 1), timeout=3.0),
    Kind("background", 2, f"sh -c {_SIGNED_SLEEP} & sleep ~; finish", _OK),
    Kind("nohup", 1, f"nohup sh -c {_SIGNED_SLEEP} & sleep ~; finish", _OK),
    Kind("session", 2, f"setsid sh -c {_SIGNED_SLEEP} & sleep ~; finish", _OK),
    Kind("daemon", 2, f"(setsid sh -c {_SIGNED_SLEEP} & ) ; sleep ~; finish", _OK),
    Kind("mute-daemon", 2, f"(setsid sh -c {_SIGNED_SLEEP} >/dev/null 2>&1 & ) ; sleep ~; finish", _OK),
    Kind("bare-daemon", 2, "(env -i setsid sleep @ & ) ; sleep ~; finish", _OK),
    Kind("unmarked", 2, "(env -i setsid sleep @ >/dev/null 2>&1 & ) ; sleep ~; finish", _OK, unmarked=True),
    Kind("many", 1, "for n in 1 2 3 4 5 6 7 8 9; do setsid sleep @ & done; sleep ~; finish", _OK),
    Kind(
        "re-forks",
        1,
        'step() { [ "$1" = 0 ] || ( step $(($1 - 1)) & ) }; step 100; sleep ~; finish',
        _OK,
    ),
    Kind("writes", 2, "yes 'a line of output' | head -n 20000; finish", _OK),
    Kind("floods", 1, "head -c 4000000 /dev/urandom; finish", _OK),
)
BY_NAME: Mapping[str, Kind] = {kind.name: kind for kind in KINDS}


class Drawer:
    """Draws jobs of all kinds; ``may_unmark`` where control groups find the unmarked."""

    def __init__(self, token: str, evidence: str, cwd: str, may_unmark: bool) -> None:
        self._token = token
        self._evidence = evidence
        self._cwd = cwd
        self._kinds = [kind for kind in KINDS if may_unmark or not kind.unmarked]
        self._weights = [kind.weight for kind in self._kinds]

    def draw(self, random: Random, batch: str) -> dict[str, Any]:
        """One job, in the keys of a job file. Its environment tells its kind and its batch."""
        return self.fields(random.choices(self._kinds, self._weights)[0], random, batch)

    def fields(self, kind: Kind, random: Random, batch: str) -> dict[str, Any]:
        """A job of one kind."""
        body = kind.body.replace("@", self._token).replace("~", f"{random.uniform(0.02, 0.5):.2f}")
        fields: dict[str, Any] = {
            "command": f'. "$CHAOS_EVIDENCE/job.sh"; begin; {body}',
            "max_retries": random.randint(*kind.retries),
            "cwd": kind.cwd or self._cwd,
            "env": {"CHAOS_EVIDENCE": self._evidence, "CHAOS_BATCH": batch, "CHAOS_KIND": kind.name},
        }
        if random.random() < 0.25:
            fields |= {"group": GROUP, "priority": random.randint(-1, 1)}
        if kind.timeout is not None:
            fields["timeout"] = kind.timeout
        if kind.delay is not None:
            fields["delay"] = kind.delay
        return fields
