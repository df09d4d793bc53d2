"""The exact check of one share: the reference for the batch check, and what builds a block."""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple

from hashwerk.chain.header import BlockHeader, double_sha256
from hashwerk.chain.merkle import root_from_branch
from hashwerk.chain.target import hash_meets_target
from hashwerk.work.job import Job
from hashwerk.work.share import Verdict
from hashwerk.work.target import target_from_work_log2

#: How far ahead of our own clock a header's time may be, as in Bitcoin Core's `MAX_FUTURE_BLOCK_TIME`.
MAX_FUTURE_S: Final = 7200


class HashedShare(NamedTuple):
    """A share as the header it stands for, and that header's hash in internal order."""

    header: bytes  # 80 bytes
    hash: bytes  # 32 bytes


def check_share(  # noqa: PLR0917 - a share is these five numbers, in the order of the wire
    job: Job, extranonce1: int, extranonce2: int, ntime: int, nonce: int, version: int
) -> HashedShare:
    """Return the header and hash of a share. ``version`` is the header's full version, after rolling.

    Extranonces are big-endian numbers of the job's extranonce sizes.

    Raises:
        OverflowError: If an extranonce does not fit its size.
        ValueError: If a header field does not fit 32 bits.
    """
    coinbase = assemble_coinbase(job, extranonce1, extranonce2)
    root = root_from_branch(double_sha256(coinbase), job.branch)
    header = BlockHeader(version, job.template.prev_hash, root, ntime, job.template.nbits, nonce).serialize()
    return HashedShare(header, sha256(sha256(header).digest()).digest())


def assemble_coinbase(job: Job, extranonce1: int, extranonce2: int) -> bytes:
    """Return the coinbase transaction without its witness, as the machine hashed it.

    Raises:
        OverflowError: If an extranonce does not fit its size.
    """
    return (
        job.coinbase1
        + extranonce1.to_bytes(job.extranonce1_size, "big")
        + extranonce2.to_bytes(job.extranonce2_size, "big")
        + job.coinbase2
    )


def rolled_version(job: Job, version_bits: int) -> int:
    """Return the header version for the bits of a submit: those of the mask are the machine's (BIP-0310)."""
    return (job.version & ~job.version_mask & 0xFFFF_FFFF) | version_bits


def judge_share(
    job: Job,
    share: HashedShare,
    *,
    stale: bool,
    ntime: int,
    version_bits: int,
    session_mask: int,
    expires_at: float,
    now: float,
) -> tuple[Verdict, bool]:
    """Return a share's verdict, all but for duplicates, and whether it meets the job's notable target.

    The order of the checks is fixed: prevhash, time, version, target, age. Whether it is a block depends on
    none of them: a block is handed to the node whatever we think of it.
    """
    block = hash_meets_target(share.hash, job.notable_target)
    latest = int(now) + MAX_FUTURE_S
    if job.template.max_time is not None:
        latest = min(latest, job.template.max_time)
    if stale:
        verdict = Verdict.STALE
    elif ntime < job.template.min_time:
        verdict = Verdict.TIME_TOO_OLD
    elif ntime > latest:
        verdict = Verdict.TIME_TOO_NEW
    elif version_bits & ~session_mask:
        verdict = Verdict.BAD_VERSION
    elif not hash_meets_target(share.hash, target_from_work_log2(job.work_log2)):
        verdict = Verdict.LOW_DIFFICULTY
    elif expires_at < now:
        verdict = Verdict.UNKNOWN_JOB
    else:
        verdict = Verdict.ACCEPTED
    return verdict, block
