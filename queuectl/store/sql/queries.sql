-- Every query of the SQLite store, by name. Jobs are added in bulk, claimed one or a few at a time.

-- name: last_seq
-- The highest seq ever given out; rows that were deleted count.
SELECT seq FROM sqlite_sequence WHERE name = 'jobs';

-- name: has_id
SELECT 1 FROM jobs WHERE id = ?;

-- name: add
-- As many jobs as there are rows in the place of ROWS: one statement for each would take twice as long. The parameters
-- are now, the first number, and the latest time there is; then what all have in common, as COLUMNS name it; then the rows.
-- A row begins with its place among them.
INSERT INTO jobs (seq, id, command, cwd, env, timeout, max_retries, priority, group_name, unique_key, batch, retry_policy,
                  lane, due, next_run_at, created_at, updated_at)
SELECT seq, coalesce(id, seq), command, cwd, env, timeout, max_retries, priority, group_name, unique_key, batch, retry_policy,
       starts_at IS NOT NULL AND starts_at > ?1, coalesce(starts_at, ?1), starts_at, ?1, ?1
FROM (SELECT *, coalesce(run_at, min(?1 + delay, ?3)) AS starts_at
      FROM (SELECT ?2 + column1 AS seq, COLUMNS FROM (VALUES ROWS)));

-- name: get
SELECT * FROM jobs WHERE id = ?;

-- name: list_all
SELECT * FROM jobs ORDER BY seq LIMIT :limit;

-- name: list_by_state
SELECT * FROM jobs WHERE state = :state ORDER BY seq LIMIT :limit;

-- name: list_by_batch
-- Of some states (a JSON array), or of all. The plus, here and below, keeps SQLite from the state's index.
SELECT * FROM jobs
WHERE batch = :batch AND (:states IS NULL OR +state IN (SELECT value FROM json_each(:states)))
ORDER BY seq LIMIT :limit;

-- name: ids_in_batch
SELECT id FROM jobs
WHERE batch = :batch AND +state IN (SELECT value FROM json_each(:states)) ORDER BY seq;

-- name: counts_of_batch
SELECT +state AS state, count(*) AS jobs FROM jobs WHERE batch = :batch GROUP BY +state;

-- name: has_batch
SELECT EXISTS (SELECT 1 FROM jobs WHERE batch = :batch);

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
-- Slots of schedules become jobs also while the queue is paused.
SELECT (EXISTS (SELECT 1 FROM jobs WHERE lane = 0)
     OR EXISTS (SELECT 1 FROM jobs WHERE lane = 1 AND due <= :now)
     OR EXISTS (SELECT 1 FROM jobs WHERE lane = 2 AND due <= :now))
    AND NOT EXISTS (SELECT 1 FROM groups WHERE name = '' AND paused)
    OR EXISTS (SELECT 1 FROM schedules WHERE next_slot <= :now);

-- name: promote
-- Jobs whose time has come are ready. Bounded, so that one claim stays short.
UPDATE jobs SET lane = iif(group_name IN (SELECT name FROM restricted), 4, 0)
WHERE seq IN (SELECT seq FROM jobs WHERE lane = 1 AND due <= :now ORDER BY due LIMIT 500)
   OR seq IN (SELECT seq FROM jobs WHERE lane = 2 AND due <= :now ORDER BY due LIMIT 500)
RETURNING lane, group_name;

-- name: first_ready
-- Whether the time has come for jobs, and for slots of schedules; and the first ready job, as it will be when it is
-- claimed: without a seq where there is none, or the queue is paused. Its attempt begins no earlier than its last one ended,
-- whatever the wall clock does.
SELECT EXISTS (SELECT 1 FROM jobs WHERE lane = 1 AND due <= :now)
    OR EXISTS (SELECT 1 FROM jobs WHERE lane = 2 AND due <= :now) AS jobs_due,
       EXISTS (SELECT 1 FROM schedules WHERE next_slot <= :now) AS slots_due,
       seq, id, starts + 1 AS starts, attempts + 1 AS attempts, max_retries, command, cwd, env, timeout, retry_policy,
       :worker AS worker, max(:now, coalesce(ended_at, 0)) AS started_at
