"""From figures to what people look at: tables, plots, and the machine that they were taken on."""

from __future__ import annotations

import os
import platform
import re
import sqlite3
import statistics
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import Figure, quantile

BEGIN, END = "<!-- figures -->", "<!-- end of the figures -->"
_BLUE, _ORANGE, _GREY, _GREEN = "#1f5fa8", "#c8641e", "#777777", "#3c8a4e"


def machine() -> dict[str, str]:
    """What a reader must know of this machine to place the figures."""
    return {
        "processors": f"{os.cpu_count()} × {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "file system": _file_system(),
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.machine()


def _file_system() -> str:
    """That of temporary files, where all is measured."""
    command = ["stat", "-f", "-c", "%T", tempfile.gettempdir()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # nosec B603
    return done.stdout.strip() or "unknown"


def in_one_line(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def full_table(figures: Iterable[Figure]) -> str:
    """Every figure, with its spread and what stands behind it."""
    lines = ["| row | figure | median | spread | to reach | | behind it |", "|---|---|---|---|---|---|---|"]
    for each in figures:
        cells = (each.row, each.name, each.shown(), each.spread(), each.target or "", each.verdict, each.detail)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def short_table(figures: Sequence[Figure]) -> str:
    """One line a row; of two modes, that which is the default."""
    lines = ["| | measured | to reach |", "|---|---|---|"]
    for row in dict.fromkeys(each.row for each in figures):
        shown = [each for each in figures if each.row == row and each.target and "thread mode" not in each.name]
        names = [re.sub(r"(, )?process mode(, | )?", "", each.name) for each in shown]
        measured = "<br>".join(
            f"{name}{name and ': '}**{each.shown()}**" for name, each in zip(names, shown, strict=True)
        )
        reach = "<br>".join(f"{each.target} {'✓' if each.is_reached else '✗'}" for each in shown)
        lines.append(f"| {row} | {measured} | {reach} |")
    return "\n".join(lines)


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between the two marks of a page."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if begin and end:
        page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


# --- plots


def draw_throughput(series: Mapping[str, Any], target: Path) -> None:
    """Throughput against the number of jobs that wait; and what had ended before, as a point of its own."""
    plt = _pyplot()
    picture, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    points = sorted((point["waiting"], point["rates"]) for point in series["backlog"])
    _curve(axes, points, _BLUE, "jobs waiting")
    ended = series["ended"]
    among = f"{ended['ended']:,} ended, {ended['scheduled']:,} scheduled"
    _curve(axes, [(points[0][0], ended["rates"])], _ORANGE, among)
    axes.set(xscale="log", xlabel="jobs that wait", ylabel="jobs a second", title="Throughput against backlog")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    _save(picture, target)


def _curve(axes: Any, points: Sequence[tuple[int, Sequence[float]]], colour: str, label: str) -> None:
    """Medians, with the spread of the turns."""
    middles = [statistics.median(rates) for _, rates in points]
    below = [middle - min(rates) for middle, (_, rates) in zip(middles, points, strict=True)]
    above = [max(rates) - middle for middle, (_, rates) in zip(middles, points, strict=True)]
    axes.errorbar(
        [count for count, _ in points], middles, [below, above], fmt="o-", capsize=4, color=colour, label=label
    )


def draw_latency(series: Mapping[str, Any], target: Path) -> None:
    """What share of jobs had begun after how long."""
    plt = _pyplot()
    picture, axes = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    curves = {
        "sync": ("a page written and synced, alone", _GREY),
        "spawn": ("a shell started, alone", _GREEN),
        "thread": ("a job, thread mode", _ORANGE),
        "process": ("a job, process mode", _BLUE),
    }
    for name, (label, colour) in curves.items():
        values = series["latency_ms"][name]
        shares = [step / (len(values) - 1) * 100 for step in range(len(values))]
        axes.plot(values, shares, color=colour, label=f"{label} (p50 {quantile(values, 0.5):.2g} ms)")
    axes.set(xscale="log", xlabel="milliseconds", ylabel="% had begun", title="From enqueue() to the first instruction")
    axes.axvline(5, color="black", alpha=0.3, linestyle=":")
    axes.axvline(25, color="black", alpha=0.3, linestyle=":")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    _save(picture, target)


def _pyplot() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    # Text stays text, and the same figures give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "queuectl", "font.family": "sans-serif"})
    import matplotlib.pyplot as plt

    return plt


def _save(picture: Any, target: Path) -> None:
    picture.savefig(target, metadata={"Date": None})
    text = target.read_text(encoding="utf-8")
    target.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")
