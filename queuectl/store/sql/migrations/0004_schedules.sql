-- last_job is the seq of the job that the schedule made last, note tells why the last slot was not run.
-- A paused schedule has no next slot, so that whoever looks for those that are due passes it.
ALTER TABLE schedules ADD COLUMN last_job INTEGER;
ALTER TABLE schedules ADD COLUMN note TEXT;
CREATE INDEX schedules_due ON schedules (next_slot, name);
