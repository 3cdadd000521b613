-- Every query of the SQLite store, by name. Jobs are added in bulk, claimed one at a time.

-- name: last_seq
-- The highest seq ever given out; rows that were deleted count.
SELECT seq FROM sqlite_sequence WHERE name = 'jobs';

-- name: has_id
SELECT 1 FROM jobs WHERE id = ?;

-- name: add
-- As many jobs as there are rows in the place of ROWS: one statement for each would take twice as long. A row's first
-- value is its place among them, the last two its delay in microseconds and its time. The parameters are now, the first number, and the latest
-- time there is; then the rows.
INSERT INTO jobs (seq, id, command, cwd, env, timeout, max_retries, lane, due, next_run_at, created_at, updated_at)
SELECT seq, coalesce(id, seq), command, cwd, env, timeout, max_retries,
       starts_at IS NOT NULL AND starts_at > ?1, coalesce(starts_at, ?1), starts_at, ?1, ?1
FROM (SELECT ?2 + column1 AS seq, column2 AS id, column3 AS command, column4 AS cwd, column5 AS env,
             column6 AS timeout, column7 AS max_retries, coalesce(column9, min(?1 + column8, ?3)) AS starts_at
      FROM (VALUES ROWS));

-- name: get
SELECT * FROM jobs WHERE id = ?;

-- name: list_all
SELECT * FROM jobs ORDER BY seq LIMIT :limit;

-- name: list_by_state
SELECT * FROM jobs WHERE state = :state ORDER BY seq LIMIT :limit;

-- name: states_of
-- What became of these jobs, by id (a JSON array): enough to wait for them.
SELECT id, state FROM jobs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: counts
-- How many there are of all is told by the pages' headers. The completed ones, most as a rule, are the rest: it takes
-- a while to count a million of them one by one.
WITH others AS (
    SELECT column1 AS state, (SELECT count(*) FROM jobs WHERE state = column1) AS jobs
    FROM (VALUES ('pending'), ('processing'), ('dead'), ('cancelled')))
SELECT state, jobs FROM others
UNION ALL
SELECT 'completed', (SELECT count(*) FROM jobs) - (SELECT sum(jobs) FROM others);

-- name: attempts
SELECT * FROM attempts WHERE job_seq = ? ORDER BY number;

-- name: is_work_ready
-- Whether a claim is worth taking the write lock for.
SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = 0)
    OR EXISTS (SELECT 1 FROM jobs WHERE lane = 1 AND due <= :now)
    OR EXISTS (SELECT 1 FROM jobs WHERE lane = 2 AND due <= :now);

-- name: promote
-- Jobs whose time has come are ready. Bounded, so that one claim stays short.
UPDATE jobs SET lane = 0
WHERE seq IN (SELECT seq FROM jobs WHERE lane = 1 AND due <= :now ORDER BY due LIMIT 500)
   OR seq IN (SELECT seq FROM jobs WHERE lane = 2 AND due <= :now ORDER BY due LIMIT 500);

-- name: is_any_due
SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = 1 AND due <= :now)
    OR EXISTS (SELECT 1 FROM jobs WHERE lane = 2 AND due <= :now);

-- name: claim
-- Take the first ready job. Its attempt begins no earlier than its last one ended, whatever the wall clock does.
UPDATE jobs
SET state = 'processing', lane = NULL, next_run_at = NULL, worker = :worker,
    attempts = attempts + 1, starts = starts + 1,
    started_at = max(:now, coalesce(ended_at, 0)), updated_at = :now
WHERE seq = (SELECT seq FROM jobs WHERE lane = 0 ORDER BY priority DESC, due, seq LIMIT 1)
RETURNING *;

-- name: claimed_by
-- The claims of some workers (a JSON array of names), or of all.
SELECT * FROM jobs
WHERE state = 'processing' AND (:workers IS NULL OR worker IN (SELECT value FROM json_each(:workers)));

-- name: is_cancel_requested
SELECT cancel_requested FROM jobs WHERE seq = :seq AND state = 'processing' AND starts = :number;

-- name: finish
-- Record how an attempt ended, unless the claim was lost. A cancel that was confirmed wins over any outcome.
UPDATE jobs
SET state = iif(cancel_requested, 'cancelled', :state),
    lane = iif(cancel_requested, NULL, :lane),
    due = coalesce(:due, due),
    next_run_at = iif(cancel_requested, NULL, :next_run_at),
    attempts = attempts - :refund,
    worker = NULL, ended_at = max(:ended_at, started_at), updated_at = :now,
    outcome = iif(cancel_requested AND :outcome <> 'crashed', 'cancelled', :outcome),
    exit_code = :exit_code, signal = :signal, reason = :reason
WHERE seq = :seq AND state = 'processing' AND starts = :number
RETURNING started_at, ended_at, outcome, state;

