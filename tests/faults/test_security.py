"""What others can learn, show at our terminal, or have done with our rights; and what root does in a user's home."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pexpect
import pytest
from farm import IS_ROOT, NOBODY, Farm, become_nobody, eventually
from forked import Command

from queuectl.errors import InvalidInput, NoSuchJob

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\r"
"""Sets a title, clears the screen, colours by the C1 code, turns the writing round, and goes back to the line's start."""
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
NEEDS_ROOT = pytest.mark.skipif(not IS_ROOT, reason="needs root, to have files of two users")


# --- terminals


@pytest.fixture
def evil_farm(tmp_path: Path) -> Iterator[Farm]:
    """A queue in whose path, commands, reasons and output everything harmful stands."""
    directory = tmp_path / f"home {EVIL}"
    directory.mkdir()
    farm = Farm(directory)
    yield farm
    farm.clean_up()


def at_terminal(farm: Farm, *args: str) -> pexpect.spawn:
    return pexpect.spawn(
        sys.executable,
        ["-m", "queuectl", *args],
        cwd=farm.directory,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "400"},
        dimensions=(40, 400),
        timeout=30,
    )


def screen(process: pexpect.spawn) -> str:
    process.expect(pexpect.EOF)
    process.wait()
    shown: bytes = process.before
    return shown.decode()


def assert_harmless(shown: str, what: object) -> None:
    text = COLOUR.sub("", shown).replace("\r\n", "\n")
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text), (what, text)


def test_nothing_plays_tricks_on_a_terminal(evil_farm: Farm, mode: str) -> None:
    farm, token = evil_farm, evil_farm.token
    farm.queue.enqueue(f"printf '%s' '{EVIL}'; exit 3 # {EVIL}", id="failed", max_retries=0)
    farm.queue.enqueue(
        f"# {EVIL}", id="nowhere", cwd=f"/nowhere/{EVIL}", max_retries=0, env={"A": EVIL, f"B{EVIL}": "b"}
    )
    farm.queue.enqueue(f"echo up; sleep {token} # {EVIL}", id="runs")
    farm.queue.enqueue(f"true {EVIL}", id="later", delay=3600)
    farm.queue.enqueue(f"true {EVIL}", id="waits", delay=1)
    farm.start(1, mode)
    farm.queue.wait(["failed", "nowhere"], timeout=60)
    eventually(lambda: farm.queue.get("runs").state == "processing")
    dead = {job.id: job for job in farm.queue.jobs("dead")}
    assert dead.keys() == {"failed", "nowhere"}
    assert EVIL in str(dead["nowhere"].reason)
    for args in (
        [],
        ["list"],
        ["dlq", "list"],
        ["show", "failed"],
        ["show", "nowhere"],
        ["logs", "failed"],
        ["worker-status"],
        ["list", "--json"],
        ["show", EVIL],
        ["list", "--state", EVIL],
        ["enqueue", "--id", EVIL, "--command", "true"],
        ["--db", f"/nowhere/{EVIL}", "list"],
        [EVIL],
    ):
        shown = screen(at_terminal(farm, *args))
        assert shown
        assert_harmless(shown, args)
        if args in (["dlq", "list"], ["logs", "failed"]):
            assert r"\x1b]0;owned\x07\x1b[2J\x9b31m" in shown, args


def test_the_log_in_the_foreground_plays_no_tricks(evil_farm: Farm, mode: str) -> None:
    process = at_terminal(evil_farm, "worker-run", "--count", "1", "--drain", "--mode", mode)
    shown = screen(process)
    assert r"queuectl.db" in shown
    assert_harmless(shown, "worker-run")
    log = Path(evil_farm.home.supervisor_log).read_bytes().decode()
    assert_harmless(log, "supervisor.log")
    assert r"home \x1b]0;owned\x07" in log


def test_a_forged_state_plays_no_tricks(farm: Farm) -> None:
    farm.start(1)
    state = Path(farm.home.supervisor_state)
    told = json.loads(state.read_text())
    told["mode"] = EVIL
    told["workers"][0]["name"] = EVIL
    state.write_text(json.dumps(told))
    assert_harmless(screen(at_terminal(farm, "worker-status")), "worker-status")
    assert_harmless(screen(at_terminal(farm, "status")), "status")


