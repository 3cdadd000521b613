-- What a shell offers to complete, by name. Each looks at a bounded number of rows, whatever there is.

-- name: newest
SELECT seq, id FROM jobs ORDER BY seq DESC LIMIT :reach;

-- name: newest_in_state
SELECT seq, id FROM jobs WHERE state = :state ORDER BY seq DESC LIMIT :reach;

-- name: first_ids
SELECT seq, id, state FROM jobs WHERE id >= :first AND id < :end ORDER BY id LIMIT :reach;

-- name: last_ids
SELECT seq, id, state FROM jobs WHERE id >= :first AND id < :end ORDER BY id DESC LIMIT :reach;

-- name: commands
SELECT seq, substr(command, 1, :length) AS command FROM jobs WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: groups
SELECT name FROM groups WHERE name >= :first AND name < :end AND name <> '' ORDER BY name LIMIT :reach;

-- name: schedules
SELECT name FROM schedules WHERE name >= :first AND name < :end ORDER BY name LIMIT :reach;

-- name: batches
-- From one name to the next: a batch may have a million jobs.
WITH RECURSIVE names (name) AS (
    SELECT min(batch) FROM jobs WHERE batch IS NOT NULL AND batch >= :first AND batch < :end
    UNION ALL
    SELECT (SELECT min(batch) FROM jobs WHERE batch IS NOT NULL AND batch > name AND batch < :end)
    FROM names WHERE name IS NOT NULL)
SELECT name FROM names WHERE name IS NOT NULL LIMIT :reach;
