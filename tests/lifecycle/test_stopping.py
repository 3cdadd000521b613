"""Starting and stopping workers: gracefully, now, twice, and over what others left in ``run/``."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, eventually

from queuectl import control, files, pidfile, shutdown, stopping, wake


def running(farm: Farm, job_id: str) -> bool:
    """Whether the job runs and its command has begun (it writes something first)."""
    log = Path(farm.home.log(job_id))
    return log.exists() and log.stat().st_size > 0


def enqueue_sleeper(farm: Farm, job_id: str = "j", before: str = "") -> None:
    farm.queue.enqueue(f"{before}echo up; sleep {farm.token}", id=job_id)


def assert_all_gone(farm: Farm) -> None:
    """No process, no PID file, no held lock."""
    assert farm.survivors() == []
    assert not control.is_running(farm.home)
    assert list(Path(farm.home.run).glob("*.pid")) == []


def test_a_graceful_stop_lets_running_jobs_finish(farm: Farm, mode: str) -> None:
    until_it_stops = f"until grep -q stopping {farm.home.supervisor_log}; do sleep 0.05; done"
    farm.queue.enqueue(f"echo up; {until_it_stops}; sleep 0.2; echo done", id="j")
    farm.queue.enqueue("true", id="next")
    farm.start(1, mode)
    eventually(lambda: running(farm, "j"))
    farm.stop()
    assert farm.queue.get("j").state == "completed"
    assert farm.queue.get("next").state == "pending"
    assert_all_gone(farm)


def test_at_its_deadline_jobs_are_ended_and_handed_back(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "kill_grace", "0.3")
    enqueue_sleeper(farm, "deaf", "trap '' TERM; ")
    farm.queue.enqueue("true", id="behind")
    farm.start(1, mode)
    eventually(lambda: running(farm, "deaf"))
    farm.stop("--timeout", "0.2")
    job = farm.queue.get("deaf")
    (attempt,) = farm.queue.attempts("deaf")
    assert (job.state, job.attempts, job.next_run_at) == ("pending", 0, None)
    assert attempt.outcome == "released"
    assert_all_gone(farm)
    # It kept its place before the other, and its number is not used again.
    farm.queue.cancel("behind")
    farm.start(1, mode)
    eventually(lambda: farm.queue.get("deaf").state == "processing")
    assert [each.number for each in farm.queue.attempts("deaf")] == [1, 2]
    farm.stop("--now")


def test_now_means_now(farm: Farm, mode: str) -> None:
    enqueue_sleeper(farm, before="trap '' TERM; ")
    farm.start(2, mode)
    eventually(lambda: running(farm, "j"))
    farm.stop("--now")
    assert farm.queue.attempts("j")[0].outcome == "released"
    assert_all_gone(farm)


def test_now_asks_nobody_first(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("trap 'echo asked; exit 9' TERM; echo up; sleep 600 & wait", id="j")
    farm.start(1, mode)
    log = Path(farm.home.log("j"))
    eventually(lambda: log.exists() and log.read_text() == "up\n")
    farm.stop("--now")
    assert log.read_text() == "up\n"
    assert farm.queue.attempts("j")[0].outcome == "released"


def test_nothing_to_stop(farm: Farm) -> None:
    done = farm.run("worker-stop")
    assert done.returncode == 0
    assert "no workers are running" in done.stderr


@pytest.mark.parametrize(
    ("signals", "status"),
    [
        ([signal.SIGTERM], 0),
        ([signal.SIGINT], 0),
        ([signal.SIGQUIT], 128 + signal.SIGQUIT),
        ([signal.SIGTERM, signal.SIGTERM], 128 + signal.SIGTERM),
        ([signal.SIGINT, signal.SIGINT], 128 + signal.SIGINT),
    ],
)
def test_signals_to_the_supervisor(farm: Farm, mode: str, signals: list[int], status: int) -> None:
    graceful = status == 0
    farm.queue.enqueue(f"echo up; sleep {1 if graceful else farm.token}", id="j")
    process = farm.foreground_program("--count", "2", "--mode", mode)
    eventually(lambda: running(farm, "j"))
    log = Path(farm.home.supervisor_log)
    for number in signals:
        said = log.read_text().count("stopping")
        process.send_signal(number)
        eventually(lambda said=said: log.read_text().count("stopping") > said)
    assert process.wait(PATIENCE) == status
    assert farm.queue.get("j").state == ("completed" if graceful else "pending")
    assert_all_gone(farm)


def test_a_terminal_interrupts_the_supervisor_alone(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("echo up; sleep 1; echo whole", id="j")
    process = farm.foreground("--count", "1", "--mode", mode, prepare=os.setsid)
    eventually(lambda: running(farm, "j"))
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE).returncode == 0
    assert Path(farm.home.log("j")).read_text() == "up\nwhole\n"


def test_a_second_start_is_refused(farm: Farm, mode: str) -> None:
    supervisor = farm.start(1, mode)
    for command in ("worker-start", "worker-run"):
        done = farm.run(command, "--count", "1")
        assert done.returncode == 4
        assert str(supervisor) in done.stderr
    assert farm.supervisor() == supervisor


def test_of_two_starts_at_one_moment_one_wins(farm: Farm, mode: str) -> None:
    starts = [farm.launch("worker-start", "--count", "1", "--mode", mode) for _ in range(4)]
    assert sorted(start.wait(PATIENCE).returncode for start in starts) == [0, 4, 4, 4]
    assert len(farm.workers()) == 1


def _dead_pid(path: Path, stranger: int) -> None:
    path.write_text("999999999\n1\nboot\nns\nworker\n")


def _stranger(path: Path, stranger: int) -> None:
    path.write_text(f"{stranger}\n1\n{pidfile.boot_id()}\n{pidfile.pid_namespace()}\nworker\n")


def _other_boot(path: Path, stranger: int) -> None:
    started = pidfile.of(stranger).started
    path.write_text(f"{stranger}\n{started}\nanother-boot\n{pidfile.pid_namespace()}\nworker\n")


def _garbage(path: Path, stranger: int) -> None:
    path.write_bytes(b"\0\xff not a pid")


def _empty(path: Path, stranger: int) -> None:
    path.touch()


def _dangling_symlink(path: Path, stranger: int) -> None:
    path.symlink_to("/no/such/file")


def _fifo(path: Path, stranger: int) -> None:
    os.mkfifo(path)


STALE = (_dead_pid, _stranger, _other_boot, _garbage, _empty, _dangling_symlink, _fifo)


@pytest.mark.parametrize("make", STALE)
def test_stale_pid_files_are_no_obstacle(farm: Farm, make: Callable[[Path, int], None]) -> None:
    stranger = subprocess.Popen(["sleep", farm.token])
    try:
        for name in ("supervisor.pid", "worker-1.pid", "worker-7.pid"):
            make(Path(farm.home.run) / name, stranger.pid)
        farm.queue.enqueue("true", id="j")
        assert farm.run("worker-status").returncode == 3
        assert farm.run("worker-stop").returncode == 0
        farm.start(1)
        assert farm.queue.wait(["j"], timeout=60)
        farm.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert_all_gone(farm)


def test_a_worker_that_dies_after_its_last_word_leaves_no_pid_file(farm: Farm, mode: str) -> None:
    """It is let go of then, maybe before its process is dead: so what its PID file names seems to live."""
    farm.start(1, mode)
    dying = subprocess.Popen(["sleep", farm.token])
    try:
        pidfile.write(farm.home.worker_pid(2), pidfile.of(dying.pid), "worker")
        farm.stop()
    finally:
        dying.kill()
        dying.wait()
    assert_all_gone(farm)


def test_a_stopped_supervisor_can_be_stopped(farm: Farm, mode: str) -> None:
    supervisor = farm.start(1, mode)
    os.kill(supervisor, signal.SIGSTOP)
    farm.stop()
    assert_all_gone(farm)


def test_a_stop_spares_the_workers_that_somebody_starts_meanwhile(farm: Farm) -> None:
    """The lock passes from one supervisor to the next within an instant: nobody ever sees it free."""
    asked, started_meanwhile = (
        subprocess.Popen(["sh", "-c", f"trap '' USR1; exec sleep {farm.token}"]) for _ in range(2)
    )
    with open(farm.home.supervisor_lock, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pidfile.write(farm.home.supervisor_pid, pidfile.of(asked.pid), "supervisor")
        stop = farm.launch("worker-stop", "--now")
        eventually(lambda: os.path.exists(farm.home.stop_request), "it asks")
        assert json.loads(Path(farm.home.stop_request).read_text())["to"][0] == asked.pid
        asked.kill()
        asked.wait()
        pidfile.write(farm.home.supervisor_pid, pidfile.of(started_meanwhile.pid), "supervisor")
        try:
            assert stop.wait(10).returncode == 0
            assert started_meanwhile.poll() is None
        finally:
            stop.kill()
            started_meanwhile.kill()
            started_meanwhile.wait()
    os.unlink(farm.home.supervisor_pid)


@pytest.mark.parametrize("now", [True, False])
def test_a_request_is_void_for_a_supervisor_that_is_not_named_in_it(farm: Farm, now: bool) -> None:
    """It reaches one that was started after ``worker-stop`` had looked whom to ask."""
    farm.start(1)
    former = pidfile.read(farm.home.supervisor_pid)
    farm.stop()
    supervisor = farm.start(1)
    stopping.write_request(farm.home, stopping.Request(now, 0, to=former))
    wake.supervisor(farm.home)
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "is void" in log.read_text())
    assert not os.path.exists(farm.home.stop_request)
    assert farm.ready()
    assert control.status(farm.home)["supervisor"]["pid"] == supervisor
    stopping.write_request(farm.home, stopping.Request(now, 0, to=pidfile.read(farm.home.supervisor_pid)))
    wake.supervisor(farm.home)
    eventually(lambda: not control.is_running(farm.home), "one that is named in it stops")
    assert_all_gone(farm)


@pytest.mark.parametrize("content", ['{"now": true, "timeout": null}', "{}", "[]", "stop", ""])
def test_a_request_that_names_nobody_is_for_whoever_runs(farm: Farm, content: str) -> None:
    farm.start(1)
    files.write_atomically(farm.home.stop_request, content)
    wake.supervisor(farm.home)
    eventually(lambda: not control.is_running(farm.home))
    assert_all_gone(farm)


def test_start_and_stop_again_and_again(farm: Farm, mode: str) -> None:
    farm.queue.add_many([{"command": "true"}] * 300)
    for _ in range(3):
        farm.start(2, mode)
        farm.stop()
        assert_all_gone(farm)
    assert farm.queue.counts()["processing"] == 0


def test_an_interrupted_start_is_taken_back(farm: Farm) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "queuectl", "worker-start", "--count", "60"],
        cwd=farm.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    eventually(lambda: Path(farm.home.supervisor_pid).exists())
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode in (130, 0)
    if process.returncode == 130:
        assert said == b"queuectl: interrupted; the workers that were being started have been told to stop\n"
        eventually(lambda: not control.is_running(farm.home), "the start was taken back")


def test_idle_workers_use_no_processor(farm: Farm, mode: str) -> None:
    supervisor = farm.start(3, mode)
    eventually(farm.ready)
    pids = {supervisor, *farm.workers()}

    def used() -> float:
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
        return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")

    def used_in_a_while() -> float:
        before, until = used(), time.monotonic() + 1.5
        eventually(lambda: time.monotonic() > until)
        return used() - before

    # They are ready before they have looked for work for the first time.
    eventually(lambda: used_in_a_while() <= 0.05)


def test_idle_workers_stop_at_once(farm: Farm, mode: str) -> None:
    """Well before the timeout for running jobs, or any sleep of theirs, is over."""
    farm.run("config", "set", "stop_timeout", "1h")
    farm.start(2, mode)
    eventually(farm.ready)
    assert farm.launch("worker-stop").wait(8).returncode == 0
    assert_all_gone(farm)


@pytest.mark.parametrize("sooner", [("--timeout", "0.1"), ("--now",)])
def test_a_second_stop_may_be_less_patient(farm: Farm, mode: str, sooner: tuple[str, ...]) -> None:
    enqueue_sleeper(farm)
    farm.start(1, mode)
    eventually(lambda: running(farm, "j"))
    patient = farm.launch("worker-stop", "--timeout", "1h")
    log = Path(farm.home.supervisor_log)
    eventually(lambda: "stopping" in log.read_text())
    farm.stop(*sooner)
    assert patient.wait(PATIENCE).returncode == 0
    assert farm.queue.attempts("j")[0].outcome == "released"
    assert_all_gone(farm)


def test_a_job_that_ends_before_the_deadline_keeps_its_outcome(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("echo up; sleep 0.5; exit 3", id="j", max_retries=0)
    farm.start(1, mode)
    eventually(lambda: running(farm, "j"))
    farm.stop("--timeout", "20")
    assert (farm.queue.get("j").state, farm.queue.get("j").exit_code) == ("dead", 3)


def test_an_outcome_outlives_a_stop_while_the_database_is_locked(farm: Farm, mode: str) -> None:
    """The next start records it, and the job does not run again."""
    go = farm.directory / "go"
    farm.queue.enqueue(f"echo up; until test -e {go}; do sleep 0.02; done; exit 3", id="j", max_retries=0)
    farm.start(1, mode)
    eventually(lambda: running(farm, "j"))
    with contextlib.closing(sqlite3.connect(farm.home.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        go.touch()
        eventually(lambda: "waiting for it" in Path(farm.home.supervisor_log).read_text())
        farm.stop("--now")
        assert_all_gone(farm)
        other.execute("ROLLBACK")
    assert farm.queue.get("j").state == "processing"
    farm.start(1, mode)
    job, attempts = farm.queue.get("j"), farm.queue.attempts("j")
    assert (job.state, job.exit_code, [attempt.outcome for attempt in attempts]) == ("dead", 3, ["failed"])


def test_workers_can_be_stopped_under_broken_settings(farm: Farm, mode: str) -> None:
    farm.start(1, mode)
    Path(farm.home.settings).write_text("{ broken")
    farm.stop()
    assert_all_gone(farm)


def test_a_stop_that_comes_while_workers_start(farm: Farm, mode: str) -> None:
    """It is heeded, and not taken for one that was meant for somebody before."""
    for _ in range(3):
        start = farm.launch("worker-start", "--count", "20", "--mode", mode)
        eventually(lambda: control.is_running(farm.home))
        assert shutdown.stop(farm.home, timeout=0)
        start.wait(PATIENCE)
        assert_all_gone(farm)
    assert "cannot be killed" not in Path(farm.home.supervisor_log).read_text()
    assert Path(farm.home.supervisor_log).read_text().count("stopping: ") == 3


def test_a_stop_does_not_change_what_ended_an_attempt(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "kill_grace", "60")
    farm.queue.enqueue("trap 'echo up' TERM; while :; do sleep 0.05; done", id="j", timeout=2, max_retries=0)
    farm.start(1, mode)
    eventually(lambda: running(farm, "j"), "its time is up, and its grace has begun")
    farm.stop("--now")
    assert (farm.queue.get("j").state, farm.queue.attempts("j")[0].outcome) == ("dead", "timed_out")


def test_everybody_who_looks_is_told_of_a_stop_under_way(farm: Farm, mode: str) -> None:
    farm.queue.enqueue(f"echo up; sleep {farm.token}", id="j")
    farm.start(1, mode)
    eventually(lambda: running(farm, "j"))
    farm.queue.enqueue("true", id="next")
    assert json.loads(farm.run("status", "--json").stdout)["workers"]["stopping"] is False
    assert "stopping" not in farm.run("status").stdout + farm.run("worker-status").stdout
    assert ", 1 worker, up for " in farm.run("worker-status").stdout
    stop = farm.launch("worker-stop", "--timeout", "1h")
    eventually(lambda: control.is_stopping(farm.home))
    left = "stopping: running jobs have 59m "
    for command in ("worker-status", "status", "watch"):
        assert left in farm.run(command).stdout, command
    assert json.loads(farm.run("status", "--json").stdout)["workers"]["stopping"] is True
    told = json.loads(farm.run("worker-status", "--json").stdout)["supervisor"]
    assert told["stopping"] is True
    assert told["jobs_end_by"] > told["started_at"]
    assert "is stopping, and starts no more jobs" in farm.run("doctor").stdout
    once_gone = "the workers are stopping: 'queuectl worker-start' once they are gone"
    assert farm.run("why", "next").stdout == f"pending: {once_gone}\n"
    waiting = farm.launch("wait", "next")
    eventually(lambda: once_gone in waiting.errors())
    again = farm.run("worker-start", "--count", "1")
    assert again.returncode == 4
    assert "are stopping: 'queuectl worker-stop' waits until they are gone" in again.stderr
    farm.stop("--now")
    assert stop.wait().returncode == 0


def test_a_stop_that_comes_sooner_or_at_once_is_told_as_such(farm: Farm) -> None:
    farm.run("config", "set", "kill_grace", "1h")
    enqueue_sleeper(farm, "deaf", "trap '' TERM; ")
    farm.start(1)
    eventually(lambda: running(farm, "deaf"))

    def end() -> str | None:
        supervisor, _ = control.fleet(farm.home)
        assert supervisor is not None
        return supervisor["jobs_end_by"]

    assert end() is None
    farm.launch("worker-stop", "--timeout", "2h")
    first = eventually(end)
    farm.launch("worker-stop", "--timeout", "1h")
    eventually(lambda: end() < first)
    farm.launch("worker-stop", "--timeout", "0")
    eventually(lambda: "stopping: running jobs are being ended" in farm.run("worker-status").stdout)
    farm.stop("--now")
