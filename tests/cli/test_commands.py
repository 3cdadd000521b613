"""What the commands print, and the exit codes that tell how jobs ended."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from program import Bench, Result, call

from queuectl import Queue, control, launch, pruning, shutdown
from queuectl.clock import SECOND, SYSTEM_CLOCK
from queuectl.model import Outcome
from queuectl.retry import Verdict
from queuectl.settings import KEYS


def test_init_prints_the_path_and_is_idempotent(elsewhere: Path) -> None:
    for _ in range(2):
        assert call("init").out == f"{elsewhere}/queuectl.db\n"
    assert json.loads(call("--json", "init", "sub/q.db").out) == {"database": f"{elsewhere}/sub/q.db"}
    assert call("init", "--db", "sub/q.db").out == f"{elsewhere}/sub/q.db\n"
    assert call("--db", "nowhere.db", "list", "--db", "sub/q.db").code == 0


def test_init_says_how_a_queue_is_used_that_is_not_found_by_itself(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hint = "queuectl: only a queuectl.db is found by itself: use this queue with --db {}, or set QUEUECTL_DB_PATH to its path\n"
    assert call("init", "builds").err == hint.format("builds")
    assert call("init", "--db", f"{elsewhere}/a b/q.db").err == hint.format(f"'{elsewhere}/a b/q.db'")
    assert call("enqueue", "--db", "a b/q.db", "--command", "true").out == "1\n"
    assert call("init", "c/queuectl.db").err == ""
    monkeypatch.setenv("QUEUECTL_DB_PATH", str(elsewhere / "builds"))
    assert call("init").err == call("init", "builds").err == ""
    assert call("init", "a b/q.db").err == hint.format("'a b/q.db'")
    assert call("enqueue", "--command", "true").out == "1\n"


@pytest.mark.parametrize("args", [["status", "--json"], ["--json", "status"], ["--json"]])
def test_status_as_json(bench: Bench, args: list[str]) -> None:
    bench.ended("failed", exit_code=1, reason="exit code 1")
    bench.queue.enqueue("true", id="next")
    bench.queue.enqueue("true", id="later", delay=3600)
    told = json.loads(bench.run(*args).out)
    assert told["jobs"] == {"pending": 2, "processing": 0, "completed": 0, "dead": 1, "cancelled": 0}
    assert told["workers"]["running"] == 0
    assert told["oldest_waiting"]["id"] == "next"
    assert told["next_scheduled"]["id"] == "later"
    assert told["database"] == bench.queue.home.database


def test_status_tells_what_is_due_as_waiting(bench: Bench) -> None:
    """Whether a worker has noticed yet that its time has come, or there is none."""
    bench.queue.enqueue("false", id="retried")
    claim = bench.store.claim("worker-1", SYSTEM_CLOCK.now())
    assert claim is not None
    long_ago = SYSTEM_CLOCK.now() - 100 * SECOND
    bench.store.finish(claim, Outcome("failed", exit_code=1), Verdict("pending", 40), long_ago, long_ago)
    told = json.loads(bench.run("status", "--json").out)
    assert (told["oldest_waiting"]["id"], told["next_scheduled"]) == ("retried", None)
    text = bench.run("status").out
    assert re.search(r"^oldest waiting  retried, waits 1m 0\ds: false$", text, re.MULTILINE)
    assert "next scheduled" not in text


def test_status_tells_what_is_held_or_blocked(bench: Bench) -> None:
    bench.queue.enqueue_many([{"command": "true", "id": each} for each in ("a", "b", "c")])
    bench.queue.hold("a", "b")
    bench.queue.enqueue("true", after="b")
    bench.queue.enqueue("true", after="b", id="other")
    bench.queue.hold("other")
    assert "jobs            5 pending (3 held, 1 blocked), 0 processing" in bench.run("status").out
    told = json.loads(bench.run("status", "--json").out)
    assert (told["jobs"]["pending"], told["held"], told["blocked"]) == (5, 3, 1)
    assert "jobs     5 pending (3 held, 1 blocked), 0 processing" in bench.run("watch").out
    bench.queue.release("a", "b", "other")
    bench.queue.cancel("b")
    told = json.loads(bench.run("status", "--json").out)
    assert (told["jobs"]["pending"], told["held"], told["blocked"]) == (2, 0, 0)
    assert "2 pending, 0 processing" in bench.run("status").out


def test_status_tells_what_to_do_next(bench: Bench) -> None:
    assert "queuectl enqueue" in bench.run().out
    bench.queue.enqueue("true", max_retries=0)
    assert "queuectl worker-start" in bench.run("status").out
    bench.play("failed", exit_code=1)
    assert "queuectl dlq list" in bench.run("status").out


def test_list_in_a_pipe_is_plain_and_whole(bench: Bench) -> None:
    command = "echo " + "long " * 60 + "\x1b[31m\n"
    bench.queue.enqueue(command, id="one")
    bench.queue.enqueue("true", id="two", delay=3600)
    result = bench.run("list")
    header, first, second = result.lines
    assert header.split() == ["ID", "STATE", "ATTEMPTS", "WHEN", "COMMAND"]
    assert first.endswith(r"\x1b[31m\n")
    assert first.count("long") == 60
    assert "in 59m" in second or "in 1h" in second
    assert "\x1b" not in result.out


def test_list_as_json_does_not_change_by_the_clock(bench: Bench) -> None:
    assert json.loads(bench.run("list", "--json").out) == []
    for delay in (0, 0.2):
        bench.queue.enqueue("echo 'ä\x9b'", delay=delay)
    first = bench.run("list", "--json")
    time.sleep(0.25)
    assert bench.run("list", "--json").out == first.out
    assert json.loads(first.out) == [job.as_dict() for job in bench.queue.jobs()]
    assert "\x9b" not in first.out


def test_list_of_some(bench: Bench) -> None:
    bench.ended("succeeded")
    bench.ended("failed", exit_code=1)
    bench.queue.enqueue("true")
    bench.queue.enqueue("true")
    bench.queue.cancel("4")

    def ids(*args: str) -> list[str]:
        return [job["id"] for job in json.loads(bench.run("list", "--json", *args).out)]

    assert ids() == ["1", "2", "3", "4"]
    assert ids("--state", "done,failed") == ["1", "2"]
    assert ids("--state", "QUEUED", "--state", "cancelled") == ["3", "4"]
    assert ids("--state", "dead") == ids("--state", "failed") == ["2"]
    assert ids("--state", "running") == []
    assert ids("--limit", "2") == ["1", "2"]
    assert ids("--limit", "0") == []


def test_show_tells_all_attempts(bench: Bench) -> None:
    bench.queue.enqueue("echo one\necho two", id="a", max_retries=1, env={"K": "v"})
    bench.play("timed_out", signal=15, reason="still ran after its time of 5.0s", leftover=("sudo sleep (77)",))
    told = json.loads(bench.run("show", "a", "--json").out)
    assert [attempt["outcome"] for attempt in told["attempt_history"]] == ["timed_out"]
    assert told["attempt_history"][0]["leftover"] == ["sudo sleep (77)"]
    text = bench.run("show", "a").out
    for expected in ("echo one\n", "echo two\n", "K=v", "1 of at most 2", "timed_out", "sudo sleep (77)"):
        assert expected in text


def field(shown: str, name: str) -> str:
    """The value of one line of ``show``."""
    (line,) = [line for line in shown.splitlines() if line.startswith(f"{name}  ")]
    return line.removeprefix(name).strip()


def test_show_of_a_job_that_runs_again_does_not_tell_what_came_before(bench: Bench) -> None:
    bench.queue.enqueue("true", max_retries=1)
    bench.play("crashed", reason="its worker died")
    assert field(bench.run("show", "1").out, "state") == "pending, after: its worker died"
    assert bench.store.claim("worker-1", SYSTEM_CLOCK.now() + 10 * SECOND) is not None
    with control.take_lock(bench.queue.home):
        assert field(bench.run("show", "1").out, "state") == "processing"


def test_show_tells_of_attempts_before_a_retry(bench: Bench) -> None:
    job_id = bench.ended("failed", exit_code=1)
    assert field(bench.run("show", job_id).out, "attempts") == "1 of at most 1"
    bench.run("retry", job_id)
    assert field(bench.run("show", job_id).out, "attempts") == "0 of at most 1 (1 in all)"
    bench.play("failed", exit_code=1)
    assert field(bench.run("show", job_id).out, "attempts") == "1 of at most 1 (2 in all)"


@pytest.mark.parametrize(
    ("setting", "own", "shown"),
    [
        ("0", None, "none (the setting job_timeout)"),
        ("10m", None, "10m 00s (the setting job_timeout)"),
        ("10m", 0, "none"),
        ("10m", 90, "1m 30s"),
    ],
)
def test_show_tells_the_timeout_that_holds(bench: Bench, setting: str, own: float | None, shown: str) -> None:
    bench.queue.change_setting("job_timeout", setting)
    bench.queue.enqueue("true", timeout=own)
    assert field(bench.run("show", "1").out, "timeout") == shown


def test_cancel_and_retry(bench: Bench) -> None:
    bench.queue.enqueue("true")
    bench.queue.enqueue("true")
    done = bench.run("cancel", "1", "2", "2")
    assert (done.out, done.err, bench.queue.counts()["cancelled"]) == ("", "queuectl: 2 jobs cancelled\n", 2)
    bench.queue.enqueue("true")
    again = bench.run("cancel", "1", "3")
    assert (again.code, again.err) == (0, "queuectl: 1 job cancelled (1 was cancelled already)\n")
    assert bench.run("cancel", "2", "3").err == "queuectl: 0 jobs cancelled (2 were cancelled already)\n"
    told = json.loads(bench.run("retry", "1", "--json").out)
    assert [(job["id"], job["state"]) for job in told] == [("1", "pending")]
    bench.play("succeeded")
    result = bench.run("cancel", "2", "1")
    assert (result.code, "completed" in result.err) == (4, True)
    assert bench.run("retry", "1", "2").err == "queuectl: 2 jobs put back\n"


def test_dead_letter_queue(bench: Bench) -> None:
    bench.ended("failed", exit_code=9, reason="exit code 9")
    bench.ended("not_started", reason="no such directory: /nowhere")
    bench.ended("succeeded")
    assert [job["id"] for job in json.loads(bench.run("dlq", "list", "--json").out)] == ["1", "2"]
    assert "no such directory: /nowhere" in bench.run("dlq").out
    assert bench.run("dlq", "retry", "3").code == 4
    assert bench.run("dlq", "retry", "1").code == 0
    assert bench.queue.get("1").attempts == 0
    assert [job["id"] for job in json.loads(bench.run("--json", "dlq", "retry", "--all").out)] == ["2"]
    assert bench.run("dlq", "retry", "--all").code == 0


def test_settings(bench: Bench) -> None:
    assert bench.run("config", "get", "max_retries").out == "3\n"
    assert bench.run("config", "set", "max-retries", "5").code == 0
    assert bench.run("config", "get", "max-retries").out == "5\n"
    assert bench.run("config", "set", "backoff_base", "1.5").code == 0
    assert bench.run("config", "get", "backoff_base").out == "1.5\n"
    assert json.loads(bench.run("config", "set", "log_max_bytes", "1M", "--json").out) == {"log_max_bytes": 1048576}
    assert json.loads(bench.run("config", "get", "log_max_bytes", "--json").out) == 1048576
    assert bench.run("config", "unset", "max_retries").code == 0
    told = json.loads(bench.run("config", "list", "--json").out)
    assert (told["max_retries"], told["backoff_base"], list(told)) == (3, 1.5, list(KEYS))
    text = bench.run("config").out
    assert "backoff_base ** attempts" in text
    assert re.search(r"^log_max_bytes +1 MiB +1 GiB  ", text, re.MULTILINE)


@pytest.mark.parametrize("bad", ['"x"', "-1", "null", "NaN"])
@pytest.mark.parametrize(("change", "left"), [("set max-retries 4", {"max_retries": 4}), ("unset max_retries", {})])
def test_a_bad_setting_is_mended_as_its_error_says(bench: Bench, bad: str, change: str, left: dict[str, int]) -> None:
    file = Path(bench.queue.home.settings)
    file.write_text(f'{{"max_retries": {bad}, "kill_grace": 7}}')
    assert bench.run("config", "list").code == 2
    assert bench.run("config", *change.split()).code == 0
    assert json.loads(file.read_text()) == {**left, "kill_grace": 7}
    assert bench.run("enqueue", "--command", "true").code == 0


def test_what_is_no_setting_is_taken_out_of_the_file(bench: Bench) -> None:
    file = Path(bench.queue.home.settings)
    file.write_text('{"foo": 1, "max_retries": "x", "bar-baz": 2, "kill_grace": 7}')
    refused = bench.run("config", "set", "kill_grace", "8")
    assert (refused.code, "'queuectl config unset foo' takes it out" in refused.err) == (2, True)
    done = bench.run("config", "unset", "foo")
    assert done.code == 0
    assert f"queuectl: foo, which is no setting, was taken out of {file}\n" in done.err
    assert "more is to be mended" in done.err
    assert "'queuectl config set max_retries VALUE'" in done.err
    assert "'queuectl config unset bar-baz'" in bench.run("config", "set", "max_retries", "5").err
    assert json.loads(bench.run("config", "unset", "bar-baz", "--json").out) == {"bar-baz": None}
    assert json.loads(file.read_text()) == {"max_retries": 5, "kill_grace": 7}
    assert "more is to be mended" not in bench.run("config", "set", "kill_grace", "8").err
    assert bench.run("config", "unset", "foo").code == 2


OUTCOMES: list[tuple[str, dict[str, Any], int]] = [
    ("succeeded", {"exit_code": 0}, 0),
    ("failed", {"exit_code": 7}, 7),
    ("failed", {"exit_code": 255}, 255),
    ("signaled", {"signal": 9}, 137),
    ("timed_out", {"signal": 15}, 124),
    ("timed_out", {"exit_code": 3}, 124),
    ("crashed", {}, 125),
    ("crashed", {"signal": 9}, 125),
    ("crashed", {"exit_code": 7}, 125),
    ("not_started", {"reason": "no such directory"}, 125),
    ("cancelled", {"signal": 15}, 143),
]


@pytest.mark.parametrize(("kind", "how", "code"), OUTCOMES)
def test_wait_for_one_returns_how_it_ended(bench: Bench, kind: str, how: dict[str, Any], code: int) -> None:
    job_id = bench.ended(kind, **how)
    result = bench.run("wait", job_id, job_id)
    assert (result.code, result.out) == (code, "")
    where = "why" if kind == "not_started" else "logs"
    assert (f"queuectl {where} {job_id}" in result.err) == (code != 0)


def test_wait_for_a_job_cancelled_before_its_start(bench: Bench) -> None:
    bench.queue.enqueue("true")
    bench.queue.cancel("1")
    assert bench.run("wait", "1").code == 143


def test_wait_for_several_or_all(bench: Bench) -> None:
    assert bench.run("wait").code == 0
    bench.ended("succeeded")
    bench.ended("succeeded")
    bench.ended("failed", exit_code=7)
    assert bench.run("wait", "1", "2").code == 0
    assert bench.run("wait", "1", "3").code == 1
    assert bench.run("wait").code == 1
    assert "also those that ended before" in bench.run("wait").err
    assert "also those that ended before" not in bench.run("wait", "1", "3").err
    told = json.loads(bench.run("wait", "1", "3", "--json").out)
    assert [job["state"] for job in told] == ["completed", "dead"]


def test_logs_of_a_job_without_any(bench: Bench) -> None:
    bench.queue.enqueue("true")
    result = bench.run("logs", "1")
    assert (result.code, result.out) == (0, "")
    assert "has not started yet" in result.err


@pytest.mark.parametrize("args", [[], ["-f"]], ids=["", "-f"])
def test_logs_of_a_job_that_never_started(bench: Bench, args: list[str]) -> None:
    bench.queue.enqueue("true")
    bench.queue.cancel("1")
    result = bench.run("logs", *args, "1")
    assert (result.code, result.out) == (0, "")
    assert result.err == "queuectl: job 1 has written nothing: it was cancelled before it started\n"
    result = bench.run("logs", *args, "1", "--attempt", "1")
    assert result.code == 3
    assert "job 1 has no attempt 1 (it was cancelled before it started)" in result.err


def test_logs_of_a_silent_job(bench: Bench) -> None:
    bench.ended()
    for args in ([], ["-f"]):
        assert bench.run("logs", *args, "1").err == "queuectl: job 1 has written nothing\n"


def test_logs_say_when_output_is_missing(written: Bench) -> None:
    log = Path(written.queue.home.log("1"))
    there = log.read_bytes()
    missing = f"of the output of job 1 are missing from {log.parent}: 'queuectl doctor' says more\n"

    def ask(*args: str) -> tuple[int, str, str]:
        result = written.run("logs", *args, "1")
        return result.code, result.out, result.err.removeprefix("queuectl: ")

    assert f" {log}\n" in written.run("show", "1").out
    log.unlink()
    for args in ((), ("-f",), ("-n", "1")):
        assert ask(*args) == (1, "", f"error: 18 bytes {missing}")
    code, out, err = ask("--json")
    assert (code, json.loads(out)["text"], err) == (1, "", f"error: 18 bytes {missing}")
    assert ask("--attempt", "1") == (1, "", f"error: 8 bytes {missing}")
    assert ask("--attempt", "2")[0] == 0, "it has written nothing"
    assert f" missing: {log} (see 'queuectl doctor')" in written.run("show", "1").out
    log.write_bytes(there[:10])
    assert ask() == (0, "one\ntwo\nth", f"8 bytes {missing}")
    assert ask("--attempt", "1") == (0, "one\ntwo\n", "")
    assert ask("--attempt", "3") == (0, "th", f"8 bytes {missing}")
    log.write_bytes(there)
    assert ask() == (0, there.decode(), "")
    log.unlink()
    written.run("doctor", "--repair")
    lost = "error: the output of job 1 is lost, as 'queuectl doctor --repair' has noted\n"
    assert (ask(), ask("--attempt", "1")) == ((1, "", lost), (1, "", lost))


@pytest.fixture
def written(bench: Bench) -> Bench:
    """A job ``1`` with three attempts: one with output, one without, one with more."""
    bench.queue.enqueue("true", max_retries=0)
    bench.play("failed", b"one\ntwo\n", exit_code=1)
    bench.queue.retry("1")
    bench.play("crashed")
    bench.queue.retry("1")
    bench.play("failed", b"three\nfour", exit_code=1)
    return bench


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], "one\ntwo\nthree\nfour"),
        (["-n", "1"], "four"),
        (["-n", "2"], "three\nfour"),
        (["-n", "3"], "two\nthree\nfour"),
        (["-n", "4"], "one\ntwo\nthree\nfour"),
        (["-n", "99"], "one\ntwo\nthree\nfour"),
        (["-n", "0"], ""),
        (["--attempt", "1"], "one\ntwo\n"),
        (["--attempt", "1", "-n", "1"], "two\n"),
        (["--attempt", "2"], ""),
        (["--attempt", "3"], "three\nfour"),
        (["-f"], "one\ntwo\nthree\nfour"),
        (["-f", "-n", "1", "--attempt", "1"], "two\n"),
    ],
)
def test_logs(written: Bench, args: list[str], expected: str) -> None:
    result = written.run("logs", *args, "1")
    assert (result.code, result.out) == (0, expected)


def test_logs_as_json(written: Bench) -> None:
    told = json.loads(written.run("logs", "--json", "--attempt", "3", "1").out)
    assert told == {"id": "1", "attempt": 3, "text": "three\nfour", "dropped_bytes": 0}


def test_logs_of_the_attempt_that_runs(written: Bench) -> None:
    written.queue.retry("1")
    assert written.store.claim("worker-1", 2**52) is not None
    with Path(written.queue.home.log("1")).open("ab") as file:
        file.write(b"\nfive\n")
    assert written.run("logs", "--attempt", "4", "1").out == "\nfive\n"
    assert written.run("logs", "--attempt", "3", "1").out == "three\nfour"


def test_logs_pass_bytes_through_a_pipe(bench: Bench) -> None:
    raw = bytes(range(256)) * 500
    bench.ended(log=raw)
    import subprocess

    from program import PROGRAM, environment

    done = subprocess.run([*PROGRAM, "logs", "1"], capture_output=True, env=environment(), check=True)
    assert done.stdout == raw


def test_logs_skip_what_was_dropped_and_say_how_much(bench: Bench) -> None:
    bench.ended(log=b"begin\n")
    path = Path(bench.queue.home.log("1"))
    with path.open("r+b") as file:
        file.truncate(64 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"end 1\nend 2\n")
    result = bench.run("logs", "1")
    assert result.out.replace("\0", "") == "begin\nend 1\nend 2\n"
    assert len(result.out) < 100_000
    assert "bytes of the output were dropped" in result.err
    assert bench.run("logs", "-n", "1", "1").out == "end 2\n"
    assert json.loads(bench.run("logs", "--json", "1").out)["dropped_bytes"] > 60 << 30


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_logs_read_nothing_else_in_place_of_a_log(bench: Bench, kind: str) -> None:
    bench.ended()
    path = Path(bench.queue.home.log("1"))
    if kind == "link":
        path.symlink_to("/etc/passwd")
    else:
        os.mkfifo(path)
    result = bench.run("logs", "1")
    assert (result.code, result.out) == (1, "")
    assert "cannot read the log" in result.err


def test_a_wait_that_gives_up_says_whom_for(bench: Bench) -> None:
    bench.queue.enqueue_many([{"command": "true", "id": each, "batch": "b"} for each in "xy"])
    one = bench.run("wait", "x", "x", "--timeout", "0.01")
    assert (one.code, one.err) == (124, "queuectl: error: job x had not ended after 0s; it goes on\n")
    for words in ((), ("x", "y"), ("--batch", "b")):
        several = bench.run("wait", *words, "--timeout", "0")
        assert (several.code, several.err) == (124, "queuectl: error: not all had ended after 0s; they go on\n")


def interrupted(*args: Any, **options: Any) -> Any:
    """In the place of something that is interrupted."""
    raise KeyboardInterrupt


def test_an_interrupted_prune_says_how_much_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_breathe", interrupted)
    assert bench.run("prune", "--older-than", "0").err == (
        "queuectl: interrupted; what was pruned by then stays so, and the same command goes on with the rest\n"
    )
    bench.ended()
    bench.ended()
    result = bench.run("prune", "--older-than", "0")
    assert (result.code, bench.queue.jobs()) == (130, [])
    assert result.err == (
        "queuectl: interrupted; at least 2 jobs pruned by then, and the same command goes on with the rest\n"
    )


def test_an_enqueue_that_is_interrupted_as_it_adds_claims_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Queue, "add_checked", interrupted)
    result = bench.run("enqueue", "--command", "true")
    assert (result.code, result.out) == (130, "")
    assert result.err == ("queuectl: interrupted; 'queuectl list' tells whether it was accepted, whole or not at all\n")


def test_a_wait_for_what_never_started_points_to_where_more_is_said(bench: Bench) -> None:
    bench.queue.enqueue("true", id="x")
    bench.queue.cancel("x")
    result = bench.run("wait", "x")
    assert (result.code, result.err.rpartition(": ")[2]) == (143, "see 'queuectl why x'\n")
    lost = bench.ended("not_started", reason="no such directory: /gone")
    result = bench.run("wait", lost)
    assert (result.code, result.err.rpartition(": ")[2]) == (125, f"see 'queuectl why {lost}'\n")
    assert bench.run("why", lost).out == (
        f"dead: no such directory: /gone, after 1 of at most 1 attempts; 'queuectl retry {lost}' puts it back\n"
    )


def test_worker_commands_when_none_run(bench: Bench) -> None:
    result = bench.run("worker-stop")
    assert (result.code, result.out, "no workers are running" in result.err) == (0, "", True)
    assert json.loads(bench.run("worker-stop", "--json").out) == {"stopped": False}
    assert bench.run("worker-status").code == 3
    result = bench.run("worker-status", "--json")
    assert result.code == 3
    assert json.loads(result.out) == {"running": False, "supervisor": None, "workers": []}


def test_worker_commands_hand_their_options_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(launch, "start", lambda home, *rest: calls.append(rest) or 4711)
    monkeypatch.setattr(launch, "run", lambda home, *rest: calls.append(rest) or 130)
    monkeypatch.setattr(shutdown, "stop", lambda home, *rest, on_asked: calls.append(rest) or True)
    assert bench.run("worker-start", "--count", "3", "--mode", "thread").out == "4711\n"
    assert json.loads(bench.run("worker-start", "--json", "--count", "1").out)["pid"] == 4711
    assert bench.run("worker-run", "--drain", "--count", "512").code == 130
    assert bench.run("worker-stop", "--timeout", "2m").code == 0
    assert bench.run("worker-stop", "--now").code == 0
    assert calls == [
        (3, "thread", False),
        (1, "process", False),
        (512, "process", True),
        (120.0, False),
        (None, True),
    ]


def test_worker_status_shows_what_runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = {
        "name": "worker-1",
        "pid": 5,
        "job": "j",
        "attempt": 2,
        "started_at": "2026-01-01T00:00:00Z",
        "state": "busy",
    }
    told = {
        "running": True,
        "supervisor": {"pid": 4, "started_at": "2026-01-01T00:00:00Z", "mode": "process", "count": 1},
        "workers": [worker],
    }
    monkeypatch.setattr(control, "status", lambda home: told)
    assert json.loads(bench.run("worker-status", "--json").out) == told
    result: Result = bench.run("worker-status")
    assert result.code == 0
    assert "supervisor 4, process mode" in result.lines[0]
    assert result.lines[-1].split()[:5] == ["worker-1", "5", "busy", "j", "2"]
    assert "1 running, 1 busy (supervisor 4, process mode)" in bench.run("status").out
