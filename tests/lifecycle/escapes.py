"""Every way in which a job leaves processes behind that we know of, each with a token in its command line."""

from __future__ import annotations

import sys
from collections.abc import Mapping

_DOUBLE_FORK = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
time.sleep(float(sys.argv[1]))
"""

_REFORK = """
import os, sys, time
os.setsid()
until = time.monotonic() + 60
while time.monotonic() < until:
    if os.fork(): os._exit(0)
"""

_REFORK_IN_NEW_SESSIONS = """
import os, sys, time
until = time.monotonic() + 60
while time.monotonic() < until:
    if os.fork(): os._exit(0)
    os.setsid()
"""

_DEAF = """
import os, signal, sys, time
for number in set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
time.sleep(float(sys.argv[1]))
"""


def escapes(token: str) -> Mapping[str, str]:
    """Shell commands by name; each returns at once and leaves a process that runs for a long time."""

    def python(program: str) -> str:
        return f"{sys.executable} -c '{program}' {token}"

    return {
        "background": f"sleep {token} &",
        "nohup": f"nohup sleep {token} >/dev/null 2>&1 &",
        "setsid": f"setsid sleep {token} &",
        "setsid --fork": f"setsid --fork sleep {token}",
        "subshell": f"( ( sleep {token} & ) & )",
        "double fork": python(_DOUBLE_FORK),
        "ignored signals": python(_DEAF) + " &",
        "trap in a loop": f"sh -c 'trap \"\" TERM INT HUP; while :; do sleep {token}; done' {token} &",
        "stopped": f"sleep {token} & kill -STOP $!",
        "many": f"for i in 1 2 3 4 5 6 7 8 9 10; do setsid sleep {token} & done",
        "re-forks itself": python(_REFORK) + " &",
        "re-forks itself in new sessions": python(_REFORK_IN_NEW_SESSIONS) + " &",
        "cleared environment": f"env -i setsid sleep {token} &",
    }


def unmarked(token: str) -> Mapping[str, str]:
    """Those that keep no mark at all: no session, descent, environment or log. Only a control group holds them."""
    return {
        "nothing left to know it by": f"env -i setsid --fork sleep {token} </dev/null >/dev/null 2>&1",
    }


def all_at_once(commands: Mapping[str, str]) -> str:
    """One command that escapes in every way."""
    return "\n".join(commands.values()) + "\n"
