"""The batch check and the exact check of one share give the same answers."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.chain.template import Template
from hashwerk.work.batch import ROW_DTYPE, TERMS_DTYPE, JobTable, check_batch
from hashwerk.work.check import check_share, judge_share, rolled_version
from hashwerk.work.job import Job
from hashwerk.work.share import FLAG_BLOCK, Verdict

NOW = 1_700_000_000
MASK = 0x1FFFE000


@st.composite
def jobs(draw: st.DrawFn, number: int) -> Job:
    extranonce1_size, extranonce2_size = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    seeded = random.Random(draw(st.integers(0, 2**32)))
    template = Template(
        network="regtest",
        height=1,
        version=draw(st.sampled_from([0x20000000, 0x3FFFFFFF, 4])),
        prev_hash=seeded.randbytes(32),
        nbits=draw(st.sampled_from([0x207FFFFF, 0x200FFFFF, 0x1D00FFFF])),
        time=NOW,
        min_time=NOW - draw(st.integers(0, 5)),
        max_time=draw(st.none() | st.integers(NOW - 2, NOW + 3)),
        coinbase_value_sat=1,
    )
    return Job(
        id=number,
        account_id=1,
        work_log2=draw(st.integers(0, 3)),
        template=template,
        coinbase1=seeded.randbytes(draw(st.integers(1, 200))),
        coinbase2=seeded.randbytes(draw(st.integers(0, 300))),
        branch=tuple(seeded.randbytes(32) for _ in range(draw(st.integers(0, 14)))),
        version=template.version & ~MASK,
        version_mask=MASK,
        ntime=NOW,
        extranonce1_size=extranonce1_size,
        extranonce2_size=extranonce2_size,
        tag=b"",
        tag_preimage=b"",
        created_at=NOW,
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_batch_and_exact_check_agree(data: st.DataObject) -> None:
    first_id = data.draw(st.integers(1, 2**32 - 4))
    known = [data.draw(jobs(first_id + i)) for i in range(data.draw(st.integers(1, 3)))]
    expires = [NOW + data.draw(st.sampled_from([-1, 0, 10])) for _ in known]
    stale = [data.draw(st.booleans()) for _ in known]
    table = JobTable()
    for job, expires_at, is_stale in zip(known, expires, stale, strict=True):
        table.add(job, expires_at=expires_at, generation=job.id)
        if is_stale:
            table.mark_stale(job.id)
    terms = np.zeros(2, TERMS_DTYPE)
    terms["account"] = 1
    terms["extranonce1"] = [0x5A, 0xA5]
    terms["version_mask"] = [0, MASK]
    count = data.draw(st.integers(1, 12))
    picks = [data.draw(st.integers(0, len(known) - 1)) for _ in range(count)]
    seats = np.array([data.draw(st.integers(0, 1)) for _ in range(count)], np.int32)
    rows = np.zeros(count, ROW_DTYPE)
    for i, pick in enumerate(picks):
        rows[i]["job"] = known[pick].id
        rows[i]["extranonce2"] = data.draw(st.integers(0, 256 ** known[pick].extranonce2_size - 1))
        rows[i]["ntime"] = NOW + data.draw(st.sampled_from([-6, -3, 0, 1, 4, 7200, 7201]))
        rows[i]["nonce"] = data.draw(st.integers(0, 2**32 - 1))
        rows[i]["version"] = data.draw(st.sampled_from([0, 0x2000, MASK, 1, 0xFFFFFFFF]))
    wanted = rows.copy()
    sizes = np.array([known[pick].extranonce2_size for pick in picks], np.uint8)
    checked = check_batch(table, rows, extranonce2_sizes=sizes, seats=seats, terms=terms, now=float(NOW))
    accepted, blocks = [], 0
    for i, pick in enumerate(picks):
        job, row, submit = known[pick], rows[i], wanted[i]
        bits = int(submit["version"])
        share = check_share(
            job,
            int(terms[seats[i]]["extranonce1"]),
            int(submit["extranonce2"]),
            int(submit["ntime"]),
            int(submit["nonce"]),
            rolled_version(job, bits),
        )
        verdict, block = judge_share(
            job,
            share,
            stale=stale[pick],
            ntime=int(submit["ntime"]),
            version_bits=bits,
            session_mask=int(terms[seats[i]]["version_mask"]),
            expires_at=expires[pick],
            now=float(NOW),
        )
        assert row["hash_key"].tobytes() == share.hash[:16]
        assert row["version"] == rolled_version(job, bits)
        assert row["work_log2"] == job.work_log2
        assert Verdict(int(row["verdict"])) is verdict
        assert bool(row["flags"] & FLAG_BLOCK) == block
        blocks += block
        if verdict is Verdict.ACCEPTED:
            accepted.append(job.id)
            assert checked.generations[i] == job.id
    assert checked.blocks == blocks
    assert (checked.lowest, checked.highest) == (min(accepted), max(accepted)) if accepted else True
