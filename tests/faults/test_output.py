"""Output without end, without lines, without sense; and logs that are taken away while a job writes them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from farm import PATIENCE, Farm, eventually, measuring

from queuectl import joblog

MEGABYTE = 1 << 20
LIMIT = 2 * MEGABYTE


def can_punch(directory: Path) -> bool:
    """Whether the file system of the tests gives back the middle of a file."""
    path = directory / "probe"
    with path.open("wb+") as file:
        file.write(bytes(1 << 16))
        file.flush()
        try:
            joblog.punch_hole(file.fileno(), 4096, 4096)
        except OSError:
            return False
        finally:
            path.unlink()
    return True


def own_memory(pid: int) -> int:
    """Bytes that a process has to itself."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return 1024 * sum(int(size) for size in re.findall(r"^Private_\w+:\s+(\d+) kB", text, re.MULTILINE))


def processes_of(farm: Farm) -> list[int]:
    """The supervisor, its workers and keepers."""
    supervisor = farm.supervisor()
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return [supervisor, *map(int, children)]


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize(
    "command",
    [
        "exec yes {token}",
        "exec cat /dev/urandom",
        "exec head -c 9000000000 /dev/zero",
        "while :; do echo {token}; done",
    ],
    ids=["lines", "binary", "one line", "many small writes"],
)
def test_output_without_end_takes_no_more_than_its_limit(farm: Farm, mode: str, command: str) -> None:
    if not can_punch(farm.directory):
        pytest.skip("this file system cannot punch holes")
    farm.run("config", "set", "log_max_bytes", str(LIMIT))
    farm.run("config", "set", "kill_grace", "0.2")
    farm.queue.enqueue(command.format(token=farm.token), id="j", max_retries=0)
    farm.start(1, mode)
    log = Path(farm.home.log("j"))
    before = [own_memory(pid) for pid in processes_of(farm)]
    # The shell's loop is slow, and its log small. The others write faster than anybody punches holes.
    eventually(lambda: size_of(log) > (MEGABYTE // 64 if "while" in command else 64 * MEGABYTE), patience=60)
    after = [own_memory(pid) for pid in processes_of(farm)]
    assert max(b / a for a, b in zip(before, after, strict=True)) < 2
    assert farm.run("cancel", "--wait", "j").returncode == 0
    assert log.stat().st_blocks * 512 <= LIMIT + MEGABYTE // 16
    assert farm.queue.get("j").outcome == "cancelled"
    assert farm.run("enqueue", "--wait", "--", "true").returncode == 0


def test_a_line_of_100_megabytes(farm: Farm) -> None:
    """Nobody holds it in memory: not the worker, nor ``logs`` in any of its ways."""
    farm.queue.enqueue("echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last", id="j")
    farm.start(1)
    before = [own_memory(pid) for pid in processes_of(farm)]
    assert farm.queue.wait(["j"], timeout=60)
    after = [own_memory(pid) for pid in processes_of(farm)]
    assert max(b / a for a, b in zip(before, after, strict=True)) < 2
    _, _, plain = reading(farm, "logs", "missing")
    for args in (
        ("logs", "j"),
        ("logs", "-n", "2", "j"),
        ("logs", "-f", "j"),
        ("logs", "--attempt", "1", "-n", "3", "j"),
    ):
        size, end, peak = reading(farm, *args)
        assert end.endswith(b"x\nlast\n"), args
        assert size >= 100_000_000
        assert peak < 2 * plain, args
    size, end, peak = reading(farm, "logs", "-n", "1", "j")
    assert (size, end) == (5, b"last\n")
    assert peak < 2 * plain


def reading(farm: Farm, *args: str) -> tuple[int, bytes, int]:
    """How much a command printed, the end of that, and the most memory that it took."""
    process = subprocess.Popen(
        measuring([sys.executable, "-m", "queuectl", *args]),
        cwd=farm.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    size, end = 0, b""
    while chunk := process.stdout.read(MEGABYTE):
        size += len(chunk)
        end = (end + chunk)[-100:]
    peak = int(process.stderr.read())
    process.wait(PATIENCE)
    return size, end, peak


def _delete_log(farm: Farm) -> None:
    Path(farm.home.log("j")).unlink()


def _replace_by_directory(farm: Farm) -> None:
    _delete_log(farm)
    Path(farm.home.log("j")).mkdir()


def _replace_by_symlink(farm: Farm) -> None:
    _delete_log(farm)
    Path(farm.home.log("j")).symlink_to(farm.directory / "precious")


def _delete_all(farm: Farm) -> None:
    shutil.rmtree(farm.home.logs)


def _replace_all_by_file(farm: Farm) -> None:
    _delete_all(farm)
    Path(farm.home.logs).write_text("mine")


def _replace_all_by_symlink(farm: Farm) -> None:
    _delete_all(farm)
    Path(farm.home.logs).symlink_to(farm.directory / "nowhere")


@pytest.mark.parametrize(
    "take_away",
    [
        _delete_log,
        _replace_by_directory,
        _replace_by_symlink,
        _delete_all,
        _replace_all_by_file,
        _replace_all_by_symlink,
    ],
)
def test_a_log_taken_away_while_a_job_runs(farm: Farm, mode: str, take_away: Callable[[Farm], None]) -> None:
    """The job ends as it would have; its output is gone. What has no place for a log is not started, and says so."""
    precious = farm.directory / "precious"
    precious.write_text("precious")
    farm.queue.enqueue(
        "echo up; until test -e go; do sleep 0.05; done; echo down; exit 3", id="j", max_retries=0, cwd=farm.directory
    )
    farm.start(1, mode)
    workers = farm.workers()
    eventually(lambda: size_of(Path(farm.home.log("j"))))
    take_away(farm)
    (farm.directory / "go").touch()
    farm.queue.wait(["j"], timeout=60)
    assert (farm.queue.get("j").outcome, farm.queue.get("j").exit_code) == ("failed", 3)
    shown = farm.run("logs", "j")
    assert shown.returncode in (0, 1)
    assert re.fullmatch(r"queuectl: .+\n", shown.stderr), shown
    assert precious.read_text() == "precious"
    other = farm.queue.enqueue("echo hello", max_retries=0)
    farm.queue.wait([other.id], timeout=60)
    ended = farm.queue.get(other.id)
    if take_away in (_replace_all_by_file, _replace_all_by_symlink):
        assert ended.outcome == "not_started"
        assert f"cannot open its log {farm.home.log(other.id)}" in str(ended.reason)
        Path(farm.home.logs).unlink()
        farm.queue.retry(other.id)
        farm.queue.wait([other.id], timeout=60)
    assert farm.run("logs", other.id).stdout == "hello\n"
    assert farm.workers() == workers


def test_following_a_log_that_is_taken_away(farm: Farm) -> None:
    """It ends when the job does, and shows what it could."""
    farm.queue.enqueue("echo up; until test -e go; do sleep 0.05; done; echo down", id="j", cwd=farm.directory)
    farm.start(1)
    command = [sys.executable, "-m", "queuectl", "logs", "-f", "j"]
    follower = subprocess.Popen(command, cwd=farm.directory, stdout=subprocess.PIPE)
    try:
        assert follower.stdout is not None
        assert follower.stdout.readline() == b"up\n"
        _delete_all(farm)
        (farm.directory / "go").touch()
        assert follower.stdout.read() == b"down\n", "it has the file open, as the job has"
        assert follower.wait(PATIENCE) == 0
    finally:
        if follower.poll() is None:
            os.kill(follower.pid, signal.SIGKILL)
            follower.wait()
