-- Who removes old jobs passes those that are doomed: they come back with what they need. Once that has completed they are
-- cancelled as any other (doomed is 0). Once it was removed before it completed, they never come back (doomed is 2).
UPDATE jobs SET doomed = 0
WHERE doomed AND NOT EXISTS (
    SELECT 1 FROM dependencies JOIN jobs AS needed ON needed.seq = needs
    WHERE job_seq = jobs.seq AND NOT however AND needed.state <> 'completed');

DROP INDEX jobs_ended;
CREATE INDEX jobs_ended ON jobs (state, updated_at) WHERE state IN ('completed', 'dead', 'cancelled') AND doomed <> 1;
