"""The file by which workers are told to begin nothing that they claimed ahead."""

from __future__ import annotations

import os

from unit.support import in_child, unprivileged_directory

from queuectl import recall
from queuectl.home import at


def test_each_recall_is_seen_whoever_made_the_first() -> None:
    """Root may be who pauses another user's queue."""
    with unprivileged_directory() as directory:
        home = at(directory / "q.db")
        in_child(home.make_directories, unprivileged=True)
        unmade = recall.mark(home)
        recall.claims(home)
        first = recall.mark(home)
        in_child(lambda: recall.claims(home), unprivileged=True)
        assert unmade < first < recall.mark(home)


def test_nothing_is_given_away_that_was_there() -> None:
    """It may be another file of ours, under a second name."""
    with unprivileged_directory() as directory:
        home = at(directory / "q.db")
        in_child(home.make_directories, unprivileged=True)
        (directory / "precious").touch(0o600)
        os.link(directory / "precious", home.recall)
        recall.claims(home)
        assert os.stat(directory / "precious").st_uid == os.geteuid()
