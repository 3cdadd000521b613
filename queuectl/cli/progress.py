"""The progress bar of ``wait``: done of all, running, failed, rate, time left."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from queuectl.clock import human
from queuectl.model import CANCELLED, DEAD, ENDED, PENDING, PROCESSING


class Bar:
    """Draws on standard error. ``before`` is what had ended when the wait began, and does not count."""

    def __init__(self, before: Mapping[str, int]) -> None:
        self._before = _Tally(before)
        self._progress = _Narrower(
            BarColumn(bar_width=None),
            _Done(),
            _Numbers(),
            _Pace(),
            console=Console(stderr=True, highlight=False),
            speed_estimate_period=60,
            expand=True,
        )
        self._task = self._progress.add_task("jobs", total=None, running=0, failed=0, cancelled=0)

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, counts: Mapping[str, int]) -> None:
        """Bring the bar up to date."""
        now = _Tally(counts)
        ended = max(0, now.ended - self._before.ended)
        self._progress.update(
            self._task,
            total=ended + now.running + now.waiting,
            completed=ended,
            running=now.running,
            failed=max(0, now.failed - self._before.failed),
            cancelled=max(0, now.cancelled - self._before.cancelled),
        )


class _Narrower(Progress):
    """Leaves room at its end for the ``^C`` that a terminal writes there.

    It would go to the next line otherwise, where the bar would be drawn once more.
    """

    def get_renderable(self) -> RenderableType:
        return _Shorter(super().get_renderable())


class _Shorter:
    def __init__(self, drawn: RenderableType) -> None:
        self._drawn = drawn

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from console.render(self._drawn, options.update_width(max(1, options.max_width - len("^C"))))


class _Done(ProgressColumn):
    """How many of how many."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:.0f}/{task.total or 0:.0f} done", no_wrap=True)


class _Numbers(ProgressColumn):
    """What runs, and what failed or was cancelled, if anything did or was."""

    def render(self, task: Task) -> Text:
        text = Text(f"{task.fields['running']} running", "cyan", no_wrap=True)
        for kind, colour in (("failed", "red"), ("cancelled", "yellow")):
            if task.fields[kind]:
                text.append(f"  {task.fields[kind]} {kind}", colour)
        return text


class _Pace(ProgressColumn):
    """Jobs a second, or a minute when they are slow, and the time left."""

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text(f"in {human(task.finished_time or 0)}", no_wrap=True)
        if not task.speed:
            return Text(f"waited {human(task.elapsed or 0)}", no_wrap=True)
        rate = f"{task.speed:.1f}/s" if task.speed >= 1 else f"{task.speed * 60:.1f}/min"
        left = (task.remaining or 0) / task.speed
        return Text(f"{rate}  {human(left)} left", no_wrap=True)


class _Tally:
    """Counts by state, as the sums that the bar needs."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        self.ended = sum(counts.get(state, 0) for state in ENDED)
        self.failed = counts.get(DEAD, 0)
        self.cancelled = counts.get(CANCELLED, 0)
        self.running = counts.get(PROCESSING, 0)
        self.waiting = counts.get(PENDING, 0)
