-- Jobs that were removed, and whose logs are still to go: so that none is forgotten when whoever removes them dies.
CREATE TABLE old_logs (id TEXT PRIMARY KEY) WITHOUT ROWID;
