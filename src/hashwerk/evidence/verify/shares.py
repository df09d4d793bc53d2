"""Checks of shares: hashed again, counted once, bound to their account, and adding up to what was signed."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import share_tree
from hashwerk.evidence.epoch import Header, root_of_accounts
from hashwerk.evidence.records import UNBOUND, Job
from hashwerk.evidence.rehash import Hashed, JobTable, check_fields
from hashwerk.evidence.share_leaf import Bytes2D, Leaves, leaf_hashes
from hashwerk.evidence.share_tree import GrowingRoot
from hashwerk.evidence.verify.result import Checks
from hashwerk.evidence.verify.seen import SeenHashes

#: Receive times may lie this far outside their epoch: shares wait for the commit that closes it.
TIME_SLACK_US: Final = 10_000_000
#: Work is kept by time in steps of this length, for the comparison with meters.
BIN_US: Final = 60_000_000
UNIFORM_BINS: Final = 64


class ChunkFacts(NamedTuple):
    """What one chunk showed; made on a worker thread."""

    leaves: Leaves
    leaf_hashes: Bytes2D
    root_level: share_tree.Level
    hashed: Hashed
    problem: str | None


class FoundShare(NamedTuple):
    """A share that meets the network's target."""

    hash: bytes
    job: int
    epoch: int
    position: int
    account: bytes
    extranonce1: int
    extranonce2: int


