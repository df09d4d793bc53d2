"""From a job to headers: exact targets, real solutions rebuilt, no header twice."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashwerk.chain.header import BlockHeader, double_sha256
from hashwerk.client.work import ExtranonceCounter, JobWork, deposit_bits, target_from_difficulty
from hashwerk.stratum.v1.client import ClientJob
from hashwerk.stratum.v1.notify import NotifyParams
from hashwerk.work.target import difficulty_from_work_log2, target_from_work_log2

VECTORS = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "btc_stratum_vectors.json"
DIFFICULTY_1_TARGET = 0xFFFF << 208

JOB = ClientJob(
    job_id="1",
    prev_hash=bytes(range(32)),
    coinbase1=b"\x01" * 40,
    coinbase2=b"\x02" * 40,
    branch=(b"\x03" * 32,),
    version=0x20000000,
    nbits=0x1D00FFFF,
    ntime=0x65000000,
    clean=True,
    extranonce1=b"\x00\x00\x00\x2a",
    extranonce2_size=8,
    version_mask=0x1FFFE000,
    difficulty=1,
)


def _work(counter: ExtranonceCounter | None = None, **changes: Any) -> JobWork:
    job = msgspec.structs.replace(JOB, **changes)
    return JobWork(job, counter or ExtranonceCounter(), received_at=100.0)


def test_targets_are_exact() -> None:
    assert target_from_difficulty(1) == DIFFICULTY_1_TARGET
    assert target_from_difficulty(0.5) == DIFFICULTY_1_TARGET * 2
    assert target_from_difficulty(3) == DIFFICULTY_1_TARGET // 3
    # A float would give back 2**208 here, one too many for the rest.
    assert target_from_difficulty(65535.0) == 1 << 208
    assert target_from_difficulty(2**53 + 1) == DIFFICULTY_1_TARGET // (2**53 + 1)
    assert target_from_difficulty(1e-12) == (1 << 256) - 1


@given(st.floats(min_value=1e-9, max_value=1e18) | st.integers(1, 2**80))
def test_a_target_is_the_largest_that_meets_the_difficulty(difficulty: float) -> None:
    target = target_from_difficulty(difficulty)
    exact = Fraction(difficulty)
    if target < (1 << 256) - 1:
        assert target * exact <= DIFFICULTY_1_TARGET < (target + 1) * exact


@pytest.mark.parametrize("work_log2", [0, 8, 31, 32, 33, 60, 100])
def test_our_target_for_an_announced_difficulty_is_never_easier_than_the_servers(work_log2: int) -> None:
    announced = difficulty_from_work_log2(work_log2)
    assert target_from_difficulty(announced) <= target_from_work_log2(work_log2)


@pytest.mark.parametrize("difficulty", [0, -1, float("nan"), float("inf")])
def test_a_difficulty_that_is_none_is_refused(difficulty: float) -> None:
    with pytest.raises(ValueError, match="difficulty"):
        target_from_difficulty(difficulty)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_deposited_bits_stay_in_the_mask_and_are_not_lost(number: int, mask: int) -> None:
    spread = deposit_bits(number, mask)
    assert spread & ~mask == 0
    collected = "".join(str(spread >> bit & 1) for bit in reversed(range(32)) if mask >> bit & 1)
    assert int(collected or "0", 2) == number & ((1 << mask.bit_count()) - 1)


def test_every_recorded_solution_is_rebuilt_to_the_block_that_was_mined() -> None:
    if not VECTORS.exists():
        pytest.skip(f"the shared data folder is not beside the repository: {VECTORS.name}")
    checked = 0
    for vector in json.loads(VECTORS.read_text())["vectors"]:
        notify = NotifyParams.from_params(vector["notify_params"])
        job = ClientJob(
            **msgspec.structs.asdict(notify),
            extranonce1=bytes.fromhex(vector["extranonce1"]),
            extranonce2_size=vector["extranonce2_size"],
            version_mask=0x1FFFE000,
            difficulty=1,
        )
        submit = vector["submit"]
        work = JobWork(job, ExtranonceCounter(), received_at=0.0)
        extranonce2 = bytes.fromhex(submit["extranonce2"])
        root = work.merkle_root(extranonce2)
        expected = BlockHeader.parse(bytes.fromhex(vector["expected_header_hex"]))
        assert root == expected.merkle_root
        header = work.header(extranonce2, root, expected.version & job.version_mask, int(submit["ntime"], 16))
        digest = double_sha256(header.header76 + bytes.fromhex(submit["nonce"])[::-1])
        assert digest[::-1].hex() == vector["block_hash"]
        checked += 1
    assert checked == 138


def test_versions_are_rolled_before_the_extranonce() -> None:
    stream = _work(version_mask=0x00006000).stream()
    headers = [stream.next(100.0) for _ in range(5)]
    assert [header.version_bits for header in headers if header] == [0, 0x2000, 0x4000, 0x6000, 0]
    assert [int.from_bytes(header.extranonce2, "big") for header in headers if header] == [0, 0, 0, 0, 1]
    versions = {BlockHeader.parse(header.header76 + bytes(4)).version for header in headers if header}
    assert versions == {0x20000000, 0x20002000, 0x20004000, 0x20006000}


def test_the_masks_bits_of_the_jobs_version_are_replaced() -> None:
    stream = _work(version=0x3FFFFFFF, version_mask=0x1FFFE000).stream()
    header = stream.next(100.0)
    assert header is not None
    assert BlockHeader.parse(header.header76 + bytes(4)).version == 0x3FFFFFFF & ~0x1FFFE000


def test_time_follows_the_clock_and_no_faster() -> None:
    stream = _work(version_mask=0).stream()
    times = []
    for now in (100.0, 100.9, 101.0, 160.2, 99.0):
        header = stream.next(now)
        assert header is not None
        times.append(header.ntime - JOB.ntime)
    assert times == [0, 0, 1, 60, 0]


@pytest.mark.parametrize("size", [0, 1, 2, 8])
def test_no_header_is_given_twice_to_any_thread_or_for_a_repeated_job(size: int) -> None:
    counter = ExtranonceCounter()
    first = _work(counter, extranonce2_size=size, version_mask=0x2000)
    streams = [first.stream(), first.stream()]
    if size >= 2:  # a server that repeats a job after a resumed session
        streams.append(_work(counter, extranonce2_size=size, version_mask=0x2000).stream())
    seen = set()
    for number in range(1200):
        header = streams[number % len(streams)].next(100.0 + number)
        assert header is not None
        assert header.header76 not in seen
        assert len(header.extranonce2) == size
        seen.add(header.header76)


def test_a_job_without_time_left_gives_nothing() -> None:
    stream = _work(ntime=0xFFFFFFFF, version_mask=0).stream()
    assert stream.next(100.0) is not None
    assert stream.next(101.0) is None
