CREATE TABLE history (
  key TEXT NOT NULL, slot INTEGER NOT NULL, at REAL NOT NULL, reported_w INTEGER, power_w INTEGER, metered_w INTEGER,
  inlet_c INTEGER, chip_c INTEGER, measured_hs REAL, PRIMARY KEY (key, slot)
) STRICT, WITHOUT ROWID;
