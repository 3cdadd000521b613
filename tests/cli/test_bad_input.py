"""Every mistake that we could think of: one clear line, the right exit code, and nothing changed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from farm import IS_ROOT
from program import PROGRAM, Bench, Result, call, environment, execute, execute_as_ordinary_user

from queuectl import Queue

BINARY = bytes(range(256))
LONG = "a" * 200


@dataclass(frozen=True)
class Mistake:
    """What is typed, what comes of it, and what the message must say."""

    args: tuple[str | bytes, ...]
    code: int
    says: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    stdin: bytes = b""


def typed(line: str, code: int, says: str, **more: Any) -> Mistake:
    return Mistake(tuple(line.split()), code, says, **more)


def job_file(content: str | bytes, says: str, code: int = 2) -> Mistake:
    data = content if isinstance(content, bytes) else content.encode()
    return Mistake(("enqueue", "--job-file", "jobs.json"), code, says, files={"jobs.json": data})


def entry(text: str, says: str, code: int = 2) -> Mistake:
    return job_file(text, says, code)


COMMAND_LINES = {
    "no such command": typed("frobnicate", 2, "no command 'frobnicate'"),
    "mistyped command": typed("enqeue --command true", 2, "did you mean enqueue"),
    "the word of another tool": typed("ls", 2, "did you mean list"),
    "the removal of what is done": typed("rm", 2, "did you mean prune?"),
    "the delete of another tool": typed("delete", 2, "did you mean prune?"),
    "the remove of another group": typed("config delete", 2, "there are get, list, set, unset"),
    "the option of another tool": typed("enqueue --name a --command true", 2, "did you mean --id?"),
    "another option of another tool": typed("enqueue --depends-on=a --command true", 2, "did you mean --after?"),
    "a label": typed("enqueue --label a --command true", 2, "did you mean --batch?"),
    "an option that is not for this command": typed("wait --name a", 2, "No such option"),
    "mistyped subcommand": typed("dlq lst", 2, "did you mean list"),
    "no such option": typed("list --stat dead", 2, "--stat"),
    "option without value": typed("list --limit", 2, "--limit"),
    "argument too many": typed("show 1 2", 2, "2"),
    "argument missing": typed("show", 2, "ID"),
    "cancel without id": typed("cancel", 2, "ID"),
    "retry without id": typed("retry", 2, "ID"),
    "dlq retry without id": typed("dlq retry", 2, "--all"),
    "dlq retry with both": typed("dlq retry --all taken", 2, "not both"),
    "argv that is not UTF-8": Mistake(("enqueue", "--command", b"echo \xff"), 2, "not UTF-8"),
    "id that is not UTF-8": Mistake(("show", b"\xff"), 2, "not UTF-8"),
    "empty --db": Mistake(("--db", "", "list"), 2, "not a file's path"),
    "--db with a slash at the end": typed("--db nowhere/ list", 2, "names a directory"),
    "two paths for init": typed("--db a.db init b.db", 2, "once"),
    "escapes in a name": Mistake(("show", "\x1b[31mred\n"), 3, r"\x1b[31mred\n"),
    "escapes in a command": Mistake(("\x1b[31m\n",), 2, r"\x1b[31m"),
}

ENQUEUE = {
    "nothing to enqueue": typed("enqueue", 2, "nothing to enqueue"),
    "only --": typed("enqueue --", 2, "nothing to enqueue"),
    "two commands": typed("enqueue --command true --command false", 2, "more than once"),
    "two sources": typed("enqueue --command true -- true", 2, "exclude each other"),
    "command and file": typed("enqueue --command true --command-file f", 2, "exclude each other"),
    "command and job file": typed("enqueue --command true --job-file f", 2, "exclude each other"),
    "words without --": typed("enqueue echo hi", 2, "unexpected argument 'echo'"),
    "word before --": typed("enqueue echo -- hi", 2, "unexpected argument 'echo'"),
    "words with an option of their own": typed(
        "enqueue ls -la", 2, "unexpected argument 'ls': a command goes after --command"
    ),
    "words with a long option": typed("enqueue --wait git status --short", 2, "word by word after --"),
    "an option before the words": typed("enqueue --tmeout 5 ls", 2, "No such option"),
    "an option in the place of words": typed("enqueue -la", 2, "No such option"),
    "JSON as a word": Mistake(("enqueue", '{"command": "true"}'), 2, "unexpected argument"),
    "empty command": Mistake(("enqueue", "--command", ""), 2, "command: is empty"),
    "blank command": Mistake(("enqueue", "--command", " \n\t "), 2, "command: is empty"),
    "empty word": Mistake(("enqueue", "--", ""), 2, "is empty"),
    "command too long": Mistake(("enqueue", "--command-file", "f"), 2, "131071", {"f": b"x" * 131_072}),
    "id with a slash": typed("enqueue --id a/b --command true", 2, "id 'a/b' is not valid"),
    "id with dots": typed("enqueue --id ../../x --command true", 2, "is not valid"),
    "id with a dot first": typed("enqueue --id .hidden --command true", 2, "is not valid"),
    "id with a dash first": typed("enqueue --id -x --command true", 2, "is not valid"),
    "id of 200 characters": typed(f"enqueue --id {LONG} --command true", 2, "is not valid"),
    "id of 129 characters": typed(f"enqueue --id {LONG[:129]} --command true", 2, "is not valid"),
    "empty id": Mistake(("enqueue", "--id", "", "--command", "true"), 2, "id '' is not valid"),
    "id with a blank": Mistake(("enqueue", "--id", "a b", "--command", "true"), 2, "is not valid"),
    "id with a line end": Mistake(("enqueue", "--id", "a\n", "--command", "true"), 2, "is not valid"),
    "id with an umlaut": Mistake(("enqueue", "--id", "ä", "--command", "true"), 2, "is not valid"),
    "id that exists": typed("enqueue --id taken --command true", 4, "job taken exists already"),
    "id and job file": typed("enqueue --id a --job-file f", 2, "--id"),
    "negative retries": typed("enqueue --max-retries -1 --command true", 2, "--max-retries: -1"),
    "retries in letters": typed("enqueue --max-retries many --command true", 2, "'many' is not a whole number"),
    "half a retry": typed("enqueue --max-retries 1.5 --command true", 2, "not a whole number"),
    "empty retries": Mistake(("enqueue", "--max-retries", "", "--command", "true"), 2, "not a whole number"),
    "too many retries": typed(f"enqueue --max-retries {'9' * 25} --command true", 2, "not between"),
    "far too many retries": typed(f"enqueue --max-retries {'9' * 5000} --command true", 2, "not a whole number"),
    "negative delay": typed("enqueue --delay -5 --command true", 2, "--delay: '-5' is not a duration"),
    "bad run-at": typed("enqueue --run-at tomorrow --command true", 2, "--run-at: 'tomorrow' is not a time"),
    "delay nan": typed("enqueue --delay nan --command true", 2, "not a duration"),
    "delay inf": typed("enqueue --delay inf --command true", 2, "not a duration"),
    "delay 1e400": typed("enqueue --delay 1e400 --command true", 2, "not a duration"),
    "delay too long": typed("enqueue --delay 99999999999d --command true", 2, "too long"),
    "delay of many digits": typed(f"enqueue --delay {'9' * 400} --command true", 2, "too long"),
    "delay in weeks": typed("enqueue --delay 2w --command true", 2, "not a duration"),
    "empty delay": Mistake(("enqueue", "--delay", "", "--command", "true"), 2, "not a duration"),
    "timeout nan": typed("enqueue --timeout nan --command true", 2, "--timeout: 'nan' is not a duration"),
    "timeout negative": typed("enqueue --timeout -1s --command true", 2, "not a duration"),
    "delay and run-at": typed("enqueue --delay 5 --run-at 2030-01-01 --command true", 2, "exclude each other"),
    "no such day": typed("enqueue --run-at 2030-02-30 --command true", 2, "not a time"),
    "no such hour": typed("enqueue --run-at 2030-01-01T25:00Z --command true", 2, "not a time"),
    "time in words": typed("enqueue --run-at tomorrow --command true", 2, "'tomorrow' is not a time"),
    "empty time": Mistake(("enqueue", "--run-at", "", "--command", "true"), 2, "not a time"),
    "time too early": typed("enqueue --run-at 0001-01-01 --command true", 2, "outside"),
    "time as a number": typed("enqueue --run-at 1893456000 --command true", 2, "not a time"),
    "env without =": typed("enqueue --env HOME --command true", 2, "NAME=VALUE"),
    "env without name": typed("enqueue --env =x --command true", 2, "--env: '' is not the name of a variable"),
    "empty env": Mistake(("enqueue", "--env", "", "--command", "true"), 2, "NAME=VALUE"),
    "empty cwd": Mistake(("enqueue", "--cwd", "", "--command", "true"), 2, "--cwd: '' is not a directory's path"),
}

FILES = {
    "job file missing": typed("enqueue --job-file nowhere.json", 2, "nowhere.json: No such file"),
    "job file is a directory": typed("enqueue --job-file /", 2, "Is a directory"),
    "job file without name": Mistake(("enqueue", "--job-file", ""), 2, "not a file's path"),
    "job file that never ends": typed("enqueue --job-file /dev/zero", 2, "binary"),
    "command file missing": typed("enqueue --command-file nowhere.sh", 2, "No such file"),
    "command file is a directory": typed("enqueue --command-file /", 2, "Is a directory"),
    "command file empty": typed("enqueue --command-file f", 2, "holds no command", files={"f": b""}),
    "command file blank": typed("enqueue --command-file f", 2, "holds no command", files={"f": b" \n\n"}),
    "command file binary": typed("enqueue --command-file f", 2, "f, line 2: is binary", files={"f": b"a\n\0"}),
    "command file not UTF-8": typed(
        "enqueue --command-file f", 2, "f, line 3: is not UTF-8", files={"f": b"a\nb\n\xff"}
    ),
    "command file with a BOM": typed("enqueue --command-file f", 2, "byte order mark", files={"f": b"\xef\xbb\xbfls"}),
    "command file that never ends": typed("enqueue --command-file /dev/zero", 2, "binary"),
    "command from empty stdin": typed("enqueue --command-file -", 2, "standard input: holds no command"),
    "jobs from empty stdin": typed("enqueue --job-file -", 2, "standard input: holds no job"),
    "bad line on stdin": typed(
        "enqueue --job-file -", 2, "standard input, line 2", stdin=b'{"command": "true"}\n{"command": }\n'
    ),
    "empty": job_file("", "holds no job"),
    "blank": job_file("\n \n", "holds no job"),
    "empty array": job_file("[]", "holds no job"),
    "binary": job_file(BINARY, "is binary"),
    "not UTF-8": job_file(b'{"command": "true"}\n{"command": "\xff"}', "line 2: is not UTF-8"),
    "with a BOM": job_file(b'\xef\xbb\xbf{"command": "true"}', "byte order mark"),
    "UTF-16": job_file('{"command": "true"}'.encode("utf-16"), "jobs.json"),
    "not JSON": job_file("command: true", "is not JSON"),
    "a shell script": job_file("#!/bin/sh\ntrue\n", "is not JSON"),
    "not closed": job_file('{"command": "true"', "is not JSON"),
    "an array not closed": job_file('[{"command": "true"}', "is not JSON"),
    "two arrays": job_file('[{"command": "true"}]\n[{"command": "true"}]', "line 2: is not JSON"),
    "two objects on a line": job_file('{"command": "true"} {"command": "true"}', "line 1: is not JSON"),
    "a comma too many": job_file('[{"command": "true"},]', "is not JSON"),
    "nested deeply": job_file('{"command": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    "an array nested deeply": job_file("[" * 100_000, "jobs.json"),
    "half-bad lines": job_file('{"command": "true"}\n\n{"command": ""}\n', "line 3: command: is empty"),
    "half-bad array": job_file('[{"command": "true"}, {"command": 1}]', "job 2: command: 1 is not text"),
    "bad line in the middle": job_file('{"command": "true"}\n{command}\n{"command": "true"}\n', "line 2: is not JSON"),
    "id that exists": job_file(
        '{"command": "true"}\n{"command": "true", "id": "taken"}', "jobs.json: job taken exists", 4
    ),
    "one id twice": job_file(
        '{"command": "true", "id": "a"}\n{"command": "true", "id": "a"}', "jobs.json: job a is there twice", 4
    ),
}

ENTRIES = {
    "a number": entry("5", "a job is an object"),
    "a string": entry('"true"', "a job is an object"),
    "null": entry("null", "a job is an object"),
    "array in an array": entry("[[]]", "job 1: a job is an object"),
    "no command": entry("{}", "needs a command"),
    "null command": entry('{"command": null}', "needs a command"),
    "true as a command": entry('{"command": true}', "command: true is not text"),
    "list as a command": entry('{"command": ["ls"]}', "is not text"),
    "NUL in a command": entry('{"command": "echo \\u0000"}', "NUL"),
    "half a surrogate": entry('{"command": "echo \\ud800"}', "not UTF-8"),
    "unknown key": entry('{"command": "true", "comand": "x"}', "unknown key 'comand'"),
    "mistyped key": entry('{"command": "true", "time-out": 1}', "in a job: did you mean 'timeout'?"),
    "key of another tool": entry('{"command": "true", "depends_on": ["a"]}', "in a job: did you mean 'after'?"),
    "name for id": entry('{"name": "a", "command": "true"}', "in a job: did you mean 'id'?"),
    "cmd for command": entry('{"cmd": "true"}', "in a job: did you mean 'command'?"),
    "key like none": entry('{"command": "true", "zzz": 1}', "in a job (known: after, after_any, attempts,"),
    "key in capitals": entry('{"Command": "true"}', "unknown key 'Command'"),
    "key twice": entry('{"command": "true", "command": "false"}', "line 1: the key 'command' is there twice"),
    "key twice inside": entry('{"command": "true", "env": {"A": "1", "A": "2"}}', "twice"),
    "id as a number": entry('{"command": "true", "id": 5}', "id 5 is not valid"),
    "true for a number": entry('{"command": "true", "max_retries": true}', "max_retries: true is not a whole"),
    "text for a number": entry('{"command": "true", "max_retries": "3"}', "not a whole number"),
    "float for a number": entry('{"command": "true", "max_retries": 3.0}', "not a whole number"),
    "negative": entry('{"command": "true", "max_retries": -1}', "not between"),
    "too large for the database": entry('{"command": "true", "max_retries": 99999999999999999999}', "not between"),
    "huge number": entry('{"command": "true", "max_retries": ' + "9" * 5000 + "}", "5000 digits is too large"),
    "delay negative": entry('{"command": "true", "delay": -1}', "delay: -1 is negative"),
    "delay NaN": entry('{"command": "true", "delay": NaN}', "NaN is not a number"),
    "delay Infinity": entry('{"command": "true", "delay": -Infinity}', "-Infinity is not a number"),
    "delay 1e400": entry('{"command": "true", "delay": 1e400}', "too long"),
    "delay true": entry('{"command": "true", "delay": true}', "not a duration"),
    "timeout as a list": entry('{"command": "true", "timeout": [1]}', "not a duration"),
    "delay and run_at": entry('{"command": "true", "delay": 1, "run_at": "2030-01-01"}', "exclude each other"),
    "run_at and next_run_at": entry(
        '{"command": "true", "next_run_at": "2030-01-01", "run_at": "2030-01-01"}', "say the same"
    ),
    "run_at as a number": entry('{"command": "true", "run_at": 5}', "run_at: 5 is not a time"),
    "impossible date": entry('{"command": "true", "run_at": "2030-13-01"}', "not a time"),
    "state processing": entry('{"command": "true", "state": "processing"}', "state: 'processing'"),
    "state unknown": entry('{"command": "true", "state": "new"}', "state: 'new'"),
    "attempts": entry('{"command": "true", "attempts": 1}', "attempts: 1"),
    "attempts false": entry('{"command": "true", "attempts": false}', "attempts: false"),
    "cwd as a number": entry('{"command": "true", "cwd": 5}', "cwd: 5"),
    "env as a list": entry('{"command": "true", "env": ["A=b"]}', 'env: ["A=b"] is not an object'),
    "env with a number": entry('{"command": "true", "env": {"A": 1}}', "the value of A is 1"),
    "env with = in a name": entry('{"command": "true", "env": {"A=B": "1"}}', "not the name of a variable"),
    "env with a NUL": entry('{"command": "true", "env": {"A": "\\u0000"}}', "NUL"),
    "escapes in a key": entry('{"command": "true", "\\u001b[31m": 1}', "unknown key"),
}

OTHERS = {
    "show of no job": typed("show nobody", 3, "no job nobody"),
    "logs of no job": typed("logs nobody", 3, "no job nobody"),
    "logs with a path": typed("logs ../../etc/passwd", 3, "no job"),
    "wait for no job": typed("wait nobody", 3, "no job nobody"),
    "wait, one of them no job": typed("wait taken nobody", 3, "no job nobody"),
    "cancel no job": typed("cancel nobody", 3, "no job nobody"),
    "cancel, one of them no job": typed("cancel taken nobody", 3, "no job nobody"),
    "retry no job": typed("retry nobody", 3, "no job nobody"),
    "retry of a waiting job": typed("retry taken", 4, "taken is pending"),
    "dlq retry of no job": typed("dlq retry nobody", 3, "no job nobody"),
    "dlq retry of a waiting job": typed("dlq retry taken", 4, "taken is pending"),
    "attempt that never was": typed("logs --attempt 7 taken", 3, "no attempt 7"),
    "attempt 0": typed("logs --attempt 0 taken", 2, "whole number, 1 or more"),
    "attempt -1": typed("logs --attempt -1 taken", 2, "whole number, 1 or more"),
    "-n -1": typed("logs -n -1 taken", 2, "-n: '-1'"),
    "-n x": typed("logs -n x taken", 2, "whole number, 0 or more"),
    "-f --json": typed("logs -f --json taken", 2, "exclude each other"),
    "state unknown": typed("list --state runing", 2, "did you mean running"),
    "state far off": typed("list --state xyz", 2, "there are pending, processing"),
    "state empty": Mistake(("list", "--state", ""), 2, "no state ''"),
    "one state of two unknown": typed("list --state dead,deed", 2, "no state 'deed'"),
    "limit negative": typed("list --limit -1", 2, "--limit: '-1'"),
    "limit nan": typed("list --limit nan", 2, "whole number"),
    "limit huge": typed(f"list --limit {'9' * 30}", 2, f"'{'9' * 30}' is too large: give at most {'9' * 18}"),
    "an option twice": typed("enqueue --id a --id b --command true", 2, "--id is given more than once: give one"),
    "an option twice, once with =": typed("list --limit=1 --limit 2", 2, "--limit is given more than once"),
    "an option of a subcommand twice": typed("group set g --limit 1 --limit 2", 2, "--limit is given more than once"),
    "the end of one twice": typed("cron add n @daily --tz UTC --tz UTC -- true", 2, "--tz is given more than once"),
    "nothing for a shell": typed("completion", 2, "error: 'SHELL' is missing: give bash, zsh or fish"),
    "nobody to show": Mistake(("show", ""), 3, "no job ''"),
    "nobody's logs": Mistake(("logs", " "), 3, "no job ' '"),
    "nobody to cancel": Mistake(("cancel", ""), 3, "no job ''"),
    "nobody to wait for": Mistake(("wait", ""), 3, "no job ''"),
    "no batch to wait for": Mistake(("wait", "--batch", ""), 3, "no batch ''"),
    "no group to pause": Mistake(("pause", ""), 3, "no group ''"),
    "wait nan": typed("wait --timeout nan", 2, "--timeout: 'nan'"),
    "wait negative": typed("wait --timeout -1", 2, "--timeout: '-1'"),
    "wait out of time": typed("wait --timeout 0", 124, "they go on"),
    "setting unknown": typed("config get max_retrys", 2, "did you mean 'max_retries'"),
    "setting far off": typed("config set colour blue", 2, "no setting 'colour'"),
    "unset of no setting": typed("config unset colour", 2, "no setting 'colour'"),
    "set without value": typed("config set max_retries", 2, "VALUE"),
    "set to a negative": typed("config set max_retries -1", 2, "max_retries: -1"),
    "set to a word": typed("config set max_retries many", 2, "not a whole number"),
    "set to nan": typed("config set backoff_base nan", 2, "'nan' is not a number"),
    "set to 1e400": typed("config set backoff_base 1e400", 2, "'1e400' is not a number"),
    "set to a bad size": typed("config set log_max_bytes 1Q", 2, "not a number of bytes"),
    "set to nothing": Mistake(("config", "set", "kill_grace", ""), 2, "kill_grace: ''"),
    "set too long": typed("config set job_timeout 99999999d", 2, "too long"),
    "no workers": typed("worker-run --count 0", 2, "from 1 to 512"),
    "minus two workers": typed("worker-run --count -2", 2, "from 1 to 512"),
    "too many workers": typed("worker-start --count 100000", 2, "from 1 to 512"),
    "workers in letters": typed("worker-start --count two", 2, "from 1 to 512"),
    "half a worker": typed("worker-start --count 1.5", 2, "from 1 to 512"),
    "a digit that is none": Mistake(("worker-start", "--count", "²"), 2, "from 1 to 512"),
    "mode unknown": typed("worker-run --mode fiber", 2, "fiber"),
    "stop nan": typed("worker-stop --timeout nan", 2, "--timeout: 'nan'"),
    "a unit of two": typed("service install --user --system --print", 2, "--user and --system exclude each other"),
    "stop now, later": typed("worker-stop --now --timeout 5", 2, "exclude each other"),
}

TABLE = {
    f"{title}: {name}": mistake
    for title, table in {
        "command line": COMMAND_LINES,
        "enqueue": ENQUEUE,
        "file": FILES,
        "entry": ENTRIES,
        "other": OTHERS,
    }.items()
    for name, mistake in table.items()
}


@pytest.mark.parametrize("mistake", TABLE.values(), ids=TABLE.keys())
def test_mistake_is_told_in_one_line_and_changes_nothing(
    shared_queue: Path, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shared_queue)
    monkeypatch.delenv("QUEUECTL_DB_PATH", raising=False)
    check(shared_queue, mistake, lambda: call(*map(os.fsdecode, mistake.args), stdin=mistake.stdin))


@pytest.mark.parametrize("name", list(TABLE)[::9])
def test_mistake_is_told_by_the_real_program_too(shared_queue: Path, name: str) -> None:
    mistake = TABLE[name]
    check(shared_queue, mistake, lambda: execute(shared_queue, *mistake.args, input=mistake.stdin))


def check(directory: Path, mistake: Mistake, run: Callable[[], Result]) -> None:
    """Make the mistake, and see that it is refused and that nothing came of it."""
    for name, content in mistake.files.items():
        (directory / name).write_bytes(content)
    before = contents(directory / "queuectl.db")
    check_refusal(run(), mistake.code, mistake.says)
    assert contents(directory / "queuectl.db") == before
    assert not (directory / "queuectl_config.json").exists()


@pytest.fixture(scope="module")
def shared_queue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue with one waiting job, ``taken``. As nothing may change it, one does for the whole table."""
    directory = tmp_path_factory.mktemp("shared")
    queue = Queue.init(directory / "queuectl.db")
    queue.enqueue("true", id="taken", cwd="/")
    queue.close()
    return directory


