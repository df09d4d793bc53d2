"""What tests of the ledger share: records that look like real ones, and waits with a deadline."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from hashwerk.chain.template import Template, TemplateTransaction
from hashwerk.evidence.tag import ZERO_ROOT, job_tag, job_tag_preimage
from hashwerk.stratum.ports import Account, Ledger, ShareRecords
from hashwerk.work.job import Job
from hashwerk.work.share import SHARE_DTYPE

NOW = 1_750_000_000.0
PREV_HASH = hashlib.sha256(b"tip").digest()


def make_shares(
    count: int,
    *,
    first: int = 0,
    worker: int = 1,
    job: int = 1,
    work_log2: int = 40,
    verdict: int = 0,
    at: float = NOW,
) -> ShareRecords:
    """Return shares that differ in nonce and hash key; ``first`` numbers them on over several batches."""
    numbers = np.arange(first, first + count, dtype=np.uint64)
    shares = np.zeros(count, SHARE_DTYPE)
    shares["time_us"] = int(at * 1e6)
    shares["worker"], shares["job"], shares["work_log2"], shares["verdict"] = worker, job, work_log2, verdict
    shares["nonce"] = numbers
    keys = b"".join(hashlib.sha256(int(number).to_bytes(8, "big")).digest()[:16] for number in numbers)
    shares["hash_key"] = np.frombuffer(keys, "V16")
    return shares


def make_template(height: int = 100, transactions: int = 3, *, prev_hash: bytes = PREV_HASH) -> Template:
    """Return a template; templates of neighbouring heights share most of their transactions."""
    return Template(
        network="testnet4",
        height=height,
        version=0x20000000,
        prev_hash=prev_hash,
        nbits=0x1D00FFFF,
        time=int(NOW) + height,
        min_time=int(NOW) - 3600,
        coinbase_value_sat=50 * 10**8,
        transactions=tuple(make_transaction(height + number) for number in range(transactions)),
        witness_commitment=bytes.fromhex("6a24aa21a9ed") + bytes(32),
        source="kernel",
        received_at=NOW,
    )


def make_transaction(number: int) -> TemplateTransaction:
    data = hashlib.sha512(number.to_bytes(8, "big")).digest() * 3
    return TemplateTransaction(
        data=data,
        txid=hashlib.sha256(data).digest(),
        wtxid=hashlib.sha256(data + b"w").digest(),
        weight=4 * len(data),
        fee_sat=None if number % 2 else number,
    )


def make_job(
    job_id: int, account: Account, template: Template, *, at: float = NOW, work_log2: int = 40
) -> Job:
    preimage = job_tag_preimage(bytes(32), ZERO_ROOT, account.commitment, work_log2)
    return Job(
        id=job_id,
        account_id=account.id,
        work_log2=work_log2,
        template=template,
        coinbase1=b"\x01\x02" + job_id.to_bytes(4, "big"),
        coinbase2=b"\xff" * 40,
        branch=(hashlib.sha256(b"a").digest(), hashlib.sha256(b"b").digest()),
        version=0x20000000,
        version_mask=0x1FFFE000,
        ntime=template.time,
        extranonce1_size=4,
        extranonce2_size=8,
        tag=job_tag(preimage),
        tag_preimage=preimage,
        created_at=at,
        clean=True,
    )


async def store(ledger: Ledger, shares: ShareRecords, timeout_s: float = 20.0) -> BaseException | None:
    """Append the shares and return what `done` was called with."""
    answer: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
    ledger.append(shares, answer.set_result)
    return await asyncio.wait_for(answer, timeout_s)


async def settle(ledger: Ledger) -> None:
    """Wait until everything asked of the ledger so far is on disk."""
    error = await store(ledger, make_shares(0))
    if error is not None:
        raise AssertionError(f"not on disk: {error}") from error


async def eventually(condition: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Return the condition's first true value.

    Raises:
        AssertionError: If it stays false until the deadline.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still not true after {timeout_s} s")
        await asyncio.sleep(0.01)
    return value


__all__ = [
    "NOW",
    "PREV_HASH",
    "eventually",
    "make_job",
    "make_shares",
    "make_template",
    "make_transaction",
    "settle",
    "store",
]
