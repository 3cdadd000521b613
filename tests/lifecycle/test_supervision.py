"""Workers that die, hang or are stopped, settings and numbers that change, and draining."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from farm import PATIENCE, Farm, assert_books_balance, eventually, pids_with

from queuectl import control, pidfile, processes, slot


def told(farm: Farm) -> dict[str, Any]:
    """What ``worker-status --json`` prints."""
    status: dict[str, Any] = json.loads(farm.run("worker-status", "--json").stdout)
    return status


def is_up(farm: Farm, job_id: str) -> bool:
    log = Path(farm.home.log(job_id))
    return log.exists() and log.stat().st_size > 0


def slices(farm: Farm, job_id: str) -> list[str]:
    """What each attempt wrote."""
    log = Path(farm.home.log(job_id)).read_text()
    found = []
    for attempt in farm.queue.attempts(job_id):
        assert attempt.log_offset is not None
        assert attempt.log_bytes is not None
        found.append(log[attempt.log_offset : attempt.log_offset + attempt.log_bytes])
    return found


def test_a_dead_worker_is_replaced_and_its_job_run_again(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0.1")
    farm.queue.enqueue(f'echo up; test "$QUEUECTL_ATTEMPT" = 2 || sleep {farm.token}', id="j")
    farm.start(2, mode)
    eventually(lambda: is_up(farm, "j"))
    for pid in farm.workers():
        os.kill(pid, signal.SIGKILL)
    assert farm.queue.wait(["j"], timeout=60)
    assert [attempt.outcome for attempt in farm.queue.attempts("j")] == ["crashed", "succeeded"]
    eventually(lambda: told(farm)["supervisor"]["replaced"] == 2, "each is replaced once")
    assert farm.survivors() == []
    assert_books_balance(farm.queue)


def test_no_worker_is_started_in_a_process_that_is_dying(plain_farm: Farm) -> None:
    """The lines of its threads hang up, and their keepers may be gone, before it has ended itself."""
    plain_farm.start(32, "thread")
    os.kill(plain_farm.workers()[0], signal.SIGKILL)
    eventually(lambda: told(plain_farm)["supervisor"]["replaced"] >= 32, "all are replaced")
    eventually(plain_farm.ready, "all are there again")
    assert told(plain_farm)["supervisor"]["replaced"] == 32, Path(plain_farm.home.supervisor_log).read_text()


def test_a_job_that_kills_its_worker_is_dead_after_its_retries(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue("kill -9 $PPID; sleep 60", id="killer", max_retries=2)
    farm.start(2, mode)
    farm.queue.wait(["killer"], timeout=60)
    assert farm.queue.get("killer").state == "dead"
    assert [attempt.outcome for attempt in farm.queue.attempts("killer")] == ["crashed"] * 3
    assert farm.queue.wait([job.id for job in farm.queue.enqueue_many([{"command": "true"}] * 5)], timeout=60)
    assert told(farm)["supervisor"]["replaced"] <= 3
    assert_books_balance(farm.queue)


def test_output_of_an_attempt_that_kills_its_worker_at_once_is_its_own(farm: Farm, mode: str) -> None:
    """By the time at which it could be noted what was started, nobody is there to note it."""
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue("echo attempt $QUEUECTL_ATTEMPT; kill -9 $PPID; sleep 60", id="killer", max_retries=4)
    farm.start(1, mode)
    farm.queue.wait(["killer"], timeout=60)
    assert slices(farm, "killer") == [f"attempt {number}\n" for number in range(1, 6)]


def test_output_is_its_attempts_though_its_worker_dies_before_the_outcome_is_stored(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue(f'echo up; test "$QUEUECTL_ATTEMPT" = 2 || exec sleep {farm.token}', id="j")
    farm.start(1, mode)
    eventually(lambda: is_up(farm, "j"))
    with contextlib.closing(sqlite3.connect(farm.home.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        os.kill(eventually(lambda: pids_with(farm.token))[0], signal.SIGKILL)
        note = farm.home.slot("worker-1")
        eventually(lambda: any(noted.outcome for noted in slot.read(note)), "the attempt is over")
        for pid in farm.workers():
            os.kill(pid, signal.SIGKILL)
        other.execute("ROLLBACK")
    assert farm.queue.wait(["j"], timeout=60)
    assert [attempt.outcome for attempt in farm.queue.attempts("j")] == ["signaled", "succeeded"]
    assert slices(farm, "j") == ["up\n", "up\n"]


def test_replacements_back_off(farm: Farm) -> None:
    """What kills every worker at once does not become a busy loop of restarts."""
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.add_many([{"command": "kill -9 $PPID; sleep 60", "max_retries": 0}] * 40)
    farm.start(1)
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "in 2 seconds" in log.read_text(), "the delays grow")
    assert log.read_text().count("died; another") <= 5
    farm.stop("--now")


def test_a_stopped_worker_is_killed(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue(f'echo up; test "$QUEUECTL_ATTEMPT" = 2 || sleep {farm.token}', id="j")
    farm.start(1, mode)
    eventually(lambda: is_up(farm, "j"))
    os.kill(farm.workers()[0], signal.SIGSTOP)
    assert farm.queue.wait(["j"], timeout=60)
    assert [attempt.outcome for attempt in farm.queue.attempts("j")] == ["crashed", "succeeded"]
    assert_books_balance(farm.queue)


def test_a_keeper_that_is_stopped_as_its_supervisor_dies_is_ended_by_the_next_start(plain_farm: Farm) -> None:
    """It hears nothing, has no PID file, and runs no job that could tell of it."""
    supervisor = plain_farm.start(2, "thread")
    slots = [Path(plain_farm.home.slot(f"worker-{number}")) for number in (1, 2)]
    eventually(lambda: all(slot.exists() and slot.stat().st_size for slot in slots), "keepers are, after their threads")
    keepers = [
        pidfile.of(process.pid)
        for process in processes.table().values()
        if process.parent == supervisor and process.pid not in plain_farm.workers()
    ]
    assert len(keepers) == 2
    for pid in (supervisor, *(keeper.pid for keeper in keepers)):
        os.kill(pid, signal.SIGSTOP)
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: not plain_farm.ready())
    plain_farm.start(1, "thread")
    left = [keeper for keeper in keepers if keeper.lives]
    for keeper in left:
        processes.send_signal(keeper.pid, keeper.started, signal.SIGKILL)
    assert not left


def test_a_supervisor_that_was_stopped_kills_nobody(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("echo up; sleep 1.5", id="j")
    supervisor = farm.start(1, mode)
    eventually(lambda: is_up(farm, "j"))
    os.kill(supervisor, signal.SIGSTOP)
    assert farm.queue.wait(["j"], timeout=60), "the worker goes on"
    os.kill(supervisor, signal.SIGCONT)
    assert farm.run("enqueue", "--wait", "--", "true").returncode == 0
    assert told(farm)["supervisor"]["replaced"] == 0


def test_settings_are_those_in_force_when_an_attempt_starts(farm: Farm, mode: str) -> None:
    farm.start(1, mode)
    assert farm.run("enqueue", "--wait", "--", "sleep", "0.3").returncode == 0
    farm.run("config", "set", "job_timeout", "0.2")
    farm.run("config", "set", "max_retries", "0")
    assert farm.run("enqueue", "--wait", "--", "sleep", farm.token).returncode == 124


def test_a_broken_settings_file_leaves_the_last_in_force(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue("test $QUEUECTL_ATTEMPT = 3", id="j", delay=0.5)
    supervisor = farm.start(1, mode)
    broken = farm.directory / "broken"
    broken.write_text("{ broken")
    broken.rename(farm.home.settings)  # at one stroke: an empty file would be complained of, too
    os.kill(supervisor, signal.SIGHUP)
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "is not JSON" in log.read_text())
    assert farm.queue.wait(["j"], timeout=60)
    assert 1 <= log.read_text().count("is not JSON") <= 2
    Path(farm.home.settings).unlink()


def test_more_and_fewer_workers(farm: Farm, mode: str) -> None:
    supervisor = farm.start(2, mode)
    os.kill(supervisor, signal.SIGTTIN)
    eventually(lambda: len(told(farm)["workers"]) == 3)
    farm.queue.enqueue_many([{"id": str(n), "command": "echo up; sleep 1"} for n in (1, 2, 3)])
    eventually(lambda: all(is_up(farm, job_id) for job_id in "123"))
    for left in (["worker-1", "worker-2"], ["worker-1"]):
        os.kill(supervisor, signal.SIGTTOU)
        eventually(lambda left=left: [worker["name"] for worker in told(farm)["workers"]] == left)
    assert farm.queue.wait(["1", "2", "3"], timeout=60)
    assert [len(farm.queue.attempts(job_id)) for job_id in "123"] == [1, 1, 1]


def test_pid_files(farm: Farm, mode: str) -> None:
    supervisor = farm.start(3, mode)
    run = Path(farm.home.run)
    expected = {"supervisor.pid": "supervisor"} | (
        {"worker-1.pid": "workers"} if mode == "thread" else {f"worker-{n}.pid": "worker" for n in (1, 2, 3)}
    )
    assert {path.name for path in run.glob("*.pid")} == expected.keys()
    for name, role in expected.items():
        pid, started, boot, namespace, told_role = (run / name).read_text().splitlines()
        identity = pidfile.of(int(pid))
        assert (int(started), boot, namespace) == (identity.started, identity.boot, identity.namespace)
        assert told_role == role
    assert farm.supervisor() == supervisor
    farm.stop()
    assert list(run.glob("*.pid")) == []


def test_status_of_workers(farm: Farm, mode: str) -> None:
    nothing = {"running": False, "supervisor": None, "workers": []}
    assert told(farm) == nothing
    assert farm.run("worker-status").returncode == 3
    farm.queue.enqueue("sleep 30", id="j")
    supervisor = farm.start(2, mode)
    eventually(lambda: farm.queue.get("j").state == "processing")
    status = told(farm)
    assert status["running"] is True
    assert status["supervisor"]["pid"] == supervisor
    assert [worker["name"] for worker in status["workers"]] == ["worker-1", "worker-2"]
    assert sorted(str(worker["job"]) for worker in status["workers"]) == ["None", "j"]
    pids = {worker["pid"] for worker in status["workers"]}
    assert pids == set(farm.workers())
    assert len(pids) == (1 if mode == "thread" else 2)
    assert json.loads(farm.run("status", "--json").stdout)["workers"]["running"] == 2
    farm.stop("--now")
    assert told(farm) == nothing


def test_draining(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0.3")
    farm.queue.enqueue("test $QUEUECTL_ATTEMPT = 2", id="retried")
    farm.queue.enqueue("sleep 0.5", id="slow")
    farm.queue.enqueue("true", id="later", delay=3600)
    process = farm.foreground("--count", "3", "--mode", mode, "--drain")
    assert process.wait(PATIENCE).returncode == 0
    assert {job.id: job.state for job in farm.queue.jobs()} == {
        "retried": "completed",
        "slow": "completed",
        "later": "pending",
    }
    assert not control.is_running(farm.home)


def test_draining_an_empty_queue_in_the_background(farm: Farm, mode: str) -> None:
    farm.start(2, mode, "--drain")
    eventually(lambda: not control.is_running(farm.home))


def test_the_database_locked_by_another_program(farm: Farm, mode: str) -> None:
    """Workers wait for it, say so once, and lose nothing."""
    import sqlite3

    farm.queue.enqueue("echo up; until test -e go; do sleep 0.05; done", id="j", cwd=farm.directory)
    farm.start(1, mode)
    eventually(lambda: is_up(farm, "j"))
    other = sqlite3.connect(farm.home.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    (farm.directory / "go").touch()
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "is locked" in log.read_text())
    other.execute("COMMIT")
    other.close()
    assert farm.queue.wait(["j"], timeout=60)
    assert len(farm.queue.attempts("j")) == 1
    assert log.read_text().count("is locked") == 1


def test_a_supervisor_that_lost_its_lock_leaves(farm: Farm, mode: str) -> None:
    """Another could start, and both would take the other's jobs for lost."""
    farm.queue.enqueue(f"echo up; sleep {farm.token}", id="j")
    process = farm.foreground("--count", "1", "--mode", mode)
    eventually(lambda: is_up(farm, "j"))
    for path in Path(farm.home.run).iterdir():
        path.unlink()
    process.send_signal(signal.SIGHUP)  # it would look by itself, but not so soon
    assert process.wait(PATIENCE).returncode == 5
    assert farm.survivors() == []
    assert farm.queue.get("j").state == "pending"


