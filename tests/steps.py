"""What a query costs, counted so that a slow machine is no excuse."""

from __future__ import annotations

from collections.abc import Callable

from queuectl.store.sqlite import SQLiteStore


def steps_of(store: SQLiteStore, look: Callable[[SQLiteStore], object]) -> int:
    """How many steps SQLite's machine takes for a look, in tens."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    with store._connections.using() as connection:
        connection.set_progress_handler(count, 10)
    look(store)
    with store._connections.using() as connection:
        connection.set_progress_handler(None, 0)
    return steps
