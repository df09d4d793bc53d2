"""Found blocks: what state they are in, and what a reorganisation makes of them."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from hashwerk.evidence import records
from hashwerk.store.records import put_record
from hashwerk.stratum.ports import BlockRecord

#: In the order of the numbers that records have for them.
STATES: Final = ("submitted", "accepted", "rejected", "mature", "orphaned")

_COLUMNS: Final = "hash, height, found_at, worker, job, reward_sat, state, reason, confirmations"


def next_state(state: str, confirmations: int | None, maturity_confirmations: int) -> str:
    """Return the state of a block after a look at the node.

    ``confirmations`` counts the blocks of the active chain from this one on, itself included; None: it is not
    in the active chain. A block that was in it and is not any more is orphaned; if the chain comes back, so
    does the block, even one that was refused at first.

    Raises:
        ValueError: If ``state`` is unknown.
    """
    if state not in STATES:
        raise ValueError(f"unknown state of a block: {state!r}")
    if confirmations is not None and confirmations > 0:
        return "mature" if confirmations >= maturity_confirmations else "accepted"
    return "orphaned" if state in {"accepted", "mature"} else state


def reviewed(block: BlockRecord, confirmations: int | None, maturity_confirmations: int) -> BlockRecord:
    """Return the block as it is after a look at the node."""
    state = next_state(block.state, confirmations, maturity_confirmations)
    reason = block.reason
    if state in {"accepted", "mature"}:
        reason = None
    elif state == "orphaned" and block.state != "orphaned":
        reason = "reorganised out of the active chain"
    return msgspec.structs.replace(block, state=state, reason=reason, confirmations=confirmations or 0)


def write_block(connection: sqlite3.Connection, block: BlockRecord) -> None:
    """Write a block or its new state. A change of state is evidence: the open epoch gets a record of it."""
    row = connection.execute("SELECT state FROM blocks WHERE hash = ?", (block.hash,)).fetchone()
    if row is not None and row[0] != block.state:
        found_us = int(block.found_at * 1e6)
        changed = records.Block(
            hash=block.hash,
            height=block.height,
            found_us=found_us,
            reward_sat=block.reward_sat,
            job=block.job_id,
            state=STATES.index(block.state),
        )
        put_record(connection, changed, found_us)
    connection.execute(
        f"INSERT OR REPLACE INTO blocks ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?)",  # noqa: S608
        (
            block.hash,
            block.height,
            block.found_at,
            block.worker_id,
            block.job_id,
            block.reward_sat,
            block.state,
            block.reason,
            block.confirmations,
        ),
    )


def read_blocks(connection: sqlite3.Connection, limit: int | None = None) -> tuple[BlockRecord, ...]:
    """Return the found blocks, newest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM blocks ORDER BY found_at DESC, height DESC LIMIT ?",  # noqa: S608
        (-1 if limit is None else limit,),
    )
    return tuple(
        BlockRecord(
            hash=row[0],
            height=row[1],
            found_at=row[2],
            worker_id=row[3],
            job_id=row[4],
            reward_sat=row[5],
            state=row[6],
            reason=row[7],
            confirmations=row[8],
        )
        for row in rows
    )
