"""Jobs and the templates they came from, as rows; and back, so that a block on an old job can still be
assembled.

Templates of one height share nearly all their transactions, so each transaction is stored once and a template
names its own by row id.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from hashwerk.chain.template import Template, TemplateTransaction
from hashwerk.errors import DecodeError
from hashwerk.store import share_groups
from hashwerk.store.codec import decode_ids, encode_ids, plain_text, split_hashes
from hashwerk.work.job import Job, UpstreamPart

TEMPLATE_DOMAIN: Final = b"hashwerk/template/v1"
_IN_CHUNK: Final = 500  # SQLite's oldest limit on variables in a statement is 999

_JOB_COLUMNS: Final = (
    "id, account, work_log2, coinbase1, coinbase2, branch, version, version_mask, ntime, extranonce1_size,"
    " extranonce2_size, tag, tag_preimage, created_at, clean, template, upstream"
)


class _StoredPart(msgspec.Struct, frozen=True, array_like=True):
    """`UpstreamPart` as msgpack can hold it: a target is wider than its integers. New fields go to the end."""

    upstream_id: int
    link: int
    job_id: str
    target: bytes  # big-endian
    difficulty: str
    padding: bytes
    version_mask: int


def encode_part(part: UpstreamPart) -> bytes:
    """Return what a job owes to its pool as one blob."""
    target = part.target.to_bytes(-(-part.target.bit_length() // 8), "big")
    return msgspec.msgpack.encode(
        _StoredPart(
            part.upstream_id,
            part.link,
            plain_text(part.job_id),
            target,
            part.difficulty,
            part.padding,
            part.version_mask,
        )
    )


def decode_part(blob: bytes) -> UpstreamPart:
    """Return what a job owes to its pool.

    Raises:
        DecodeError: If the blob is damaged.
    """
    try:
        stored = msgspec.msgpack.decode(blob, type=_StoredPart)
    except msgspec.DecodeError as error:
        raise DecodeError(f"a job's part of its pool is damaged: {error}") from error
    return UpstreamPart(
        upstream_id=stored.upstream_id,
        link=stored.link,
        job_id=stored.job_id,
        target=int.from_bytes(stored.target, "big"),
        difficulty=stored.difficulty,
        padding=stored.padding,
        version_mask=stored.version_mask,
    )


def template_hash(template: Template) -> bytes:
    """Return the SHA-256 of all that a template fixes: header fields, reward and the transactions with
    witness.

    When it was received and from which node does not belong to it.
    """
    digest = hashlib.sha256(TEMPLATE_DOMAIN)
    network = template.network.encode()
    digest.update(struct.pack("<B", len(network)) + network)
    digest.update(template.prev_hash)
    digest.update(
        struct.pack(
            "<QIIIIqQ",
            template.height,
            template.version & 0xFFFF_FFFF,
            template.nbits,
            template.time,
            template.min_time,
            -1 if template.max_time is None else template.max_time,
            template.coinbase_value_sat,
        )
    )
    commitment = template.witness_commitment or b""
    digest.update(struct.pack("<H", len(commitment)) + commitment)
    for transaction in template.transactions:
        digest.update(transaction.wtxid)
    return digest.digest()


def write_job(connection: sqlite3.Connection, job: Job, hash_: bytes) -> None:
    """Write a job, and its template unless the ledger has it; writing the same job again changes nothing."""
    row = connection.execute(
        "SELECT id, transaction_ids IS NULL FROM templates WHERE hash = ?", (hash_,)
    ).fetchone()
    if row is None:
        template_id = _write_template(connection, job.template, hash_)
    else:
        template_id = row[0]
        if row[1]:
            _complete_template(connection, template_id, job.template)
    connection.execute(
        f"INSERT INTO jobs ({_JOB_COLUMNS}, upstream_id, first_position)"  # noqa: S608
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO NOTHING",
        (
            job.id,
            job.account_id,
            job.work_log2,
            job.coinbase1,
            job.coinbase2,
            b"".join(job.branch),
            job.version,
            job.version_mask,
            job.ntime,
            job.extranonce1_size,
            job.extranonce2_size,
            job.tag,
            job.tag_preimage,
            job.created_at,
            int(job.clean),
            template_id,
            None if job.upstream is None else encode_part(job.upstream),
            None if job.upstream is None else job.upstream.upstream_id,
            share_groups.end(connection),
        ),
    )


def _complete_template(connection: sqlite3.Connection, template_id: int, template: Template) -> None:
    """Bring back the transactions of a template that retention had thinned, now that it is worked on
    again."""
    connection.execute(
        "UPDATE templates SET transaction_ids = ?, received_at = ? WHERE id = ?",
        (_write_transactions(connection, template), template.received_at, template_id),
    )


def _write_transactions(connection: sqlite3.Connection, template: Template) -> bytes:
    connection.executemany(
        "INSERT OR IGNORE INTO template_transactions (wtxid, txid, weight, fee_sat, data) VALUES (?,?,?,?,?)",
        ((tx.wtxid, tx.txid, tx.weight, tx.fee_sat, tx.data) for tx in template.transactions),
    )
    ids = [
        connection.execute("SELECT id FROM template_transactions WHERE wtxid = ?", (tx.wtxid,)).fetchone()[0]
        for tx in template.transactions
    ]
    return encode_ids(np.array(ids, np.int64))


def _write_template(connection: sqlite3.Connection, template: Template, hash_: bytes) -> int:
    cursor = connection.execute(
        "INSERT INTO templates (hash, network, height, version, prev_hash, nbits, time, min_time, max_time,"
        " coinbase_value_sat, witness_commitment, source, received_at, transaction_ids)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            hash_,
            template.network,
            template.height,
            template.version,
            template.prev_hash,
            template.nbits,
            template.time,
            template.min_time,
            template.max_time,
            template.coinbase_value_sat,
            template.witness_commitment,
            template.source,
            template.received_at,
            _write_transactions(connection, template),
        ),
    )
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def read_jobs(connection: sqlite3.Connection, since: float, limit: int) -> tuple[Job, ...]:
    """Return the newest ``limit`` jobs made at or after ``since`` whose templates are still whole, oldest
    first."""
    rows = connection.execute(
        f"SELECT {_JOB_COLUMNS} FROM jobs WHERE created_at >= ? ORDER BY id DESC LIMIT ?",  # noqa: S608
        (since, limit),
    ).fetchall()
    return _jobs(connection, rows[::-1])


def read_job(connection: sqlite3.Connection, job_id: int) -> Job | None:
    """Return one job, None if it is unknown or its template's transactions have been removed."""
    row = connection.execute(f"SELECT {_JOB_COLUMNS} FROM jobs WHERE id = ?", (job_id,)).fetchall()  # noqa: S608
    jobs = _jobs(connection, row)
    return jobs[0] if jobs else None


