"""Whether system calls can be seen here."""

from __future__ import annotations

import functools
import shutil
import subprocess


@functools.cache
def refusal() -> str:
    """Why no system calls can be seen here; empty when they can."""
    if shutil.which("strace") is None:
        return "strace is missing"
    done = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False)
    return f"strace does not work here: {done.stderr.strip()}" if done.returncode else ""
