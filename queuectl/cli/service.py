"""``service``: a systemd unit that starts the workers of a queue at boot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from queuectl.cli import output
from queuectl.cli.base import App, Group, pass_app
from queuectl.cli.workers import MOST_WORKERS, worker_count
from queuectl.errors import QueueError
from queuectl.home import Home

if TYPE_CHECKING:
    from queuectl.service import Service


@click.command(
    "service",
    cls=Group,
    invoke_without_command=True,
    examples=("queuectl service install --print",),
)
@click.pass_context
def cmd_service(ctx: click.Context) -> None:
    """Have systemd start the workers at boot."""
    if ctx.invoked_subcommand is None:
        output.emit(ctx.get_help() + "\n")


@cmd_service.command(
    "install",
    examples=(
        "queuectl service install --print",
        "queuectl service install --system --count 4 --mode thread --name jobs --print",
    ),
    after_help=(
        "A user unit starts the workers when you log in, or at boot after 'loginctl enable-linger'. A system unit starts "
        "them at boot, with the rights of the queue's owner. systemd is told when all workers are ready, and leaves it "
        "to the supervisor to end them. After 'queuectl worker-stop' they stay stopped until 'systemctl start'.",
        "Jobs of a user unit get the PATH of the shell that installed it, and otherwise systemd's environment.",
    ),
)
@click.option("--user", "of_user", is_flag=True, help="For your own systemd (default, unless you are root).")
@click.option(
    "--system", "of_system", is_flag=True, help="For the machine's systemd; the queue's owner runs the workers."
)
@click.option("--count", metavar="N", help=f"Workers, 1 to {MOST_WORKERS} (default: the number of CPUs).")
@click.option(
    "--mode",
    type=click.Choice(["process", "thread"]),
    default="process",
    help="A process a worker (the default), or all as threads of one.",
)
@click.option("--name", metavar="NAME", help="What the service is called (default: after the queue's directory).")
@click.option("--force", is_flag=True, help="Replace a unit that is there and differs.")
@click.option("--print", "only_print", is_flag=True, help="Only show the unit.")
@pass_app
def service_install(
    app: App,
    of_user: bool,
    of_system: bool,
    count: str | None,
    mode: str,
    name: str | None,
    force: bool,
    only_print: bool,
) -> None:
    """Write a unit that starts the workers at boot."""
    if of_user and of_system:
        raise click.UsageError("--user and --system exclude each other: give one of them")
    workers = None if count is None else worker_count(count)
    queue = app.existing_queue()
    from queuectl import service

    wanted = service.Service(
        name=service.usual_name(queue.home) if name is None else service.known_name(name),
        scope=service.SYSTEM if of_system or (os.geteuid() == 0 and not of_user) else service.USER,
        home=queue.home,
        program=service.own_program(),
        workers=workers,
        mode=mode,
        user=_owner(queue.home),
        path=service.usual_path(),
    )
    if wanted.scope == service.USER and os.stat(queue.home.database).st_uid != os.geteuid():
        raise QueueError(
            f"{queue.home.database} belongs to {wanted.user}: only they can install a user unit; take --system"
        )
    path, text = service.place(wanted), service.unit(wanted, queue.settings)
    if not only_print and not os.path.isdir(service.BOOTED):
        raise QueueError(f"systemd does not run this machine: --print shows the unit, which belongs into {path}")
    is_new = not only_print and service.install(path, text, force=force)
    if app.json:
        output.emit_json({"name": wanted.name, "scope": wanted.scope, "path": path, "unit": text, "written": is_new})
    else:
        output.emit(text if only_print else output.escape(path) + "\n")
    if not only_print:
        _tell_what_is_next(wanted, is_new)


def _owner(home: Home) -> str:
    """Who a queue belongs to: a name, or the number of a user without one."""
    import pwd

    number = os.stat(home.database).st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _tell_what_is_next(wanted: Service, is_new: bool) -> None:
    from queuectl import control

    if not is_new:
        output.note("it was there already, just so")
    if control.is_running(wanted.home):
        output.note("workers run already: stop them first with 'queuectl worker-stop'")
    output.note(f"next: {wanted.manager} daemon-reload && {wanted.manager} enable --now {wanted.name}")
    if wanted.scope == "user":
        output.note("to have them run at boot, and after you log out: loginctl enable-linger")
