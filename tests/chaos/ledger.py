"""What users were told: the one side of the account that the queue's records must agree with."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

ACCEPTED, REFUSED, UNKNOWN = "accepted", "refused", "unknown"


@dataclass(frozen=True)
class Batch:
    """Jobs that were to be accepted together. ``ids`` are those that were printed or given.

    ``answer`` is unknown where whoever enqueued was killed before it told.
    """

    label: str
    size: int
    answer: str
    ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Deed:
    """What somebody did to a job: ``cancel`` or ``retry``, over these moments (seconds since the epoch)."""

    what: str
    answer: str
    begun: float
    ended: float


@dataclass(frozen=True)
class Frozen:
    """Between these moments (seconds since the epoch) a job, one of a group, or where neither is told any, must not start."""

    begun: float
    ended: float
    job_id: str | None = None
    group: str | None = None


@dataclass
class Ledger:
    """Filled by all threads of a round, read at its end."""

    batches: list[Batch] = field(default_factory=list)
    deeds: dict[str, list[Deed]] = field(default_factory=dict)
    frozen: list[Frozen] = field(default_factory=list)
    killed: set[tuple[str, int]] = field(default_factory=set)
    """The attempts, by job and number, of which the rig killed a process."""
    logs_removed_at: dict[str | None, list[float]] = field(default_factory=dict)
    """When the log of a job, or with None every log, was gone at the latest."""
    dealt: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    """What was seen to be wrong while the round ran."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note_batch(self, batch: Batch) -> None:
        """Enter what came of an enqueue."""
        with self._lock:
            self.batches.append(batch)

    def note_deeds(self, ids: tuple[str, ...], deed: Deed) -> None:
        """Enter what was done to some jobs."""
        with self._lock:
            for job_id in ids:
                self.deeds.setdefault(job_id, []).append(deed)

    def note_frozen(self, frozen: Frozen) -> None:
        """Enter that something had to stand still."""
        with self._lock:
            self.frozen.append(frozen)

    def note_removed(self, job_id: str | None, at: float) -> None:
        """Enter that a log was removed."""
        with self._lock:
            self.logs_removed_at.setdefault(job_id, []).append(at)

    def note_dealt(self, fault: str) -> None:
        """Enter that a fault was dealt."""
        with self._lock:
            self.dealt[fault] += 1

    def complain(self, violation: str) -> None:
        """Enter what must not be."""
        with self._lock:
            self.violations.append(violation)

    def accepted_ids(self) -> list[str]:
        """The ids that were confirmed so far."""
        with self._lock:
            return [job_id for batch in self.batches if batch.answer == ACCEPTED for job_id in batch.ids]

    def log_was_removed(self, job_id: str, begun: float) -> bool:
        """Whether the rig removed the log of an attempt that began then."""
        times = [*self.logs_removed_at.get(job_id, ()), *self.logs_removed_at.get(None, ())]
        return any(begun <= at for at in times)
