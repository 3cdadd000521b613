"""A short run of the rig with fixed seeds, and that the rig would see what it looks for."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from farm import IS_ROOT, as_nobody, eventually
from fault_table import TABLE, plan
from ground import Ground
from invariants import check
from jobs import BY_NAME, Drawer
from ledger import ACCEPTED, REFUSED, Batch, Deed, Frozen, Ledger
from organizer import SCHEDULE

RIG = str(Path(__file__).parent)


def run_rig(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True, env=env)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "seed", "unprivileged"), [("process", 5, False), ("thread", 6, IS_ROOT)], ids=["process", "thread"]
)
def test_nothing_is_lost_or_left_running(mode: str, seed: int, unprivileged: bool) -> None:
    command = [sys.executable, "-B", RIG, "--seconds", "5", "--seed", str(seed), "--mode", mode, "--linger", "0.5"]
    process = run_rig(as_nobody(command) if unprivileged else command)
    try:
        told, complaint = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            # It ends what it started, which a kill would not let it.
            process.terminate()
            process.communicate(timeout=30)
    assert process.returncode == 0, told + complaint


def test_the_plan_follows_from_the_seed() -> None:
    assert plan(3, 30) == plan(3, 30) != plan(4, 30)
    assert {each.fault.name for seed in range(20) for each in plan(seed, 60)} == {fault.name for fault in TABLE}


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    process = run_rig([sys.executable, "-B", RIG, "--seconds", "60", "--seed", "1"], env={"TMPDIR": str(tmp_path)})
    eventually(lambda: list(tmp_path.glob("*/evidence/*.began")), "jobs run")
    process.terminate()
    process.terminate()
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130, complaint
    assert "all that was started has been ended" in complaint
    assert list(tmp_path.iterdir()) == []


# --- a rig that finds nothing may be blind


@pytest.fixture(scope="module")
def round_without_faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One job that succeeded, and one that is dead after its retry."""
    directory = tmp_path_factory.mktemp("round")
    ground = Ground(directory, "process", Ledger())
    drawer = Drawer(ground.token, str(ground.evidence.directory), str(directory), may_unmark=False)
    jobs = [
        {**drawer.fields(BY_NAME[kind], Random(1), "b"), "id": kind, "max_retries": 1} for kind in ("quick", "fails")
    ]
    ground.queue.enqueue_many(jobs)
    assert ground.run("worker-run", "--drain", "--count", "1").status == 0
    yield directory
    ground.close()


@pytest.fixture
def ground(round_without_faults: Path, tmp_path: Path) -> Iterator[Ground]:
    """A copy of it, to be spoilt."""
    directory = tmp_path / "round"
    shutil.copytree(round_without_faults, directory, ignore=lambda _, names: {"wake", "control"} & set(names))
    ground = Ground(directory, "process", Ledger())
    ground.ledger.note_batch(Batch("b", 2, ACCEPTED, ("quick", "fails")))
    yield ground
    ground.close()


def sql(statement: str) -> Callable[[Ground], None]:
    def execute(ground: Ground) -> None:
        with closing(sqlite3.connect(ground.home.database, isolation_level=None)) as connection:
            connection.execute("PRAGMA foreign_keys = OFF")
            connection.executescript(statement)

    return execute


def leave_a_process(ground: Ground) -> None:
    process = subprocess.Popen(["sleep", ground.token])
    # For a moment after its start a process has no command line yet.
    eventually(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes())


SEEN: dict[str, tuple[Callable[[Ground], object], str]] = {
    "a process": (leave_a_process, "process left"),
    "a PID file": (lambda ground: Path(ground.home.worker_pid(3)).write_text("1\n"), "PID file left"),
    "a lost job": (sql("DELETE FROM jobs WHERE id = 'quick'"), "accepted job quick is missing"),
    "half a batch": (lambda ground: ground.ledger.batches.insert(0, Batch("b", 2, REFUSED)), "refused: 2 are there"),
    "a job of nobody": (lambda ground: ground.ledger.batches.clear(), "that nobody enqueued"),
    "a job that did not end": (sql("UPDATE jobs SET state = 'pending', lane = 0 WHERE id = 'quick'"), "is pending"),
    "a second success": (
        sql("UPDATE attempts SET outcome = 'succeeded' WHERE number = 1"),
        "succeeded without having come to its end",
    ),
    "an early death": (sql("UPDATE jobs SET attempts = 1 WHERE id = 'fails'"), "is dead after 1 charged starts of 2"),
    "a gap": (sql("DELETE FROM attempts WHERE number = 1"), "attempts are numbered [2]"),
    "a start that is not recorded": (sql("DELETE FROM attempts WHERE number = 1"), "ran and is not recorded"),
    "an overlap": (sql("UPDATE attempts SET ended_at = ended_at + 60000000"), "attempt 2 began at"),
    "a start amid a pause": (lambda ground: ground.ledger.note_frozen(Frozen(0, 1e10)), "amid Frozen"),
    "a start of what is on hold": (
        lambda ground: ground.ledger.note_frozen(Frozen(0, 1e10, job_id="quick")),
        "job quick started at",
    ),
    "two with one key": (
        sql("UPDATE jobs SET unique_key = 'k'; UPDATE attempts SET ended_at = ended_at + 60000000"),
        "at the same time with the key k",
    ),
    "two runs of a schedule at once": (
        sql(
            f"UPDATE jobs SET env = replace(env, '\"b\"', '\"{SCHEDULE}\"');"
            "UPDATE attempts SET ended_at = ended_at + 60000000"
        ),
        "a run of the schedule began at",
    ),
    "a signal of nobody": (sql("UPDATE attempts SET outcome = 'signaled'"), "attempt 1 signaled"),
    "an end that was not reached": (lambda ground: (ground.evidence.directory / "quick.1.done").unlink(), "to its end"),
    "a log": (lambda ground: shutil.rmtree(ground.home.logs), "of a log of 0 bytes"),
    "a wrong slice": (sql("UPDATE attempts SET log_offset = 1, log_bytes = 1"), "that begins b'e'"),
    "a cancel that was forgotten": (
        lambda ground: ground.ledger.note_deeds(("quick",), Deed("cancel", ACCEPTED, 0, 0)),
        "though its cancelling was confirmed",
    ),
    "a retry that was forgotten": (
        lambda ground: ground.ledger.note_deeds(("quick",), Deed("retry", ACCEPTED, 1e10, 1e10)),
        "though its retry was confirmed",
    ),
    "what a job saw": (
        lambda ground: (ground.evidence.directory / "complaints").write_text("job quick: started twice\n"),
        "job quick: started twice",
    ),
}


def test_a_round_without_faults_violates_nothing(ground: Ground) -> None:
    assert check(ground)[1] == []


@pytest.mark.parametrize("what", SEEN)
def test_the_rig_sees(ground: Ground, what: str) -> None:
    spoil, wanted = SEEN[what]
    spoil(ground)
    assert any(wanted in violation for violation in check(ground)[1])