FROM (SELECT 1) LEFT JOIN jobs ON seq = (SELECT seq FROM jobs WHERE lane = 0 ORDER BY priority DESC, due, seq LIMIT 1)
                              AND NOT EXISTS (SELECT 1 FROM groups WHERE name = '' AND paused);

-- name: claim
-- A statement that changes a job and returns it (here and at the end of an attempt) takes longer than one that looks at
-- it and one that changes it: SQLite makes a table of what it returns.
UPDATE jobs
SET state = 'processing', lane = NULL, next_run_at = NULL, worker = :worker,
    attempts = :attempts, starts = :number, started_at = :started_at, updated_at = :now
WHERE seq = :seq;

-- name: ready_ahead
-- The ready jobs that come first, to be claimed ahead, as they will be then: without the time of a start. None where no
-- more than some are left for others, or where the job before them has a place in its group: that would stay taken until
-- they have ended. What may not be claimed ahead has been started before, needs a place, or was to wait for a time: it
-- could not be given back as it was.
SELECT seq, id, starts + 1 AS starts, attempts + 1 AS attempts, max_retries, command, cwd, env, timeout, retry_policy,
       :worker AS worker, NULL AS started_at, starts = 0 AND NOT placed AND next_run_at IS NULL AS may_be_ahead
FROM jobs
WHERE lane = 0 AND (SELECT count(*) FROM (SELECT 1 FROM jobs WHERE lane = 0 LIMIT :most + :reserve)) = :most + :reserve
  AND NOT (SELECT placed FROM jobs WHERE seq = :first)
ORDER BY priority DESC, due, seq LIMIT :most;

-- name: is_any_ahead
-- Whether a job of some groups (a JSON array), or of any, was claimed ahead and has not begun.
SELECT EXISTS (SELECT 1 FROM jobs
               WHERE state = 'processing' AND started_at IS NULL
                 AND (:groups IS NULL OR group_name IN (SELECT value FROM json_each(:groups))));

-- name: begin
-- A job that was claimed ahead has begun.
UPDATE jobs SET started_at = :started_at, updated_at = :started_at
WHERE seq = :seq AND state = 'processing' AND starts = :number AND worker = :worker AND started_at IS NULL;

-- name: unbegun
-- What must be known of a job that was claimed ahead, to give it back; no row where that is not so any more. The number of
-- a claim that is given back is that of the next one, so that the number alone is no fence here.
SELECT cancel_requested, group_name, EXISTS (SELECT 1 FROM dependencies WHERE job_seq = jobs.seq) AS needs_others
FROM jobs
WHERE seq = :seq AND state = 'processing' AND starts = :number AND worker = :worker AND started_at IS NULL;

-- name: give_back
UPDATE jobs
SET state = 'pending', lane = iif(group_name IN (SELECT name FROM restricted), 4, 0), placed = 0, worker = NULL,
    attempts = attempts - 1, starts = starts - 1, cancel_requested = 0, updated_at = :now
WHERE seq = :seq;

-- name: claimed_by
-- The claims of some workers (a JSON array of names), or of all.
SELECT * FROM jobs
WHERE state = 'processing' AND (:workers IS NULL OR worker IN (SELECT value FROM json_each(:workers)));

-- name: is_cancel_requested
SELECT cancel_requested FROM jobs WHERE seq = :seq AND state = 'processing' AND starts = :number;

-- name: running
-- What the end of an attempt must know of its job; no row where the claim was lost.
SELECT cancel_requested, placed, group_name,
       EXISTS (SELECT 1 FROM dependencies WHERE needs = jobs.seq) AS is_needed,
       EXISTS (SELECT 1 FROM dependencies WHERE job_seq = jobs.seq) AS needs_others
FROM jobs WHERE seq = :seq AND state = 'processing' AND starts = :number;

-- name: finish
-- Record how the last attempt of a job ended.
UPDATE jobs
SET state = :state, rescheduled = 0, attempts = attempts - :refund,
    worker = NULL, started_at = :started_at, ended_at = :ended_at, updated_at = :now,
    outcome = :outcome, exit_code = :exit_code, signal = :signal, reason = :reason
WHERE seq = :seq;

