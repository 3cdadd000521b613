-- The queue. Times are microseconds since the epoch (UTC), durations seconds.
--
-- lane tells why a pending job waits, and keeps what may run now apart from all else:
--   0 ready, 1 scheduled for a time, 2 in back-off, 3 held or blocked; NULL when not pending.
-- due orders the ready jobs; for lanes 1 and 2 it is when the job becomes ready.
-- starts counts all starts and is never reset: with state 'processing' it is the claim's fence.

CREATE TABLE jobs (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT,
    id               TEXT NOT NULL UNIQUE,
    command          TEXT NOT NULL,
    cwd              TEXT NOT NULL,
    env              TEXT,
    timeout          REAL,
    max_retries      INTEGER NOT NULL,
    state            TEXT NOT NULL DEFAULT 'pending'
                     -- Not IN: for more than two values SQLite makes a table of them at each change of a job.
                     CHECK (state = 'pending' OR state = 'processing'
                            OR state = 'completed' OR state = 'dead' OR state = 'cancelled'),
    lane             INTEGER CHECK ((lane IS NOT NULL) = (state = 'pending')),
    due              INTEGER NOT NULL,
    next_run_at      INTEGER,
    priority         INTEGER NOT NULL DEFAULT 0,
    group_name       TEXT NOT NULL DEFAULT 'default',
    batch            TEXT,
    unique_key       TEXT,
    held             INTEGER NOT NULL DEFAULT 0,
    blockers         INTEGER NOT NULL DEFAULT 0,
    retry_policy     TEXT,
    attempts         INTEGER NOT NULL DEFAULT 0,
    starts           INTEGER NOT NULL DEFAULT 0,
    created_at       INTEGER NOT NULL,
    updated_at       INTEGER NOT NULL,
    started_at       INTEGER,
    ended_at         INTEGER,
    worker           TEXT,
    cancel_requested INTEGER NOT NULL DEFAULT 0,
    outcome          TEXT,
    exit_code        INTEGER,
    signal           INTEGER,
    reason           TEXT
);

CREATE INDEX jobs_ready ON jobs (priority DESC, due, seq) WHERE lane = 0;
-- One index a lane: SQLite does not see that "lane = 1" lies within "lane IN (1, 2)", and would scan every job.
CREATE INDEX jobs_scheduled ON jobs (due) WHERE lane = 1;
CREATE INDEX jobs_in_back_off ON jobs (due) WHERE lane = 2;
CREATE INDEX jobs_by_state ON jobs (state);
CREATE INDEX jobs_by_batch ON jobs (batch) WHERE batch IS NOT NULL;
CREATE UNIQUE INDEX jobs_once ON jobs (unique_key)
    WHERE unique_key IS NOT NULL AND state IN ('pending', 'processing');

-- One row an ended attempt; the running one lives in its job's row until it ends.
CREATE TABLE attempts (
    job_seq       INTEGER NOT NULL,
    number        INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    ended_at      INTEGER NOT NULL,
    outcome       TEXT NOT NULL,
    exit_code     INTEGER,
    signal        INTEGER,
    reason        TEXT,
    worker        TEXT,
    cpu_seconds   REAL,
    max_rss_bytes INTEGER,
    log_offset    INTEGER,
    log_bytes     INTEGER,
    leftover      TEXT,
    PRIMARY KEY (job_seq, number)
) WITHOUT ROWID;

CREATE TABLE groups (
    name        TEXT PRIMARY KEY,
    max_running INTEGER,
    paused      INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE dependencies (
    job_seq  INTEGER NOT NULL,
    needs    INTEGER NOT NULL,
    however  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (job_seq, needs)
) WITHOUT ROWID;
CREATE INDEX dependencies_by_need ON dependencies (needs);

CREATE TABLE schedules (
    name       TEXT PRIMARY KEY,
    expression TEXT NOT NULL,
    zone       TEXT NOT NULL DEFAULT 'UTC',
    overlap    TEXT NOT NULL DEFAULT 'skip',
    missed     TEXT NOT NULL DEFAULT 'once',
    paused     INTEGER NOT NULL DEFAULT 0,
    job        TEXT NOT NULL,
    last_slot  INTEGER,
    next_slot  INTEGER
) WITHOUT ROWID;
