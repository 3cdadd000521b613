"""Draw ``docs/terminal.svg`` from a real run: ``make picture``.

Commands run at a terminal of their own, in a temporary directory with real workers; what they
print is drawn as it is. Only the directory's name is shown as ``~/night``.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pexpect
from rich.console import Console
from rich.text import Text

COLUMNS = 90
CELL = 12.2
"""Width of a character in the drawing."""
SHOWN_DIRECTORY = "~/night"
JOBS = (
    {"id": "words", "command": "cat *.txt | wc -w"},
    {"id": "pack", "command": "sleep 1; tar czvf night.tgz *.txt", "timeout": "10m"},
    {"id": "fetch", "command": 'sleep 1; test "$QUEUECTL_ATTEMPT" -gt 1', "max_retries": 5},
    {"id": "upload", "command": "cp *.txt mirror/", "max_retries": 1},
    {"id": "report", "command": "mail -s words boss < job_logs/words.log", "delay": "8h"},
)
STORY = (
    "cat night.json",
    "queuectl enqueue --job-file night.json",
    "queuectl worker-start --count 2",
    "queuectl wait words pack fetch upload",
    "queuectl list",
    "queuectl logs upload",
    "mkdir mirror && queuectl dlq retry upload && queuectl wait upload",
    "queuectl worker-stop",
)


def main(target: str) -> int:
    # Not below a path of this machine that somebody might read in the picture.
    directory = Path(tempfile.mkdtemp(prefix="queuectl-picture-")).resolve()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")},
        "TERM": "xterm-256color",
        "COLORTERM": "",
    }
    environment.pop("NO_COLOR", None)
    try:
        prepare(directory, environment)
        drawing = draw(directory, environment)
    finally:
        stop = ["queuectl", "worker-stop", "--now"]
        subprocess.run(stop, check=False, cwd=directory, env=environment, capture_output=True)  # nosec B603  # the one that make puts first in the PATH
        shutil.rmtree(directory)
    Path(target).write_text(drawing, encoding="utf-8")
    print(f"{target}: {len(drawing.encode()) / 1024:.0f} KiB")
    return 0


def prepare(directory: Path, environment: dict[str, str]) -> None:
    """What was there before the picture begins."""
    for name, text in (("alpha", "one two three\n"), ("beta", "four five\n")):
        (directory / f"{name}.txt").write_text(text * 500)
    (directory / "night.json").write_text("".join(json.dumps(job) + "\n" for job in JOBS))
    for words in (("init",), ("config", "set", "backoff_base", "0.5")):
        subprocess.run(["queuectl", *words], cwd=directory, env=environment, check=True, capture_output=True)  # nosec B603, B607  # the one that make puts first in the PATH


def draw(directory: Path, environment: dict[str, str]) -> str:
    """Play the story and return it as SVG."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        for command in STORY:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
            for line in lines_of(command, directory, environment):
                console.print(Text.from_ansi(line.replace(str(directory), SHOWN_DIRECTORY)), soft_wrap=True)
        drawing = console.export_svg(title="queuectl", unique_id="queuectl")
    return tidy(drawing)


def lines_of(command: str, directory: Path, environment: dict[str, str]) -> list[str]:
    """Run a command at a terminal; the lines that stand there in the end."""
    output, status = pexpect.run(
        f"/bin/sh -c '{command}'",
        cwd=str(directory),
        env=environment,  # type: ignore[arg-type]
        dimensions=(40, COLUMNS),
        withexitstatus=True,
        timeout=60,
    )
    if status not in (0, 1):
        raise SystemExit(f"{command}: ended with {status}: {output.decode()}")
    lines = output.decode().replace("\r\n", "\n").rstrip("\n").split("\n")
    return [last_state(line) for line in lines]


def last_state(line: str) -> str:
    """A progress bar writes its line anew many times: what it wrote last, without the cursor's moves."""
    line = re.split(r"\x1b\[2K|\r", line)[-1]
    return re.sub(r"\x1b\[\??\d*[A-HJKhl]", "", line)


def tidy(drawing: str) -> str:
    """Fetch no fonts from the network, clip no single lines, and begin no text with blanks: not all viewers keep them."""
    drawing = re.sub(r"\s*@font-face \{.*?\n\s*\}", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace("Fira Code", "ui-monospace, Menlo, DejaVu Sans Mono")
    drawing = re.sub(r"\s*<clipPath id=\"queuectl-line-\d+\">.*?</clipPath>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r" clip-path=\"url\(#queuectl-line-\d+\)\"", "", drawing)
    drawing = re.sub(
        r"<text ([^>]*?)x=\"([\d.]+)\" (y=\"[\d.]+\") textLength=\"[\d.]+\">([^<]*)</text>", placed, drawing
    )
    return "\n".join(line.rstrip() for line in drawing.splitlines() if line.strip()) + "\n"


def placed(match: re.Match[str]) -> str:
    """A run of characters without the blanks around it, at the place where the rest stood; line ends vanish."""
    attributes, x, y, text = match.groups()
    blank = "&#160;"
    content = text.rstrip("\n")
    shown = re.sub(f"^(?:{blank})+|(?:{blank})+$", "", content)
    if not shown:
        return ""
    indent = (len(content) - len(re.sub(f"^(?:{blank})+", "", content))) // len(blank)
    left, length = float(x) + indent * CELL, len(html.unescape(shown)) * CELL
    return f'<text {attributes}x="{left:g}" {y} textLength="{length:g}">{shown}</text>'


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
