"""Evidence in the ledger: closed epochs, and what a bundle is made of.

Preparing an epoch (`hashwerk.store.open_epoch`) only reads, so it runs beside the writer on a connection of its own; storing
it is one small write.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from hashwerk.chain.template import Template
from hashwerk.errors import EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.bundle import Stamp
from hashwerk.evidence.closer import EpochCloser, as_leaves, group_leaves, thin
from hashwerk.evidence.epoch import SIGNED_HEADER, Epoch, SealedEpoch, SignedHeader, credited_work
from hashwerk.evidence.job_record import job_record
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.keys import EVENT, KeyEvent
from hashwerk.evidence.leaf import decode_record, encode_record
from hashwerk.evidence.records import Record
from hashwerk.evidence.standing import Standing
from hashwerk.store import share_groups
from hashwerk.store.bulk_shares import read_bulk
from hashwerk.store.codec import split_hashes
from hashwerk.store.jobs import decode_part
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.job import Job
from hashwerk.work.share import SHARE_DTYPE, Verdict

_IN_CHUNK: Final = 500
_READ_SHARES: Final = 1 << 16
_JOB_COLUMNS: Final = (
    "jobs.id, account, work_log2, coinbase1, coinbase2, branch, jobs.version, version_mask, ntime,"
    " extranonce1_size, extranonce2_size, tag, tag_preimage, jobs.created_at, upstream, templates.hash, network,"
    " height, templates.version, prev_hash, nbits, templates.time, min_time, max_time, coinbase_value_sat, source,"
    " accounts.commitment"
)


class PreparedEpoch(msgspec.Struct, frozen=True):
    """A closed epoch and from which rows it was made; `store_epoch` makes it durable."""

    epoch: SealedEpoch
    standing: Standing  # in force during it
    events: tuple[KeyEvent, ...]
    first_position: int
    end_position: int
    records_through: int
    logbook_through: int = 0


class EpochRows(NamedTuple):
    """A closed epoch as it is written: rows of key events, of declarations and of epochs."""

    key_events: tuple[tuple[int, bytes], ...]
    standing: tuple[bytes, bytes]
    epoch: tuple[int | bytes, ...]


class EpochRow(msgspec.Struct, frozen=True):
    """A closed epoch as stored."""

    signed: SignedHeader
    records: tuple[bytes, ...]
    standing: bytes  # root of the declarations in force during it
    first_position: int
    end_position: int
    records_through: int
    logbook_through: int


def put_key_event(connection: sqlite3.Connection, number: int, event: KeyEvent) -> None:
    """Keep a key event, before the key it names signs anything."""
    connection.execute(
        "INSERT OR IGNORE INTO key_events (number, event) VALUES (?, ?)", (number, EVENT.encode(event))
    )


def put_stamp(connection: sqlite3.Connection, stamp: Stamp) -> None:
    """Keep an external stamp of an epoch."""
    connection.execute(
        "INSERT INTO stamps (epoch, kind, data) VALUES (?, ?, ?)", (stamp.epoch, stamp.kind, stamp.data)
    )


def open_closer(connection: sqlite3.Connection, keys: SiteKeys) -> EpochCloser:
    """Return the closer that goes on after the last epoch of the ledger.

    Raises:
        DecodeError: If the ledger's evidence is damaged.
        EvidenceError: If its key events do not hold.
    """
    events = read_key_events(connection)
    row = last_epoch(connection)
    if row is None:
        return EpochCloser(keys, events, None, Standing())
    now = read_standing(connection, row.standing).after(decode_record(data) for data in row.records)
    return EpochCloser(keys, events, row.signed, now)


def begin(
    connection: sqlite3.Connection,
    closer: EpochCloser,
    declarations: Sequence[Record],
    now_us: int,
    *,
    first_position: int | None = None,
) -> PreparedEpoch:
    """Return epoch 0.

    Args:
        connection: To the ledger.
        closer: Of a site that has not begun.
        declarations: What holds from epoch 1 on.
        now_us: When the site begins.
        first_position: The first share that will be evidence; None: shares in the ledger already stay outside.

    Raises:
        EvidenceError: If the site has begun already.
    """
    position = share_groups.end(connection) if first_position is None else first_position
    standing = closer.standing
    epoch = closer.begin(declarations, now_us)
    return PreparedEpoch(epoch, standing, closer.events, position, position, _last_record(connection))


def rows_of(prepared: PreparedEpoch) -> EpochRows:
    """Return what `store_rows` writes; packing it takes a while, so it is not the writer's work."""
    header = prepared.epoch.header
    return EpochRows(
        tuple((number, EVENT.encode(event)) for number, event in enumerate(prepared.events)),
        (header.standing, _pack(encode_record(record) for record in prepared.standing.records)),
        (
            header.number,
            SIGNED_HEADER.encode(prepared.epoch.signed),
            _pack(prepared.epoch.records),
            header.standing,
            prepared.first_position,
            prepared.end_position,
            prepared.records_through,
            prepared.logbook_through,
            header.start_us,
            header.end_us,
        ),
    )


