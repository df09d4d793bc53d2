"""Shares hashed side by side give what each gives alone, whatever the coinbase and however many there are."""

import hashlib
import struct

import msgspec
import numpy as np
import pytest

from hashwerk.chain.merkle import root_from_branch
from hashwerk.evidence import records
from hashwerk.evidence.job_record import assemble
from hashwerk.evidence.lanes import LANES
from hashwerk.evidence.rehash import JobTable
from hashwerk.evidence.share_leaf import LEAF_DTYPE
from support.evidence import ACCOUNTS, EvidenceSite

SITE = EvidenceSite()


def alone(job: records.Job, leaf: np.void) -> bytes:
    """Return the hash of a share's header as the specification has it."""
    coinbase = assemble(job, int(leaf["extranonce1"]), int(leaf["extranonce2"]))
    txid = hashlib.sha256(hashlib.sha256(coinbase).digest()).digest()
    root = root_from_branch(txid, job.branch)
    header = struct.pack(
        "<I32s32sIII", int(leaf["version"]), job.prev_hash, root, int(leaf["ntime"]), job.nbits, int(leaf["nonce"])
    )  # fmt: skip
    return hashlib.sha256(hashlib.sha256(header).digest()).digest()


def shapes() -> list[records.Job]:
    """Return jobs whose extranonces lie at every place of a block, with short and long coinbases and branches."""
    first = SITE.job(ACCOUNTS[0], SITE.start_us)
    return [
        msgspec.structs.replace(
            first,
            id=1 + number,
            coinbase1=bytes(range(256))[: 40 + number],
            coinbase2=bytes(7 * number % 131),
            extranonce1_size=number % 9,
            extranonce2_size=8 - number % 8,
            branch=tuple(hashlib.sha256(bytes([number, level])).digest() for level in range(number % 5)),
        )
        for number in range(70)
    ]


@pytest.mark.parametrize("count", [1, LANES - 1, LANES, 5 * LANES + 3])
def test_side_by_side_as_alone(count: int) -> None:
    jobs = {job.id: job for job in shapes()}
    rng = np.random.default_rng(count)
    leaves = np.zeros(count * (70 if count < LANES else 4), LEAF_DTYPE)
    leaves["job"] = rng.integers(1, 71, len(leaves))
    for name, size in (("extranonce1", "extranonce1_size"), ("extranonce2", "extranonce2_size")):
        bits = np.array([8 * getattr(jobs[int(job)], size) for job in leaves["job"]])
        drawn = rng.integers(0, 2**64 - 1, len(leaves), dtype=np.uint64, endpoint=True)
        leaves[name] = [int(value) >> (64 - int(b)) for value, b in zip(drawn, bits, strict=True)]
    for name in ("ntime", "nonce", "version"):
        leaves[name] = rng.integers(0, 2**32, len(leaves))
    hashed = JobTable(list(jobs.values()), dict.fromkeys(jobs, 4)).hash(leaves)
    for index, leaf in enumerate(leaves):
        wanted = alone(jobs[int(leaf["job"])], leaf)
        assert bytes(hashed.hashes[index]) == wanted
        assert int(hashed.zeros[index]) == 256 - int.from_bytes(wanted, "little").bit_length()
