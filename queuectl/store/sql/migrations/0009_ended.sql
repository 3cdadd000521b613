-- The same jobs, told by two values: for more than two in an IN, SQLite makes a table of them at each change of a job.
DROP INDEX jobs_ended;
CREATE INDEX jobs_ended ON jobs (state, updated_at) WHERE state NOT IN ('pending', 'processing') AND doomed <> 1;
