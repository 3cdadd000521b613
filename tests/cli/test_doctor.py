"""``doctor`` finds what is wrong, says what to do, and repairs what is safe to repair."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from farm import IS_ROOT, NOBODY
from program import Bench

from queuectl.clock import SECOND, SYSTEM_CLOCK
from queuectl.model import ENDED

Harm = Callable[[Bench], None]


def change(bench: Bench, statement: str) -> None:
    bench.store.close()
    with sqlite3.connect(bench.queue.home.database) as connection:
        connection.execute(statement)
    connection.close()


def open_to_others(bench: Bench) -> None:
    Path(bench.queue.home.database).chmod(0o644)


def lose_directory(bench: Bench) -> None:
    shutil.rmtree(bench.queue.home.logs)


def leave_pid_file(bench: Bench) -> None:
    path = Path(bench.queue.home.worker_pid(1))
    path.touch(0o600)
    path.write_text(f"{os.getpid()}\n1\nanother boot\npid:[1]\nworker\n")


def leave_claim(bench: Bench) -> None:
    bench.queue.enqueue("true")
    assert bench.store.claim("worker-1", SYSTEM_CLOCK.now()) is not None


def lose_log(bench: Bench) -> None:
    bench.queue.enqueue("true")
    bench.play("succeeded", b"output\n")
    Path(bench.queue.home.log("1")).unlink()


def leave_logs(bench: Bench) -> None:
    """As a prune does that is killed."""
    bench.ended(log=b"output\n")
    assert bench.store.prune(ENDED, SYSTEM_CLOCK.now() + SECOND, 9, list).jobs == 1


REPAIRABLE: dict[str, tuple[Harm, str]] = {
    "open to others": (open_to_others, "home wrong: queuectl.db"),
    "a directory is gone": (lose_directory, "home wrong: job_logs: missing"),
    "stale PID file": (leave_pid_file, "PID files wrong: run/worker-1.pid: left by a process that is gone"),
    "stranded claim": (leave_claim, "claims wrong: job 1: held by workers that died"),
    "old logs": (leave_logs, "logs wrong: 1 log of pruned jobs is left by a prune that was killed"),
    "lost log": (lose_log, "logs wrong: job 1: output is missing from job_logs/"),
}


@pytest.mark.parametrize("name", REPAIRABLE)
def test_what_is_safe_is_repaired(bench: Bench, name: str) -> None:
    harm, told = REPAIRABLE[name]
    assert bench.run("doctor").code == 0
    harm(bench)
    result = bench.run("doctor")
    assert result.code == 1
    assert told in spaced(result.out)
    assert "queuectl doctor --repair" in result.out
    assert bench.run("doctor").code == 1, "a look changes nothing"
    result = bench.run("doctor", "--repair")
    assert (result.code, told.replace(" wrong", " repaired") in spaced(result.out)) == (0, True), result.out
    assert "repaired:" not in bench.run("doctor").out
    assert bench.run("doctor").code == 0


def spaced(text: str) -> str:
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def test_repair_tells_of_every_pid_file(bench: Bench) -> None:
    """The repair of a claim removes those of workers, too."""
    leave_claim(bench)
    leave_pid_file(bench)
    Path(bench.queue.home.supervisor_pid).write_text(Path(bench.queue.home.worker_pid(1)).read_text())
    Path(bench.queue.home.supervisor_pid).chmod(0o600)
    result = bench.run("doctor", "--repair")
    assert "PID files repaired: run/supervisor.pid, run/worker-1.pid: left by" in spaced(result.out)
    assert "claims repaired: job 1: held by workers that died" in spaced(result.out)


def test_repair_puts_a_stranded_job_back(bench: Bench) -> None:
    leave_claim(bench)
    result = bench.execute("doctor", "--repair")
    assert result.err == "queuectl: job 1: attempt 1 crashed: its worker and its supervisor died\n"
    assert bench.queue.get("1").state == "pending"
    (attempt,) = bench.queue.attempts("1")
    assert attempt.outcome == "crashed"


def world_writable(bench: Bench) -> None:
    bench.directory.chmod(0o777)


def broken_settings(bench: Bench) -> None:
    Path(bench.queue.home.settings).write_text("{")
    Path(bench.queue.home.settings).chmod(0o600)


def damaged_page(bench: Bench) -> None:
    bench.queue.enqueue_many([{"command": "echo " + "x" * 3000}] * 20)
    change(bench, "PRAGMA wal_checkpoint(TRUNCATE)")
    bench.queue.close()
    with Path(bench.queue.home.database).open("r+b") as file:
        file.seek(-4096 * 4, os.SEEK_END)
        file.write(b"\xff" * 4096 * 3)


def no_database(bench: Bench) -> None:
    bench.queue.close()
    bench.store.close()
    Path(bench.queue.home.database).write_text("some text")


def contradiction(bench: Bench) -> None:
    bench.queue.enqueue("true")
    bench.play("succeeded")
    change(bench, "DELETE FROM attempts")


def future(bench: Bench) -> None:
    bench.queue.enqueue("true")
    change(bench, f"UPDATE jobs SET created_at = {SYSTEM_CLOCK.now() + 3600 * SECOND}")


HOPELESS: dict[str, tuple[Harm, str]] = {
    "world-writable home": (world_writable, "everybody may write in"),
    "broken settings": (
        broken_settings,
        "is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1): mend it with an editor",
    ),
    "damaged database": (damaged_page, "database wrong:"),
    "no database": (no_database, "is not a database"),
    "contradiction": (contradiction, "job 1 has not as many attempts recorded as it had starts"),
    "clock set back": (future, "but the last job was added at"),
}


@pytest.mark.parametrize("name", HOPELESS)
def test_what_a_person_must_mend_is_told(bench: Bench, name: str) -> None:
    harm, told = HOPELESS[name]
    harm(bench)
    for arguments in (["doctor"], ["doctor", "--repair"]):
        result = bench.run(*arguments)
        assert (result.code, result.err) == (1, "")
        assert told in spaced(result.out)


@pytest.mark.skipif(not IS_ROOT, reason="only root gives files away")
def test_a_file_of_another_owner_is_told(bench: Bench) -> None:
    path = Path(bench.queue.home.log("1"))
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)
    result = bench.run("doctor")
    assert result.code == 1
    assert "job_logs/1.log: of another owner than" in result.out


def test_a_claim_of_running_workers_is_left_alone(bench: Bench) -> None:
    leave_claim(bench)
    bench.run("worker-start", "--count", "1")
    try:
        assert bench.queue.attempts("1")[0].outcome == "crashed", "the start put it right"
        os.unlink(bench.queue.home.control)
        result = bench.run("doctor", "--repair")
        assert result.code == 1
        assert "they run, but run/control was removed: stop them, and start them again" in result.out
    finally:
        bench.run("worker-stop", "--now")


def test_json(bench: Bench) -> None:
    told = json.loads(bench.run("doctor", "--json").out)
    assert told["healthy"] is True
    checks = {each["check"] for each in told["checks"]}
    expected = {"home", "disk space", "settings", "database", "workers", "claims", "PID files", "logs", "clock"}
    assert checks == expected | {"containment"}
    leave_pid_file(bench)
    told = json.loads(bench.run("doctor", "--json").out)
    assert [each["check"] for each in told["checks"] if not each["ok"]] == ["PID files"]
    assert told["healthy"] is False


def test_without_a_queue(bench: Bench) -> None:
    assert bench.run("doctor", "--db", "other/queuectl.db").code == 3
    assert not Path("other").exists()
