"""Checks of shares: hashed again, counted once, bound to their account, and adding up to what was signed."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import share_tree
from hashwerk.evidence.epoch import TIME_SLACK_US, Header, root_of_accounts
from hashwerk.evidence.records import UNBOUND, Job, PrefixTable, Thinning
from hashwerk.evidence.rehash import Hashed, JobTable, check_fields
from hashwerk.evidence.share_leaf import Bytes2D, Leaves, leaf_hashes
from hashwerk.evidence.share_tree import GrowingRoot
from hashwerk.evidence.standing import Standing, scale_of
from hashwerk.evidence.tree import Node
from hashwerk.evidence.verify.block_shares import BlockShares
from hashwerk.evidence.verify.result import Checks
from hashwerk.evidence.verify.seen import SeenHashes
from hashwerk.evidence.verify.weighed import BIN_US, Weighed, weigh

UNIFORM_BINS: Final = 64
#: Chunks that wait for their judgement: enough to keep every thread at work, few enough to stay small.
MAX_PENDING: Final = 8


class ChunkFacts(NamedTuple):
    """What one chunk showed; made on a worker thread."""

    leaves: Leaves
    leaf_hashes: Bytes2D
    root: Node
    hashed: Hashed
    by_job: NDArray[np.int64]  # shares by the row of their job
    by_minute: list[tuple[int, int, int]]  # minute, work_log2, shares
    uniform: NDArray[np.int64]
    problem: str | None
    stranger: int | None  # a job of another account


class Work:
    """Work by account, by target and by time, exactly."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, NDArray[np.int64]] = {}
        self.scales: dict[bytes, set[int]] = {}  # account → what each of its hashes stood for
        self.minutes: dict[tuple[int, int, int], int] = {}  # minute, work_log2, scale → shares
        self.uniform = {bound: np.zeros(UNIFORM_BINS, np.int64) for bound in (True, False)}
        self.blocks = BlockShares()
        self.pools: dict[tuple[str, bytes], NDArray[np.int64]] = {}  # pool, account → shares by target
        self.found: dict[tuple[int, int], tuple[bytes, bytes]] = {}  # epoch, position → account, leaf hash

    def add(self, account: bytes, facts: ChunkFacts, works: NDArray[np.uint8], scale: int) -> None:
        """Count a chunk.

        Args:
            account: Whose it is.
            facts: The chunk.
            works: What a share of each job is credited, by the job's row.
            scale: How many hashes each of the account's stands for in this epoch.
        """
        self.scales.setdefault(account, set()).add(scale)
        counts = self.accounts.setdefault(account, np.zeros(129, np.int64))
        np.add.at(counts, works, facts.by_job)
        for minute, work, count in facts.by_minute:
            key = minute, work, scale
            self.minutes[key] = self.minutes.get(key, 0) + count
        self.uniform[account != UNBOUND] += facts.uniform

    def add_pool(self, pool: str, account: bytes, work: int, count: int) -> None:
        """Count an upstream pool's work that a table of prefixes gives to an account."""
        self.pools.setdefault((pool, account), np.zeros(129, np.int64))[work] += count

    def counts(self) -> NDArray[np.int64]:
        """Return the number of shares by target, of all accounts."""
        return sum(self.accounts.values(), np.zeros(129, np.int64))

    def weighed(self) -> Weighed:
        """Return the shares by target and scale, of all accounts."""
        return weigh((counts, self.scale(account)) for account, counts in self.accounts.items())

    def scale(self, account: bytes) -> int:
        """Return what each hash of an account stood for; a scale that changed fails a check."""
        return max(self.scales.get(account, {1}))

    @property
    def is_scaled(self) -> bool:
        """Whether any share stands for more than the hashes that were made."""
        return any(scale != 1 for scales in self.scales.values() for scale in scales)


def total_work(counts: NDArray[np.int64]) -> int:
    """Return the hashes that counts by target stand for, exactly."""
    return sum(int(count) << work_log2 for work_log2, count in enumerate(counts.tolist()) if count)


class ShareContext(NamedTuple):
    """What the epochs of a bundle have in common."""

    checks: Checks
    pool: Executor
    totals: Work
    seen: SeenHashes
    wanted: dict[int, set[int]]  # epoch → positions whose leaves are asked for