@pytest.mark.parametrize("how", ["deleted", "replaced", "with its whole home"])
def test_the_database_deleted_under_running_workers(farm: Farm, mode: str, how: str) -> None:
    """Nothing can be recorded any more: jobs are ended, the supervisor leaves, and no new queue appears."""
    database = Path(farm.home.database)
    farm.queue.enqueue(f"echo up; sleep {farm.token}", id="j")
    process = farm.foreground("--count", "2", "--mode", mode)
    eventually(lambda: is_up(farm, "j"))
    if how == "replaced":
        copy = database.with_name("copy")
        copy.write_bytes(database.read_bytes())
        copy.replace(database)
    elif how == "deleted":
        database.unlink()
    else:
        # At one stroke: while it is taken apart, a worker may still make a file in it.
        shutil.rmtree(database.parent.rename(database.parent.with_name("gone")))
    process.send_signal(signal.SIGHUP)  # it would look by itself, but not so soon
    assert process.wait(PATIENCE).returncode == 5
    assert farm.survivors() == []
    assert database.exists() == (how == "replaced")


@pytest.mark.parametrize("singles", [40])
def test_many_enqueue_while_many_work(farm: Farm, mode: str, singles: int) -> None:
    """8 processes add jobs, in batches and alone, while 6 workers run them: nothing is lost, nothing twice."""
    farm.start(6, mode)
    program = f"""
import sys
from queuectl import Queue
queue, me = Queue({farm.home.database!r}), sys.argv[1]
for n in range({singles}):
    queue.enqueue(f"echo {{me}}-{{n}} >> done", id=f"{{me}}-{{n}}")
    if n % 10 == 0:
        queue.enqueue_many([{{"id": f"{{me}}-{{n}}-{{k}}", "command": f"echo {{me}}-{{n}}-{{k}} >> done"}} for k in range(10)])
"""
    producers = [
        subprocess.Popen([sys.executable, "-c", program, f"p{n}"], cwd=farm.directory, stderr=subprocess.PIPE)
        for n in range(8)
    ]
    for producer in producers:
        _, said = producer.communicate(timeout=90)
        assert (producer.returncode, said) == (0, b"")
    assert farm.queue.wait(timeout=90)
    jobs = farm.queue.jobs()
    assert len(jobs) == 8 * (singles + 10 * -(-singles // 10))
    assert all(job.state == "completed" and job.attempts == 1 for job in jobs)
    ran = (farm.directory / "done").read_text().split()
    assert sorted(ran) == sorted(job.id for job in jobs)
    assert_books_balance(farm.queue, [job.id for job in jobs[::20]])


def test_a_limit_for_output(farm: Farm, mode: str) -> None:
    """Disk is given back from the middle; the job goes on, and ends as it would have."""
    megabyte = 1 << 20
    farm.run("config", "set", "log_max_bytes", str(2 * megabyte))
    farm.queue.enqueue("echo first; head -c 40000000 /dev/zero | tr '\\0' x; sleep 0.6; echo; echo last", id="j")
    farm.start(1, mode)
    assert farm.queue.wait(["j"], timeout=60)
    log = Path(farm.home.log("j"))
    assert log.stat().st_blocks * 512 <= 2 * megabyte + 65536
    assert log.stat().st_size == 40_000_000 + len("first\n\nlast\n")
    shown = farm.run("logs", "j")
    assert shown.stdout.startswith("first\nxxx")
    assert shown.stdout.endswith("xxx\nlast\n")
    assert len(shown.stdout) <= 2 * megabyte + 65536
    assert "dropped" in shown.stderr


@pytest.mark.parametrize("count", [3])
def test_idle_workers_start_jobs_at_once(farm: Farm, mode: str, count: int) -> None:
    """Well before they would look by themselves, and each job finds a worker of its own."""
    farm.start(count, mode)
    eventually(farm.ready)
    for round_ in range(3):
        jobs = farm.queue.enqueue_many([{"command": f"sleep {farm.token}"}] * count)
        eventually(lambda: farm.queue.counts()["processing"] == count, f"all run in round {round_}", patience=7)
        farm.queue.cancel(*(job.id for job in jobs))
        farm.queue.wait(timeout=30)


def test_the_supervisors_doings_wake_no_idle_worker(farm: Farm) -> None:
    supervisor = farm.start(2)
    eventually(farm.ready)
    log = Path(farm.home.supervisor_log)

    def wakes() -> int:
        lines = [Path(f"/proc/{pid}/status").read_text().splitlines() for pid in farm.workers()]
        return sum(int(line.split()[1]) for each in lines for line in each if line.startswith("voluntary_ctxt"))

    before = wakes()
    for number in range(1, 41):
        os.kill(supervisor, signal.SIGHUP)
        eventually(lambda number=number: log.read_text().count("are read again") >= number)
    assert wakes() - before < 40


def test_workers_started_under_a_broken_settings_file(farm: Farm, mode: str) -> None:
    """They go by the last good settings, as the others do, and cost these nothing."""
    farm.run("config", "set", "job_timeout", "0.3")
    supervisor = farm.start(1, mode)
    farm.queue.enqueue("echo up; sleep 2", id="long", timeout=60)
    farm.queue.enqueue(f"sleep {farm.token}", id="short", max_retries=0)
    eventually(lambda: is_up(farm, "long"))
    Path(farm.home.settings).write_text("{ broken")
    os.kill(supervisor, signal.SIGTTIN)
    farm.queue.wait(["long", "short"], timeout=60)
    Path(farm.home.settings).unlink()
    assert [attempt.outcome for attempt in farm.queue.attempts("long")] == ["succeeded"]
    assert farm.queue.get("short").outcome == "timed_out"
    assert "died" not in Path(farm.home.supervisor_log).read_text()


def test_a_worker_that_waits_to_be_replaced_can_be_retired(farm: Farm) -> None:
    supervisor = farm.start(2)
    log = Path(farm.home.supervisor_log)
    for deaths in range(1, 5):
        identity = eventually(lambda: pidfile.read(farm.home.worker_pid(2)))
        os.kill(identity.pid, signal.SIGKILL)
        eventually(lambda deaths=deaths: f"death {deaths} in a row" in log.read_text())
    os.kill(supervisor, signal.SIGTTOU)
    eventually(lambda: "one worker fewer" in log.read_text())
    os.kill(supervisor, signal.SIGTTIN)
    eventually(lambda: "one worker more" in log.read_text())
    # The one in its place is new: it need not wait, which it would have done for 4 seconds.
    eventually(farm.ready)
    assert [worker["name"] for worker in told(farm)["workers"]] == ["worker-1", "worker-2"]


def test_keepers_that_die_at_once_are_replaced_less_and_less_often(farm: Farm) -> None:
    farm.start(2, "thread")
    for number in (1, 2):
        note = Path(farm.home.slot(f"worker-{number}"))
        eventually(note.exists)
        note.unlink()
        note.mkdir()
    farm.queue.enqueue("echo up; kill -9 $PPID; sleep 60", id="killer", max_retries=0)
    began = time.monotonic()
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "(loss 3 in a row)" in log.read_text())
    assert time.monotonic() - began >= 1
    assert log.read_text().count("lost its keeper") <= 4
    # The other one works on meanwhile; this one takes no job that it cannot run.
    for _ in range(3):
        assert farm.run("enqueue", "--wait", "--max-retries", "0", "--", "true").returncode == 0
    for number in (1, 2):
        Path(farm.home.slot(f"worker-{number}")).rmdir()
    farm.queue.wait(["killer"], timeout=60)
    assert farm.queue.get("killer").outcome == "crashed"


def test_the_pid_file_of_a_process_that_died_is_that_of_its_successor(farm: Farm, mode: str) -> None:
    farm.start(3, mode)
    former = set(farm.workers())
    for pid in former:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not former & {worker["pid"] for worker in told(farm)["workers"]})
    eventually(farm.ready)
    assert set(farm.workers()) == {worker["pid"] for worker in told(farm)["workers"]}


