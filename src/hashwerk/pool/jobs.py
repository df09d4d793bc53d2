"""The jobs being worked on: built when first needed, one per account, share target and template.

Every session of an account and target gets the same bytes, so a new block costs a handful of jobs and not
ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from hashwerk.chain.coinbase import build_coinbase
from hashwerk.chain.target import target_from_compact, work_from_target
from hashwerk.chain.template import Template
from hashwerk.clock import Clock
from hashwerk.evidence.tag import ZERO_ROOT, job_tag, job_tag_preimage
from hashwerk.pool.settings import PoolSettings
from hashwerk.stratum.ports import Account, Ledger, ShareRecords
from hashwerk.stratum.v1.notify import encode_job
from hashwerk.work.batch import ROW_DTYPE, JobTable
from hashwerk.work.branch import fast_merkle_branch
from hashwerk.work.duplicates import DuplicateTable
from hashwerk.work.job import Job

#: Jobs made within so many seconds share a generation of the table of duplicates.
GENERATION_S: Final = 60.0
_FOR_EVER: Final = float("inf")


class Room(NamedTuple):
    """How many bytes of the coinbase are a session's, and how many its machine may count through."""

    extranonce1_size: int
    extranonce2_size: int


class _Key(NamedTuple):
    account_id: int
    work_log2: int
    room: Room


@dataclass(slots=True)
class PreparedJob:
    """A job and its `mining.notify` lines, ready to be sent to any session of its account and target."""

    job: Job
    _line: bytes | None = None
    _clean_line: bytes | None = None

    def line(self, *, clean: bool) -> bytes:
        """Return the line, encoded once."""
        if clean:
            if self._clean_line is None:
                self._clean_line = encode_job(self.job, clean=True)
            return self._clean_line
        if self._line is None:
            self._line = encode_job(self.job, clean=False)
        return self._line


