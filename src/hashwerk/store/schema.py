"""The ledger's tables, as one script for each schema version. A released script is never edited;
add the next one.

Positions count shares from 0 without gaps; a share's position is its group's first position plus its index.
Blobs are fixed-size records: see `hashwerk.work.share.SHARE_DTYPE` and `hashwerk.store.codec`.
"""

from __future__ import annotations

from typing import Final

#: "HWLG" in the header of the file: a ledger of Hashwerk, and nothing else.
APPLICATION_ID: Final = 0x48574C47

_V1: Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE accounts (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, salt BLOB NOT NULL, commitment BLOB NOT NULL,
  created_at REAL NOT NULL
) STRICT;
CREATE TABLE workers (
  id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts (id), machine TEXT NOT NULL,
  created_at REAL NOT NULL, UNIQUE (account, machine)
) STRICT;
CREATE TABLE sessions (
  id INTEGER PRIMARY KEY, token TEXT NOT NULL, extranonce1 INTEGER NOT NULL, extranonce1_size INTEGER NOT
  NULL, extranonce2_size INTEGER NOT NULL, worker INTEGER REFERENCES workers (id), user_agent TEXT NOT NULL,
  remote TEXT NOT NULL, work_log2 INTEGER, started_at REAL NOT NULL, ended_at REAL
) STRICT;
CREATE INDEX sessions_by_end ON sessions (ended_at);
CREATE TABLE template_transactions (
  id INTEGER PRIMARY KEY, wtxid BLOB NOT NULL UNIQUE, txid BLOB NOT NULL, weight INTEGER NOT NULL,
  fee_sat INTEGER, data BLOB NOT NULL
) STRICT;
CREATE TABLE templates (
  id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, network TEXT NOT NULL, height INTEGER NOT NULL,
  version INTEGER NOT NULL, prev_hash BLOB NOT NULL, nbits INTEGER NOT NULL, time INTEGER NOT NULL,
  min_time INTEGER NOT NULL, max_time INTEGER, coinbase_value_sat INTEGER NOT NULL, witness_commitment BLOB,
  source TEXT NOT NULL, received_at REAL NOT NULL, transaction_ids BLOB
) STRICT;
CREATE INDEX templates_whole ON templates (received_at) WHERE transaction_ids IS NOT NULL;
CREATE TABLE jobs (
  id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts (id), work_log2 INTEGER NOT NULL,
  template INTEGER NOT NULL REFERENCES templates (id), coinbase1 BLOB NOT NULL, coinbase2 BLOB NOT NULL,
  branch BLOB NOT NULL, version INTEGER NOT NULL, version_mask INTEGER NOT NULL, ntime INTEGER NOT NULL,
  extranonce1_size INTEGER NOT NULL, extranonce2_size INTEGER NOT NULL, tag BLOB NOT NULL,
  tag_preimage BLOB NOT NULL, created_at REAL NOT NULL, clean INTEGER NOT NULL,
  first_position INTEGER NOT NULL -- no earlier share can name this job
) STRICT;
CREATE INDEX jobs_by_creation ON jobs (created_at);
CREATE TABLE share_groups (
  first_position INTEGER PRIMARY KEY, count INTEGER NOT NULL, first_time_us INTEGER NOT NULL,
  last_time_us INTEGER NOT NULL, shares BLOB NOT NULL
) STRICT;
CREATE TABLE rollups (
  id INTEGER PRIMARY KEY, step_s INTEGER NOT NULL, start_s INTEGER NOT NULL, counts BLOB NOT NULL,
  UNIQUE (step_s, start_s)
) STRICT;
CREATE TABLE totals (
  verdict INTEGER NOT NULL, work_log2 INTEGER NOT NULL, count INTEGER NOT NULL,
  PRIMARY KEY (verdict, work_log2)
) STRICT, WITHOUT ROWID;
CREATE TABLE blocks (
  hash BLOB PRIMARY KEY, height INTEGER NOT NULL, found_at REAL NOT NULL, worker INTEGER, job INTEGER NOT
  NULL, reward_sat INTEGER NOT NULL, state TEXT NOT NULL, reason TEXT, confirmations INTEGER NOT NULL
) STRICT;
CREATE TABLE events (
  id INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL, details TEXT NOT NULL
) STRICT;
"""

# Compaction: groups may hold compressed columns, and what retention removed is on record.
_V2: Final = """
ALTER TABLE share_groups ADD COLUMN encoding INTEGER NOT NULL DEFAULT 0;
CREATE TABLE removals (
  first_position INTEGER PRIMARY KEY, count INTEGER NOT NULL, first_time_us INTEGER NOT NULL,
  last_time_us INTEGER NOT NULL, removed_at REAL NOT NULL, reason TEXT NOT NULL
) STRICT;
"""

# Upstream pools: whose a job was, and what became of every share that was handed in to one.
# Fates are records of `hashwerk.work.fate.FATE_DTYPE`; times of a group are when its shares were handed in.
_V3: Final = """
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
"""

# Evidence: closed epochs with their records, what waits for the next one, keys, declarations and external stamps.
# Blobs are as `hashwerk.evidence` writes them; an epoch's shares are the accepted ones of its range of positions.
_V4: Final = """
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
"""

# What other processes logged: the number of the last entry of `hashwerk.store.logbook` that is in an epoch or an earlier one.
_V5: Final = """
ALTER TABLE epochs ADD COLUMN logbook_through INTEGER NOT NULL DEFAULT 0;
"""

#: Script number n leads from schema version n to n + 1.
SCRIPTS: Final = (_V1, _V2, _V3, _V4, _V5)
SCHEMA_VERSION: Final = len(SCRIPTS)
