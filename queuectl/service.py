"""A systemd unit that runs the workers of a queue: its text, its name, and its place."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Sequence
from typing import NamedTuple

from queuectl import files, stopping
from queuectl.errors import Conflict, InvalidInput, QueueError
from queuectl.home import Home
from queuectl.settings import Settings

USER, SYSTEM = "user", "system"
BOOTED = "/run/systemd/system"
"""Is there where systemd runs the machine (``sd_booted(3)``)."""

_SYSTEM_UNITS = "/etc/systemd/system"
_NAME = r"[A-Za-z0-9][A-Za-z0-9:_.-]{0,199}"
_SUFFIX = ".service"
_READABLE = 0o644
"""systemd wants everybody to be able to read a unit."""

_TEXT = """\
# Made by "queuectl service install". Make it anew with --force, or change it by "systemctl {flag}edit {name}".
[Unit]
Description=Workers of the queue {description}
RequiresMountsFor={mounts}
{after}
[Service]
Type=notify
{who}ExecStart={start}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
Delegate=yes
OOMPolicy=continue
TimeoutStartSec=300
TimeoutStopSec={stop:.0f}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2 3 4
SuccessExitStatus=130 131 143

[Install]
WantedBy={target}
"""


class Service(NamedTuple):
    """What somebody wants to have run: ``workers`` None is one a CPU."""

    name: str
    scope: str
    home: Home
    program: Sequence[str]
    workers: int | None = None
    mode: str = "process"
    user: str = ""
    """Who runs the workers of a system unit."""
    path: str = ""
    """The ``PATH`` that jobs of a user unit get."""

    @property
    def manager(self) -> str:
        """The words of a shell that speak to the manager of this unit."""
        return "systemctl --user" if self.scope == USER else "systemctl"


def unit(service: Service, settings: Settings) -> str:
    """The text of a unit. Raises :class:`InvalidInput` for a path that systemd cannot be told."""
    home = service.home.directory
    if not all(word.isprintable() for word in (*service.program, service.home.database)):
        raise InvalidInput(f"systemd cannot be told a path with control characters: {service.home.database!r}")
    words = [*service.program, "--db", service.home.database, "worker-run"]
    if service.workers is not None:
        words += ["--count", str(service.workers)]
    words += ["--mode", service.mode]
    is_user = service.scope == USER
    who = f"User={service.user}\n" if not is_user else f"Environment={_word(f'PATH={service.path}')}\n"
    return _TEXT.format(
        flag="--user " if is_user else "",
        name=service.name,
        description=_without_specifiers(home),
        mounts=_word(home),
        after="" if is_user else "After=local-fs.target\n",
        who=who if not is_user or service.path else "",
        start=_command_line(words),
        stop=stopping.longest(settings.stop_timeout, settings.kill_grace),
        target="default.target" if is_user else "multi-user.target",
    )


def known_name(name: str) -> str:
    """The name of a unit, with or without ``.service`` at its end. Raises :class:`InvalidInput`."""
    bare = name.removesuffix(_SUFFIX)
    if not re.fullmatch(_NAME, bare):
        raise InvalidInput(f"--name: {name[:60]!r} is not a service's name: up to 200 letters, digits and : _ . -")
    return bare


def usual_name(home: Home) -> str:
    """What the service of a queue is called: after its directory, since a machine may have several."""
    directory = re.sub(r"[^A-Za-z0-9_.-]+", "-", os.path.basename(home.directory)).strip("-.")[:100]
    return "queuectl" if directory in ("", "queuectl") else f"queuectl-{directory}"


def place(service: Service) -> str:
    """Where systemd looks for the unit."""
    if service.scope == SYSTEM:
        return os.path.join(_SYSTEM_UNITS, service.name + _SUFFIX)
    configuration = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(configuration):
        configuration = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(configuration, "systemd", "user", service.name + _SUFFIX)


def own_program() -> list[str]:
    """The words that start this very program, whatever the directory: its file, or the interpreter with it.

    A file that is in everybody's PATH is left as it is: an upgrade may put another behind its link.
    """
    called = sys.argv[0]
    beside_interpreter = os.path.join(os.path.dirname(sys.executable), "queuectl")
    in_checkout = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bin", "queuectl")
    for path in (called, beside_interpreter, in_checkout):
        if os.path.basename(path) == "queuectl" and os.path.isfile(path) and os.access(path, os.X_OK):
            return [os.path.abspath(path)]
    return [os.path.abspath(sys.executable), "-m", "queuectl"]


def usual_path() -> str:
    """The directories of ``PATH``, without those that depend on where one is."""
    parts = os.environ.get("PATH", "").split(":")
    return ":".join(part for part in parts if os.path.isabs(part) and part.isprintable())


def install(path: str, text: str, *, force: bool) -> bool:
    """Write a unit to its place; whether it was not there already, word for word.

    Raises :class:`Conflict` where another is there, unless it may be replaced by ``force``.
    """
    if os.path.lexists(path):
        if _is_regular(path) and files.read_small(path) == text:
            return False
        if not force:
            raise Conflict(f"{path} is there already, and differs: replace it with --force, or give another --name")
    try:
        files.make_private_directories(os.path.dirname(path))
        files.write_durably(path, text)
        os.chmod(path, _READABLE)
    except OSError as error:
        hint = ": become root, for example with sudo" if isinstance(error, PermissionError) else ""
        raise QueueError(f"cannot write {path}: {error.strerror}{hint}") from error
    return True


def _is_regular(path: str) -> bool:
    return stat.S_ISREG(os.lstat(path).st_mode)


def _command_line(words: Sequence[str]) -> str:
    """Words as ``ExecStart=`` takes them: a colon before them keeps systemd from looking for variables.

    It does not start a program with such a path itself (``string_is_safe``), whatever one writes.
    """
    if set(words[0]) & set("\"'\\"):
        words = ["/bin/sh", "-c", 'exec "$0" "$@"', *words]
    colon = ":" if any("$" in word for word in words) else ""
    return colon + " ".join(map(_word, words))


def _word(text: str) -> str:
    """One word of a unit, whatever is in it (``systemd.syntax(7)``)."""
    text = _without_specifiers(text)
    if re.fullmatch(r"[\w@%+=:,./$-]+", text, re.ASCII):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _without_specifiers(text: str) -> str:
    return text.replace("%", "%%")
