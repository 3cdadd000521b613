-- Ended jobs by the time of their end, for who removes old ones.
CREATE INDEX jobs_ended ON jobs (state, updated_at) WHERE state IN ('completed', 'dead', 'cancelled');

-- Jobs that were removed, and whose logs are still to go: so that none is forgotten when whoever removes them dies.
CREATE TABLE old_logs (id TEXT PRIMARY KEY) WITHOUT ROWID;