def test_an_id_that_looks_like_something_else_is_refused(farm: Farm) -> None:
    for name in ("../x", "/etc/passwd", "-rf", "--help", ".hidden", "a/b", "a\nb", "a b", "", "x" * 129, EVIL):
        with pytest.raises(InvalidInput, match="is not valid"):
            farm.queue.enqueue("true", id=name)
        with pytest.raises(NoSuchJob):
            farm.queue.retry(name)
    for name in ("../x", "--help"):
        assert farm.run("enqueue", f"--id={name}", "--command", "true").returncode == 2
        for command in ("show", "logs", "cancel"):
            assert farm.run(command, "--", name).returncode == 3
    assert farm.queue.jobs() == []


# --- what others can read


def test_no_command_is_in_a_title_or_in_the_log(farm: Farm, mode: str) -> None:
    secret = f"secret{farm.token}"
    farm.queue.enqueue(f": {secret}; exit 1", id="fails", env={"PASSWORD": secret}, max_retries=0)
    farm.queue.enqueue(f"kill -9 $PPID; sleep 60; : {secret}", id="kills", max_retries=0)
    farm.queue.enqueue(f"echo {secret}; sleep 60; : {secret}", id="runs")
    supervisor = farm.start(2, mode)
    farm.queue.wait(["fails", "kills"], timeout=60)
    eventually(lambda: farm.queue.get("runs").state == "processing")
    of_queuectl = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in of_queuectl.splitlines() if "queuectl" in line]
    assert any(line.split()[0] == str(supervisor) for line in lines)
    assert not any(secret in line for line in lines)
    farm.stop("--now")
    log = Path(farm.home.supervisor_log).read_text()
    assert "in a row" in log, "something was told of the one that kills"
    assert secret not in log


def _have_umask(umask: int) -> None:
    os.umask(umask)


@pytest.mark.parametrize("umask", [0, 0o077])
def test_all_is_private_under_any_umask_and_jobs_keep_theirs(tmp_path: Path, mode: str, umask: int) -> None:
    database = tmp_path / "home" / "queuectl.db"

    def run(*args: str) -> str:
        done = Command(tmp_path, ("--db", str(database), *args), partial(_have_umask, umask)).wait()
        assert done.returncode == 0, done
        return done.stdout

    run("init")
    run("config", "set", "max_retries", "1")
    run("enqueue", "--id", "j", "--command", "umask; touch made")
    run("worker-start", "--count", "1", "--mode", mode)
    run("wait")
    try:
        found = [database.parent, *database.parent.rglob("*")]
        assert len(found) > 10
        for path in found:
            assert stat.S_IMODE(path.lstat().st_mode) == (0o700 if path.is_dir() else 0o600), path
        assert run("logs", "j").strip() == f"{umask:04o}"
        assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o666 & ~umask
    finally:
        run("worker-stop")


# --- several users


@NEEDS_ROOT
def test_a_queue_of_somebody_else_is_told_and_works(plain_farm: Farm, mode: str) -> None:
    """Jobs run with the rights of whoever starts the workers: that may be meant, and is said."""
    directory = plain_farm.directory
    directory.chmod(0o777)
    assert plain_farm.run("enqueue", "--id", "j", "--", "id", "-u").returncode == 0
    done = as_root(plain_farm, "worker-run", "--drain", "--count", "1", "--mode", mode)
    assert done.returncode == 0, done.stderr
    owner = pwd.getpwuid(NOBODY).pw_name
    assert f"queuectl: {directory}/queuectl.db belongs to {owner}: its jobs run with your rights\n" in done.stderr
    assert Path(plain_farm.home.log("j")).read_text() == "0\n"


