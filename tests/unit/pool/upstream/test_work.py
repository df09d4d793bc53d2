"""A pool's job as one of ours: the headers are those the pool computes."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashwerk.chain.header import double_sha256
from hashwerk.chain.target import target_from_compact
from hashwerk.pool.prefixes import Prefix, Prefixes
from hashwerk.pool.room import Room
from hashwerk.pool.upstream.work import UpstreamWork, coinbase_height, room_for, target_of
from hashwerk.stratum.ports import Account
from hashwerk.stratum.v1.client_events import ClientJob
from hashwerk.work.check import check_share, rolled_version
from hashwerk.work.target import target_from_work_log2

ACCOUNT = Account(7, "a", bytes(32))


def client_job(**fields: object) -> ClientJob:
    return ClientJob(
        **{
            "job_id": "5f",
            "prev_hash": hashlib.sha256(b"p").digest(),
            "coinbase1": bytes.fromhex("0100000001" + "00" * 32 + "ffffffff2003a0bb0d"),
            "coinbase2": bytes.fromhex("ffffffff0100f2052a01000000015100000000"),
            "branch": (hashlib.sha256(b"b").digest(),),
            "version": 0x3FFF_E004,
            "nbits": 0x1D00FFFF,
            "ntime": 1_750_000_000,
            "clean": True,
            "difficulty": 1,
            "extranonce1": bytes.fromhex("aabbccdd"),
            "extranonce2_size": 8,
            "version_mask": 0x1FFF_E000,
        }
        | fields
    )


def work(job: ClientJob) -> UpstreamWork:
    return UpstreamWork(
        job, upstream_id=3, link=9, source="p", network="main", version_mask=0x1FFF_E000, now=1_750_000_001.0
    )


@given(
    st.integers(3, 16),
    st.binary(min_size=0, max_size=8),
    st.data(),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_the_header_is_the_pools(
    size: int, extranonce1: bytes, data: st.DataObject, nonce: int, bits: int, mask: int
) -> None:
    theirs = client_job(extranonce2_size=size, extranonce1=extranonce1, version_mask=mask)
    room = room_for(size)
    assert room is not None
    job = work(theirs).build(job_id=1, account=ACCOUNT, work_log2=10, room=room, now=1.0)
    assert job.upstream is not None
    mine1 = data.draw(st.integers(0, 256**room.extranonce1_size - 1))
    mine2 = data.draw(st.integers(0, 256**room.extranonce2_size - 1))
    rolled = bits & job.version_mask
    found = check_share(job, mine1, mine2, theirs.ntime, nonce, rolled_version(job, rolled))
    # What the pool does with what we hand in (BIP-0310 for the version).
    extranonce2 = (
        job.upstream.padding
        + mine1.to_bytes(room.extranonce1_size, "big")
        + mine2.to_bytes(room.extranonce2_size, "big")
    )
    assert len(extranonce2) == size
    coinbase = theirs.coinbase1 + theirs.extranonce1 + extranonce2 + theirs.coinbase2
    root = double_sha256(double_sha256(coinbase) + theirs.branch[0])
    version = (theirs.version & ~mask & 0xFFFF_FFFF) | (
        rolled_version(job, rolled) & job.upstream.version_mask
    )
    header = (
        version.to_bytes(4, "little")
        + theirs.prev_hash
        + root
        + theirs.ntime.to_bytes(4, "little")
        + theirs.nbits.to_bytes(4, "little")
        + nonce.to_bytes(4, "little")
    )
    assert found.header == header


def test_jobs_made_from_one_have_no_work_in_common() -> None:
    source = work(client_job())
    made = [
        source.build(job_id=n, account=ACCOUNT, work_log2=10, room=Room(4, 3), now=1.0) for n in range(256)
    ]
    assert len({job.coinbase1 for job in made}) == 256
    assert not source.is_repeating
    assert work(client_job(extranonce2_size=4)).is_repeating


@given(st.floats(1e-12, 1e15))
def test_everything_the_pool_wants_is_a_share_here(difficulty: float) -> None:
    source = work(client_job(difficulty=difficulty))
    assert source.target <= target_from_work_log2(source.most_work_log2)
    if source.most_work_log2:
        assert (
            source.target > target_from_work_log2(source.most_work_log2 + 1)
            or source.target == (1 << 256) - 1
        )


def test_targets() -> None:
    assert target_of(1) == target_from_compact(0x1D00FFFF)
    assert target_of(2**-32) == 0xFFFF << 240
    assert target_of(1e-30) == (1 << 256) - 1
    assert target_of(0.1) != target_of(0.1000001)


def test_rooms() -> None:
    assert [room_for(size) for size in (1, 2)] == [None, None]
    assert [room_for(size) for size in (3, 4, 5, 6, 7, 8, 16)] == [
        (1, 2), (2, 2), (3, 2), (4, 2), (4, 2), (4, 3), (4, 8),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="do not fit"):
        work(client_job(extranonce2_size=4)).build(
            job_id=1, account=ACCOUNT, work_log2=1, room=Room(4, 4), now=1.0
        )


def test_heights() -> None:
    assert coinbase_height(client_job().coinbase1) == 0x0DBBA0
    assert coinbase_height(b"") == 0
    assert coinbase_height(bytes(41) + b"\x20\x52") == 2
    assert coinbase_height(bytes(41) + b"\x20\xff") == 0


def test_prefixes() -> None:
    prefixes = Prefixes(1)
    taken = [prefixes.take() for _ in range(300)]
    assert len(set(taken)) == 300
    assert taken[255] == Prefix(255, 0)
    assert taken[256] == Prefix(0, 1)
    assert prefixes.planes == 2
    prefixes.give_back(Prefix(17, 0))
    assert prefixes.take() == Prefix(17, 0)
