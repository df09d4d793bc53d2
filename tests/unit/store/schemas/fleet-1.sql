CREATE TABLE machines (key TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE orders (
  id TEXT PRIMARY KEY, at REAL NOT NULL, is_open INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_time ON orders (at);
CREATE TABLE order_events (
  id INTEGER PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders (id), at REAL NOT NULL, event BLOB NOT NULL
) STRICT;
CREATE INDEX order_events_by_order ON order_events (order_id, id);
CREATE TABLE commands (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, order_id TEXT NOT NULL, key TEXT NOT NULL, who TEXT NOT NULL,
  why TEXT NOT NULL, holder TEXT NOT NULL, command TEXT NOT NULL, attempt INTEGER NOT NULL, outcome TEXT,
  message TEXT, verdict TEXT, effect TEXT, before_w REAL, after_w REAL, settled_at REAL
) STRICT;
CREATE INDEX commands_by_machine ON commands (key, id);
CREATE INDEX commands_by_order ON commands (order_id, key, id);
CREATE TABLE transitions (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, key TEXT NOT NULL, was TEXT NOT NULL, now TEXT NOT NULL,
  cause TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_by_machine ON transitions (key, id);
CREATE TABLE alerts (id TEXT PRIMARY KEY, is_open INTEGER NOT NULL, since REAL NOT NULL, record BLOB NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE INDEX alerts_open ON alerts (is_open, since);
CREATE TABLE leases (key TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE kept (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
