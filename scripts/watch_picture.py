"""Draw ``docs/watch.svg`` from a real run: ``make picture``.

Workers run jobs in a temporary directory while somebody watches at a terminal; what stands on it is drawn. Only the
directory's name is shown as ``~/photos``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pexpect
from picture import tidy
from rich.console import Console
from rich.text import Text

COLUMNS, ROWS = 90, 18
SHOWN_DIRECTORY = "~/photos"
NAMES = ("harbour", "market", "bridge", "garden", "tower", "meadow", "station", "island", "forest")
PROGRAMS = {"encode": "sleep 300", "thumb": "sleep 1.5", "index": "exit 66", "upload": "exit 4"}
JOBS = (
    {"id": "index", "command": "./index raw/ > index.json", "max_retries": 0},
    {"id": "upload", "command": "./upload mirror.example:photos"},
    {"id": "film", "command": "./encode --quality 28 film.mov film.mp4", "timeout": "2h"},
    *({"id": f"thumb-{number}", "command": f"./thumb --width 200 {NAMES[number % 9]}.jpg"} for number in range(1, 28)),
    {"id": "backup", "command": "tar czf photos.tgz .", "delay": "8h"},
)
PATIENCE = 60.0


def main(target: str) -> int:
    directory = Path(tempfile.mkdtemp(prefix="queuectl-picture-")).resolve()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")},
        "TERM": "xterm-256color",
        "COLORTERM": "",
    }
    environment.pop("NO_COLOR", None)

    def run(*words: str) -> None:
        subprocess.run(["queuectl", *words], cwd=directory, env=environment, check=True, capture_output=True)  # nosec B603, B607  # the one that make puts first in the PATH

    try:
        for name, does in PROGRAMS.items():
            (directory / name).write_text(f"#!/bin/sh\n{does}\n")
            (directory / name).chmod(0o755)
        (directory / "photos.json").write_text(json.dumps(JOBS))
        for words in ("init", "config set backoff_base 40", "enqueue --job-file photos.json", "worker-start --count 4"):
            run(*words.split())
        drawing = draw(watched(directory, environment), directory)
    finally:
        run("worker-stop", "--now")
        shutil.rmtree(directory)
    Path(target).write_text(drawing, encoding="utf-8")
    print(f"{target}: {len(drawing.encode()) / 1024:.0f} KiB")
    return 0


def watched(directory: Path, environment: dict[str, str]) -> list[str]:
    """The lines of a picture in which enough has happened."""
    terminal = pexpect.spawn(
        "queuectl",
        ["watch"],
        cwd=str(directory),
        env=environment,  # type: ignore[arg-type]
        dimensions=(ROWS, COLUMNS),
        encoding="utf-8",
        timeout=PATIENCE,
    )
    terminal.expect("q quit")
    terminal.send("j")
    seen, deadline = "", time.monotonic() + PATIENCE
    while not re.search(r"m1[0-9] completed", seen) and time.monotonic() < deadline:
        terminal.expect(re.escape("\x1b[H"))
        seen = terminal.before
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()
    return seen.split("\r\n")


def draw(lines: list[str], directory: Path) -> str:
    """A terminal's lines as SVG."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in lines:
            console.print(Text.from_ansi(line.replace(str(directory), SHOWN_DIRECTORY).rstrip()), soft_wrap=True)
        drawing = console.export_svg(title="queuectl watch", unique_id="queuectl")
    return tidy(drawing)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
