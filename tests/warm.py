"""What the server does once, from which commands are forked, that each of them would do."""

from __future__ import annotations

import gc

from queuectl.store import queries

queries.load()
queries.load("glance.sql")
# As the program itself, which looks for garbage less often. To look where there is none would copy what all share.
gc.set_threshold(20_000, 20, 20)
gc.freeze()
