"""What a change of some jobs means for others: those that need them, and those that wait for a place in their group.

All of it happens in the transaction of the change. Jobs are told by ``seq``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping

from queuectl.errors import Conflict, InvalidInput, NoSuchJob, named
from queuectl.store.rows import BACK_OFF, READY, SCHEDULED, as_json

_SHOWN = 5
"""Jobs that an error's text names."""


class Following:
    """Sees to others within one transaction, which began at ``now``."""

    def __init__(self, connection: sqlite3.Connection, sql: Mapping[str, str], now: int) -> None:
        self._connection = connection
        self._sql = sql
        self._now = now
        self.ready = 0
        """How many jobs may run now that could not before."""
        self.later = 0
        """1 when others wait for nothing but their time now: a worker must know of it."""

    @property
    def to_wake(self) -> int:
        """How many workers to wake."""
        return max(self.ready, self.later)

    # --- places in groups

    def settle(self, groups: Iterable[str], *, only_left: bool = False) -> None:
        """Give the places that are free in groups to the jobs that come first.

        Where jobs have ``only_left``, none that waits can come before one that has a place.
        """
        for group in set(groups):
            row = self._run("places_of", group=group).fetchone()
            if row is None:
                self.ready += self._run("free_waiting", group=group).rowcount
                continue
            for first in self._next_in_line(group, max(0, row["places"] - row["taken"])):
                self._run("swap_place", seq=first["seq"])
                self.ready += 1
            while not only_left and (pair := self._out_of_order(group)):
                for seq in pair:
                    self._run("swap_place", seq=seq)

    def _next_in_line(self, group: str, most: int) -> list[sqlite3.Row]:
        return self._run("next_in_line", group=group, most=most).fetchall()

    def _out_of_order(self, group: str) -> tuple[int, int] | None:
        """Who waits first, and who would be started last, when the former should be before the latter."""
        for first in self._next_in_line(group, 1):
            for last in self._run("last_placed", group=group):
                if _place_in_order(first) < _place_in_order(last):
                    return first["seq"], last["seq"]
        return None

    def settle_all(self, rows: Iterable[sqlite3.Row]) -> None:
        """As :meth:`settle`, for the groups of jobs that were changed: of those that need a place, or had one."""
        groups = {row["group_name"] for row in rows}
        if groups:
            self.settle(self.restricted(groups))

    def restricted(self, groups: Collection[str]) -> set[str]:
        """Those of some groups in which a job needs a place."""
        return {group for group in groups if self._run("is_restricted", group=group).fetchone()}

    def restrict(self, group: str, was_restricted: bool) -> None:
        """Bring the jobs of a group in line with its limit and its pause, which have just been changed."""
        is_restricted = bool(self.restricted([group]))
        if is_restricted and not was_restricted:
            self._run("restrict_running", group=group)
            self._run("restrict_waiting", group=group)
        elif is_restricted:
            # A pause, or a lower limit, takes places back from jobs that have not begun.
            self._run("give_places_back", group=group)
        elif was_restricted:
            self._run("free_placed", group=group)
        self.settle([group])

    # --- jobs that need others

    def depend(self, needs: Collection[tuple[int, str, bool]], first: int) -> list[sqlite3.Row]:
        """Note which new job (by seq) waits for which (by id), until that completed or, when True, however it ends.

        The new ones are those from ``first`` on. Returns those that can never start. Raises ``NoSuchJob`` for ids that nobody has, ``InvalidInput``
        for a circle.
        """
        self._note(needs)
        self._refuse_circle(first)
        return self._run("named", seqs=as_json(self.wait_for_needs({seq for seq, _, _ in needs}))).fetchall()

    def depend_anew(
        self, seq: int, after: Collection[str] | None = None, after_any: Collection[str] | None = None
    ) -> None:
        """As :meth:`depend`, for one waiting job, in the place of what it needed before of either kind; None keeps that."""
        self._run("depend_no_more", seq=seq, after=after is not None, after_any=after_any is not None)
        self._note(
            [(seq, needed, False) for needed in after or ()] + [(seq, needed, True) for needed in after_any or ()]
        )
        if self._run("needs_itself", seq=seq).fetchone()[0]:
            raise InvalidInput(f"job {self._id(seq)} would wait for itself")
        self.wait_for_needs([seq])

    def _note(self, needs: Collection[tuple[int, str, bool]]) -> None:
        unknown = [
            needed
            for seq, needed, however in needs
            if not self._run("depend", seq=seq, id=needed, however=however).rowcount
        ]
        if unknown:
            raise NoSuchJob(f"no job {named(', '.join(dict.fromkeys(unknown)))} to wait for")

    def wait_for_needs(self, seqs: Collection[int]) -> list[int]:
        """Hold waiting jobs back until what they need has ended, or cancel those that can never start; which these are."""
        self._recount(seqs)
        # Of what they need, some ended long ago.
        doomed = self._doom([row["needs"] for row in self._unmet(seqs)])
        self._unblock(doomed)
        return doomed

    def _refuse_circle(self, first: int) -> None:
        edges = self._run("dependencies_within", first=first).fetchall()
        if not edges:
            return
        from graphlib import CycleError, TopologicalSorter

        graph: dict[int, list[int]] = {}
        for seq, needed in edges:
            graph.setdefault(seq, []).append(needed)
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            circle = [self._id(seq) for seq in reversed(error.args[1])]
            shown = " -> ".join(circle if len(circle) <= 10 else [*circle[:9], "...", circle[-1]])
            raise InvalidInput(f"jobs wait for each other in a circle: {shown}") from None

    def _id(self, seq: int) -> str:
        return str(self._run("id_of", seq=seq).fetchone()[0])

    def completed(self, seqs: Collection[int]) -> None:
        """Some jobs have completed: those that waited for them may run."""
        self._unblock(seqs)
        self._run("spare", seqs=as_json(list(seqs)))

    def failed(self, seqs: Collection[int]) -> None:
        """Some jobs have ended, and did not complete: those that waited for them may run, or never can."""
        if seqs:
            self._unblock([*seqs, *self._doom(seqs)])

    def let_go(self, seqs: Collection[int], since: int | None = None) -> None:
        """Jobs that nothing holds back any more wait for their time, or are ready, ``since`` now as a rule."""
        if seqs:
            since = self._now if since is None else since
            going = self._run("let_go", seqs=as_json(list(seqs)), now=self._now, since=since).fetchall()
            self.ready += sum(row["lane"] == READY for row in going)
            if any(row["lane"] in (SCHEDULED, BACK_OFF) for row in going):
                self.later = 1
            self.settle_all(going)

    def revived(self, seqs: Collection[int]) -> None:
        """Ended jobs are to run again: those that need them wait once more, and they for what they need.

        Raises ``Conflict`` for one that needs what ended otherwise than it should.
        """
        unmet = self._unmet(seqs)
        if unmet:
            job, needed, state = self._id(unmet[0]["job_seq"]), self._id(unmet[0]["needs"]), unmet[0]["state"]
            way = self.way_back(unmet[0]["job_seq"], job)
            raise Conflict(f"job {job} needs job {needed}, which is {state}: '{way}' puts them back")
        dependents = self._run("dependents_of", seqs=as_json(list(seqs))).fetchall()
        self._recount({*seqs, *(row["job_seq"] for row in dependents)})

    def way_back(self, seq: int, job_id: str) -> str:
        """The command that puts an ended job back, with what it needs and what was cancelled because of it."""
        roots = [row["id"] for row in self._run("to_retry_first", seqs=as_json([seq]), most=_SHOWN + 1)]
        first = roots if len(roots) <= _SHOWN else [*roots[:_SHOWN], "..."]
        with_others = bool(roots) or self._run("has_doomed", seq=seq).fetchone()[0]
        return " ".join(["queuectl retry", *first, job_id, *(["--with-dependents"] if with_others else [])])

    def doomed_by(self, seqs: Collection[int]) -> list[str]:
        """The ids of jobs that were cancelled because of some, and may come back with these: of no other need it."""
        doomed = {row["seq"]: row["id"] for row in self._run("doomed_by", seqs=as_json(list(seqs)))}
        dependents: dict[int, list[int]] = {}
        for row in self._unmet([*seqs, *doomed]):
            dependents.setdefault(row["needs"], []).append(row["job_seq"])
        stay = [needed for needed in dependents if needed not in doomed and needed not in seqs]
        while stay:
            for seq in dependents.get(stay.pop(), ()):
                if doomed.pop(seq, None) is not None:
                    stay.append(seq)
        return list(doomed.values())

    def _unmet(self, seqs: Collection[int]) -> list[sqlite3.Row]:
        """What jobs need that did not complete."""
        return self._run("unmet_needs", seqs=as_json(list(seqs))).fetchall()

    def _recount(self, seqs: Collection[int]) -> None:
        """Count anew what waiting jobs wait for, and hold those back that do."""
        chosen = as_json(list(seqs))
        self._run("count_blockers", seqs=chosen)
        self.settle_all(self._run("hold_blocked", seqs=chosen).fetchall())

    def _unblock(self, seqs: Collection[int]) -> None:
        freed = self._run("unblock", seqs=as_json(list(seqs))).fetchall()
        self.let_go([row["seq"] for row in freed if not row["blockers"]])

    def _doom(self, seqs: Collection[int]) -> list[int]:
        """Cancel what can never start any more; the seqs of that."""
        doomed = self._run("doom", seqs=as_json(list(seqs)), now=self._now).fetchall()
        self.settle_all(doomed)
        return [row["seq"] for row in doomed]

    def _run(self, name: str, **values: object) -> sqlite3.Cursor:
        return self._connection.execute(self._sql[name], values)


def _place_in_order(row: sqlite3.Row) -> tuple[int, int, int]:
    return -row["priority"], row["due"], row["seq"]
