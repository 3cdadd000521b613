"""One round: users and faults for a while, then quiet, and the account."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from fault_table import Planned, plan
from ground import Ground
from invariants import Account, check
from jobs import GROUP, LIMIT, Drawer
from ledger import Deed, Ledger
from operators import WORKERS, Caretaker
from organizer import Organizer, keep_schedule, tidy_up
from producers import Meddler, Producer

_PRODUCERS = 3
_SETTLING = 90.0
"""Seconds until what the faults left must have ended."""


@dataclass
class Report:
    """What a round was like, and what it violated."""

    seed: int
    mode: str
    directory: Path
    dealt: dict[str, int] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    violations: list[str] = field(default_factory=list)


def play(seed: int, mode: str, duration: float, linger: float) -> Report:
    """Play a round; nothing of it runs any more afterwards. Its directory stays if something was violated or failed."""
    directory = Path(tempfile.mkdtemp(prefix="queuectl-chaos-"))
    ledger = Ledger()
    ground = Ground(directory, mode, ledger)
    over = threading.Event()
    report = Report(seed, mode, directory)
    is_spent = False
    try:
        ground.queue.set_group(GROUP, LIMIT)
        _make_trouble(ground, seed, duration, over)
        _settle(ground, linger)
        report.account, report.violations = check(ground)
        report.dealt = dict(ledger.dealt)
        is_spent = not report.violations
    except KeyboardInterrupt:
        is_spent = True
        raise
    finally:
        over.set()
        ground.close()
        if is_spent:
            shutil.rmtree(directory)
    return report


def _make_trouble(ground: Ground, seed: int, duration: float, over: threading.Event) -> None:
    work = ground.directory / "work"
    work.mkdir()
    drawer = Drawer(ground.token, str(ground.evidence.directory), str(work), ground.has_groups)
    users: list[threading.Thread] = [
        Producer(f"p{n}", ground, drawer, Random(f"{seed}/producer/{n}"), over) for n in range(_PRODUCERS)
    ]
    keep_schedule(ground, drawer, Random(f"{seed}/schedule"))
    users += [
        Organizer(ground, Random(f"{seed}/organizer"), over),
        Meddler(ground, Random(f"{seed}/meddler"), over),
        Caretaker(ground, Random(f"{seed}/caretaker"), over),
    ]
    for user in users:
        user.start()
    dealers = _deal(ground, plan(seed, duration), time.monotonic(), duration)
    over.set()
    for thread in (*users, *dealers):
        thread.join()
    ground.write_settings()


def _deal(ground: Ground, planned: list[Planned], begun: float, duration: float) -> list[threading.Thread]:
    """Deal each fault at its time; one that lasts does not delay the next."""
    dealers = []
    for each in planned:
        time.sleep(max(0.0, begun + each.at - time.monotonic()))
        dealer = threading.Thread(target=_deal_one, args=(ground, each), name=each.fault.name, daemon=True)
        dealer.start()
        dealers.append(dealer)
    time.sleep(max(0.0, begun + duration - time.monotonic()))
    return dealers


def _deal_one(ground: Ground, planned: Planned) -> None:
    try:
        planned.fault.deal(ground, Random(planned.seed))
    except Exception as error:
        ground.ledger.complain(f"the fault '{planned.fault.name}' could not be dealt: {error!r}")
        raise
    ground.ledger.note_dealt(planned.fault.name)


def _settle(ground: Ground, linger: float) -> None:
    """Stop, start anew, let everything end, see that it stays so, and stop for good."""
    ground.end_foreground()
    _must(ground, "worker-stop")
    tidy_up(ground)
    for job in ground.queue.jobs("pending"):
        if job.env["CHAOS_KIND"] == "far-off":
            begun = time.time()
            ground.queue.cancel(job.id)
            ground.ledger.note_deeds((job.id,), Deed("cancel", "accepted", begun, time.time()))
    mode = "process" if ground.mode == "both" else ground.mode
    _must(ground, "worker-start", "--count", str(WORKERS), "--mode", mode)
    if _wait_until_all_ended(ground):
        before = _books(ground)
        time.sleep(linger)
        if _books(ground) != before:
            ground.ledger.complain("what had ended changed afterwards")
    _must(ground, "worker-stop")


def _must(ground: Ground, *arguments: str) -> None:
    """Run a command that has no excuse any more."""
    answer = ground.run(*arguments)
    if answer.status != 0:
        ground.ledger.complain(
            f"after the faults, {arguments[0]} ended with {answer.status}: {answer.complaint.strip()}"
        )


def _wait_until_all_ended(ground: Ground) -> bool:
    deadline = time.monotonic() + _SETTLING
    while True:
        counts = ground.queue.counts()
        if not counts["pending"] + counts["processing"]:
            return True
        if time.monotonic() > deadline:
            ground.ledger.complain(f"after {_SETTLING:g} s not all jobs have ended: {counts}")
            return False
        time.sleep(0.05)


def _books(ground: Ground) -> list[tuple[object, ...]]:
    return [(job, *ground.queue.attempts(job.id)) for job in ground.queue.jobs()]