class Work:
    """Work by account, by target and by time, exactly."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, NDArray[np.int64]] = {}
        self.bins: dict[int, NDArray[np.int64]] = {}
        self.uniform = {bound: np.zeros(UNIFORM_BINS, np.int64) for bound in (True, False)}
        self.blocks: list[FoundShare] = []
        self.found: dict[tuple[int, int], tuple[bytes, bytes]] = {}  # epoch, position → account, leaf hash

    def add(self, account: bytes, leaves: Leaves, hashed: Hashed, work: NDArray[np.uint8]) -> None:
        """Count a chunk."""
        counts = np.bincount(work, minlength=129).astype(np.int64)
        self.accounts[account] = self.accounts.get(account, np.zeros(129, np.int64)) + counts
        bins = (leaves["time_us"] // np.uint64(BIN_US)).astype(np.int64)
        for bin_ in np.unique(bins).tolist():
            here = np.bincount(work[bins == bin_], minlength=129).astype(np.int64)
            self.bins[bin_] = self.bins.get(bin_, np.zeros(129, np.int64)) + here
        within = np.minimum((hashed.uniform * UNIFORM_BINS).astype(np.int64), UNIFORM_BINS - 1)
        self.uniform[account != UNBOUND] += np.bincount(within, minlength=UNIFORM_BINS)

    def counts(self) -> NDArray[np.int64]:
        """Return the number of shares by target, of all accounts."""
        return sum(self.accounts.values(), np.zeros(129, np.int64))


def total_work(counts: NDArray[np.int64]) -> int:
    """Return the hashes that counts by target stand for, exactly."""
    return sum(int(count) << work_log2 for work_log2, count in enumerate(counts.tolist()) if count)


class ShareContext(NamedTuple):
    """What the epochs of a bundle have in common."""

    checks: Checks
    pool: ThreadPoolExecutor
    totals: Work
    seen: SeenHashes
    wanted: dict[int, set[int]]  # epoch → positions whose leaves are asked for


class EpochShares:
    """The shares of one epoch, chunk by chunk, hashed on worker threads, judged in their order."""

    def __init__(self, context: ShareContext, header: Header, jobs: list[Job], work: dict[int, int]) -> None:
        self._checks = context.checks
        self._header = header
        self._pool = context.pool
        self._totals = context.totals
        self._seen = context.seen
        self._wanted = np.array(sorted(context.wanted.get(header.number, ())), np.uint32)
        self._where = f"epoch {header.number}"
        self._table = JobTable(jobs, work)
        self._pending: list[tuple[bytes, Future[ChunkFacts]]] = []
        self._roots: list[tuple[bytes, GrowingRoot]] = []
        self._last_position = -1
        self._positions: list[NDArray[np.uint32]] = []
        self.order: list[tuple[bytes, NDArray[np.uint32], NDArray[np.uint8], NDArray[np.uint32]]] = []

    def add(self, account: bytes, leaves: Leaves) -> None:
        """Take the next chunk."""
        self._pending.append((account, self._pool.submit(self._hash, account, leaves)))
        while len(self._pending) > 4:
            self._judge(*self._pending.pop(0))

    def finish(self) -> None:
        """Judge what is left and compare with the header."""
        while self._pending:
            self._judge(*self._pending.pop(0))
        fail, header = self._checks.failed, self._header
        self._check_positions()
        roots = [(account, growing.root()) for account, growing in self._roots]
        try:
            root = root_of_accounts(roots)
        except EvidenceError as error:
            fail("sums", f"{self._where}: {error}")
            return
        if root.count != header.shares or root.sums[0] != header.work or len(roots) != header.accounts:
            fail(
                "sums",
                f"{self._where}: the shares are {root.count} and add up to {root.sums[0]} hashes;"
                f" the header says {header.shares} and {header.work}",
            )
        if root.hash != header.accounts_root:
            fail("sums", f"{self._where}: the shares do not lead to the root that was signed")

    def _hash(self, account: bytes, leaves: Leaves) -> ChunkFacts:
        hashed = self._table.hash(leaves)
        jobs = self._table.rows[hashed.rows]
        own_hashes = leaf_hashes(leaves)
        level = share_tree.leaf_level(own_hashes, jobs["work_log2"])
        problem = check_fields(self._table, leaves, hashed)
        others = [int(job) for job in np.unique(leaves["job"]) if self._table.account_of[int(job)] != account]
        if others:
            problem = problem or f"job {others[0]} belongs to another account than its shares are counted for"
        root = level
        while len(root) > 1:
            root = share_tree.parents(root)
        return ChunkFacts(leaves, own_hashes, root, hashed, problem)

    def _judge(self, account: bytes, future: Future[ChunkFacts]) -> None:
        fail = self._checks.failed
        try:
            facts = future.result()
        except (DecodeError, EvidenceError) as error:
            fail("shares", f"{self._where}: {error}")
            return
        leaves, hashed = facts.leaves, facts.hashed
        if facts.problem is not None:
            name = "binding" if "another account" in facts.problem else "shares"
            fail(name, f"{self._where}: {facts.problem}")
        self._check_times(leaves)
        self._place(account, facts)
        self._seen.add(hashed.hashes, self._header.number, leaves["position"])
        work = self._table.rows["work_log2"][hashed.rows]
        self._totals.add(account, leaves, hashed, work)
        for index in np.flatnonzero(np.isin(leaves["position"], self._wanted)).tolist():
            place = self._header.number, int(leaves["position"][index])
            self._totals.found[place] = account, bytes(facts.leaf_hashes[index])
        for index in np.flatnonzero(hashed.blocks).tolist():
            leaf = leaves[index]
            self._totals.blocks.append(
                FoundShare(
                    bytes(hashed.hashes[index]),
                    int(leaf["job"]),
                    self._header.number,
                    int(leaf["position"]),
                    account,
                    int(leaf["extranonce1"]),
                    int(leaf["extranonce2"]),
                )
            )
        self.order.append((account, leaves["position"].copy(), work, leaves["job"].copy()))

    def _check_times(self, leaves: Leaves) -> None:
        early = leaves["time_us"] + np.uint64(TIME_SLACK_US) < np.uint64(self._header.start_us)
        late = leaves["time_us"] > np.uint64(min(self._header.end_us + TIME_SLACK_US, 2**64 - 1))
        if (early | late).any():
            position = int(leaves["position"][int(np.argmax(early | late))])
            self._checks.failed(
                "time bounds", f"{self._where}: the share at position {position} lies outside it"
            )

    def _check_positions(self) -> None:
        """Check that the positions are 0, 1, 2… without gaps."""
        found = np.sort(np.concatenate(self._positions)) if self._positions else np.empty(0, np.uint32)
        wrong = np.flatnonzero(found != np.arange(len(found), dtype=np.uint32))
        count = self._header.shares
        if len(wrong):
            self._checks.failed(
                "sums", f"{self._where}: no share stands at position {int(wrong[0])} of {count}, or two do"
            )
        elif len(found) != count:
            self._checks.failed("sums", f"{self._where}: no share stands at position {len(found)} of {count}")

    def _place(self, account: bytes, facts: ChunkFacts) -> None:
        """Put a chunk where it belongs in the tree, and its positions among the epoch's."""
        fail = self._checks.failed
        positions = facts.leaves["position"].astype(np.int64)
        if not self._roots or self._roots[-1][0] != account:
            if self._roots and self._roots[-1][0] >= account:
                fail("sums", f"{self._where}: accounts are not in their order")
            self._roots.append((account, GrowingRoot()))
            self._last_position = -1
        if positions[0] <= self._last_position or (np.diff(positions) <= 0).any():
            fail("sums", f"{self._where}: shares of an account are not in their order")
        self._last_position = int(positions[-1])
        self._positions.append(facts.leaves["position"].copy())
        try:
            self._roots[-1][1].add_root(facts.root_level.node(0), len(facts.leaves))
        except EvidenceError as error:
            fail("sums", f"{self._where}: {error}")