-- name: put_back
-- Record how an attempt ended after which its job waits again. Not one with the above: all that tells ready jobs from
-- others would be looked at for the jobs that have ended, too.
UPDATE jobs
SET state = 'pending', lane = :lane, due = coalesce(:due, due), next_run_at = :due, rescheduled = 0,
    attempts = attempts - :refund,
    worker = NULL, started_at = :started_at, ended_at = :ended_at, updated_at = :now,
    outcome = :outcome, exit_code = :exit_code, signal = :signal, reason = :reason
WHERE seq = :seq;

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
SET state = 'cancelled', lane = NULL, next_run_at = NULL, updated_at = :now, reason = :reason, placed = 0
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state = 'pending'
RETURNING seq, group_name;

-- name: cancel_running
UPDATE jobs SET cancel_requested = 1, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state = 'processing' AND NOT cancel_requested;

-- name: revive
-- Run an ended job again: retries start anew, the history stays.
UPDATE jobs
SET state = 'pending', lane = iif(group_name IN (SELECT name FROM restricted), 4, 0), due = :now, next_run_at = NULL,
    attempts = 0, cancel_requested = 0, doomed = 0, held = 0, rescheduled = 0,
    outcome = NULL, exit_code = NULL, signal = NULL, reason = NULL, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state IN ('completed', 'dead', 'cancelled')
RETURNING seq, lane, group_name;

-- name: restart_back_offs
-- A job enters its back-off when it is changed last. After this, its row is as if that were now.
UPDATE jobs
SET due = :now + (due - updated_at), next_run_at = :now + (due - updated_at), updated_at = :now
WHERE lane = 2 AND updated_at > :now;

-- name: next_due
-- When the next job becomes ready by itself, which none does while the whole queue is paused, or a schedule makes one.
SELECT min(due) FROM (
    SELECT min(due) AS due FROM (
        SELECT min(due) AS due FROM jobs WHERE lane = 1
        UNION ALL
        SELECT min(due) FROM jobs WHERE lane = 2)
    WHERE NOT EXISTS (SELECT 1 FROM groups WHERE name = '' AND paused)
    UNION ALL
    SELECT min(next_slot) FROM schedules);

-- name: has_work_left
-- What a drain waits for: ready and running jobs, and retries in back-off; what is paused needs further help. Jobs that
-- wait for others, or for a place in their group, become ready as one of these ends.
SELECT EXISTS (SELECT 1 FROM jobs WHERE state = 'processing')
    OR (NOT EXISTS (SELECT 1 FROM groups WHERE name = '' AND paused)
        AND (EXISTS (SELECT 1 FROM jobs WHERE lane = 0)
          OR EXISTS (SELECT 1 FROM jobs WHERE lane = 2 AND group_name NOT IN (SELECT name FROM groups WHERE paused))
          OR EXISTS (SELECT 1 FROM jobs
                     WHERE lane = 1 AND due <= :now AND group_name NOT IN (SELECT name FROM groups WHERE paused))));

-- name: oldest_waiting
-- The one that is ready since the earliest time: of each priority the first, of what is due and was not promoted yet the
-- first, and of these the first. A search by order of enqueue would read all that are scheduled before it.
WITH RECURSIVE priorities (level) AS (
    SELECT max(priority) FROM jobs WHERE lane = 0
    UNION ALL
    SELECT (SELECT max(priority) FROM jobs WHERE lane = 0 AND priority < level) FROM priorities WHERE level IS NOT NULL)
SELECT * FROM jobs
WHERE seq IN (
    SELECT (SELECT seq FROM jobs WHERE lane = 0 AND priority = level ORDER BY due, seq LIMIT 1) FROM priorities
    UNION ALL
    SELECT (SELECT seq FROM jobs WHERE lane = 1 AND due <= :now ORDER BY due, seq LIMIT 1)
    UNION ALL
    SELECT (SELECT seq FROM jobs WHERE lane = 2 AND due <= :now ORDER BY due, seq LIMIT 1))
ORDER BY due, seq LIMIT 1;

