"""Measure all rows, and write the results: ``make bench``.

``python bench --quick`` only shows that all of it works; it writes nothing.
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import bulk
import contention
import crowd
import features
import growth
import idle
import latency
import output
import punctuality
import queries
import report
import startup
import throughput
from measure import Figure, Unmeasured, scale_of

ROWS = (throughput, latency, punctuality, startup, bulk, growth, features, queries, idle, crowd, contention, output)
HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def main() -> int:
    scale = scale_of(sys.argv[1:], "Measure all rows of the table.")
    facts = report.machine()
    print(report.in_one_line(facts), flush=True)
    began = time.monotonic()
    figures: list[Figure] = []
    series: dict[str, Any] = {}
    missing: list[str] = []
    for row in ROWS:
        started = time.monotonic()
        try:
            found = row.measure(scale)
        except (Unmeasured, subprocess.TimeoutExpired) as error:
            missing.append(f"{row.ROW}: {error}")
            print(f"not measured: {missing[-1]}", flush=True)
            continue
        except KeyboardInterrupt:
            missing.append(f"{row.ROW} and what comes after it: the run was interrupted")
            break
        figures += found.figures
        series |= found.series
        missing += found.missing
        print(f"({row.ROW}: {time.monotonic() - started:.0f} s, load {os.getloadavg()[0]:.1f})", flush=True)
    took = time.monotonic() - began
    judged = [each for each in figures if each.target]
    print(f"{sum(bool(each.is_reached) for each in judged)} of {len(judged)} figures reached, in {took:.0f} seconds")
    if not scale.quick:
        write(facts, scale.turns, figures, series, missing, took)
    return 0


def write(
    facts: dict[str, str],
    turns: int,
    figures: list[Figure],
    series: dict[str, Any],
    missing: list[str],
    took: float,
) -> None:
    """Write what was found, and bring the README up to date."""
    RESULTS.mkdir(exist_ok=True)
    day = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    everything = {
        "taken": day,
        "machine": facts,
        "turns": turns,
        "seconds": round(took),
        "missing": missing,
        "figures": [each.as_dict() for each in figures],
        "series": series,
    }
    (RESULTS / "results.json").write_text(json.dumps(_rounded(everything), indent=1, ensure_ascii=False) + "\n")
    taken = f"Taken on {day}, {turns} turns, {took:.0f} seconds in all. {report.in_one_line(facts)}."
    lacking = "".join(f"\n- Not measured: {each}" for each in missing)
    text = f"# Results\n\n{taken}\n{lacking and lacking + chr(10)}\n{report.full_table(figures)}\n"
    (RESULTS / "results.md").write_text(text)
    short = f"{report.short_table(figures)}\n\nTaken on {day}, {turns} turns: {report.in_one_line(facts)}."
    report.put_between_marks(HERE.parent / "README.md", short)
    if "backlog" in series:
        report.draw_throughput(series, RESULTS / "throughput.svg")
    if "latency_ms" in series:
        report.draw_latency(series, RESULTS / "latency.svg")


def _rounded(value: Any) -> Any:
    """Five digits tell all that a measurement does."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