class EpochShares:
    """The shares of one epoch, chunk by chunk, hashed on worker threads, judged in their order."""

    def __init__(
        self,
        context: ShareContext,
        header: Header,
        jobs: list[Job],
        work: dict[int, int],
        standing: Standing,
    ) -> None:
        """Take what the shares of an epoch are checked against.

        Args:
            context: What all epochs have in common.
            header: The epoch's.
            jobs: Those that can be used.
            work: What a share of each is credited, as a power of two.
            standing: The declarations in force.
        """
        self._checks = context.checks
        self._header = header
        self._pool = context.pool
        self._totals = context.totals
        self._seen = context.seen
        self._wanted = np.array(sorted(context.wanted.get(header.number, ())), np.uint32)
        self._where = f"epoch {header.number}"
        self._table = JobTable(jobs, work)
        self._owners = [self._table.account_of[int(job)] for job in self._table.rows["id"]]
        self._works: NDArray[np.uint8] = self._table.rows["work_log2"].copy()
        self._thinned = standing.find(Thinning) is not None
        self._standing = standing
        self._scales: dict[bytes, int] = {}
        self._prefixes = PoolPrefixes(jobs, standing)
        self._pending: list[tuple[bytes, Future[ChunkFacts]]] = []
        self._roots: list[tuple[bytes, GrowingRoot]] = []
        self._last_position = -1
        self._positions: list[NDArray[np.uint32]] = []
        self.order: list[tuple[bytes, NDArray[np.uint32], NDArray[np.uint8]]] = []
        self.by_job: dict[tuple[bytes, int], int] = {}  # account, job → shares

    def add(self, account: bytes, leaves: Leaves) -> None:
        """Take the next chunk."""
        self._pending.append((account, self._pool.submit(self._hash, account, leaves)))
        while len(self._pending) > MAX_PENDING:
            self._judge(*self._pending.pop(0))

    def finish(self) -> None:
        """Judge what is left and compare with the header."""
        while self._pending:
            self._judge(*self._pending.pop(0))
        fail, header = self._checks.failed, self._header
        self._check_positions()
        try:
            root = root_of_accounts([(account, growing.root()) for account, growing in self._roots])
        except EvidenceError as error:
            fail("sums", f"{self._where}: {error}")
            return
        if root.count != header.shares or root.sums[0] != header.work or len(self._roots) != header.accounts:
            fail(
                "sums",
                f"{self._where}: the shares are {root.count} and add up to {root.sums[0]} hashes;"
                f" the header says {header.shares} and {header.work}",
            )
        if root.hash != header.accounts_root:
            fail("sums", f"{self._where}: the shares do not lead to the root that was signed")

    def _hash(self, account: bytes, leaves: Leaves) -> ChunkFacts:
        hashed = self._table.hash(leaves)
        works = self._works[hashed.rows]
        own_hashes = leaf_hashes(leaves)
        by_job = np.bincount(hashed.rows, minlength=len(self._works))
        named = np.flatnonzero(by_job).tolist()
        stranger = next((row for row in named if self._owners[row] != account), None)
        within = np.minimum((hashed.uniform * UNIFORM_BINS).astype(np.int64), UNIFORM_BINS - 1)
        return ChunkFacts(
            leaves=leaves,
            leaf_hashes=own_hashes,
            root=share_tree.root_of(share_tree.leaf_level(own_hashes, works)),
            hashed=hashed,
            by_job=by_job,
            by_minute=_by_minute(leaves["time_us"], works),
            uniform=np.bincount(within, minlength=UNIFORM_BINS),
            problem=check_fields(self._table, leaves, hashed),
            stranger=None if stranger is None else int(self._table.rows["id"][stranger]),
        )

    def _judge(self, account: bytes, future: Future[ChunkFacts]) -> None:
        fail = self._checks.failed
        try:
            facts = future.result()
        except DecodeError as error:
            fail("shares", f"{self._where}: {error}")
            return
        except EvidenceError as error:
            fail("sums", f"{self._where}: {error}")
            return
        leaves, hashed = facts.leaves, facts.hashed
        if facts.problem is not None:
            fail("shares", f"{self._where}: {facts.problem}")
        if facts.stranger is not None:
            fail(
                "binding",
                f"{self._where}: job {facts.stranger} belongs to another account than its shares are counted for",
            )
        self._check_times(leaves)
        self._place(account, facts)
        if account not in self._scales:
            self._scales[account] = scale_of(self._standing, account)
        self._seen.add(
            hashed.hashes,
            self._header.number,
            leaves["position"],
            self._works[hashed.rows],
            scale=self._scales[account],
            is_bound=account != UNBOUND,
        )
        self._totals.add(account, facts, self._works, self._scales[account])
        for row in np.flatnonzero(facts.by_job).tolist():
            name = account, int(self._table.rows["id"][row])
            self.by_job[name] = self.by_job.get(name, 0) + int(facts.by_job[row])
        if account == UNBOUND:
            self._prefixes.count(self._totals, leaves, self._works[hashed.rows])
        if len(self._wanted):
            for index in np.flatnonzero(np.isin(leaves["position"], self._wanted)).tolist():
                place = self._header.number, int(leaves["position"][index])
                self._totals.found[place] = account, bytes(facts.leaf_hashes[index])
        self._totals.blocks.add(self._header.number, leaves, hashed)
        if account != UNBOUND:
            self.order.append((account, self._positions[-1], self._works[hashed.rows]))

    def _check_times(self, leaves: Leaves) -> None:
        times = leaves["time_us"]
        first = max(self._header.start_us - TIME_SLACK_US, 0)
        last = min(self._header.end_us + TIME_SLACK_US, 2**64 - 1)
        if int(times.min()) >= first and int(times.max()) <= last:
            return
        outside = (times < np.uint64(first)) | (times > np.uint64(last))
        position = int(leaves["position"][int(np.argmax(outside))])
        self._checks.failed("time bounds", f"{self._where}: the share at position {position} lies outside it")

    def _check_positions(self) -> None:
        """Check that the positions are 0, 1, 2… without gaps, or in a thinned epoch each its own."""
        found = np.sort(np.concatenate(self._positions)) if self._positions else np.empty(0, np.uint32)
        fail, count = self._checks.failed, self._header.shares
        if self._thinned:
            if (np.diff(found) == 0).any() or (len(found) and int(found[-1]) >= self._header.full_shares):
                fail(
                    "sums",
                    f"{self._where}: two shares stand at one position, or one beyond the last before thinning",
                )
            return
        wrong = np.flatnonzero(found != np.arange(len(found), dtype=np.uint32))
        if len(wrong):
            fail("sums", f"{self._where}: no share stands at position {int(wrong[0])} of {count}, or two do")
        elif len(found) != count:
            fail("sums", f"{self._where}: no share stands at position {len(found)} of {count}")

    def _place(self, account: bytes, facts: ChunkFacts) -> None:
        """Put a chunk where it belongs in the tree, and its positions among the epoch's."""
        fail = self._checks.failed
        positions = facts.leaves["position"].copy()
        if not self._roots or self._roots[-1][0] != account:
            if self._roots and self._roots[-1][0] >= account:
                fail("sums", f"{self._where}: accounts are not in their order")
            self._roots.append((account, GrowingRoot()))
            self._last_position = -1
        if int(positions[0]) <= self._last_position or (positions[1:] <= positions[:-1]).any():
            fail("sums", f"{self._where}: shares of an account are not in their order")
        self._last_position = int(positions[-1])
        self._positions.append(positions)
        try:
            self._roots[-1][1].add_root(facts.root, len(positions))
        except EvidenceError as error:
            fail("sums", f"{self._where}: {error}")


