"""Every share's way to its pool and back: handed in at once, counted, and its fate brought to the ledger."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hashwerk.clock import Clock
from hashwerk.pool.jobs import JobBook
from hashwerk.pool.upstream.crew import Crew
from hashwerk.pool.upstream.link import MAX_WAITING, Link, Waiting
from hashwerk.pool.upstream.pool import Pool
from hashwerk.pool.upstream.record import FateBook
from hashwerk.stratum.ports import Ledger
from hashwerk.stratum.v1.client_events import Rejected
from hashwerk.work.fate import Fate
from hashwerk.work.job import Job, UpstreamPart
from hashwerk.work.share import FLAG_NETWORK

log = logging.getLogger(__name__)

_GONE: Final = "the connection was gone"
_UNKNOWN: Final = "the pool is not configured any more"


class Forwarding:
    """Hands shares in. Rows are of `work.batch.ROW_DTYPE`."""

    def __init__(
        self,
        pools: Sequence[Pool],
        *,
        book: JobBook,
        ledger: Ledger,
        clock: Clock,
        crew: Crew,
        machines: Mapping[int, str],
    ) -> None:
        """Prepare; ``machines`` are their names, by worker id."""
        self._by_id = {pool.id: pool for pool in pools}
        self._book = book
        self._ledger = ledger
        self._clock = clock
        self._crew = crew
        self._machines = machines
        self._fates = FateBook(ledger, clock)

    def flush(self) -> None:
        """Bring all known fates to the ledger."""
        self._fates.flush()

    def forward(self, rows: NDArray[np.void]) -> None:
        """Hand in the shares that meet their pool's target (`work.batch.ROW_DTYPE`), each once."""
        at, monotonic = self._clock.time(), self._clock.monotonic()
        used: dict[int, Link] = {}
        for row in rows:
            job = self._book.job(int(row["job"]))
            if job is None or job.upstream is None:
                continue
            part = job.upstream
            pool = self._by_id.get(part.upstream_id)
            share = Waiting(
                hash_key=row["hash_key"].tobytes(),
                job_id=job.id,
                worker_id=int(row["worker"]),
                sent_at=at,
                sent_monotonic=monotonic,
                user=None,
            )
            if pool is None:
                self._fates.put(
                    Fate.LOST,
                    hash_key=share.hash_key,
                    job_id=job.id,
                    worker_id=share.worker_id,
                    upstream_id=part.upstream_id,
                    reason=_UNKNOWN,
                    sent_at=None,
                )
                continue
            link = next((each for each in pool.links if each is not None and each.number == part.link), None)
            if link is None or not link.is_open or link.waiting >= MAX_WAITING:
                self.lose(pool, share, _GONE, handed_in=False)
                continue
            self._hand_in(pool, link, job, part, share, row)
            used[link.number] = link
        for link in used.values():
            link.flush()

    def count(self, rows: NDArray[np.void]) -> None:
        """Count accepted shares for the pools their jobs came from."""
        jobs, counts = np.unique(rows["job"], return_counts=True)
        now = self._clock.time()
        for job_id, number in zip(jobs.tolist(), counts.tolist(), strict=True):
            job = self._book.job(job_id)
            if job is None or job.upstream is None:
                continue
            work = number << job.work_log2
            pool = self._by_id.get(job.upstream.upstream_id)
            if pool is not None:
                pool.record.seen.add(work, now)
                self._crew.count(job.account_id, pool, work)

    def answered(self, pool: Pool, share: Waiting, refused: Rejected | None) -> None:
        """Record what a pool made of a share."""
        job, record, monotonic = self._book.job(share.job_id), pool.record, self._clock.monotonic()
        record.latency.add(monotonic - share.sent_monotonic, monotonic)
        if refused is not None:
            record.refuse(refused.reason)
        else:
            record.accepted += 1
            if job is not None and job.upstream is not None:
                record.credited.add((1 << 256) // (job.upstream.target + 1), self._clock.time())
                record.accepted_difficulty += Fraction(job.upstream.difficulty)
        self._fates.put(
            Fate.ACCEPTED if refused is None else Fate.REJECTED,
            hash_key=share.hash_key,
            job_id=share.job_id,
            worker_id=share.worker_id,
            upstream_id=pool.id,
            reason="" if refused is None else refused.reason,
            sent_at=share.sent_at,
        )

    def lose(self, pool: Pool, share: Waiting, reason: str, *, handed_in: bool = True) -> None:
        """Record that a share got no answer, or could not be handed in."""
        pool.record.lost += 1
        self._fates.put(
            Fate.LOST,
            hash_key=share.hash_key,
            job_id=share.job_id,
            worker_id=share.worker_id,
            upstream_id=pool.id,
            reason=reason,
            sent_at=share.sent_at if handed_in else None,
        )

    def _hand_in(  # noqa: PLR0917
        self, pool: Pool, link: Link, job: Job, part: UpstreamPart, share: Waiting, row: np.void
    ) -> None:
        extranonce1 = int(row["extranonce1"]).to_bytes(8, "big")[8 - job.extranonce1_size :]
        extranonce2 = int(row["extranonce2"]).to_bytes(8, "big")[8 - job.extranonce2_size :]
        machine = self._machines.get(share.worker_id)
        share.user = None if machine is None else link.name(machine)
        link.submit(
            part,
            share,
            extranonce=extranonce1 + extranonce2,
            ntime=int(row["ntime"]),
            nonce=int(row["nonce"]),
            version=int(row["version"]),
        )
        pool.record.forwarded += 1
        if row["flags"] & FLAG_NETWORK:
            self._tell_block(pool, job)

    def _tell_block(self, pool: Pool, job: Job) -> None:
        """Tell people that a share is a block: the pool has it with the share, we only say so."""
        text = f"a block for {pool.settings.name}, height {job.template.height}"
        log.info("%s", text)
        self._ledger.event("upstream", text, pool=pool.settings.name, job=job.id)
