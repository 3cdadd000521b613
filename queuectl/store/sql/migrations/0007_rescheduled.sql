-- Whether a user said when a job that was started before starts next: then it is scheduled (lane 1), and not in back-off.
ALTER TABLE jobs ADD COLUMN rescheduled INTEGER NOT NULL DEFAULT 0;
