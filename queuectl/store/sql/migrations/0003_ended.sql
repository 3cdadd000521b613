-- Ended jobs by the time of their end, for who removes old ones.
CREATE INDEX jobs_ended ON jobs (state, updated_at) WHERE state IN ('completed', 'dead', 'cancelled');
