"""Faults that hit files: the database, the logs, the settings, and what lies in ``run/``."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import time
from pathlib import Path
from random import Random

from ground import Ground

from queuectl import processes


def lock_database(ground: Ground, random: Random) -> None:
    """Another program holds the write lock."""
    connection = sqlite3.connect(ground.home.database, timeout=5, isolation_level=None)
    try:
        connection.execute(random.choice(("BEGIN IMMEDIATE", "BEGIN EXCLUSIVE")))
        time.sleep(random.uniform(0.2, 2.5))
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        pass  # it was locked all the time
    finally:
        connection.close()


def checkpoint(ground: Ground, random: Random) -> None:
    """Another program tidies the database up."""
    connection = sqlite3.connect(ground.home.database, timeout=2, isolation_level=None)
    try:
        connection.execute(random.choice(("PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM", "REINDEX")))
    except sqlite3.OperationalError:
        pass  # it was locked all the time
    finally:
        connection.close()


def remove_log(ground: Ground, random: Random) -> None:
    """The log of a job is removed, if one runs that of a running one."""
    running = [job_id for _, job_id, _ in ground.job_processes()]
    logs = sorted(path.stem for path in Path(ground.home.logs).glob("*.log"))
    if running or logs:
        job_id = random.choice(running or logs)
        Path(ground.home.log(job_id)).unlink(missing_ok=True)
        ground.ledger.note_removed(job_id, time.time())


def remove_logs(ground: Ground, random: Random) -> None:
    """``job_logs/`` is removed."""
    shutil.rmtree(ground.home.logs, ignore_errors=True)
    ground.ledger.note_removed(None, time.time())


def remove_fifo(ground: Ground, random: Random) -> None:
    """A FIFO in ``run/`` is removed."""
    Path(random.choice((ground.home.wake, ground.home.wake, ground.home.control))).unlink(missing_ok=True)


def break_settings(ground: Ground, random: Random) -> None:
    """The settings are no JSON for a while."""
    ground.write_settings("{ broken")
    supervisor = ground.supervisor()
    if supervisor is not None:
        processes.send_signal(supervisor.pid, supervisor.started, signal.SIGHUP)
    time.sleep(random.uniform(0.1, 1.0))
    ground.write_settings()
