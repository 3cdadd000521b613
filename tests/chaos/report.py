"""Tells a person what a round was like."""

from __future__ import annotations

from collections import Counter

from rig import Report

_MOST = 50


def tell(report: Report, seconds: float) -> None:
    """Print what was dealt, what became of it, and each violation in a line."""
    account = report.account
    print(f"\nseed {report.seed}, mode {report.mode}, {seconds:g} s")
    _tell_counts("faults dealt", Counter(report.dealt))
    _tell_counts("jobs by state", Counter(job.state for job in account.jobs))
    _tell_counts("attempts by outcome", account.outcomes())
    if not report.violations:
        print("\nall invariants hold")
        return
    print(f"\n{len(report.violations)} violations; the queue is kept in {report.directory}")
    for line in report.violations[:_MOST]:
        print(f"  {line}")
    if len(report.violations) > _MOST:
        print(f"  and {len(report.violations) - _MOST} more")


def _tell_counts(title: str, counts: Counter[str]) -> None:
    print(f"\n{title}: {counts.total()}")
    for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"  {count:5} {name}")