@NEEDS_ROOT
@pytest.mark.parametrize(
    "words",
    [
        ["enqueue", "--export", "TOKEN", "--command", "true"],
        ["enqueue", "--export", "TOKEN", "--each", "--", "echo"],
        ["enqueue", "--job-file", "-"],
        ["edit", "theirs", "--export", "TOKEN"],
        ["cron", "add", "s", "@daily", "--export", "TOKEN", "--", "true"],
    ],
    ids=lambda words: " ".join(words[:2] + words[-1:]),
)
def test_a_queue_that_somebody_else_put_in_ones_way_gets_no_variables(plain_farm: Farm, words: list[str]) -> None:
    below = plain_farm.directory / "below"
    below.mkdir()
    plain_farm.queue.enqueue("true", id="theirs")
    jobs = '{"command": "true"}\n{"command": "false", "export": ["TOKEN"]}\n'

    def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "TOKEN": "s3cret"}
        command = [sys.executable, "-m", "queuectl", *arguments]
        return subprocess.run(
            command, cwd=below, env=env, input=jobs, capture_output=True, text=True, timeout=60, check=False
        )

    refused = ask(*words)
    assert refused.returncode == 2
    owner = pwd.getpwuid(NOBODY).pw_name
    database = plain_farm.home.database
    *_, error = refused.stderr.splitlines()
    assert error.startswith(f"queuectl: error: {database} belongs to {owner}, who could read the variables")
    assert [job.export for job in plain_farm.queue.jobs()] == [()]
    assert plain_farm.queue.schedules() == []
    named = ask("--db", database, *words)
    assert named.returncode == 0, named.stderr
    told = f"queuectl: {database} belongs to {owner}, who can read what is enqueued, and decides how it is run\n"
    assert (told in named.stderr) == (words[0] == "enqueue")
    assert ask("enqueue", "--command", "true").stderr == told


def test_ones_own_queue_needs_no_word(farm: Farm) -> None:
    assert farm.run("enqueue", "--command", "true").stderr == ""
    assert farm.run("worker-start", "--count", "1").stderr == ""


@NEEDS_ROOT
def test_root_may_stop_the_workers_of_a_user(plain_farm: Farm, mode: str) -> None:
    """What root writes into a user's home, the user's processes can read."""
    plain_farm.start(1, mode)
    began = time.monotonic()
    done = as_root(plain_farm, "worker-stop", "--timeout", "1")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 20, "it was asked, not killed in the end"
    assert Path(plain_farm.home.supervisor_log).read_text().count("stopping: running jobs have 1 seconds") == 1


@NEEDS_ROOT
def test_settings_that_root_changes_stay_the_users(plain_farm: Farm) -> None:
    assert as_root(plain_farm, "config", "set", "max_retries", "7").returncode == 0
    assert plain_farm.run("config", "get", "max_retries").stdout == "7\n"
    assert plain_farm.run("config", "set", "max_retries", "8").returncode == 0


@NEEDS_ROOT
def test_root_ends_no_stranger_whom_a_user_names(plain_farm: Farm) -> None:
    """A user can write anything into the home, and root may come by to start or stop workers."""
    from faults.test_planted import notes_of_nobody

    victim = subprocess.Popen(["sleep", "600"])
    try:
        for command in (("worker-start", "--count", "1"), ("worker-stop",)):
            notes_of_nobody(plain_farm, victim.pid)
            assert as_root(plain_farm, *command).returncode == 0
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


def as_root(farm: Farm, *args: str) -> subprocess.CompletedProcess[str]:
    return Command(farm.directory, args).wait(90)


@NEEDS_ROOT
def test_others_can_neither_look_nor_stop(farm: Farm) -> None:
    """A directory that all may enter hides the queue in it all the same."""
    farm.queue.enqueue("echo secret", id="j")
    farm.start(1)
    farm.queue.wait(["j"], timeout=60)
    home = Path("/tmp", f"queuectl-{farm.token}")
    try:
        # Where the tests have their directories, others cannot enter; here they can, and find the same modes.
        shutil.copytree(farm.directory, home, symlinks=True, ignore=shutil.ignore_patterns("wake", "control"))
        home.chmod(0o755)
        for args in (["list"], ["logs", "j"], ["worker-stop"], ["enqueue", "--", "true"], ["worker-start"]):
            done = Command(home, args, become_nobody).wait()
            assert (done.returncode, done.stdout) == (5, ""), args
            assert "permission denied" in done.stderr
    finally:
        shutil.rmtree(home)
