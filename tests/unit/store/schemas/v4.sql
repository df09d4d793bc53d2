CREATE TABLE key_events (number INTEGER PRIMARY KEY, event BLOB NOT NULL) STRICT;
CREATE TABLE standings (root BLOB PRIMARY KEY, records BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE epochs (
  number INTEGER PRIMARY KEY, header BLOB NOT NULL, records BLOB NOT NULL, standing BLOB NOT NULL,
  first_position INTEGER NOT NULL, end_position INTEGER NOT NULL, -- of the shares it was made from
  records_through INTEGER NOT NULL, -- last evidence record that is in it or an earlier one
  start_us INTEGER NOT NULL, end_us INTEGER NOT NULL
) STRICT;
CREATE INDEX epochs_by_end ON epochs (end_us);
CREATE TABLE evidence_records (id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, record BLOB NOT NULL) STRICT;
CREATE TABLE stamps (
  id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, kind INTEGER NOT NULL, data BLOB NOT NULL
) STRICT;
CREATE INDEX stamps_by_epoch ON stamps (epoch);
