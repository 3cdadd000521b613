"""Retries by exit code, by a job's own base, and spread over time, with real workers."""

from __future__ import annotations

import os
import signal
from datetime import datetime
from pathlib import Path

from farm import Farm, eventually
from unit.support import in_child

from queuectl import Job, slot
from queuectl.clock import SYSTEM_CLOCK
from queuectl.model import FAILED, Outcome
from queuectl.store.sqlite import open_store


def outcomes(farm: Farm, job_id: str) -> list[str | None]:
    return [attempt.outcome for attempt in farm.queue.attempts(job_id)]


def delay(job: Job) -> float:
    """Seconds between the end of a job's last attempt and its next start."""
    assert job.next_run_at is not None
    ended, following = (
        datetime.fromisoformat(text.replace("Z", "+00:00")) for text in (job.updated_at, job.next_run_at)
    )
    return (following - ended).total_seconds()


def test_exit_codes_decide(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "0")
    farm.queue.enqueue_many(
        [
            {"id": "not", "command": "exit 64", "no_retry_on": "2,64-78", "max_retries": 2},
            {"id": "again", "command": "exit 1", "no_retry_on": "2,64-78", "max_retries": 2},
            {"id": "only", "command": "exit 75", "retry_on": [75], "max_retries": 2},
            {"id": "other", "command": "exit 1", "retry_on": [75], "max_retries": 2},
            {
                "id": "turn",
                "command": "test $QUEUECTL_ATTEMPT = 1 && exit 75; exit 3",
                "retry_on": 75,
                "max_retries": 9,
            },
            {"id": "shot", "command": "kill -TERM $$", "retry_on": 75, "max_retries": 1},
            {"id": "late", "command": f"sleep {farm.token}", "retry_on": 75, "max_retries": 1, "timeout": 0.1},
            {"id": "nowhere", "command": "true", "cwd": "/no/such", "retry_on": 75, "max_retries": 1},
        ]
    )
    farm.start(2, mode)
    assert not farm.queue.wait(timeout=60)
    assert {job.id: outcomes(farm, job.id) for job in farm.queue.jobs(state="dead")} == {
        "not": ["failed"],
        "again": ["failed"] * 3,
        "only": ["failed"] * 3,
        "other": ["failed"],
        "turn": ["failed"] * 2,
        "shot": ["signaled"] * 2,
        "late": ["timed_out"] * 2,
        "nowhere": ["not_started"] * 2,
    }
    told = {job.id: job.reason for job in farm.queue.jobs()}
    assert told["not"] == "exit code 64, which is not retried"
    assert told["turn"] == "exit code 3, which is not retried"
    assert told["only"] == "exit code 75"
    listed = farm.run("dlq", "list").stdout
    assert "exit code 64, which is not retried" in listed


def test_a_job_whose_worker_is_killed_runs_again_whatever_its_policy(farm: Farm, mode: str) -> None:
    command = f'test "$QUEUECTL_ATTEMPT" = 2 && exit 0; exec sleep {farm.token}'
    farm.queue.enqueue(command, id="j", retry_on=75, backoff_base=0)
    farm.start(1, mode)
    eventually(farm.survivors)
    os.kill(farm.workers()[0], signal.SIGKILL)
    assert farm.queue.wait(["j"], timeout=60)
    assert outcomes(farm, "j") == ["crashed", "succeeded"]


def note_outcomes(farm: Farm) -> None:
    store = open_store(farm.home, 5)
    for number, code in enumerate((1, 64), 1):
        claim = store.claim(f"worker-{number}", SYSTEM_CLOCK.now())
        assert claim is not None
        Path(farm.home.log(claim.id)).touch(0o600)
        note = slot.Slot(farm.home.slot(claim.worker))
        note.opened(claim.seq, claim.number, 0, SYSTEM_CLOCK.now())
        note.ended(Outcome(FAILED, code, reason=f"exit code {code}", log_offset=0, log_bytes=0), SYSTEM_CLOCK.now())
    store.close()


def test_an_outcome_that_only_the_next_start_can_record_is_judged_by_the_policy(farm: Farm) -> None:
    farm.queue.enqueue_many([{"command": f"exit {code}", "id": f"j{code}", "no_retry_on": "64"} for code in (1, 64)])
    # What a worker noted, who died before it could store it. Whoever has such a note open is ended by the next start.
    in_child(lambda: note_outcomes(farm))
    farm.start(1)
    assert [farm.queue.get(each).state for each in ("j1", "j64")] == ["pending", "dead"]
    assert farm.queue.get("j64").reason == "exit code 64, which is not retried"


def test_the_base_is_the_jobs_own(farm: Farm, mode: str) -> None:
    farm.queue.enqueue("false", id="own", backoff_base=700)
    farm.queue.enqueue("false", id="setting")
    farm.run("config", "set", "backoff_base", "300")
    farm.start(2, mode)
    jobs = eventually(lambda: all(job.next_run_at for job in farm.queue.jobs()) and farm.queue.jobs())
    assert [round(delay(job)) for job in jobs] == [700, 300]


def test_delays_are_spread(farm: Farm, mode: str) -> None:
    farm.run("config", "set", "backoff_base", "1000")
    farm.run("config", "set", "backoff_jitter", "0.5")
    farm.queue.enqueue_many([{"command": "false"}] * 12)
    farm.start(3, mode)
    jobs = eventually(lambda: all(job.next_run_at for job in farm.queue.jobs()) and farm.queue.jobs())
    delays = [delay(job) for job in jobs]
    assert all(500 <= each <= 1500 for each in delays)
    # That twelve lie as near to each other by chance has a likelihood of less than one in a thousand million.
    assert max(delays) - min(delays) > 100
    assert len(set(delays)) == 12