def test_a_child_that_the_supervisor_was_started_with_is_not_a_jobs(farm: Farm, mode: str) -> None:
    """A shell that became the supervisor by exec may have had children."""
    command = f"sleep {farm.token} & exec {sys.executable} -m queuectl worker-run --count 1 --mode {mode}"
    supervisor = subprocess.Popen(["sh", "-c", command], cwd=farm.directory, stderr=subprocess.DEVNULL)
    try:
        eventually(farm.ready)
        farm.run("config", "set", "backoff_base", "0")
        farm.queue.enqueue("test $QUEUECTL_ATTEMPT = 2 || kill -9 $PPID; exit 0", id="j")
        assert farm.queue.wait(["j"], timeout=60)
        eventually(farm.ready)
        assert len(farm.survivors()) == 1
    finally:
        supervisor.terminate()
        assert supervisor.wait(PATIENCE) == 0
        for pid in pids_with(farm.token):
            os.kill(pid, signal.SIGKILL)


def _lower_limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_more_threads_than_the_limit_of_open_files_allows_at_first(farm: Farm) -> None:
    process = farm.foreground("--count", "60", "--mode", "thread", prepare=_lower_limit)
    assert farm.queue.wait(farm.queue.add_many([{"command": "true"}] * 60), timeout=60)
    assert told(farm)["supervisor"]["replaced"] == 0
    process.terminate()
    assert process.wait(PATIENCE).returncode == 0


