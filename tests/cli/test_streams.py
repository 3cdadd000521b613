"""Pipes that close, disks that are full, interrupts: as real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from program import PROGRAM, Bench, environment, start


def shell(bench: Bench, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line in which ``$Q`` is the program."""
    env = environment(Q=" ".join(PROGRAM))
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=bench.directory,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def test_reader_that_has_seen_enough(bench: Bench) -> None:
    bench.queue.enqueue_many([{"command": f"echo {'x' * 1000}"}] * 300)
    for command in ("list", "list --json"):
        done = shell(bench, f"$Q {command} | head -n 1")
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "list --json",
        "status",
        "config get max_retries",
        "worker-status --json",
        "--help",
        "list -h",
        "--version",
    ],
)
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written(bench: Bench, command: str, where: str) -> None:
    done = shell(bench, f"$Q {command} {where}")
    assert done.returncode == 1
    assert done.stderr.startswith("queuectl: error: cannot write to standard output")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_enqueue_that_cannot_tell_the_id_accepts_nothing(bench: Bench, where: str) -> None:
    done = shell(bench, f"$Q enqueue --command true {where}")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert bench.queue.jobs() == []


def test_no_stdin_and_no_stderr_at_all(bench: Bench) -> None:
    assert shell(bench, "$Q enqueue --command true <&- 2>&-").stdout == "1\n"
    assert shell(bench, "$Q enqueue --job-file - <&-").returncode == 2
    assert shell(bench, "$Q show nobody 2>&-").returncode == 3
    assert [job.command for job in bench.queue.jobs()] == ["true"]


def test_any_locale_prints_any_text(bench: Bench) -> None:
    bench.queue.enqueue("echo 日本語")
    done = shell(bench, "LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 $Q list --json")
    assert json.loads(done.stdout)[0]["command"] == "echo 日本語"
    assert shell(bench, "LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 $Q list").returncode == 0


def test_bare_program_and_its_name(bench: Bench) -> None:
    done = bench.execute("--version")
    assert done.out.split()[0] == "queuectl"
    assert bench.execute("-h").out.startswith("Usage: queuectl [OPTIONS]")
    assert bench.execute("list", "-h").out == bench.execute("list", "--help").out
    assert bench.execute().out == bench.execute("status").out


def test_interrupted_wait_leaves_the_job(bench: Bench) -> None:
    process = start(bench.directory, "enqueue", "--wait", "--command", "true")
    assert process.stdout is not None
    assert process.stdout.readline() == b"1\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert b"Traceback" not in err
    assert bench.queue.get("1").state == "pending"


def test_wait_ends_with_the_jobs(bench: Bench) -> None:
    bench.queue.enqueue("true", max_retries=0)
    process = start(bench.directory, "wait", "1")
    time.sleep(0.2)
    bench.play("failed", exit_code=42)
    assert process.wait(20) == 42


def test_wait_out_of_time(bench: Bench) -> None:
    bench.queue.enqueue("true")
    started = time.monotonic()
    assert bench.run("wait", "--timeout", "0.3").code == 124
    assert 0.3 <= time.monotonic() - started < 5


def test_cancel_waits_until_the_job_is_gone(bench: Bench) -> None:
    bench.queue.enqueue("true")
    claim = bench.store.claim("worker-1", 2**52)
    assert claim is not None
    assert bench.run("cancel", "1").code == 0
    process = start(bench.directory, "cancel", "--wait", "1")
    time.sleep(0.3)
    assert process.poll() is None
    from queuectl.model import Outcome
    from queuectl.retry import Verdict

    bench.store.finish(claim, Outcome("cancelled", signal=15), Verdict("cancelled"), 2**52, 2**52)
    assert process.wait(20) == 0


def test_logs_follow_a_job_to_its_end(bench: Bench) -> None:
    bench.queue.enqueue("true", max_retries=0)
    process = start(bench.directory, "logs", "-f", "1")
    assert process.stdout is not None
    claim = bench.claim()
    log = Path(bench.queue.home.log("1"))
    for line in (b"one\n", b"two\n"):
        with log.open("ab") as file:
            file.write(line)
        assert process.stdout.readline() == line
    bench.finish(claim, "failed", b"three", exit_code=1)
    assert process.stdout.read() == b"three"
    assert process.wait(20) == 0


def test_followed_logs_are_interrupted_quietly(bench: Bench) -> None:
    bench.queue.enqueue("true")
    bench.claim()
    Path(bench.queue.home.log("1")).write_bytes(b"one\n")
    process = start(bench.directory, "logs", "-f", "1")
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    os.kill(process.pid, signal.SIGINT)
    assert process.communicate(timeout=20) == (b"", b"")
    assert process.returncode == 130


def test_followed_logs_end_when_nobody_reads_them(bench: Bench) -> None:
    bench.queue.enqueue("true")
    bench.claim()
    Path(bench.queue.home.log("1")).write_bytes(b"one\n")
    done = shell(bench, "$Q logs -f 1 | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n", "")


def test_a_slow_producer_delays_nobody(bench: Bench) -> None:
    process = start(bench.directory, "enqueue", "--job-file", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b'{"command": "a"}\n')
    process.stdin.flush()
    time.sleep(0.3)
    assert bench.run("enqueue", "--command", "b").out == "1\n"
    out, _ = process.communicate(b'{"command": "c"}\n', timeout=20)
    assert out == b"2\n3\n"


def test_enqueue_returns_the_exit_code_of_a_real_job(bench: Bench) -> None:
    bench.queue.change_setting("kill_grace", 0.2)
    bench.queue.change_setting("max_retries", 0)
    assert bench.execute("worker-start", "--count", "1").code == 0
    try:
        for command, code in (("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)):
            result = bench.run("enqueue", "--wait", "--command", command)
            assert (result.code, len(result.lines)) == (code, 1)
        assert bench.run("enqueue", "--wait", "--timeout", "0.1", "--command", "sleep 60").code == 124
        assert bench.run("enqueue", "--wait", "--cwd", "/nowhere", "--command", "true").code == 125
        told = json.loads(bench.run("enqueue", "--wait", "--json", "--", "echo", "a  b").out)
        assert told["state"] == "completed"
        assert bench.run("logs", told["id"]).out == "a  b\n"
        batch = b'{"command": "true"}\n{"command": "false"}\n'
        assert bench.run("enqueue", "--wait", "--job-file", "-", stdin=batch).code == 1
    finally:
        assert bench.run("worker-stop", "--now").code == 0