def check_refusal(result: Result, code: int, says: str) -> None:
    """The right exit code, nothing on stdout, and one line on stderr that says what is wrong."""
    assert result.code == code, result
    assert result.out == ""
    assert "Traceback" not in result.err
    lines = result.err.splitlines()
    message = lines.pop()
    assert message.startswith("queuectl: error: ")
    assert says in message
    assert all(line.startswith(("Usage: ", "Try '", "      ")) for line in lines), result.err
    assert len(message) < 500
    assert message.isprintable()


def contents(database: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(database) as connection:
        rows = [
            tuple(row)
            for table in ("jobs", "attempts")
            for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
        ]
    connection.close()
    return rows


COMMANDS = (
    ("status",),
    ("list",),
    ("list", "--json"),
    ("show", "1"),
    ("logs", "1"),
    ("wait",),
    ("cancel", "1"),
    ("retry", "1"),
    ("dlq", "list"),
    ("dlq", "retry", "--all"),
    ("config", "list"),
    ("config", "get", "max_retries"),
    ("config", "set", "max_retries", "5"),
    ("config", "unset", "max_retries"),
    ("worker-status",),
    ("worker-stop",),
    ("enqueue", "--command", "true"),
    ("worker-run",),
    ("worker-start",),
)
MAKERS = ("enqueue", "worker-run", "worker-start")


@pytest.mark.parametrize("args", COMMANDS, ids=" ".join)
def test_without_a_queue_every_command_says_what_to_do_and_creates_nothing(
    elsewhere: Path, args: tuple[str, ...]
) -> None:
    result = call(*args)
    check_refusal(result, 3, "no queue here: run 'queuectl init', or name one with --db")
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("args", [args for args in COMMANDS if args[0] not in MAKERS], ids=" ".join)
def test_named_queue_that_does_not_exist_is_not_made(elsewhere: Path, args: tuple[str, ...]) -> None:
    result = call("--db", "sub/q.db", *args)
    check_refusal(result, 3, "run 'queuectl init ")
    assert list(elsewhere.iterdir()) == []


def _text(path: Path) -> None:
    path.write_text("this is no database, but it is long enough to be looked at" * 20)


def _truncated(path: Path) -> None:
    Queue.init(path).enqueue("true")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    os.truncate(path, 5000)


def _of_another_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()


def _newer(path: Path) -> None:
    Queue.init(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9999")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _gone(path: Path) -> None:
    Queue.init(path).close()
    for end in ("", "-wal", "-shm"):
        Path(f"{path}{end}").unlink(missing_ok=True)


BROKEN: Mapping[str, tuple[Callable[[Path], object], str]] = {
    "directory": (Path.mkdir, "q.db is a directory: name the file in it, such as "),
    "text file": (_text, "is not a database"),
    "empty file": (Path.touch, "is not a queue's database"),
    "truncated": (_truncated, "damaged"),
    "of another program": (_of_another_program, "is not a queue's database"),
    "newer": (_newer, "newer queuectl"),
}


@pytest.mark.parametrize(
    "args", [("list",), ("enqueue", "--command", "true"), ("worker-run", "--count", "1")], ids=" ".join
)
@pytest.mark.parametrize("kind", BROKEN)
def test_database_that_cannot_be_used_is_left_alone(elsewhere: Path, kind: str, args: tuple[str, ...]) -> None:
    make, says = BROKEN[kind]
    path = elsewhere / "q.db"
    make(path)
    before = path.read_bytes() if path.is_file() else None
    check_refusal(execute(elsewhere, "--db", "q.db", *args), 5, says)
    assert before is None or path.read_bytes() == before


def test_init_of_a_directory_says_what_to_name(elsewhere: Path) -> None:
    (elsewhere / "builds").mkdir()
    for name in ("builds", "builds/"):
        check_refusal(
            call("init", name), 5, f"is a directory: name the file in it, such as {elsewhere}/builds/queuectl.db"
        )
    assert list((elsewhere / "builds").iterdir()) == []


@pytest.mark.parametrize("args", [("enqueue", "--command", "true"), ("worker-run",), ("worker-start",)], ids=" ".join)
def test_database_that_is_gone_is_not_made_anew_by_the_way(elsewhere: Path, args: tuple[str, ...]) -> None:
    _gone(elsewhere / "q.db")
    check_refusal(execute(elsewhere, "--db", "q.db", *args), 5, "is gone")
    assert not (elsewhere / "q.db").exists()


def test_second_database_in_one_directory_is_a_conflict(bench: Bench) -> None:
    check_refusal(bench.run("--db", "other.db", "enqueue", "--command", "true"), 4, "other.db")
    check_refusal(bench.run("--db", "other.db", "init"), 4, "queuectl.db")
    assert not (bench.directory / "other.db").exists()


@pytest.mark.parametrize(
    ("content", "says", "to_do"),
    [
        (b"{", "is not JSON", "with an editor"),
        (b"[]", "no JSON object", "with an editor"),
        (b"\xff\xfe", "is not JSON", "with an editor"),
        (b'{"max_retries": "x"}', "max_retries: 'x'", "'queuectl config set max_retries VALUE'"),
        (b'{"max_retries": true}', "max_retries: true", "'queuectl config unset max_retries'"),
        (b'{"colour": 1}', "colour", "'queuectl config unset colour'"),
        (b'{"a b": 1}', "a b", "with an editor"),
        (b'{"--colour": 1}', "colour", "with an editor"),
        (b'{"backoff_base": NaN}', "backoff_base", "'queuectl config unset backoff_base'"),
        (b"[" * 100_000, "is not JSON", "remove it"),
    ],
)
def test_broken_settings_file_is_named_with_what_to_do(bench: Bench, content: bytes, says: str, to_do: str) -> None:
    (bench.directory / "queuectl_config.json").write_bytes(content)
    for args in (["config", "list"], ["config", "set", "kill_grace", "5"], ["enqueue", "--command", "true"]):
        result = bench.run(*args)
        check_refusal(result, 2, says)
        assert "queuectl_config.json" in result.err
        assert to_do in result.err
    assert to_do in bench.run("doctor").out
    stop = bench.run("worker-stop")
    assert (stop.code, stop.err) == (0, "queuectl: no workers are running\n"), "it needs no settings"
    assert (bench.directory / "queuectl_config.json").read_bytes() == content


def test_home_that_cannot_be_written(public_directory: Path) -> None:
    public_directory.chmod(0o555)
    for args in (["init"], ["--db", "q.db", "enqueue", "--command", "true"], ["--db", "sub/q.db", "init"]):
        check_refusal(execute_as_ordinary_user(public_directory, *args), 5, "Permission denied")
        assert "must be a directory that you may write in" in execute_as_ordinary_user(public_directory, *args).err
    assert list(public_directory.iterdir()) == []


@pytest.mark.parametrize("words", [("status",), ("enqueue", "--command", "true"), ("init",)])
def test_directory_that_may_not_be_entered(public_directory: Path, words: tuple[str, ...]) -> None:
    closed = public_directory / "closed"
    closed.mkdir(0o000)
    done = execute_as_ordinary_user(public_directory, "--db", f"{closed}/below/q.db", *words)
    check_refusal(done, 5, f"{closed}")
    assert "ermission denied" in done.err
    assert "settings" not in done.err


def test_directory_that_may_not_be_written_is_what_keeps_a_database_read_only(public_directory: Path) -> None:
    assert execute_as_ordinary_user(public_directory, "init").code == 0
    public_directory.chmod(0o555)
    help_ = f"{public_directory} may not be written: 'chmod u+w {public_directory}' mends that"
    check_refusal(execute_as_ordinary_user(public_directory, "enqueue", "--command", "true"), 5, help_)
    doctor = execute_as_ordinary_user(public_directory, "doctor")
    assert doctor.code == 1
    wrong = [line for line in doctor.lines if "wrong: " in line]
    assert [help_ in line for line in wrong] == [True]


@pytest.mark.skipif(not IS_ROOT, reason="there must be another user")
@pytest.mark.parametrize("command", ["status", "list", "enqueue --command true", "worker-start"])
def test_queue_of_another_user_is_not_to_be_mended_by_us(public_directory: Path, command: str) -> None:
    assert execute(public_directory, "init").code == 0
    assert execute(public_directory, "config", "set", "kill_grace", "5").code == 0
    os.chown(public_directory / "queuectl_config.json", 0, 0)
    settings = public_directory / "queuectl_config.json"
    told = f"cannot read the settings file {settings}: it belongs to root"
    check_refusal(execute_as_ordinary_user(public_directory, *command.split()), 5, told)


def test_database_that_is_read_only(public_directory: Path) -> None:
    assert execute_as_ordinary_user(public_directory, "init").code == 0
    for path in public_directory.glob("queuectl.db*"):
        path.chmod(0o444)
    public_directory.chmod(0o555)
    check_refusal(execute_as_ordinary_user(public_directory, "enqueue", "--command", "true"), 5, "queuectl.db")


def test_database_that_cannot_be_read(public_directory: Path) -> None:
    assert execute_as_ordinary_user(public_directory, "init").code == 0
    (public_directory / "queuectl.db").chmod(0)
    check_refusal(execute_as_ordinary_user(public_directory, "list"), 5, "ermission denied")


def test_job_file_that_cannot_be_read(public_directory: Path) -> None:
    assert execute_as_ordinary_user(public_directory, "init").code == 0
    (public_directory / "jobs.json").write_text('{"command": "true"}')
    (public_directory / "jobs.json").chmod(0)
    result = execute_as_ordinary_user(public_directory, "enqueue", "--job-file", "jobs.json")
    check_refusal(result, 2, "Permission denied")


def test_database_that_is_locked(bench: Bench) -> None:
    bench.queue.change_setting("busy_timeout", 0.2)
    holder = sqlite3.connect(bench.queue.home.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    check_refusal(bench.run("enqueue", "--command", "true"), 5, "is locked")
    holder.close()


def test_current_directory_that_is_gone(bench: Bench) -> None:
    there = bench.directory / "there"
    there.mkdir()
    script = 'rmdir ../there; exec "$@"'
    for args in (["list"], ["init"], ["--db", "../queuectl.db", "enqueue", "--command", "true"]):
        there.mkdir(exist_ok=True)
        done = subprocess.run(
            ["sh", "-c", script, "sh", *PROGRAM, *args], cwd=there, env=environment(), capture_output=True, check=False
        )
        assert done.returncode in (1, 2, 3), done
        assert done.stderr.decode().startswith("queuectl: error: ")
        assert len(done.stderr.splitlines()) == 1