-- name: next_scheduled
SELECT * FROM (SELECT * FROM jobs WHERE lane = 1 AND due > :now ORDER BY due, seq LIMIT 1)
UNION ALL
SELECT * FROM (SELECT * FROM jobs WHERE lane = 2 AND due > :now ORDER BY due, seq LIMIT 1)
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

-- name: stranded
-- Jobs that wait for what has ended, or keep a place that they do not need.
SELECT id, 'waits for ' || blockers || ' others, which is not how many have still to end' AS fault
FROM jobs
WHERE state = 'pending' AND blockers <> (
    SELECT count(*) FROM dependencies CROSS JOIN jobs AS needed ON needed.seq = needs
    WHERE job_seq = jobs.seq AND needed.state IN ('pending', 'processing'))
UNION ALL
SELECT id, 'keeps a place in its group' FROM jobs WHERE placed = 1 AND state <> 'processing' AND lane IS NOT 0
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

-- Groups: a job of a restricted one takes a place in it before it can be claimed.

-- name: is_restricted
SELECT 1 FROM restricted WHERE name = :group;

-- name: places_of
-- Of one group: how many places it has, and how many are taken. No row when it is not restricted.
SELECT places, (SELECT count(*) FROM jobs WHERE placed = 1 AND group_name = :group) AS taken
FROM restricted WHERE name = :group;

-- name: queue_up
-- Jobs that were just added, of restricted groups: they need a place.
UPDATE jobs SET lane = 4
WHERE seq >= :first AND +lane = 0 AND +placed = 0 AND group_name IN (SELECT name FROM restricted);

-- name: leave_place
UPDATE jobs SET placed = 0, lane = iif(lane = 0, 4, lane) WHERE seq = :seq;

-- name: next_in_line
-- Of one group: those that wait for a place, in their order.
SELECT seq, priority, due FROM jobs
WHERE lane = 4 AND group_name = :group ORDER BY priority DESC, due, seq LIMIT :most;

-- name: last_placed
-- Of one group: who has a place, and would be started last.
SELECT seq, priority, due FROM jobs
WHERE placed = 1 AND group_name = :group AND lane = 0 ORDER BY priority, due DESC, seq DESC LIMIT 1;

-- name: swap_place
-- Give a place to who waits for one, or take it back from who has not begun.
UPDATE jobs SET lane = 4 - lane, placed = 1 - placed WHERE seq = :seq;

-- name: free_waiting
-- In a group without restriction nobody needs a place.
UPDATE jobs SET lane = 0 WHERE lane = 4 AND group_name = :group;

-- name: set_limit
INSERT INTO groups (name, max_running) VALUES (:group, :limit)
ON CONFLICT (name) DO UPDATE SET max_running = excluded.max_running;

-- name: set_paused
INSERT INTO groups (name, paused) VALUES (:group, :paused)
ON CONFLICT (name) DO UPDATE SET paused = excluded.paused;

-- name: paused_groups
SELECT name FROM groups WHERE paused ORDER BY name;

-- name: limited_groups
SELECT name FROM groups WHERE max_running IS NOT NULL ORDER BY name;

-- name: remove_group
DELETE FROM groups WHERE name = :group;

-- name: restrict_waiting
-- The jobs of a group that was not restricted before: those that may run need a place, those that run have one.
UPDATE jobs SET lane = 4 WHERE lane = 0 AND placed = 0 AND group_name = :group;

-- name: give_places_back
UPDATE jobs SET lane = 4, placed = 0 WHERE placed = 1 AND group_name = :group AND lane = 0;

-- name: restrict_running
UPDATE jobs SET placed = 1 WHERE state = 'processing' AND group_name = :group;

-- name: free_placed
UPDATE jobs SET placed = 0 WHERE placed = 1 AND group_name = :group;

-- name: groups
-- Every group that was set up, or that waiting or running jobs name, but for the queue itself.
SELECT name, max_running, paused,
       (SELECT count(*) FROM jobs WHERE group_name = name AND state = 'pending'
            AND group_name <> 'default' AND state IN ('pending', 'processing')) AS pending,
       (SELECT count(*) FROM jobs WHERE group_name = name AND state = 'processing'
            AND group_name <> 'default' AND state IN ('pending', 'processing')) AS processing
