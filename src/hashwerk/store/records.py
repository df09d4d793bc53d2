"""Records that wait for the epoch that is open."""

from __future__ import annotations

import sqlite3

from hashwerk.evidence.leaf import encode_record
from hashwerk.evidence.records import Record


def put_record(connection: sqlite3.Connection, record: Record, at_us: int) -> None:
    """Log a record; it becomes a leaf of the epoch that is open now.

    Raises:
        EvidenceError: If a field does not fit.
    """
    connection.execute(
        "INSERT INTO evidence_records (at_us, record) VALUES (?, ?)", (at_us, encode_record(record))
    )
