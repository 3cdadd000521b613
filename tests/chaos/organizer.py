"""One who holds jobs, pauses the queue and changes what waits; and a schedule that runs meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from random import Random

from ground import Answer, Ground
from jobs import BY_NAME, GROUP, Drawer
from ledger import Frozen

from queuectl import QueueError

SCHEDULE = "tick"
"""A run each second, unless the last one is not over."""
_FAMILIAR_ERRORS = {2, 3, 4, 5}


class Organizer(threading.Thread):
    """Holds and releases, pauses and resumes, and gives jobs that wait another priority."""

    def __init__(self, ground: Ground, random: Random, over: threading.Event) -> None:
        super().__init__(name="organizer", daemon=True)
        self._ground, self._random, self._over = ground, random, over

    def run(self) -> None:
        deeds = (self._hold_for_a_while, self._pause_for_a_while, self._prefer)
        try:
            while not self._over.wait(self._random.uniform(0.1, 0.8)):
                self._random.choices(deeds, (3, 2, 3))[0]()
        except Exception as error:
            self._ground.ledger.complain(f"the organizer failed: {error!r}")
            raise

    def _hold_for_a_while(self) -> None:
        job_id = self._one_that_waits()
        if job_id is not None:
            self._freeze("hold", "release", (job_id,), job_id=job_id)

    def _pause_for_a_while(self) -> None:
        group = self._random.choice((None, GROUP))
        self._freeze("pause", "resume", () if group is None else (group,), group=group)

    def _prefer(self) -> None:
        job_id = self._one_that_waits()
        if job_id is not None:
            priority = self._random.randint(-2, 2)
            if self._random.random() < 0.5:
                self._did("edit", job_id, "--priority", str(priority))
            else:
                self._heard(lambda: self._ground.queue.edit(job_id, priority=priority))

    def _freeze(self, verb: str, undo: str, names: tuple[str, ...], **what: str | None) -> None:
        """Have something stand still for a moment, and enter for how long it must have."""
        by_command, queue = self._random.random() < 0.5, self._ground.queue

        def say(word: str) -> bool:
            return self._did(word, *names) if by_command else self._heard(lambda: getattr(queue, word)(*names))

        is_frozen = say(verb)
        begun = time.time()
        self._over.wait(self._random.uniform(0.1, 0.7))
        ended = time.time()
        say(undo)
        if is_frozen:
            self._ground.ledger.note_frozen(Frozen(begun, ended, **what))

    def _one_that_waits(self) -> str | None:
        try:
            waiting = [job.id for job in self._ground.queue.jobs("pending")]
        except QueueError:
            return None
        return self._random.choice(waiting) if waiting else None

    def _did(self, *arguments: str) -> bool:
        answer: Answer = self._ground.run(*arguments)
        if answer.status > 0 and answer.status not in _FAMILIAR_ERRORS:
            self._ground.ledger.complain(f"{arguments[0]} ended with {answer.status}: {answer.complaint.strip()}")
        return answer.status == 0

    def _heard(self, do: Callable[[], object]) -> bool:
        try:
            do()
        except QueueError:
            return False
        return True


def keep_schedule(ground: Ground, drawer: Drawer, random: Random) -> None:
    """Have a job run each second from now on."""
    fields = drawer.fields(BY_NAME["slow"], random, SCHEDULE)
    for name in ("group", "priority"):
        fields.pop(name, None)
    command = fields.pop("command")
    ground.queue.add_schedule(SCHEDULE, "* * * * * *", command, **fields)


def tidy_up(ground: Ground) -> None:
    """Undo what somebody who was killed or interrupted left paused or held, and end the schedule."""
    ground.queue.remove_schedules(SCHEDULE)
    ground.queue.resume()
    for job in ground.queue.jobs("pending"):
        if job.held:
            ground.queue.release(job.id)
