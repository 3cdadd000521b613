"""Kill the supervisor between every two steps that matter, or worker and supervisor at one stroke.

Each time the next start puts right what is left, and runs again what was running.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from functools import partial

import pytest
from farm import PATIENCE, eventually
from stage import Point, Stage, bystander
from trap import lay_bait

from queuectl import control

KILLED = -signal.SIGKILL
RUNS_AGAIN = ["crashed", "succeeded"]


@pytest.fixture
def stage(stage: Stage) -> Iterator[Stage]:
    """Nobody signals who is not of the queue."""
    stranger = bystander(stage)
    yield stage
    assert stranger.poll() is None, "a stranger was signalled"
    stranger.kill()
    stranger.wait()


def add_sleeper(stage: Stage, before: str = "") -> None:
    """A job whose first attempt sleeps for ever, and whose later ones do not."""
    stage.add_job("sleeper", f"{before}\ntest $QUEUECTL_ATTEMPT -gt 1 || exec sleep {stage.farm.token}")


def await_sleeper(stage: Stage) -> None:
    eventually(lambda: stage.told("sleeper 1 begins"))


def is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def start_again(stage: Stage) -> None:
    """Workers can be started, looked at, and stopped; what they find is put right."""
    farm = stage.farm
    # What was being forked in that moment has the lock for another instant.
    eventually(lambda: not control.is_running(farm.home))
    supervisor = farm.start(2, stage.mode)
    status = json.loads(farm.run("worker-status", "--json").stdout)
    assert (status["supervisor"]["pid"], len(status["workers"])) == (supervisor, 2)
    assert farm.queue.wait(timeout=PATIENCE)
    farm.stop()
    assert not control.is_running(farm.home)
    stage.assert_all_is_well()


# --- start-up

KILL_ALL = (
    'all=; for file in run/supervisor.pid run/worker-1.pid; do read -r pid < $file; all="$all $pid"; done; '
    "kill -STOP $all $PPID; kill -KILL $all $PPID 2>/dev/null"  # who is stopped, from the supervisor on, sees nobody die
)

START_UP = {
    "lock taken": Point("queuectl.control", "take_lock"),
    "PID file written": Point("queuectl.pidfile", "write"),
    "before leftovers are looked for": Point("queuectl.leftovers", "end_all", "call"),
    "leftovers killed once": Point("queuectl.leftovers", "kill_bearers"),
    "control groups removed": Point("queuectl.cgroup", "remove"),
    "leftovers ended": Point("queuectl.leftovers", "end_all"),
    "in the transaction of a rescue": Point("queuectl.store.sqlite", "_finish"),
    "rescued": Point("queuectl.store.sqlite", "finish"),
    "notes forgotten": Point("queuectl.leftovers", "forget"),
    "control groups made": Point("queuectl.cgroup", "make"),
    "before a process is forked": Point("queuectl.host", "fork", "call"),
    "a process forked": Point("queuectl.host", "fork"),
    "a worker started": Point("queuectl.crew", "start"),
    "state told": Point("queuectl.supervisor", "_tell_state"),
    "ready": Point("queuectl.launch", "<lambda>"),
}
MODE_OF_START_UP = [(name, "process") for name in START_UP] + [
    (name, "thread") for name in ("leftovers killed once", "a process forked", "a worker started")
]


@pytest.mark.parametrize(("name", "mode"), MODE_OF_START_UP)
def test_in_a_start_after_all_were_killed(stage: Stage, name: str) -> None:
    add_sleeper(stage, f"test $QUEUECTL_ATTEMPT -gt 1 || {{ {KILL_ALL}; }}")
    assert stage.launch().wait().returncode == KILLED
    assert stage.farm.survivors(), "there is something to be put right"
    stage.bait.touch()
    assert stage.launch(point=START_UP[name]).wait().returncode == KILLED
    start_again(stage)
    first, *later = stage.outcomes("sleeper")
    assert first == "crashed"
    # A worker that was started may have begun it again, and seen its supervisor die.
    assert later in (["succeeded"], RUNS_AGAIN)


@pytest.mark.parametrize(
    "point",
    [
        Point("queuectl.launch", "_supervise", "call"),
        Point("queuectl.control", "take_lock"),
        Point("queuectl.supervisor", "_start_due_members"),
        Point("queuectl.supervisor", "_announce_when_ready", "call"),
    ],
    ids=lambda point: point.function,
)
@pytest.mark.parametrize("mode", ["thread"])
def test_a_detached_start_tells_that_it_came_to_nothing(stage: Stage, point: Point) -> None:
    stage.add_job("waiting")
    stage.bait.touch()
    done = stage.launch("worker-start", point=point, where="below").wait()
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (1, "", 1), done.stderr
    assert "ended before its workers were ready" in done.stderr
    start_again(stage)


# --- replacement

REPLACEMENT = {
    "before a dead worker is reaped": (Point("queuectl.crew", "reaped", "call"), "process"),
    "a dead worker reaped": (Point("queuectl.crew", "reaped"), "process thread"),
    "before orphans are killed": (Point("queuectl.proctree", "kill", "call"), "process"),
    "orphans killed once": (Point("queuectl.proctree", "kill"), "process thread"),
    "before the rescue": (Point("queuectl.leftovers", "rescue", "call"), "process"),
    "in the transaction of the rescue": (Point("queuectl.store.sqlite", "_finish"), "process"),
    "rescued": (Point("queuectl.leftovers", "rescue"), "process thread"),
    "PID file removed": (Point("queuectl.supervisor", "_remove_pid_file"), "process"),
    "to be replaced": (Point("queuectl.supervisor", "_replace"), "process"),
    "the other forked": (Point("queuectl.host", "fork"), "process thread"),
    "the other started": (Point("queuectl.supervisor", "_start_due_members"), "process"),
}


@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name, (_, modes) in REPLACEMENT.items() for mode in modes.split()]
)
def test_while_a_worker_is_replaced(stage: Stage, name: str) -> None:
    """Its job killed it (a thread: all threads, and its own keeper). Another runs beside it."""
    add_sleeper(stage)
    # The threads first: whoever kills its keeper may be killed by the supervisor before it does anything more.
    threads = "read -r threads < run/worker-1.pid" if stage.mode == "thread" else "threads="
    stage.add_job(
        "killer",
        f"test $QUEUECTL_ATTEMPT -gt 1 || {{ until grep -qs '^sleeper 1 begins' {stage.evidence}; "
        f"do sleep 0.01; done; touch {stage.bait}; {threads}; kill -9 $threads $PPID 2>/dev/null; exec sleep {stage.farm.token}; }}",
    )
    point, _ = REPLACEMENT[name]
    assert stage.launch("worker-run", "--count", "2", point=point).wait().returncode == KILLED
    start_again(stage)
    for job_id in ("sleeper", "killer"):
        first, *later = stage.outcomes(job_id)
        assert first == "crashed"
        assert later in (["succeeded"], RUNS_AGAIN)


@pytest.mark.parametrize("event", ["call", "return"])
@pytest.mark.parametrize("mode", ["thread"])
def test_while_a_keeper_is_replaced(stage: Stage, event: str) -> None:
    add_sleeper(stage, f"test $QUEUECTL_ATTEMPT -gt 1 || {{ touch {stage.bait}; kill -9 $PPID; }}")
    assert stage.launch(point=Point("queuectl.crew", "mend", event)).wait().returncode == KILLED
    start_again(stage)
    first, *later = stage.outcomes("sleeper")
    assert first == "crashed"
    assert later in (["succeeded"], RUNS_AGAIN)


# --- drain

DRAIN = {
    "before a drained worker is let go": Point("queuectl.supervisor", "_let_go_of_the_retired", "call"),
    "before the others are told": Point("queuectl.supervisor", "_begin_stop", "call"),
    "the others told": Point("queuectl.supervisor", "_begin_stop"),
    "before it leaves": Point("queuectl.supervisor", "_leave", "call"),
    "before notes are forgotten": Point("queuectl.leftovers", "forget", "call"),
    "left": Point("queuectl.supervisor", "_leave"),
    "control groups removed": Point("queuectl.cgroup", "remove"),
    "state removed": Point("queuectl.files", "remove"),
}


@pytest.mark.parametrize(
    ("name", "mode"),
    [*((name, "process") for name in DRAIN), ("before it leaves", "thread")],
)
def test_at_the_end_of_a_drain(stage: Stage, name: str) -> None:
    """What has been done is not done again."""
    stage.add_job("one")
    # What is called in every round of the loop is to be met when nothing is left, and not as workers get ready.
    all_ready = f"[ $(grep -os '\"ready\": true' {stage.farm.home.supervisor_state} | wc -l) = 2 ]"
    stage.add_job("last", f"until {all_ready}; do sleep 0.01; done; touch {stage.bait}")
    done = stage.launch("worker-run", "--count", "2", "--drain", point=DRAIN[name]).wait()
    assert done.returncode == KILLED
    start_again(stage)
    assert (stage.outcomes("one"), stage.outcomes("last")) == (["succeeded"], ["succeeded"])


# --- stop

GRACEFUL, NOW = ("--timeout", "0"), ("--now",)
STOP = {
    "request taken": (Point("queuectl.stopping", "take_request"), GRACEFUL, "process"),
    "before workers are told": (Point("queuectl.supervisor", "_begin_stop", "call"), GRACEFUL, "process"),
    "workers told": (Point("queuectl.supervisor", "_begin_stop"), GRACEFUL, "process thread"),
    "before workers are told to stop now": (Point("queuectl.supervisor", "_stop_now", "call"), NOW, "process"),
    "workers told to stop now": (Point("queuectl.supervisor", "_stop_now"), NOW, "process thread"),
    "before the deadline is enforced": (Point("queuectl.stopping", "enforced", "call"), GRACEFUL, "process"),
    "the deadline enforced": (Point("queuectl.supervisor", "_enforce_stop"), GRACEFUL, "process thread"),
    "a worker reaped": (Point("queuectl.crew", "reaped"), NOW, "process"),
    "before it leaves": (Point("queuectl.supervisor", "_leave", "call"), NOW, "process"),
    "left": (Point("queuectl.supervisor", "_leave"), GRACEFUL, "process"),
    "the request removed": (Point("queuectl.files", "remove"), NOW, "process"),
    "a PID file removed": (Point("queuectl.supervisor", "_remove_pid_file"), NOW, "process"),
}


@pytest.mark.parametrize(
    ("name", "mode"), [(name, mode) for name, (_, _, modes) in STOP.items() for mode in modes.split()]
)
def test_in_a_stop(stage: Stage, name: str) -> None:
    """Whoever asked for it is told when all are gone."""
    point, terms, _ = STOP[name]
    add_sleeper(stage)
    workers = stage.launch(point=point)
    await_sleeper(stage)
    eventually(stage.farm.ready)
    done = stage.farm.launch("worker-stop", *terms, prepare=partial(lay_bait, str(stage.bait))).wait()
    assert (done.returncode, done.stderr) == (0, "queuectl: the workers have stopped\n")
    assert stage.farm.workers() == []
    assert stage.farm.survivors() == []
    assert workers.wait().returncode == KILLED
    start_again(stage)
    first, *later = stage.outcomes("sleeper")
    assert first in ("crashed", "released")
    assert later == ["succeeded"]


@pytest.mark.parametrize("mode", ["process"])
def test_a_stop_is_over_when_the_supervisor_is_gone(stage: Stage) -> None:
    """That it let go of its lock is not enough: it may take a while to end, and would be found in a list."""
    stage.add_job("one")
    workers = stage.launch(point=Point("queuectl.launch", "_supervise"), signal=signal.SIGSTOP)
    eventually(lambda: stage.farm.queue.get("one").ended)
    stage.bait.touch()
    stopping = stage.farm.launch("worker-stop")
    eventually(lambda: is_stopped(workers.process.pid or 0))
    assert not control.is_running(stage.farm.home)
    stopping.process.join(0.3)
    assert stopping.process.exitcode is None
    os.kill(workers.process.pid or 0, signal.SIGCONT)
    assert stopping.wait().returncode == 0
    assert workers.wait().returncode == 0


# --- all at one stroke

ALL = {
    "spawned": Point("queuectl.proctree", "spawn"),
    "PID recorded": Point("queuectl.slot", "started"),
    "before its outcome is stored": Point("queuectl.worker", "_settle_now", "call"),
    "in the transaction of its outcome": Point("queuectl.store.sqlite", "_finish"),
    "outcome stored": Point("queuectl.store.sqlite", "settle"),
}


@pytest.mark.parametrize("name", ALL)
def test_worker_and_supervisor_at_one_stroke(stage: Stage, name: str) -> None:
    stage.add_job("first")
    stage.bait.touch()
    killed = stage.launch(point=ALL[name], where="below", with_supervisor=True).wait()
    assert killed.returncode == KILLED
    start_again(stage)
    assert stage.outcomes("first") == (RUNS_AGAIN if name in ("spawned", "PID recorded") else ["succeeded"])
