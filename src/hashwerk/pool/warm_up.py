"""Compile everything before the first share comes: some seconds on the first start, read from a cache afterwards."""

from __future__ import annotations

import gc

import numpy as np

from hashwerk.chain.template import Template
from hashwerk.pool.rows import Shares, fill, note_shares
from hashwerk.pool.seats import Seats
from hashwerk.pool.statistics import Statistics
from hashwerk.stratum.v1.results import encode_batch
from hashwerk.stratum.v1.submits import SUBMIT_DTYPE, scan_batch, scan_submits
from hashwerk.work.batch import ROW_DTYPE, JobTable, check_batch
from hashwerk.work.branch import fast_merkle_branch
from hashwerk.work.duplicates import FIRST_CAPACITY, DuplicateTable
from hashwerk.work.job import Job

_LINE = b'{"id":1,"method":"mining.submit","params":["w","1","0000000000000000","65000000","00000000"]}\n'


def warm_up() -> None:
    """Run one share through all compiled code that a share passes."""
    table, duplicates, seats = JobTable(), DuplicateTable(), Seats()
    table.add(_job(), expires_at=float("inf"), generation=0)
    buffer = np.frombuffer(_LINE, np.uint8)
    submits = np.empty(2, SUBMIT_DTYPE)
    scan_batch(buffer, np.zeros(1, np.int64), np.full(1, len(buffer)), submits)
    scan_submits(buffer, 0, len(buffer), submits, 1)
    shares = Shares(1)
    fill(shares, submits[:1], np.ones(1, np.int32), seats.notes, 0)
    shares.rows["verdict"] = 0
    checked = check_batch(
        table,
        shares.rows,
        extranonce2_sizes=shares.sizes,
        seats=shares.seats,
        terms=seats.terms,
        now=float(0x65000000),
    )
    shares.rows["verdict"] = 0
    generations = np.zeros(1, np.uint32)
    duplicates.judge(0, shares.rows, generations)
    many = np.zeros(
        FIRST_CAPACITY, ROW_DTYPE
    )  # more than a table takes, so that the look into full ones is compiled too
    duplicates.judge(0, many, np.zeros(len(many), np.uint32))
    duplicates.forget_rows(shares.rows)
    note_shares(shares.rows, shares.seats, seats.notes)
    fast_merkle_branch([bytes(32), bytes(32)])
    encode_batch(shares.ids, np.ascontiguousarray(shares.rows["verdict"]))
    Statistics().count_shares(shares.rows)
    if checked.blocks not in (0, 1):
        raise AssertionError(f"one share cannot be {checked.blocks} blocks")


def _job() -> Job:
    template = Template(
        network="regtest",
        height=1,
        version=0x20000000,
        prev_hash=bytes(32),
        nbits=0x207FFFFF,
        time=0x65000000,
        min_time=0x65000000,
        coinbase_value_sat=0,
    )
    return Job(
        id=1,
        account_id=0,
        work_log2=0,
        template=template,
        coinbase1=bytes(70),
        coinbase2=bytes(70),
        branch=(bytes(32),),
        version=0x20000000,
        version_mask=0,
        ntime=0x65000000,
        extranonce1_size=4,
        extranonce2_size=8,
        tag=bytes(32),
        tag_preimage=b"",
        created_at=0.0,
    )


def quiet_collector() -> None:
    """Keep Python's cycle collector from stopping the loop for tens of milliseconds; call once, when all is built.

    What exists now stays to the end of the process, and sessions hold no cycles. Looking through all of it again each time
    some thousand machines have connected would cost a hundred times what a share does.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
