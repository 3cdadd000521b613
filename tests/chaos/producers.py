"""Users: they enqueue by the command line and by the library, in ones and in batches, cancel and retry."""

from __future__ import annotations

import json
import threading
import time
from random import Random
from typing import Any

from ground import Ground
from jobs import BY_NAME, Drawer
from ledger import ACCEPTED, REFUSED, UNKNOWN, Batch, Deed

from queuectl import QueueError

_CROWD = 80
"""Unended jobs above which producers wait: what a round leaves must end in a reasonable time."""
_HERD = 180
_FAMILIAR_ERRORS = {2, 3, 4, 5}
_KEYS = ("one", "two", "three")


class Producer(threading.Thread):
    """Enqueues until it is told to stop. It draws from a seed of its own."""

    def __init__(self, name: str, ground: Ground, drawer: Drawer, random: Random, over: threading.Event) -> None:
        super().__init__(name=name, daemon=True)
        self._ground, self._drawer, self._random, self._over = ground, drawer, random, over
        self._serial = 0

    def run(self) -> None:
        ways = (
            (self._by_library, 6),
            (self._by_command, 3),
            (self._by_job_file, 3),
            (self._once, 2),
            (self._a_bad_batch, 1),
            (self._a_herd, 1),
        )
        verbs, weights = zip(*ways, strict=True)
        try:
            while not self._over.wait(self._random.uniform(0.02, 0.2)):
                if self._may_add():
                    self._random.choices(verbs, weights)[0](self._next_label())
        except Exception as error:
            self._ground.ledger.complain(f"the {self.name} failed: {error!r}")
            raise

    def _may_add(self) -> bool:
        try:
            counts = self._ground.queue.counts()
        except QueueError:
            return False
        return counts["pending"] + counts["processing"] < _CROWD

    def _next_label(self) -> str:
        self._serial += 1
        return f"{self.name}-{self._serial}"

    def _draw(self, label: str, with_ids: bool) -> list[dict[str, Any]]:
        size = self._random.choice((1, 1, 1, 2, 5, 9))
        jobs = [{**self._drawer.draw(self._random, label), **self._needs()} for _ in range(size)]
        return [{**job, "id": f"{label}.{n}"} for n, job in enumerate(jobs)] if with_ids else jobs

    def _needs(self) -> dict[str, Any]:
        """Some jobs wait for one that was accepted lately."""
        known = self._ground.ledger.accepted_ids()[-20:]
        if not known or self._random.random() > 0.2:
            return {}
        return {self._random.choice(("after", "after_any")): self._random.choice(known)}

    def _note(self, label: str, jobs: list[dict[str, Any]], answer: str, ids: list[str]) -> None:
        given = ids or [job["id"] for job in jobs if "id" in job]
        self._ground.ledger.note_batch(Batch(label, len(jobs), answer, tuple(given)))

    def _by_library(self, label: str) -> None:
        jobs = self._draw(label, with_ids=self._random.random() < 0.5)
        try:
            if len(jobs) == 1:
                ids = [self._ground.queue.enqueue(**jobs[0]).id]
            else:
                ids = [job.id for job in self._ground.queue.enqueue_many(jobs)]
        except QueueError:
            self._note(label, jobs, REFUSED, [])
        else:
            self._note(label, jobs, ACCEPTED, ids)

    def _by_command(self, label: str) -> None:
        job = self._draw(label, with_ids=self._random.random() < 0.5)[0]
        arguments = ["--command", job["command"], "--max-retries", str(job["max_retries"]), "--cwd", job["cwd"]]
        for key in ("id", "timeout", "delay", "group", "priority", "after", "after_any"):
            if key in job:
                arguments += [f"--{key.replace('_', '-')}", str(job[key])]
        for name, value in job["env"].items():
            arguments += ["--env", f"{name}={value}"]
        self._enqueue(label, [job], arguments, "")

    def _by_job_file(self, label: str) -> None:
        jobs = self._draw(label, with_ids=self._random.random() < 0.5)
        self._enqueue(label, jobs, ["--job-file", "-"], json.dumps(jobs))

    def _once(self, label: str) -> None:
        """A job of which there is one at a time: perhaps the one that is there already."""
        job = {**self._draw(label, with_ids=False)[0], "unique": self._random.choice(_KEYS)}
        try:
            there = self._ground.queue.enqueue(**job, if_exists="return")
        except QueueError:
            self._note(label, [job], REFUSED, [])
        else:
            if there.env["CHAOS_BATCH"] == label:
                self._note(label, [job], ACCEPTED, [there.id])

    def _a_herd(self, label: str) -> None:
        """Short jobs of which more wait than workers have hands for: these claim several at once."""
        jobs = [self._drawer.fields(BY_NAME["quick"], self._random, label) for _ in range(_HERD)]
        self._enqueue(label, jobs, ["--job-file", "-"], json.dumps(jobs))

    def _a_bad_batch(self, label: str) -> None:
        """One that is wrong in its middle: none of it may be accepted."""
        jobs = self._draw(label, with_ids=True)
        known = self._ground.ledger.accepted_ids()
        wrong = self._random.choice(({"id": jobs[0]["id"]}, {"surprise": 1}, {"id": (known or [jobs[0]["id"]])[0]}))
        bad = {**self._drawer.draw(self._random, label), **wrong}
        lines = [json.dumps(job) for job in (*jobs, bad, *self._draw(f"{label}x", with_ids=True))]
        self._enqueue(label, jobs, ["--job-file", "-"], "\n".join(lines), must_fail=True)

    def _enqueue(
        self, label: str, jobs: list[dict[str, Any]], arguments: list[str], stdin: str, must_fail: bool = False
    ) -> None:
        answer = self._ground.run("enqueue", *arguments, stdin=stdin)
        if answer.status == 0:
            self._note(label, jobs, ACCEPTED, answer.output.split())
            if must_fail or len(answer.output.split()) != len(jobs):
                self._ground.ledger.complain(f"enqueue of {len(jobs)} jobs ({label}) printed {answer.output!r}")
        elif answer.status < 0:
            self._note(label, jobs, UNKNOWN, [])
        else:
            self._note(label, jobs, REFUSED, [])
            if answer.status not in _FAMILIAR_ERRORS:
                self._ground.ledger.complain(f"enqueue ended with {answer.status}: {answer.complaint.strip()}")