FROM (SELECT name, max_running, paused FROM groups WHERE name <> ''
      UNION ALL
      SELECT DISTINCT group_name, NULL, 0 FROM jobs
      WHERE group_name <> 'default' AND state IN ('pending', 'processing') AND group_name NOT IN (SELECT name FROM groups)
      UNION ALL
      SELECT 'default', NULL, 0 WHERE 'default' NOT IN (SELECT name FROM groups))
ORDER BY name <> 'default', name;

-- name: is_named
-- Whether any job, also one that has ended, or a schedule names a group.
SELECT EXISTS (SELECT 1 FROM jobs WHERE group_name = :group)
    OR EXISTS (SELECT 1 FROM schedules WHERE json_extract(job, '$.group') = :group);

-- name: is_paused
SELECT EXISTS (SELECT 1 FROM groups WHERE name = '' AND paused);

-- Jobs that wait: for somebody to release them, or for others.

-- name: hold
UPDATE jobs SET held = 1, lane = 3, placed = 0, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state = 'pending' AND NOT held
RETURNING id, group_name;

-- name: release
UPDATE jobs SET held = 0, updated_at = :now
WHERE id IN (SELECT value FROM json_each(:ids)) AND +state = 'pending' AND held
RETURNING id, seq;

-- name: let_go
-- Jobs that nothing holds back any more, by seq (a JSON array): ready, since a time at the earliest, or scheduled still.
UPDATE jobs SET lane = iif(next_run_at > :now, iif(attempts > 0 AND NOT rescheduled, 2, 1), iif(group_name IN (SELECT name FROM restricted), 4, 0)),
    due = max(due, iif(next_run_at > :now, due, :since))
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND +state = 'pending' AND lane = 3 AND NOT held AND blockers = 0
RETURNING lane, group_name;

-- name: depend
INSERT INTO dependencies (job_seq, needs, however)
SELECT :seq, seq, :however FROM jobs WHERE id = :id
ON CONFLICT (job_seq, needs) DO UPDATE SET however = min(however, :however);

-- name: depend_no_more
-- Of what a job was to wait for: what was to complete, or to end however, or both.
DELETE FROM dependencies WHERE job_seq = :seq AND (:after AND NOT however OR :after_any AND however);

-- name: dependencies_within
-- Of the jobs from one number on: who needs whom among them.
SELECT job_seq, needs FROM dependencies WHERE job_seq >= :first AND needs >= :first;

-- name: needs_itself
-- Whether a job needs one that needs it, however far.
WITH RECURSIVE needed (seq) AS (
    SELECT needs FROM dependencies WHERE job_seq = :seq
    UNION
    SELECT needs FROM needed JOIN dependencies ON job_seq = needed.seq)
SELECT EXISTS (SELECT 1 FROM needed WHERE seq = :seq);

-- name: needed_by
-- What a job needs, with the states of these.
SELECT id, state, however FROM dependencies JOIN jobs ON seq = needs WHERE job_seq = :seq ORDER BY needs;

-- name: count_blockers
-- How many jobs each of some jobs (by seq, a JSON array) still waits for. Those that run, or ran, wait for none.
UPDATE jobs SET blockers = (
    SELECT count(*) FROM dependencies JOIN jobs AS needed ON needed.seq = needs
    WHERE job_seq = jobs.seq AND needed.state IN ('pending', 'processing'))
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND +state = 'pending';

-- name: hold_blocked
UPDATE jobs SET lane = 3, placed = 0
WHERE seq IN (SELECT value FROM json_each(:seqs)) AND +state = 'pending' AND (held OR blockers > 0)
RETURNING group_name;

-- name: doom
-- Cancel what can never start any more: waiting jobs that need the completion of one which ended otherwise, and, level by
-- level, those that need these. The jobs that ended are given by seq, as a JSON array.
WITH RECURSIVE doomed (seq, because) AS (
    SELECT job_seq, needs
    FROM json_each(:seqs) CROSS JOIN dependencies ON needs = value CROSS JOIN jobs ON seq = needs
    WHERE NOT however AND +state IN ('dead', 'cancelled')
    UNION
    SELECT job_seq, needs
    FROM doomed CROSS JOIN jobs ON jobs.seq = doomed.seq CROSS JOIN dependencies ON needs = doomed.seq
    WHERE NOT however AND +state = 'pending')
