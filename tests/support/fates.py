"""Jobs of upstream pools, and fates of their shares, for tests of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from hashwerk.store import LedgerReader
from hashwerk.stratum.ports import Account, FateRecords, ShareRecords
from hashwerk.work.fate import FATE_DTYPE, Fate
from hashwerk.work.job import Job, UpstreamPart
from hashwerk.work.share import FLAG_BLOCK, Verdict
from support.ledger import NOW, make_job, make_shares, make_template


def make_upstream_job(
    job_id: int, account: Account, upstream_id: int, *, at: float = NOW, difficulty: str = "0.001"
) -> Job:
    """Return a job of a pool, with a target wider than any integer of msgpack."""
    part = UpstreamPart(
        upstream_id=upstream_id,
        link=3,
        job_id="a1/β",
        target=0xFFFF << 218,
        difficulty=difficulty,
        padding=b"\x00\x07",
        version_mask=0x1FFFE000,
    )
    job = make_job(job_id, account, make_template(transactions=0), at=at)
    return msgspec.structs.replace(job, tag=b"", tag_preimage=b"", upstream=part)


def make_met(
    count: int, *, first: int = 0, worker: int = 1, job: int = 1, at: float = NOW, work_log2: int = 20
) -> ShareRecords:
    """Return accepted shares that met the target of their job's pool."""
    shares = make_shares(count, first=first, worker=worker, job=job, at=at, work_log2=work_log2)
    shares["flags"] = FLAG_BLOCK
    return shares


def make_fates(
    shares: ShareRecords,
    fate: Fate | Sequence[Fate] = Fate.ACCEPTED,
    *,
    upstream: int = 1,
    reason: int = 0,
    latency_us: int = 2_000,
) -> FateRecords:
    """Return the fates of these shares, handed in when they came."""
    fates = np.zeros(len(shares), FATE_DTYPE)
    for name in ("hash_key", "job", "worker"):
        fates[name] = shares[name]
    fates["upstream"], fates["reason"], fates["fate"] = upstream, reason, fate
    fates["sent_us"] = shares["time_us"]
    fates["known_us"] = shares["time_us"] + latency_us
    return fates


def books(path: Path) -> tuple[ShareRecords, FateRecords, dict[int, str]]:
    """Return the shares that met their pool's target, all fates, and the words of their reasons."""
    with LedgerReader(path) as reader:
        _, shares = reader.shares(0, 1_000_000)
        of_pools = {
            number for number in set(shares["job"].tolist()) if (job := reader.job(number)) and job.upstream
        }
        met = shares[(shares["verdict"] == Verdict.ACCEPTED) & (shares["flags"] & FLAG_BLOCK != 0)]
        met = met[np.isin(met["job"], sorted(of_pools))]
        return met, reader.fates(0, 2**62), reader.fate_reasons()