class Meddler(threading.Thread):
    """Cancels and retries, now by the command line, now by the library. There is one, so that deeds have an order."""

    def __init__(self, ground: Ground, random: Random, over: threading.Event) -> None:
        super().__init__(name="meddler", daemon=True)
        self._ground, self._random, self._over = ground, random, over

    def run(self) -> None:
        try:
            while not self._over.wait(self._random.uniform(0.1, 0.6)):
                known = self._ground.ledger.accepted_ids()
                if known:
                    self._meddle(known)
        except Exception as error:
            self._ground.ledger.complain(f"the meddler failed: {error!r}")
            raise

    def _meddle(self, known: list[str]) -> None:
        verb = self._random.choice(("cancel", "cancel", "retry", "dlq retry"))
        recent = known[-30:]
        ids = tuple(dict.fromkeys(self._random.choices(recent, k=self._random.choice((1, 1, 2)))))
        begun = time.time()
        answer = self._by_command(verb, ids) if self._random.random() < 0.5 else self._by_library(verb, ids)
        self._ground.ledger.note_deeds(ids, Deed(verb.split()[-1], answer, begun, time.time()))

    def _by_command(self, verb: str, ids: tuple[str, ...]) -> str:
        answer = self._ground.run(*verb.split(), *ids)
        if answer.status < 0:
            return UNKNOWN
        if answer.status and answer.status not in _FAMILIAR_ERRORS:
            self._ground.ledger.complain(f"{verb} ended with {answer.status}: {answer.complaint.strip()}")
        return REFUSED if answer.status else ACCEPTED

    def _by_library(self, verb: str, ids: tuple[str, ...]) -> str:
        verbs = {
            "cancel": self._ground.queue.cancel,
            "retry": self._ground.queue.retry,
            "dlq retry": self._ground.queue.retry_dead,
        }
        try:
            verbs[verb](*ids)
        except QueueError:
            return REFUSED
        return ACCEPTED