UPDATE jobs
SET state = 'cancelled', lane = NULL, next_run_at = NULL, placed = 0, doomed = 1, updated_at = :now,
    reason = 'needs job ' || (SELECT id FROM jobs AS cause WHERE cause.seq = chosen.because) || ', which did not complete'
FROM (SELECT seq, min(because) AS because FROM doomed GROUP BY seq) AS chosen
WHERE jobs.seq = chosen.seq AND +state = 'pending'
RETURNING seq, group_name;

-- name: unblock
-- One job less to wait for, for each of those given that they need.
UPDATE jobs SET blockers = blockers - chosen.ended
FROM (SELECT job_seq, count(*) AS ended FROM json_each(:seqs) CROSS JOIN dependencies ON needs = value GROUP BY job_seq) AS chosen
WHERE seq = chosen.job_seq AND +state = 'pending' AND blockers > 0
RETURNING seq, blockers;

-- name: spare
-- The doomed that needed only what has completed after all, at last some jobs (by seq, a JSON array).
UPDATE jobs SET doomed = 0
WHERE +doomed = 1 AND seq IN (SELECT job_seq FROM json_each(:seqs) CROSS JOIN dependencies ON needs = value)
  AND NOT EXISTS (
    SELECT 1 FROM dependencies CROSS JOIN jobs AS needed ON needed.seq = needs
    WHERE job_seq = jobs.seq AND NOT however AND +needed.state <> 'completed');

-- name: forsaken
SELECT id, reason FROM jobs WHERE id IN (SELECT value FROM json_each(:ids)) AND doomed = 2;

-- name: dependents_of
SELECT DISTINCT job_seq FROM json_each(:seqs) CROSS JOIN dependencies ON needs = value;

-- name: unmet_needs
-- What jobs (by seq) need the completion of, and what ended otherwise.
SELECT job_seq, needs, state
FROM json_each(:seqs) CROSS JOIN dependencies ON job_seq = value CROSS JOIN jobs ON seq = needs
WHERE NOT however AND +state IN ('dead', 'cancelled');

-- name: to_retry_first
-- What stands between jobs (by seq) and another start: of what they need, level by level, that did not complete, all that
-- does not come back together with another of these.
WITH RECURSIVE unmet (seq) AS (
    SELECT needs FROM json_each(:seqs) CROSS JOIN dependencies ON job_seq = value CROSS JOIN jobs ON seq = needs
    WHERE NOT however AND +state IN ('dead', 'cancelled')
    UNION
    SELECT needs
    FROM unmet CROSS JOIN dependencies ON job_seq = unmet.seq CROSS JOIN jobs ON jobs.seq = needs
    WHERE NOT however AND +state IN ('dead', 'cancelled'))
SELECT id FROM unmet CROSS JOIN jobs USING (seq)
WHERE doomed <> 1 OR NOT EXISTS (
    SELECT 1 FROM dependencies CROSS JOIN jobs AS needed ON needed.seq = needs
    WHERE job_seq = unmet.seq AND NOT however AND +needed.state IN ('dead', 'cancelled'))
ORDER BY seq LIMIT :most;

-- name: has_doomed
-- Whether a job was cancelled because of one (by seq).
SELECT EXISTS (
    SELECT 1 FROM dependencies CROSS JOIN jobs ON jobs.seq = job_seq
    WHERE needs = :seq AND doomed = 1 AND +state = 'cancelled');

-- name: doomed_by
-- The jobs that were cancelled because of some (by seq), level by level.
WITH RECURSIVE doomed_by (seq) AS (
    SELECT job_seq FROM json_each(:seqs) CROSS JOIN dependencies ON needs = value CROSS JOIN jobs ON jobs.seq = job_seq
    WHERE doomed = 1 AND +state = 'cancelled'
    UNION
    SELECT job_seq FROM doomed_by CROSS JOIN dependencies ON needs = doomed_by.seq CROSS JOIN jobs ON jobs.seq = job_seq
    WHERE doomed = 1 AND +state = 'cancelled')