-- name: add_attempt
INSERT INTO attempts (job_seq, number, started_at, ended_at, outcome, exit_code, signal, reason, worker,
                      cpu_seconds, max_rss_bytes, log_offset, log_bytes, leftover)
VALUES (:seq, :number, :started_at, :ended_at, :outcome, :exit_code, :signal, :reason, :worker,
        :cpu_seconds, :max_rss_bytes, :log_offset, :log_bytes, :leftover);

-- name: ids_in_states
SELECT id FROM jobs WHERE state IN (SELECT value FROM json_each(:states)) ORDER BY seq;

-- name: cancel_waiting
-- As all that follow for several jobs: their ids are a JSON array. The plus keeps SQLite from the state's index,
-- with which it would read every job of a state to find one.
UPDATE jobs
SET state = 'cancelled', lane = NULL, next_run_at = NULL, updated_at = :now, reason = 'cancelled while it waited'
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state = 'pending';

-- name: cancel_running
UPDATE jobs SET cancel_requested = 1, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state = 'processing' AND NOT cancel_requested;

-- name: revive
-- Run an ended job again: retries start anew, the history stays.
UPDATE jobs
SET state = 'pending', lane = 0, due = :now, next_run_at = NULL, attempts = 0, cancel_requested = 0,
    outcome = NULL, exit_code = NULL, signal = NULL, reason = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state IN ('completed', 'dead', 'cancelled');

-- name: restart_back_offs
-- A job enters its back-off when it is changed last. After this, its row is as if that were now.
UPDATE jobs
SET due = :now + (due - updated_at), next_run_at = :now + (due - updated_at), updated_at = :now
WHERE lane = 2 AND updated_at > :now;

-- name: next_due
-- When the next job becomes ready by itself.
SELECT min(due) FROM (
    SELECT min(due) AS due FROM jobs WHERE lane = 1
    UNION ALL
    SELECT min(due) FROM jobs WHERE lane = 2);

-- name: has_work_left
-- What a drain waits for: ready and running jobs, and retries in back-off.
SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = 0)
    OR EXISTS (SELECT 1 FROM jobs WHERE lane = 2)
    OR EXISTS (SELECT 1 FROM jobs WHERE lane = 1 AND due <= :now)
    OR EXISTS (SELECT 1 FROM jobs WHERE state = 'processing');

-- name: oldest_waiting
-- The one that is ready since the earliest time: of each priority the first, and of these the first. A search by order
-- of enqueue would read all that are scheduled before it.
WITH RECURSIVE priorities (level) AS (
    SELECT max(priority) FROM jobs WHERE lane = 0
    UNION ALL
    SELECT (SELECT max(priority) FROM jobs WHERE lane = 0 AND priority < level) FROM priorities WHERE level IS NOT NULL)
SELECT * FROM jobs
WHERE seq IN (SELECT (SELECT seq FROM jobs WHERE lane = 0 AND priority = level ORDER BY due, seq LIMIT 1) FROM priorities)
ORDER BY due, seq LIMIT 1;

-- name: next_scheduled
SELECT * FROM (SELECT * FROM jobs WHERE lane = 1 ORDER BY due, seq LIMIT 1)
UNION ALL
SELECT * FROM (SELECT * FROM jobs WHERE lane = 2 ORDER BY due, seq LIMIT 1)
ORDER BY due, seq LIMIT 1;

-- name: contradictions
-- What no sequence of transactions can have written: every start has its record, and what ended says how.
SELECT id, iif(state = 'processing' AND worker IS NULL, 'is processing, but no worker holds it',
           iif(state <> 'processing' AND worker IS NOT NULL, 'is held by a worker, but not processing',
           iif(starts <> (state = 'processing') + (SELECT count(*) FROM attempts WHERE job_seq = seq),
               'has not as many attempts recorded as it had starts',
           iif(attempts < 0 OR attempts > starts, 'is charged more starts than it had',
               'is completed, but its last attempt did not succeed')))) AS fault
FROM jobs
WHERE (state = 'processing') <> (worker IS NOT NULL)
   OR starts <> (state = 'processing') + (SELECT count(*) FROM attempts WHERE job_seq = seq)
   OR attempts NOT BETWEEN 0 AND starts
   OR (state = 'completed'
       AND coalesce((SELECT outcome FROM attempts WHERE job_seq = seq AND number = starts), '') <> 'succeeded')
LIMIT 10;

-- name: logged
SELECT id, max(log_offset + log_bytes) AS size
FROM attempts JOIN jobs ON seq = job_seq
WHERE log_bytes > 0
GROUP BY job_seq;

-- name: forget_output
UPDATE attempts SET log_offset = NULL, log_bytes = NULL
WHERE job_seq IN (SELECT seq FROM jobs WHERE id IN (SELECT value FROM json_each(?)));

-- name: newest
SELECT created_at FROM jobs ORDER BY seq DESC LIMIT 1;
