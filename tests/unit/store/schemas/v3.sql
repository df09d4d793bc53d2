CREATE TABLE upstreams (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, url TEXT NOT NULL, user TEXT NOT NULL, created_at REAL NOT NULL,
  UNIQUE (name, url, user)
) STRICT;
CREATE TABLE fate_reasons (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE fate_groups (
  id INTEGER PRIMARY KEY, count INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
  encoding INTEGER NOT NULL, fates BLOB NOT NULL
) STRICT;
CREATE INDEX fate_groups_by_time ON fate_groups (encoding, last_us);
CREATE TABLE fate_totals (
  worker INTEGER NOT NULL, upstream INTEGER NOT NULL, fate INTEGER NOT NULL, reason INTEGER NOT NULL,
  count INTEGER NOT NULL, latency_us_sum INTEGER NOT NULL, PRIMARY KEY (worker, upstream, fate, reason)
) STRICT, WITHOUT ROWID;
ALTER TABLE jobs ADD COLUMN upstream BLOB;
ALTER TABLE jobs ADD COLUMN upstream_id INTEGER;
CREATE INDEX jobs_of_upstreams ON jobs (created_at) WHERE upstream_id IS NOT NULL;