SELECT seq, id FROM doomed_by CROSS JOIN jobs USING (seq);

-- name: holder_of_key
SELECT seq, id, state, unique_key FROM jobs WHERE unique_key = ? AND state IN ('pending', 'processing');

-- name: keys_in_use
-- Which jobs stand in the way of putting others (by id) back, that have the same key.
SELECT holder.id, holder.unique_key FROM json_each(:ids) JOIN jobs ON jobs.id = value
JOIN jobs AS holder ON holder.unique_key = jobs.unique_key AND holder.state IN ('pending', 'processing');

-- name: id_of
SELECT id FROM jobs WHERE seq = :seq;

-- name: named
-- Jobs (by seq, a JSON array) with what a user knows them by.
SELECT seq, id, unique_key, reason FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: seqs_of
SELECT seq FROM jobs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: counted_ready
-- How many workers to wake at most: there are no more than 512.
SELECT count(*) FROM (
    SELECT 1 FROM jobs WHERE lane = 0
    UNION ALL
    SELECT 1 FROM jobs WHERE lane = 1 AND due <= :now
    UNION ALL
    SELECT 1 FROM jobs WHERE lane = 2 AND due <= :now
    LIMIT 512);

-- name: edit
-- A job is off its lane until it is let go again, on the one that it belongs to now.
UPDATE jobs
SET command = :command, cwd = :cwd, env = :env, timeout = :timeout, max_retries = :max_retries, priority = :priority,
    group_name = :group_name, unique_key = :unique_key, batch = :batch, retry_policy = :retry_policy,
    due = :due, next_run_at = :next_run_at, rescheduled = :rescheduled,
    lane = 3, placed = 0, updated_at = :now
WHERE seq = :seq AND +state = 'pending';

-- name: is_any_old
-- Whether there is anything to remove: worth taking the write lock for.
SELECT EXISTS (SELECT 1 FROM old_logs) OR EXISTS (
    SELECT 1 FROM json_each(:states) CROSS JOIN jobs
    WHERE state = value AND updated_at < :before AND state NOT IN ('pending', 'processing') AND doomed <> 1);

-- name: old_jobs
-- Jobs that are in a state since before some time. Workers that hold a job, and jobs that wait, are none of them, nor is
-- what is doomed.
SELECT seq FROM jobs
WHERE state = :state AND updated_at < :before AND state NOT IN ('pending', 'processing') AND doomed <> 1
ORDER BY updated_at LIMIT :most;

-- name: count_old_jobs
SELECT count(*) FROM jobs
WHERE state = :state AND updated_at < :before AND state NOT IN ('pending', 'processing') AND doomed <> 1;

-- name: count_old_dependents
-- The doomed that would go with the old jobs of some states (a JSON array): level by level, as each goes with what it needs.
WITH RECURSIVE dependents (seq) AS (
    SELECT job_seq
    FROM json_each(:states) CROSS JOIN jobs AS needed CROSS JOIN dependencies ON needs = needed.seq
         CROSS JOIN jobs ON jobs.seq = job_seq
    WHERE needed.state = value AND needed.updated_at < :before AND needed.state NOT IN ('pending', 'processing')
      AND needed.doomed <> 1 AND +needed.state <> 'completed'
      AND NOT however AND jobs.doomed = 1 AND jobs.updated_at < :before
    UNION
    SELECT job_seq
    FROM dependents CROSS JOIN dependencies ON needs = dependents.seq CROSS JOIN jobs ON jobs.seq = job_seq
    WHERE NOT however AND doomed = 1 AND updated_at < :before)
SELECT count(*) FROM dependents;

-- name: forsake
-- The doomed that need what goes before it completed (by seq, a JSON array) cannot come back any more.
UPDATE jobs SET doomed = 2
WHERE +doomed = 1 AND seq IN (
    SELECT job_seq
    FROM json_each(:seqs) CROSS JOIN dependencies ON needs = value CROSS JOIN jobs AS needed ON needed.seq = value
    WHERE NOT however AND +needed.state <> 'completed');

-- name: note_old_logs
-- What never started has no log.
INSERT OR IGNORE INTO old_logs
SELECT id FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs)) AND starts > 0;

