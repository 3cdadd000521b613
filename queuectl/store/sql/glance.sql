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

-- name: groups_in_use
-- Those that waiting and running jobs name, from one name to the next: a group may have a million jobs.
WITH RECURSIVE names (name) AS (
    SELECT min(group_name) FROM jobs INDEXED BY jobs_by_group
    WHERE group_name <> 'default' AND state IN ('pending', 'processing') AND group_name >= :first AND group_name < :end
    UNION ALL
    SELECT (SELECT min(group_name) FROM jobs INDEXED BY jobs_by_group
            WHERE group_name <> 'default' AND state IN ('pending', 'processing') AND group_name > name AND group_name < :end)
    FROM names WHERE name IS NOT NULL)
SELECT name FROM names WHERE name IS NOT NULL LIMIT :reach;

-- name: schedules
SELECT name FROM schedules WHERE name >= :first AND name < :end ORDER BY name LIMIT :reach;

-- name: batches
-- As the groups in use.
WITH RECURSIVE names (name) AS (
    SELECT min(batch) FROM jobs WHERE batch IS NOT NULL AND batch >= :first AND batch < :end
    UNION ALL
    SELECT (SELECT min(batch) FROM jobs WHERE batch IS NOT NULL AND batch > name AND batch < :end)
    FROM names WHERE name IS NOT NULL)
SELECT name FROM names WHERE name IS NOT NULL LIMIT :reach;
