"""Break workers, commands and files while a queue works, and check that nothing is lost or left running.

    python tests/chaos --seconds 60 --seed 7 --mode both

The exit status is 1 when something was violated.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
from types import FrameType

from operators import MODES
from report import tell
from rig import play


def main() -> int:
    options = _options()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"again with: make chaos CHAOS_S={options.seconds:g} SEED={seed} MODE={options.mode}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    report = play(seed, options.mode, options.seconds, options.linger)
    tell(report, options.seconds)
    return 1 if report.violations else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long faults are dealt (default: 60)")
    parser.add_argument("--seed", type=_seed, help="the seed of all that is drawn (default: a new one)")
    parser.add_argument("--mode", choices=sorted(MODES), default="both", help="of the workers; both: by turns")
    parser.add_argument(
        "--linger", type=float, default=35.0, help="seconds of quiet at the end: it outlasts every lease (default: 35)"
    )
    return parser.parse_args()


def _seed(text: str) -> int | None:
    """As make passes it: empty where none was given."""
    return int(text) if text else None


def _interrupt(number: int, frame: FrameType | None) -> None:
    # A second one must not keep the first from ending what was started.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        status = main()
    except KeyboardInterrupt:
        print("interrupted; all that was started has been ended", file=sys.stderr)
        status = 130
    sys.exit(status)