-- name: old_logs
-- Logs of jobs that were removed, and how often another job of the same name was started, whose log it is then.
SELECT id, coalesce((SELECT starts FROM jobs WHERE jobs.id = old_logs.id), 0) AS starts FROM old_logs LIMIT :most;

-- name: count_old_logs
SELECT count(*) FROM old_logs;

-- name: forget_old_logs
DELETE FROM old_logs WHERE id IN (SELECT value FROM json_each(:ids));

-- name: delete_attempts
DELETE FROM attempts WHERE job_seq IN (SELECT value FROM json_each(:seqs));

-- name: delete_needs
DELETE FROM dependencies WHERE job_seq IN (SELECT value FROM json_each(:seqs));

-- name: delete_dependents
DELETE FROM dependencies WHERE needs IN (SELECT value FROM json_each(:seqs));

-- name: delete_jobs
DELETE FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs));

-- For who watches.

-- name: counts_held_back
-- Those that are held (1), and those that only wait for others (0).
SELECT held, count(*) FROM jobs WHERE lane = 3 GROUP BY held;

-- name: count_scheduled
SELECT count(*) FROM jobs WHERE lane = 1 AND due > :now;

-- name: dead_last
-- Those enqueued last, since no index tells which died last.
SELECT * FROM jobs WHERE state = 'dead' ORDER BY seq DESC LIMIT :limit;

-- name: retried_next
SELECT * FROM jobs WHERE lane = 2 ORDER BY due LIMIT :limit;

-- name: ended_since
-- Bounded: where more ended, the rest of them tells nothing else about how fast it goes.
SELECT count(*), min(ended_at)
FROM (SELECT * FROM (SELECT ended_at FROM jobs WHERE state = 'completed' ORDER BY seq DESC LIMIT 500)
      UNION ALL
      SELECT * FROM (SELECT ended_at FROM jobs WHERE state = 'dead' ORDER BY seq DESC LIMIT 500))
WHERE ended_at > :moment;

-- Schedules

-- name: due_slots
-- Bounded, so that one claim stays short. A paused schedule has no next slot.
SELECT schedules.*, jobs.id AS last_id, jobs.state AS last_state
FROM schedules LEFT JOIN jobs ON jobs.seq = last_job
WHERE next_slot <= :now ORDER BY next_slot, name LIMIT 50;

-- name: pass_slots
-- What became of the slots up to one, and which comes next.
UPDATE schedules
SET last_slot = :last, next_slot = :following, last_job = coalesce(:job, last_job), note = :note
WHERE name = :name;

-- name: note_run
UPDATE schedules SET last_job = :job WHERE name = :name;

-- name: pause_faulty
UPDATE schedules SET paused = 1, next_slot = NULL, note = :note WHERE name = :name;

-- name: schedules
-- Some (a JSON array of names), or all.
SELECT schedules.*, jobs.id AS last_id, jobs.state AS last_state
FROM schedules LEFT JOIN jobs ON jobs.seq = last_job
WHERE :names IS NULL OR name IN (SELECT value FROM json_each(:names))
ORDER BY name;

-- name: put_schedule
-- A new one, or another in place of one with its name. What was dealt with stays so.
INSERT INTO schedules (name, expression, zone, overlap, missed, job, next_slot)
VALUES (:name, :expression, :zone, :overlap, :missed, :job, :next_slot)
ON CONFLICT (name) DO UPDATE
SET expression = :expression, zone = :zone, overlap = :overlap, missed = :missed, job = :job, next_slot = :next_slot,
    note = NULL;

-- name: remove_schedules
DELETE FROM schedules WHERE name IN (SELECT value FROM json_each(:names));

-- name: pause_schedules
UPDATE schedules SET paused = 1, next_slot = NULL, note = NULL
WHERE name IN (SELECT value FROM json_each(:names)) AND NOT paused;

-- name: resume_schedule
UPDATE schedules SET paused = 0, next_slot = :next_slot, note = NULL WHERE name = :name;

-- name: next_slot
SELECT name, next_slot FROM schedules WHERE next_slot IS NOT NULL ORDER BY next_slot, name LIMIT 1;
