"""How a program is started: directly, or by way of Popen, which comes to the same."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from queuectl import forkexec


@contextlib.contextmanager
def open_files(output: Path) -> Iterator[tuple[int, int]]:
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    log = os.open(output, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    yield null, log
    os.close(null)
    os.close(log)


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def children() -> list[int]:
    """The PIDs of this process's children, zombies among them; other tests may have left some."""
    return [child.pid for child in psutil.Process().children()]


@pytest.mark.parametrize("directly", [True, False])
def test_a_program_gets_what_it_is_given(tmp_path: Path, directly: bool) -> None:
    before = open_descriptors()
    with open_files(tmp_path / "out") as (null, log):
        command = [b"/bin/sh", b"-c", b'echo "$A$B"; pwd; cut -d" " -f1,6 /proc/$$/stat; echo oops >&2; exit $A']
        pid = forkexec.start(
            command, bytes(tmp_path), [b"A=7", b"B=x=y", b"PATH=/usr/bin:/bin"], null, log, directly=directly
        )
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    told = (tmp_path / "out").read_text().splitlines()
    assert told == ["7x=y", str(tmp_path), f"{pid} {pid}", "oops"]
    assert open_descriptors() == before


@pytest.mark.parametrize("directly", [True, False])
def test_what_cannot_be_started_says_why_and_leaves_nothing(tmp_path: Path, directly: bool) -> None:
    before, others = open_descriptors(), children()
    shell, nowhere, nothing = b"/bin/sh", bytes(tmp_path / "nowhere"), bytes(tmp_path / "nothing")
    plain = tmp_path / "plain"
    plain.touch(0o600)
    for command, cwd, kind, filename in (
        ([shell], nowhere, FileNotFoundError, nowhere),
        ([nothing], bytes(tmp_path), FileNotFoundError, nothing),
        ([bytes(plain)], bytes(tmp_path), PermissionError, bytes(plain)),
        ([shell, b"-c", b"#" * (1 << 20)], bytes(tmp_path), OSError, shell),
    ):
        with open_files(tmp_path / "out") as (null, log), pytest.raises(kind) as raised:
            forkexec.start(command, cwd, [], null, log, directly=directly)
        assert (type(raised.value), raised.value.filename) == (kind, filename)
        assert children() == others
    assert open_descriptors() == before


def test_a_child_may_say_in_pieces_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does so in four; where it runs beside its parent, that reads the first before the next is there."""

    def fork_exec(*arguments: Any) -> int:
        pid = os.fork()
        if pid == 0:
            for piece in (b"OSError:", b"2", b":", b"noexec"):
                os.write(arguments[13], piece)
                time.sleep(0.05)
            os._exit(255)
        return pid

    monkeypatch.setattr(forkexec, "_fork_exec", fork_exec)
    others = children()
    with open_files(tmp_path / "out") as (null, log), pytest.raises(FileNotFoundError) as raised:
        forkexec.start([b"/bin/sh"], b"/gone", [], null, log)
    assert raised.value.filename == b"/gone"
    assert children() == others
