"""The job table: slots, growth, and what a batch refuses before hashing."""

from __future__ import annotations

import numpy as np
import pytest

from hashwerk.chain.template import Template
from hashwerk.work.batch import ROW_DTYPE, TERMS_DTYPE, JobTable, check_batch
from hashwerk.work.job import Job
from hashwerk.work.share import FLAG_BLOCK, SHARE_DTYPE, Verdict

TEMPLATE = Template(
    network="regtest",
    height=1,
    version=0x20000000,
    prev_hash=bytes(range(32)),
    nbits=0x207FFFFF,
    time=1_700_000_000,
    min_time=1_699_990_000,
    coinbase_value_sat=50 * 10**8,
)


def _job(
    number: int, *, coinbase2: bytes = b"tail", branch: tuple[bytes, ...] = (), work_log2: int = 0
) -> Job:
    return Job(
        id=number,
        account_id=3,
        work_log2=work_log2,
        template=TEMPLATE,
        coinbase1=b"c" * 70,
        coinbase2=coinbase2,
        branch=branch,
        version=0x20000000,
        version_mask=0x1FFFE000,
        ntime=TEMPLATE.time,
        extranonce1_size=4,
        extranonce2_size=8,
        tag=bytes(32),
        tag_preimage=b"",
        created_at=0.0,
    )


def _submit(table: JobTable, jobs: list[int], *, size: int = 8, verdict: int = 0, **terms: int) -> np.ndarray:
    rows = np.zeros(len(jobs), ROW_DTYPE)
    rows["job"], rows["ntime"] = jobs, TEMPLATE.time
    rows["extranonce2"] = np.arange(len(jobs))
    session = np.zeros(1, TERMS_DTYPE)
    session["account"] = 3
    session["session"], session["extranonce1"] = 11, 13
    rows["worker"], rows["verdict"] = 12, verdict
    sizes = np.full(len(jobs), size, np.uint8)
    for name, value in terms.items():
        session[name] = value
    seats = np.zeros(len(jobs), np.int32)
    check_batch(table, rows, extranonce2_sizes=sizes, seats=seats, terms=session, now=float(TEMPLATE.time))
    return rows


def _table(*jobs: Job) -> JobTable:
    table = JobTable()
    for job in jobs:
        table.add(job, expires_at=TEMPLATE.time + 60, generation=0)
    return table


def test_a_row_is_a_share_record() -> None:
    assert ROW_DTYPE.itemsize == SHARE_DTYPE.itemsize == 72
    for name in SHARE_DTYPE.names or ():
        assert ROW_DTYPE.fields is not None
        assert SHARE_DTYPE.fields is not None
        assert ROW_DTYPE.fields[name][1] == SHARE_DTYPE.fields[name][1]


def test_session_and_extranonce1_come_from_the_terms() -> None:
    row = _submit(_table(_job(5)), [5])[0]
    assert (row["session"], row["worker"], row["extranonce1"]) == (11, 12, 13)
    assert row["verdict"] == Verdict.ACCEPTED
    assert row["version"] == 0x20000000


@pytest.mark.parametrize("number", [0, 6, 5 + 64, 0xFFFFFFFF])
def test_a_job_that_is_not_there_is_unknown(number: int) -> None:
    assert _submit(_table(_job(5)), [number])[0]["verdict"] == Verdict.UNKNOWN_JOB


def test_another_accounts_job_is_unknown() -> None:
    assert _submit(_table(_job(5)), [5], account=4)[0]["verdict"] == Verdict.UNKNOWN_JOB


def test_an_easier_job_than_the_session_was_ever_sent_is_unknown() -> None:
    assert _submit(_table(_job(5)), [5], least_work_log2=1)[0]["verdict"] == Verdict.UNKNOWN_JOB


def test_stale_and_removed_jobs() -> None:
    table = _table(_job(5), _job(6))
    table.mark_stale(5)
    table.remove([6])
    rows = _submit(table, [5, 6])
    assert rows["verdict"].tolist() == [Verdict.STALE, Verdict.UNKNOWN_JOB]
    assert len(table) == 1


def test_a_stale_block_is_flagged() -> None:
    table = _table(_job(5))
    table.mark_stale(5)
    rows = _submit(table, [5] * 20)  # every second hash is a block on regtest
    assert set(rows["verdict"].tolist()) == {Verdict.STALE}
    assert 0 < np.count_nonzero(rows["flags"] & FLAG_BLOCK) < 20


def test_a_row_refused_before_keeps_its_verdict_and_may_be_a_block() -> None:
    rows = _submit(_table(_job(5)), [5] * 20, verdict=Verdict.UNAUTHORIZED)
    assert set(rows["verdict"].tolist()) == {Verdict.UNAUTHORIZED}
    assert np.count_nonzero(rows["flags"] & FLAG_BLOCK)


def test_an_extranonce2_of_another_size_is_malformed() -> None:
    row = _submit(_table(_job(5)), [5], size=4)[0]
    assert row["verdict"] == Verdict.MALFORMED
    assert row["hash_key"].tolist() == [0, 0]


def test_an_id_is_used_once() -> None:
    table = _table(_job(5))
    for number in (0, 5):
        with pytest.raises(ValueError, match="taken"):
            table.add(_job(number), expires_at=0.0, generation=0)


def test_the_table_grows_with_ids_tails_and_branches() -> None:
    table = _table(*(_job(number) for number in range(1, 200)))
    before = _submit(table, list(range(1, 200)))["hash_key"].tolist()
    table.add(_job(200, coinbase2=bytes(3000)), expires_at=TEMPLATE.time + 60, generation=0)
    table.add(_job(201, branch=(bytes(32),) * 14), expires_at=TEMPLATE.time + 60, generation=0)
    table.add(_job(100_001), expires_at=TEMPLATE.time + 60, generation=0)
    assert _submit(table, list(range(1, 200)))["hash_key"].tolist() == before
    assert set(_submit(table, [200, 201, 100_001])["verdict"].tolist()) == {Verdict.ACCEPTED}
    assert len(table) == 202
    table.remove(range(1, 200))
    assert set(_submit(table, [1, 199])["verdict"].tolist()) == {Verdict.UNKNOWN_JOB}
    assert set(_submit(table, [200, 201, 100_001])["verdict"].tolist()) == {Verdict.ACCEPTED}
    assert len(table) == 3


def test_a_job_past_its_time_no_longer_counts() -> None:
    table = _table(_job(5))
    table.set_expiry(5, TEMPLATE.time - 1)
    assert _submit(table, [5])[0]["verdict"] == Verdict.UNKNOWN_JOB
