"""What is typed at a terminal for ``enqueue`` to read, and the one Ctrl-D that ends it."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest
from terminal.test_look import at_terminal

from queuectl import Queue


@pytest.mark.parametrize(
    ("words", "typed", "commands"),
    [
        (["--each", "--", "echo"], "a\nb\n", ["echo a", "echo b"]),
        (["--each", "-", "-0", "--", "echo"], "a\n", ["echo 'a\n'"]),
        (["--command-file", "-"], "echo c\n", ["echo c"]),
        (["--job-file", "-"], '{"command": "echo d"}\n{"command": "echo e"}\n', ["echo d", "echo e"]),
        (["--job-file", "-"], '[\n{"command": "echo f"}\n]\n', ["echo f"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_one_end_of_file_ends_what_is_typed(tmp_path: Path, words: list[str], typed: str, commands: list[str]) -> None:
    queue = Queue.init(tmp_path / "queuectl.db")
    process = at_terminal(queue, "enqueue", *words)
    try:
        process.expect("end with Ctrl-D")
        for line in typed.splitlines():
            process.sendline(line)
        process.sendeof()
        process.expect(pexpect.EOF)
    finally:
        process.close(force=True)
    assert process.exitstatus == 0, process.before
    assert [job.command for job in queue.jobs()] == commands


@pytest.mark.parametrize("words", ["--each -- echo", "--command-file -", "--job-file -", "--each - --each - -- echo"])
def test_an_interrupt_while_typing_accepts_nothing_and_says_so(tmp_path: Path, words: str) -> None:
    queue = Queue.init(tmp_path / "queuectl.db")
    if words.count("--each") == 2:
        (tmp_path / "sizes").write_text("1\n2\n")
        words = words.replace("--each -", "--each sizes", 1)
    process = at_terminal(queue, "enqueue", *words.split())
    process.expect("end with Ctrl-D")
    process.sendline('{"command": "true"}')
    process.sendintr()
    process.expect("interrupted; nothing was accepted")
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 130
    assert queue.jobs() == []
