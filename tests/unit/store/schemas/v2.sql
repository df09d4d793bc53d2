ALTER TABLE share_groups ADD COLUMN encoding INTEGER NOT NULL DEFAULT 0;
CREATE TABLE removals (
  first_position INTEGER PRIMARY KEY, count INTEGER NOT NULL, first_time_us INTEGER NOT NULL,
  last_time_us INTEGER NOT NULL, removed_at REAL NOT NULL, reason TEXT NOT NULL
) STRICT;