def store_rows(connection: sqlite3.Connection, rows: EpochRows) -> None:
    """Write a closed epoch; writing it again changes nothing."""
    connection.executemany("INSERT OR IGNORE INTO key_events (number, event) VALUES (?, ?)", rows.key_events)
    connection.execute("INSERT OR IGNORE INTO standings (root, records) VALUES (?, ?)", rows.standing)
    connection.execute(
        "INSERT OR IGNORE INTO epochs (number, header, records, standing, first_position, end_position,"
        " records_through, logbook_through, start_us, end_us) VALUES (?,?,?,?,?,?,?,?,?,?)",
        rows.epoch,
    )


def store_epoch(connection: sqlite3.Connection, prepared: PreparedEpoch) -> None:
    """Pack and write a closed epoch; writing it again changes nothing."""
    store_rows(connection, rows_of(prepared))


def last_epoch(connection: sqlite3.Connection) -> EpochRow | None:
    """Return the last closed epoch; None: there is none."""
    return next(_epochs(connection, "ORDER BY number DESC LIMIT 1", ()), None)


def read_epochs(connection: sqlite3.Connection, first: int, last: int) -> Iterator[EpochRow]:
    """Yield the epochs ``first`` … ``last`` in order."""
    return _epochs(connection, "WHERE number BETWEEN ? AND ? ORDER BY number", (first, last))


def find_epochs(connection: sqlite3.Connection, start_us: int, end_us: int) -> tuple[int, int] | None:
    """Return the first and last number of the closed epochs that touch an interval; None: none does."""
    row = connection.execute(
        "SELECT min(number), max(number) FROM epochs WHERE end_us > ? AND start_us < ? AND number > 0",
        (start_us, end_us),
    ).fetchone()
    return None if row[0] is None else (int(row[0]), int(row[1]))


def read_epoch(connection: sqlite3.Connection, row: EpochRow) -> Epoch:
    """Return a closed epoch with its shares.

    Raises:
        EvidenceError: If shares were removed from the ledger since.
    """
    shares = _shares(connection, row.first_position, row.end_position)
    jobs = {
        record.id: record
        for record in (decode_record(data) for data in row.records)
        if isinstance(record, records.Job)
    }
    leaves = as_leaves(shares[shares["verdict"] == Verdict.ACCEPTED])
    header = row.signed.header
    if header.full_root != bytes(32):
        standing = read_standing(connection, row.standing)
        leaves = thin(leaves, list(jobs.values()), credited_work(list(jobs.values()), standing))
    if len(leaves) != header.shares:
        raise EvidenceError(
            f"epoch {header.number}: {header.shares} shares were signed, {len(leaves)} are left"
        )
    return Epoch(row.signed, row.records, tuple(group_leaves(leaves, jobs)))


def read_key_events(connection: sqlite3.Connection) -> tuple[KeyEvent, ...]:
    """Return the site's key events in order."""
    rows = connection.execute("SELECT event FROM key_events ORDER BY number")
    return tuple(EVENT.decode(row[0]) for row in rows)