def test_the_log_is_not_flooded(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.add_many([{"command": "echo; exit 1"}] * 50)
    farm.start(2, mode)
    farm.queue.wait(timeout=60)
    farm.stop()
    assert len(Path(farm.home.supervisor_log).read_text().splitlines()) <= 5


def test_one_whose_lock_is_anothers_leaves_all_to_that_one(farm: Farm, mode: str) -> None:
    """It was stopped (Ctrl-Z) while somebody removed the lock and started others, whose workers have the same names."""
    ran = farm.directory / "ran"
    farm.queue.add_many([{"command": f"echo $QUEUECTL_ATTEMPT >> {ran}; exec sleep {farm.token}"}] * 2)
    former = farm.start(2, mode)
    eventually(lambda: len(farm.survivors()) == 2)
    os.kill(former, signal.SIGSTOP)
    os.unlink(farm.home.supervisor_lock)
    farm.run("config", "set", "backoff_base", "0")
    supervisor = farm.start(2, mode)
    eventually(lambda: len(farm.survivors()) == 2 and ran.read_text().split() == ["1", "1", "2", "2"])
    run = Path(farm.home.run)
    there = {path.name for path in run.iterdir()}
    os.kill(former, signal.SIGCONT)
    eventually(lambda: (process := processes.look(former)) is None or process.is_zombie)
    assert {path.name for path in run.iterdir()} == there
    status = json.loads(farm.run("worker-status", "--json").stdout)
    assert (status["supervisor"]["pid"], len(status["workers"])) == (supervisor, 2)
    outcomes = [[each.outcome for each in farm.queue.attempts(job.id)] for job in farm.queue.jobs()]
    # Whoever takes over kills all that is left, and a keeper may have noted its job's end before its own.
    assert all(first in ("crashed", "signaled") and later == [None] for first, *later in outcomes), outcomes
    farm.stop("--now")
    assert ran.read_text().split() == ["1", "1", "2", "2"]