class PoolPrefixes:
    """Whose an upstream pool's work is by the tables of prefixes in force."""

    def __init__(self, jobs: list[Job], standing: Standing) -> None:
        self._jobs = {job.id: job for job in jobs if job.upstream}
        self._tables = {
            table.upstream: {row.prefix: row.account for row in table.prefixes}
            for table in standing.all(PrefixTable)
        }

    def count(self, totals: Work, leaves: Leaves, works: NDArray[np.uint8]) -> None:
        """Count a chunk of unbound work by pool and account; what no prefix names stays with the zero account."""
        columns = (leaves["job"], leaves["extranonce1"])
        pairs, first, counts = np.unique(
            np.stack(columns, axis=1), axis=0, return_index=True, return_counts=True
        )
        for (number, extranonce1), at, count in zip(
            pairs.tolist(), first.tolist(), counts.tolist(), strict=True
        ):
            job = self._jobs.get(number)
            if job is not None:
                totals.add_pool(job.source, self._account(job, extranonce1), int(works[at]), count)

    def _account(self, job: Job, extranonce1: int) -> bytes:
        """Return the account of the longest prefix that fits."""
        table = self._tables.get(job.source, {})
        size = job.extranonce1_size
        if not table or extranonce1 >> 8 * size:
            return UNBOUND
        name = bytes([size]) + extranonce1.to_bytes(size, "big")
        return next(
            (table[name[:length]] for length in range(len(name), 1, -1) if name[:length] in table), UNBOUND
        )


def _by_minute(times_us: NDArray[np.uint64], works: NDArray[np.uint8]) -> list[tuple[int, int, int]]:
    """Return (minute, work_log2, shares)."""
    minutes = times_us // np.uint64(BIN_US)
    first = int(minutes.min())
    span = int(minutes.max()) - first + 1
    keys = (minutes - np.uint64(first)).astype(np.int64) << 8 | works
    if span <= len(keys):
        counts = np.bincount(keys)
        named = np.flatnonzero(counts)
        counts = counts[named]
    else:
        named, counts = np.unique(keys, return_counts=True)
    return [
        (first + (key >> 8), key & 0xFF, count)
        for key, count in zip(named.tolist(), counts.tolist(), strict=True)
    ]