def read_standing(connection: sqlite3.Connection, root: bytes) -> Standing:
    """Return declarations by the root that a header commits to.

    Raises:
        EvidenceError: If they are not in the ledger.
    """
    row = connection.execute("SELECT records FROM standings WHERE root = ?", (root,)).fetchone()
    if row is None:
        raise EvidenceError("the declarations of an epoch are missing")
    return Standing(decode_record(data) for data in _unpack(row[0]))


def read_stamps(connection: sqlite3.Connection, first: int, last: int) -> tuple[Stamp, ...]:
    """Return the external stamps of the epochs ``first`` … ``last``."""
    rows = connection.execute(
        "SELECT epoch, kind, data FROM stamps WHERE epoch BETWEEN ? AND ? ORDER BY epoch, id", (first, last)
    )
    return tuple(Stamp(epoch=row[0], kind=row[1], data=row[2]) for row in rows)


def read_job_records(connection: sqlite3.Connection, job_ids: Sequence[int]) -> dict[int, records.Job]:
    """Return jobs as records; their templates need not be whole any more."""
    pools = dict(connection.execute("SELECT id, name FROM upstreams"))
    found: dict[int, records.Job] = {}
    for start in range(0, len(job_ids), _IN_CHUNK):
        chunk = job_ids[start : start + _IN_CHUNK]
        marks = ",".join("?" * len(chunk))
        for row in connection.execute(
            f"SELECT {_JOB_COLUMNS} FROM jobs JOIN templates ON templates.id = template"  # noqa: S608
            f" JOIN accounts ON accounts.id = account WHERE jobs.id IN ({marks})",
            chunk,
        ):
            found[row[0]] = _job(row, pools)
    return found


def _job(row: tuple[Any, ...], pools: dict[int, str]) -> records.Job:
    upstream = None if row[14] is None else decode_part(row[14])
    template = Template(
        network=row[16],
        height=row[17],
        version=row[18],
        prev_hash=row[19],
        nbits=row[20],
        time=row[21],
        min_time=row[22],
        max_time=row[23],
        coinbase_value_sat=row[24],
        source=row[25] if upstream is None else pools.get(upstream.upstream_id, ""),
    )
    job = Job(
        id=row[0],
        account_id=row[1],
        work_log2=row[2],
        template=template,
        coinbase1=row[3],
        coinbase2=row[4],
        branch=split_hashes(row[5]),
        version=row[6],
        version_mask=row[7],
        ntime=row[8],
        extranonce1_size=row[9],
        extranonce2_size=row[10],
        tag=row[11],
        tag_preimage=row[12],
        created_at=row[13],
        upstream=upstream,
    )
    return job_record(job, row[26], row[15])


def _shares(connection: sqlite3.Connection, first: int, end: int) -> ShareRecords:
    if end <= first:
        return np.empty(0, SHARE_DTYPE)
    parts = []
    while first < end and (found := read_bulk(connection, first, min(end - first, _READ_SHARES))):
        position, shares = found
        parts.append(shares[: max(0, end - position)])
        first = position + len(shares)
    return np.concatenate(parts) if parts else np.empty(0, SHARE_DTYPE)


def _epochs(connection: sqlite3.Connection, where: str, values: tuple[int, ...]) -> Iterator[EpochRow]:
    columns = "header, records, standing, first_position, end_position, records_through, logbook_through"
    for row in connection.execute(f"SELECT {columns} FROM epochs {where}", values):  # noqa: S608
        yield EpochRow(SIGNED_HEADER.decode(row[0]), _unpack(row[1]), *row[2:])


def _last_record(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM evidence_records").fetchone()[0])


def _pack(items: Iterable[bytes]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(list(items)), 6)


def _unpack(blob: bytes) -> tuple[bytes, ...]:
    try:
        return msgspec.msgpack.decode(zlib.decompress(blob), type=tuple[bytes, ...])
    except (zlib.error, msgspec.DecodeError) as error:
        raise EvidenceError(f"evidence in the ledger is damaged: {error}") from error
