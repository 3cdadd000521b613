"""The story of queuectl on real input, in a temporary directory: ``make demo``.

Every command is printed before it runs. At the end the books are checked, and the demo fails
loudly when anything that it claims is not so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any, NoReturn

import psutil

FILES = 80
HANGING = "86399.75"
"""Seconds that the hanging job's processes sleep: longer than anybody watches a demo."""

MARK = "DEMO_OF_QUEUECTL"
"""A variable that every process of the demo has in its environment, with the demo's directory."""

PATIENCE = "1m"
"""No job takes so long. If one did, the demo would say so, rather than wait for ever."""


class Wrong(Exception):
    """Something that the demo claims is not so."""


class Stopped(Exception):
    """Somebody stops the demo; the argument is the signal's number."""


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix="queuectl-demo-")).resolve()
    os.environ.pop("QUEUECTL_DB_PATH", None)
    os.environ[MARK] = str(directory)
    started = time.monotonic()
    try:
        for number in STOPS:
            signal.signal(number, stop)
        os.chdir(directory)
        play(directory)
    except Wrong as wrong:
        print(f"\nTHE DEMO FAILED: {wrong}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        return 128 + int(stopped.args[0])
    finally:
        clean_up(directory)
    print(f"\nAll of it held, in {time.monotonic() - started:.0f} seconds.")
    return 0


def stop(number: int, _frame: object) -> NoReturn:
    raise Stopped(number)


def clean_up(directory: Path) -> None:
    """End the workers and remove the directory. A second signal must not cut this short."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    if (directory / "queuectl.db").exists():
        command = ["queuectl", "worker-stop", "--now"]
        done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=directory)  # nosec B603  # the one that make puts first in the PATH
        if done.returncode:
            print(f"the workers could not be stopped: {done.stderr}", file=sys.stderr)
    # Such as a command that a signal caught at its birth.
    left = processes_left(directory)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=10)
    os.chdir("/")
    shutil.rmtree(directory)


def play(directory: Path) -> None:
    tell("A queue is one directory.")
    run("init")
    run("config", "set", "backoff_base", "0.3")
    run("config", "set", "kill_grace", "1")

    tell(f"Real work: checksum, compress and count {FILES} files, one job each, accepted whole or not at all.")
    sources = some_sources(directory)
    (directory / "jobs.json").write_text("".join(json.dumps(job_for(source)) + "\n" for source in sources))
    run("enqueue", "--job-file", "jobs.json", quiet=True)

    tell("Beside it: one that fails twice and then succeeds,")
    flaky = 'test "$QUEUECTL_ATTEMPT" -ge 3 || { echo "attempt $QUEUECTL_ATTEMPT: not yet"; exit 1; }; echo "at last"'
    run("enqueue", "--id", "flaky", "--command", flaky)
    tell("one that cannot succeed until somebody repairs the cause,")
    run("enqueue", "--id", "import", "--max-retries", "1", "--command", "wc -l < nightly.csv")
    tell("one that hangs, with grandchildren that try to get away,")
    hanging = f"setsid sleep {HANGING} & nohup sleep {HANGING} >/dev/null 2>&1 & sleep {HANGING}"
    run("enqueue", "--id", "hangs", "--max-retries", "0", "--timeout", "2s", "--command", hanging)
    tell("and one for later.")
    run("enqueue", "--id", "later", "--delay", "2h", "--", "echo", "good evening")

    tell("Four workers, in the background; then wait for all but the last.")
    run("worker-start", "--count", "4")
    batch = [source.name for source in sources]
    run("wait", "--timeout", PATIENCE, *batch, "flaky", "import", "hangs", expect=1, shown="queuectl wait ID…")
    run("status")

    tell("What could not be done is in the dead-letter queue, with the reason.")
    run("dlq", "list")
    run("logs", "import")
    tell("Repair the cause, and bring it back.")
    (directory / "nightly.csv").write_text("id,name\n1,Ada\n2,Grace\n")
    run("dlq", "retry", "import")
    run("wait", "--timeout", PATIENCE, "import")
    run("show", "flaky")
    run("logs", "flaky")
    run("show", "hangs")
    run("worker-stop")
    run("status")
    prove(directory, sources)


def some_sources(directory: Path) -> list[Path]:
    """The larger files of the standard library, copied, so that the demo changes nothing."""
    library = Path(sysconfig.get_paths()["stdlib"])
    chosen = sorted(library.glob("[a-z]*.py"), key=lambda path: (-path.stat().st_size, path.name))[:FILES]
    sources = []
    for path in chosen:
        sources.append(directory / path.name)
        shutil.copyfile(path, sources[-1])
    return sources


def job_for(source: Path) -> dict[str, Any]:
    name = source.name
    command = f"sha256sum {name} > {name}.sha256 && gzip -k {name} && wc -l < {name} > {name}.lines"
    return {"id": name, "command": command, "timeout": "1m"}


def prove(directory: Path, sources: list[Path]) -> None:
    """Check every claim against the files, the queue and the process table."""
    jobs = {job["id"]: job for job in json.loads(output_of("list", "--json"))}
    for source in sources:
        job = jobs[source.name]
        expect((job["state"], job["attempts"]) == ("completed", 1), f"{source.name} completed at its first attempt")
        content = source.read_bytes()
        digest = (directory / f"{source.name}.sha256").read_text().split()[0]
        expect(digest == hashlib.sha256(content).hexdigest(), f"the checksum of {source.name} is right")
        packed = (directory / f"{source.name}.gz").read_bytes()
        expect(zlib.decompress(packed, zlib.MAX_WBITS | 16) == content, f"{source.name} was compressed whole")
        counted = int((directory / f"{source.name}.lines").read_text())
        expect(counted == content.count(b"\n"), f"the lines of {source.name} were counted right")
    outcomes = {name: outcomes_of(name) for name in ("flaky", "import", "hangs", "later")}
    expect(outcomes["flaky"] == ["failed", "failed", "succeeded"], f"flaky succeeded at last: {outcomes['flaky']}")
    expect(outcomes["import"] == ["failed", "failed", "succeeded"], f"import was repaired: {outcomes['import']}")
    expect(outcomes["hangs"] == ["timed_out"], f"hangs was stopped by its timeout: {outcomes['hangs']}")
    states = {name: jobs[name]["state"] for name in outcomes}
    wanted = {"flaky": "completed", "import": "completed", "hangs": "dead", "later": "pending"}
    expect(states == wanted, f"the four ended as they should: {states}")
    expect(outcomes["later"] == [], "later was not started")
    left = processes_left(directory)
    expect(not left, f"nothing is left running: {left}")
    status = json.loads(output_of("status", "--json"))
    expect(status["workers"]["running"] == 0, "the workers are gone")
    starts = [1 for _ in sources] + [len(each) for each in outcomes.values()]
    retries = sum(starts) - sum(1 for count in starts if count)
    tell(f"Proved: {len(jobs)} jobs, {sum(starts)} attempts, {retries} of them retries;")
    print(f"{len(sources)} checksums, archives and counts compared with the files;")
    print("the hanging job and its grandchildren ended; nothing left running.")


def outcomes_of(job_id: str) -> list[str]:
    return [attempt["outcome"] for attempt in json.loads(output_of("show", job_id, "--json"))["attempt_history"]]


def processes_left(directory: Path) -> list[psutil.Process]:
    """What the demo started and still lives."""
    others = [process for process in psutil.process_iter() if process.pid != os.getpid()]
    return [process for process in others if is_ours(process, directory)]


def is_ours(process: psutil.Process, directory: Path) -> bool:
    """Whether a process has the demo's mark. The dead have none, and what cannot be read is not ours."""
    try:
        return process.environ().get(MARK) == str(directory)
    except psutil.Error:
        return False


def tell(text: str) -> None:
    print(f"\n{text}", flush=True)


def run(*arguments: str, expect: int = 0, quiet: bool = False, shown: str | None = None) -> None:
    """Print a command, run it on this terminal, and insist on its exit code."""
    print(f"$ {shown or shlex.join(('queuectl', *arguments))}", flush=True)
    done = subprocess.run(["queuectl", *arguments], check=False, stdout=subprocess.PIPE if quiet else None, text=True)  # nosec B603, B607  # the one that make puts first in the PATH
    if quiet:
        print(f"({len(done.stdout.split())} ids)", flush=True)
    if done.returncode != expect:
        raise Wrong(f"queuectl {arguments[0]} ended with {done.returncode}, not {expect}")


def output_of(*arguments: str) -> str:
    return subprocess.run(["queuectl", *arguments], check=True, capture_output=True, text=True).stdout  # nosec B603, B607  # the one that make puts first in the PATH


def expect(condition: bool, claim: str) -> None:
    if not condition:
        raise Wrong(f"this is not so: {claim}")


if __name__ == "__main__":
    sys.exit(main())
