"""The jobs being worked on: built when first needed, one per source of work, account and share target.

Every session of a source, account and target gets the same bytes, so a new block costs a handful of jobs and not
ten thousand. A source is the node (`OWN`) or a connection to an upstream pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from hashwerk.chain.template import Template
from hashwerk.clock import Clock
from hashwerk.evidence.tag import ZERO_ROOT
from hashwerk.pool.own_work import OwnWork
from hashwerk.pool.payees import Payees
from hashwerk.pool.room import Room
from hashwerk.pool.settings import PoolSettings
from hashwerk.stratum.ports import Account, Ledger, ShareRecords
from hashwerk.stratum.v1.notify import encode_job
from hashwerk.work.batch import ROW_DTYPE, JobTable
from hashwerk.work.duplicates import DuplicateTable
from hashwerk.work.job import Job

#: The source of work that is our own node. Connections to pools have positive numbers.
OWN: Final = 0
#: No source yet: a machine that waits for the first work of a pool.
WAITING: Final = -1
#: Jobs made within so many seconds share a generation of the table of duplicates.
GENERATION_S: Final = 60.0
#: How long shares of a pool's connection count once it is gone: machines have their next job in milliseconds.
_GONE_LIFETIME_S: Final = 10.0
_FOR_EVER: Final = float("inf")


class Work(Protocol):
    """What jobs are made from."""

    @property
    def prev_hash(self) -> bytes:
        """The block it builds on."""
        ...

    @property
    def version_mask(self) -> int:
        """The bits machines may roll."""
        ...

    @property
    def most_work_log2(self) -> int:
        """The hardest share target at which nothing notable is thrown away."""
        ...

    @property
    def is_repeating(self) -> bool:
        """Whether two of its jobs have work in common."""
        ...

    def build(self, *, job_id: int, account: Account, work_log2: int, room: Room, now: float) -> Job:
        """Return the job of an account and target."""
        ...


class _Key(NamedTuple):
    source: int
    account_id: int
    work_log2: int
    room: Room


@dataclass(slots=True)
class _Source:
    """Where work comes from: what it gives now, and since when."""

    work: Work
    at: float


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
    while its prevhash is that of its source's newest. Jobs of an older block are kept a while to answer "stale", and because
    a block found on one is handed to the node all the same. While no new template comes the last job stays
    valid, however old.
    """

    def __init__(
        self, settings: PoolSettings, ledger: Ledger, clock: Clock, *, site_key: bytes, payees: Payees
    ) -> None:
        """Begin without a template.

        Args:
            settings: The operator's settings.
            ledger: Gives job ids and records every job before it is sent.
            clock: Where the time comes from.
            site_key: 32 bytes that name the site in every job's tag.
            payees: Who is paid for a block.
        """
        self.table: Final = JobTable()
        self.duplicates: Final = DuplicateTable()
        self._settings = settings
        self._ledger = ledger
        self._clock = clock
        self._site_key = site_key
        self._payees = payees
        self._own: OwnWork | None = None
        self._epoch_root = ZERO_ROOT
        self._sources: dict[int, _Source] = {}
        self._tips: dict[int, bytes] = {}
        self._current: dict[_Key, PreparedJob] = {}
        self._jobs: dict[int, Job] = {}
        self._source_of: dict[int, int | None] = {}  # None: of an earlier process
        self._ends: dict[int, float] = {}  # when a replaced or stale job is forgotten

    @property
    def template(self) -> Template | None:
        """The node's template being worked on; None before the first."""
        return None if self._own is None else self._own.template

    def work(self, source: int) -> Work | None:
        """Return what a source gives now; None before its first, and when it is gone."""
        found = self._sources.get(source)
        return None if found is None else found.work

    def __len__(self) -> int:
        return len(self._jobs)

    def job(self, job_id: int) -> Job | None:
        """Return a job that is not forgotten yet."""
        return self._jobs.get(job_id)

    def use_template(self, template: Template) -> bool:
        """Work on this template from now on; return whether its prevhash is a new one."""
        self._own = OwnWork(
            template,
            self._settings,
            site_key=self._site_key,
            payees=self._payees,
            epoch_root=self._epoch_root,
            before=self._own,
        )
        return self.use_work(OWN, self._own)

    def set_epoch_root(self, root: bytes) -> None:
        """Let the jobs that are built from now on carry this root of the last closed epoch."""
        self._epoch_root = root
        if self._own is not None:
            self._own.epoch_root = root

    def use_work(self, source: int, work: Work, *, clean: bool = False) -> bool:
        """Let a source give this work from now on; return whether what it gave before is stale.

        Args:
            source: `OWN`, or the number of a connection to a pool.
            work: What it gives.
            clean: Whether the pool said so, though the prevhash is the same.
        """
        clean = clean or work.prev_hash != self._tips.get(source)
        now = self._clock.time()
        self._sources[source] = _Source(work, now)
        self._tips[source] = work.prev_hash
        self._retire(source, now, stale=clean)
        return clean

    def drop_source(self, source: int) -> None:
        """A pool's connection is gone: shares of its jobs count for some seconds more."""
        if self._sources.pop(source, None) is None:
            return
        self._tips.pop(source, None)
        now = self._clock.time()
        self._retire(source, now, stale=False)
        for job_id in [job_id for job_id, of in self._source_of.items() if of == source]:
            self._ends[job_id] = min(self._ends[job_id], now + _GONE_LIFETIME_S)
            self.table.set_expiry(job_id, self._ends[job_id])

    def refresh(self) -> bool:
        """Replace jobs of our own that are older than the settings allow; return whether they were."""
        now, own = self._clock.time(), self._sources.get(OWN)
        if own is None or now - own.at < self._settings.job_refresh_s:
            return False
        own.at = now
        self._retire(OWN, now, stale=False)
        return True

    def prepare(self, account: Account, work_log2: int, room: Room, source: int = OWN) -> PreparedJob:
        """Return the current job of an account and target, made now if there is none.

        Raises:
            ValueError: If the source has no work, or none that fits into the room.
            StoreError: If the ledger has no job id.
            CoinbaseSizeError: If the coinbase does not fit.
        """
        key = _Key(source, account.id, work_log2, room)
        prepared = self._current.get(key)
        if prepared is None:
            prepared = PreparedJob(self._build(key, account))
            self._ledger.put_job(prepared.job)
            self._adopt(prepared.job, _FOR_EVER, source)
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
        own = [job for job in jobs if job.upstream is None]
        for job in jobs:
            if job.id not in self._jobs:
                # The connection to the pool is gone with the process that had it.
                lifetime_s = self._settings.job_lifetime_s if job.upstream is None else _GONE_LIFETIME_S
                self._adopt(job, now + lifetime_s, OWN if job.upstream is None else None)
        if own and OWN not in self._tips:
            self._tips[OWN] = own[-1].template.prev_hash
        for job in own:
            if job.template.prev_hash != self._tips[OWN]:
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
            del self._ends[job_id], self._jobs[job_id], self._source_of[job_id]
        if expired:
            self.table.remove(expired)
        oldest = min((_generation(job) for job in self._jobs.values()), default=int(now // GENERATION_S))
        self.duplicates.drop_before(oldest)

    def _retire(self, source: int, now: float, *, stale: bool) -> None:
        """Let a source's current jobs run out; on a new block mark all of its as stale."""
        settings = self._settings
        for key in [key for key in self._current if key.source == source]:
            job_id = self._current.pop(key).job.id
            self._ends[job_id] = now + settings.job_lifetime_s
            self.table.set_expiry(job_id, now + settings.job_lifetime_s)
        if stale:
            for job_id in [job_id for job_id, of in self._source_of.items() if of == source]:
                self.table.mark_stale(job_id)
                self._ends[job_id] = min(self._ends[job_id], now + settings.stale_lifetime_s)
        self.forget_expired()

    def _adopt(self, job: Job, expires_at: float, source: int | None) -> None:
        self._jobs[job.id] = job
        self._source_of[job.id] = source
        self.table.add(job, expires_at=expires_at, generation=_generation(job))
        if expires_at != _FOR_EVER:
            self._ends[job.id] = expires_at

    def _build(self, key: _Key, account: Account) -> Job:
        work = self.work(key.source)
        if work is None:
            raise ValueError("there is no work yet")
        return work.build(
            job_id=self._ledger.next_job_id(),
            account=account,
            work_log2=key.work_log2,
            room=key.room,
            now=self._clock.time(),
        )


def _generation(job: Job) -> int:
    """Return the generation of a job's duplicates: jobs made from one of a pool's may have work in common."""
    return int((job.created_at if job.upstream is None else job.template.received_at) // GENERATION_S)