def first_position(connection: sqlite3.Connection, job_ids: Iterable[int]) -> int | None:
    """Return a position before which no share names any of these jobs; None when the ledger knows none of
    them."""
    positions: list[int] = []
    wanted = sorted(job_ids)
    for start in range(0, len(wanted), _IN_CHUNK):
        chunk = wanted[start : start + _IN_CHUNK]
        marks = ",".join("?" * len(chunk))
        row = connection.execute(
            f"SELECT min(first_position) FROM jobs WHERE id IN ({marks})",  # noqa: S608
            chunk,
        ).fetchone()
        if row[0] is not None:
            positions.append(row[0])
    return min(positions, default=None)


def _jobs(connection: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> tuple[Job, ...]:
    templates = _read_templates(connection, {row[15] for row in rows})
    return tuple(
        Job(
            id=row[0],
            account_id=row[1],
            work_log2=row[2],
            template=templates[row[15]],
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
            clean=bool(row[14]),
            upstream=None if row[16] is None else decode_part(row[16]),
        )
        for row in rows
        if row[15] in templates
    )


def _read_templates(connection: sqlite3.Connection, ids: set[int]) -> dict[int, Template]:
    templates: dict[int, Template] = {}
    transactions: dict[int, TemplateTransaction] = {}
    for template_id in sorted(ids):
        row = connection.execute(
            "SELECT network, height, version, prev_hash, nbits, time, min_time, max_time, coinbase_value_sat,"
            " witness_commitment, source, received_at, transaction_ids FROM templates WHERE id = ?",
            (template_id,),
        ).fetchone()
        if row is None or row[12] is None:
            continue
        transaction_ids = decode_ids(row[12])
        transactions.update(_read_transactions(connection, set(transaction_ids) - transactions.keys()))
        templates[template_id] = Template(
            network=row[0],
            height=row[1],
            version=row[2],
            prev_hash=row[3],
            nbits=row[4],
            time=row[5],
            min_time=row[6],
            max_time=row[7],
            coinbase_value_sat=row[8],
            witness_commitment=row[9],
            source=row[10],
            received_at=row[11],
            transactions=tuple(transactions[id_] for id_ in transaction_ids),
        )
    return templates


def _read_transactions(connection: sqlite3.Connection, ids: Iterable[int]) -> dict[int, TemplateTransaction]:
    wanted = sorted(ids)
    found: dict[int, TemplateTransaction] = {}
    for start in range(0, len(wanted), _IN_CHUNK):
        chunk = wanted[start : start + _IN_CHUNK]
        marks = ",".join("?" * len(chunk))
        for id_, wtxid, txid, weight, fee_sat, data in connection.execute(
            f"SELECT id, wtxid, txid, weight, fee_sat, data FROM template_transactions WHERE id IN ({marks})",  # noqa: S608
            chunk,
        ):
            found[id_] = TemplateTransaction(
                data=data, txid=txid, wtxid=wtxid, weight=weight, fee_sat=fee_sat
            )
    return found
