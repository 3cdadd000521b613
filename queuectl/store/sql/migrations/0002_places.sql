-- Groups with limits, and jobs that wait for others.
--
-- A job of a restricted group (one with a limit, or paused) that may run now takes a place in it, until its attempt ends:
-- then placed is 1, and its lane 0 before it is claimed. Without a place it waits in lane 4.
-- A job is doomed when it was cancelled because one that it needs did not complete.

ALTER TABLE jobs ADD COLUMN placed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0;

CREATE INDEX jobs_waiting_for_a_place ON jobs (group_name, priority DESC, due, seq) WHERE lane = 4;
CREATE INDEX jobs_placed ON jobs (group_name, lane, priority, due DESC, seq DESC) WHERE placed = 1;
-- Most jobs are of no group.
CREATE INDEX jobs_by_group ON jobs (group_name, state) WHERE group_name <> 'default' AND state IN ('pending', 'processing');

-- The pause of the whole queue is that of the group without a name.
CREATE VIEW restricted AS
SELECT name, iif(paused, 0, max_running) AS places FROM groups
WHERE (paused OR max_running IS NOT NULL) AND name <> '';
