"""A sweep, from a list of files to what its jobs made of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from farm import Farm

NAMES = ("a b.txt", "it's.txt", "new\nline.txt", "$(touch evil).txt", "-n.txt", "`touch evil`.txt", "ü.txt")


def test_each_file_gets_its_job(farm: Farm, mode: str) -> None:
    source, target = farm.directory / "in", farm.directory / "out"
    source.mkdir()
    target.mkdir()
    for name in NAMES:
        (source / name).write_text(name)
    listed = b"".join(f"in/{name}\0".encode() for name in NAMES)
    for words in (
        ("--batch", "words", "--", "cp", "{}", "out/{/.}.copy"),
        ("--batch", "text", "--command", "wc -c < {} > out/{/.}.count"),
        ("--batch", "script", "--", "sh", "-c", "tr a-z A-Z < {} > out/{/.}.upper"),
    ):
        command = [sys.executable, "-m", "queuectl", "enqueue", "--each", "-", "-0", *words]
        subprocess.run(command, cwd=farm.directory, input=listed, check=True, stdout=subprocess.DEVNULL)
    farm.start(2, mode)
    for batch in ("words", "text", "script"):
        assert farm.run("wait", "--batch", batch, "--timeout", "60").returncode == 0
    for name in NAMES:
        stem = name.removesuffix(".txt")
        assert (target / f"{stem}.copy").read_text() == name
        assert int((target / f"{stem}.count").read_text()) == len(name.encode())
        assert (target / f"{stem}.upper").stat().st_size == len(name.encode())
    assert len(list(target.iterdir())) == 3 * len(NAMES)
    assert not Path(farm.directory / "evil").exists()