class JobBook:
    """All jobs whose shares can still be judged, and the current template.

    A job counts from when it is made until `PoolSettings.job_lifetime_s` after it was replaced, and only
    while its prevhash is the tip's. Jobs of an older block are kept a while to answer "stale", and because
    a block found on one is handed to the node all the same. While no new template comes the last job stays
    valid, however old.
    """

    def __init__(
        self, settings: PoolSettings, ledger: Ledger, clock: Clock, *, site_key: bytes, payout_script: bytes
    ) -> None:
        """Begin without a template.

        Args:
            settings: The operator's settings.
            ledger: Gives job ids and records every job before it is sent.
            clock: Where the time comes from.
            site_key: 32 bytes that name the site in every job's tag.
            payout_script: Who is paid for a block.
        """
        self.table: Final = JobTable()
        self.duplicates: Final = DuplicateTable()
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._site_key = site_key
        self._payout_script = payout_script
        self._template: Template | None = None
        self._template_at = 0.0
        self._tip: bytes | None = None
        self._branch: tuple[bytes, ...] = ()
        self._current: dict[_Key, PreparedJob] = {}
        self._jobs: dict[int, Job] = {}
        self._ends: dict[int, float] = {}  # when a replaced or stale job is forgotten

    @property
    def template(self) -> Template | None:
        """The template being worked on; None before the first."""
        return self._template

    @property
    def network_work_log2(self) -> int | None:
        """The hardest share target that every block of the template meets; None before the first."""
        if self._template is None:
            return None
        return work_from_target(target_from_compact(self._template.nbits)).bit_length() - 1

    def __len__(self) -> int:
        return len(self._jobs)

    def job(self, job_id: int) -> Job | None:
        """Return a job that is not forgotten yet."""
        return self._jobs.get(job_id)

    def use_template(self, template: Template) -> bool:
        """Work on this template from now on; return whether its prevhash is a new one."""
        clean = template.prev_hash != self._tip
        now = self._clock.time()
        if self._template is None or template.transactions != self._template.transactions:
            self._branch = fast_merkle_branch([transaction.txid for transaction in template.transactions])
        self._template, self._template_at, self._tip = template, now, template.prev_hash
        self._retire(now, stale=clean)
        return clean

    def refresh(self) -> bool:
        """Replace jobs that are older than the settings allow; return whether they were."""
        now = self._clock.time()
        if self._template is None or now - self._template_at < self._settings.job_refresh_s:
            return False
        self._template_at = now
        self._retire(now, stale=False)
        return True

    def prepare(self, account: Account, work_log2: int, room: Room) -> PreparedJob:
        """Return the current job of an account and target, made now if there is none.

        Raises:
            ValueError: If there is no template yet.
            StoreError: If the ledger has no job id.
            CoinbaseSizeError: If the coinbase does not fit.
        """
        key = _Key(account.id, work_log2, room)
        prepared = self._current.get(key)
        if prepared is None:
            prepared = PreparedJob(self._build(account, work_log2, room))
            self._ledger.put_job(prepared.job)
            self._adopt(prepared.job, _FOR_EVER)
            self._current[key] = prepared
        return prepared

    def restore(self, jobs: tuple[Job, ...], shares: ShareRecords) -> None:
        """Take back jobs that an earlier process sent out, and what was accepted on them.

        They count as replaced: machines get new ones with the first template.

        Args:
            jobs: The jobs, oldest first.
            shares: The accepted shares on them.
        """
        now = self._clock.time()
        for job in jobs:
            if job.id not in self._jobs:
                self._adopt(job, now + self._settings.job_lifetime_s)
        if jobs and self._tip is None:
            self._tip = jobs[-1].template.prev_hash
        for job in jobs:
            if job.template.prev_hash != self._tip:
                self.table.mark_stale(job.id)
        rows = shares.view(ROW_DTYPE).copy()
        generations = self.table.generations_of(rows["job"])
        for generation in np.unique(generations):
            self.duplicates.judge(int(generation), rows, generations)

    def live_jobs(self) -> tuple[Job, ...]:
        """Return all jobs that are not forgotten, oldest first."""
        return tuple(self._jobs.values())

    def forget_expired(self) -> None:
        """Forget jobs whose time is over, and with the last of a generation its duplicates."""
        now = self._clock.time()
        expired = [job_id for job_id, end in self._ends.items() if end < now]
        for job_id in expired:
            del self._ends[job_id], self._jobs[job_id]
        if expired:
            self.table.remove(expired)
        oldest = min((_generation(job) for job in self._jobs.values()), default=int(now // GENERATION_S))
        self.duplicates.drop_before(oldest)

    def _retire(self, now: float, *, stale: bool) -> None:
        """Let current jobs run out; on a new block mark all there are as stale."""
        settings = self._settings
        for prepared in self._current.values():
            self._ends[prepared.job.id] = now + settings.job_lifetime_s
            self.table.set_expiry(prepared.job.id, now + settings.job_lifetime_s)
        self._current.clear()
        if stale:
            for job_id in self._jobs:
                self.table.mark_stale(job_id)
                self._ends[job_id] = min(self._ends[job_id], now + settings.stale_lifetime_s)
        self.forget_expired()

    def _adopt(self, job: Job, expires_at: float) -> None:
        self._jobs[job.id] = job
        self.table.add(job, expires_at=expires_at, generation=_generation(job))
        if expires_at != _FOR_EVER:
            self._ends[job.id] = expires_at

    def _build(self, account: Account, work_log2: int, room: Room) -> Job:
        template, settings = self._template, self._settings
        if template is None:
            raise ValueError("there is no template yet")
        now = self._clock.time()
        preimage = job_tag_preimage(self._site_key, ZERO_ROOT, account.commitment, work_log2)
        tag = job_tag(preimage)
        job_id = self._ledger.next_job_id()
        parts = build_coinbase(
            template=template,
            outputs=[(template.coinbase_value_sat, self._payout_script)],
            pool_tag=settings.pool_tag.encode(),
            job_number=job_id,
            extranonce_size=sum(room),
            commitment=tag,
        )
        return Job(
            id=job_id,
            account_id=account.id,
            work_log2=work_log2,
            template=template,
            coinbase1=parts.coinbase1,
            coinbase2=parts.coinbase2,
            branch=self._branch,
            version=template.version & ~settings.version_mask,
            version_mask=settings.version_mask,
            ntime=_ntime(template, now),
            extranonce1_size=room.extranonce1_size,
            extranonce2_size=room.extranonce2_size,
            tag=tag,
            tag_preimage=preimage,
            created_at=now,
        )


def _generation(job: Job) -> int:
    return int(job.created_at // GENERATION_S)


def _ntime(template: Template, now: float) -> int:
    """Return the time to begin with: the template's, moved on by its age, within its bounds."""
    age_s = max(0.0, now - template.received_at) if template.received_at else 0.0
    ntime = max(template.time + int(age_s), template.min_time)
    return ntime if template.max_time is None else min(ntime, template.max_time)
