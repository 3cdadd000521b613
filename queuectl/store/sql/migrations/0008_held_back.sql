-- Jobs that are held, or blocked by others: few of many, which are counted by this alone.
CREATE INDEX jobs_held_back ON jobs (held) WHERE lane = 3;
