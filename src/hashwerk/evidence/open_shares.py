"""The shares of the open epoch, taken in as they come, so that closing it has only the last nodes to put together.

For every account it keeps the roots of whole subtrees, one for each bit of the number of its shares (as a binary counter
does): 2.3 kB an account, twice that with thinning, however many shares there are; and the records of the jobs. What is done
for each share is compiled code that leaves the interpreter to others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.errors import EvidenceError
from hashwerk.evidence import share_tree, tree
from hashwerk.evidence.epoch import MAX_CREDIT_LOG2, RecordLeaf, record_leaf
from hashwerk.evidence.records import Job, Rejected, Thinning
from hashwerk.evidence.rehash import JobTable
from hashwerk.evidence.share_leaf import LEAF_DTYPE, LEAF_SIZE, Leaves, put_state
from hashwerk.evidence.share_tree import Level
from hashwerk.evidence.tree import Node
from hashwerk.work.sha256 import INITIAL_STATE, compress
from hashwerk.work.share import SHARE_DTYPE, Verdict

ShareRecords = NDArray[np.void]  # rows of hashwerk.work.share.SHARE_DTYPE
Pause = Callable[[], None]
Fetch = Callable[[Sequence[int]], Iterable[Job]]

#: Shares are taken in so many at a time: about a millisecond's work.
BATCH_SHARES: Final = 1 << 10
_LEVELS: Final = 40  # of a tree: 2**40 shares of one account in one epoch
#: `SHARE_DTYPE` with a hash key that compiled code can step over.
_ROW: Final = np.dtype(
    [
        (name, ("u1", (16,)) if name == "hash_key" else SHARE_DTYPE.fields[name][0])  # type: ignore[index]
        for name in SHARE_DTYPE.names or ()
    ]
)


class OpenShares:
    """All shares of the open epoch so far, and the jobs that accepted ones name.

    Owned by one task. When `add` fails it is of no use any more: what was half taken in is not taken back.
    """

    __slots__ = ("_full", "_jobs", "_kept", "_records", "_table", "_thinning", "_verdicts", "count")

    def __init__(self, thinning: Thinning | None) -> None:
        """Begin without shares.

        Args:
            thinning: The declaration in force in the open epoch.
        """
        self.count = 0  #: accepted shares
        self._thinning = thinning
        self._jobs = _Jobs()
        self._kept = _Forest()
        self._full = _Forest()  # before thinning
        self._records: dict[int, RecordLeaf] = {}
        self._table: tuple[JobTable, frozenset[int]] | None = None
        self._verdicts = np.zeros(256, np.uint64)

    def add(self, shares: ShareRecords, fetch: Fetch, pause: Pause = tree.go_on) -> None:
        """Take in the shares that come next, in the order of the ledger, whatever their verdict.

        Args:
            shares: Rows of `SHARE_DTYPE`.
            fetch: Returns jobs by their numbers; asked for each once.
            pause: Called between pieces of work of about a millisecond.

        Raises:
            EvidenceError: If a job is missing or a sum overflows.
        """
        for start in range(0, len(shares), BATCH_SHARES):
            rows = np.require(shares[start : start + BATCH_SHARES], requirements=["C", "W"]).view(_ROW)
            unknown = np.empty(len(rows), np.uint32)
            missing = _unknown_jobs(rows, self._jobs.ids, int(Verdict.ACCEPTED), unknown)
            if missing:
                self._meet(sorted(set(unknown[:missing].tolist())), fetch)
            self._take(rows)
            pause()

    def job_records(self) -> list[RecordLeaf]:
        """Return the jobs that accepted shares name, by number."""
        return [self._records[number] for number in sorted(self._records)]

    def rejected(self) -> list[Rejected]:
        """Return how many shares were refused, by verdict."""
        return [
            Rejected(verdict=verdict, count=int(self._verdicts[verdict]))
            for verdict in np.flatnonzero(self._verdicts).tolist()
            if verdict != Verdict.ACCEPTED
        ]

    def root(self) -> tuple[Node, int]:
        """Return the root over all accounts with the shares that are leaves, and how many accounts that are."""
        return self._kept.root(self._jobs.accounts)

    def full_root(self) -> Node | None:
        """Return the root before thinning; None: nothing is thinned."""
        return None if self._thinning is None else self._full.root(self._jobs.accounts)[0]

    def _meet(self, numbers: Sequence[int], fetch: Fetch) -> None:
        """Take in jobs that were not named before."""
        least = 0 if self._thinning is None else self._thinning.work_log2
        wanted = set(numbers)
        for job in fetch(numbers):
            if max(job.work_log2, least) > MAX_CREDIT_LOG2:
                raise EvidenceError(f"job {job.id} credits 2**{max(job.work_log2, least)} hashes a share")
            self._records[job.id] = record_leaf(job)
            self._jobs.add(job, max(job.work_log2, least), keep=self._thinning is not None)
            wanted.discard(job.id)
        if wanted:
            raise EvidenceError(f"job {min(wanted)} is not in the ledger any more")
        self._jobs.sort()

    def _take(self, rows: NDArray[np.void]) -> None:
        leaves = np.empty(len(rows), LEAF_DTYPE)
        which = np.empty(len(rows), np.int32)
        accepted = _pick(
            rows, self._jobs.ids, int(Verdict.ACCEPTED), self.count, leaves, which, self._verdicts
        )
        leaves, which = leaves[:accepted], which[:accepted]
        self.count += accepted
        jobs = self._jobs
        if self._thinning is None:
            self._kept.add(leaves, jobs.account[which], jobs.credit[which])
            return
        self._full.add(leaves, jobs.account[which], jobs.work[which])
        hard = self._zeros(leaves, which) >= jobs.credit[which]
        self._kept.add(leaves[hard], jobs.account[which[hard]], jobs.credit[which[hard]])

    def _zeros(self, leaves: Leaves, which: NDArray[np.int32]) -> NDArray[np.uint16]:
        """Return the leading zero bits of the shares' hashes."""
        numbers = frozenset(self._jobs.ids[np.unique(which)].tolist())
        if self._table is None or not numbers <= self._table[1]:
            work = dict(zip(self._jobs.ids.tolist(), self._jobs.credit.tolist(), strict=True))
            self._table = JobTable([self._jobs.kept[number] for number in numbers], work), numbers
        return self._table[0].hash(leaves).zeros


def warm_up() -> None:
    """Run two shares through all compiled code of this module."""
    job = Job(
        id=0, account=bytes(32), work_log2=0, height=0, prev_hash=bytes(32), nbits=0, version=0, version_mask=0,
        min_time=0, max_time=None, ntime=0, coinbase1=b"", coinbase2=b"", branch=(), extranonce1_size=0,
        extranonce2_size=0, coinbase_value_sat=0, template_hash=bytes(32), source="", upstream=0,
        site_key=bytes(32), epoch_root=bytes(32), created_us=0,
    )  # fmt: skip
    shares = OpenShares(None)
    shares.add(np.zeros(2, SHARE_DTYPE), lambda _: [job])
    shares.root()


class _Jobs:
    """What has to be known of jobs to take in their shares, as columns by number."""

    __slots__ = ("_numbers", "_rows", "account", "accounts", "credit", "ids", "kept", "work")

    def __init__(self) -> None:
        self.accounts: list[bytes] = []  # in the order in which they came
        self.kept: dict[int, Job] = {}
        self._numbers: dict[bytes, int] = {}
        self._rows: list[tuple[int, int, int, int]] = []
        self.sort()

    def add(self, job: Job, credit: int, *, keep: bool) -> None:
        """Take in a job; `sort` makes it known."""
        number = self._numbers.setdefault(job.account, len(self.accounts))
        if number == len(self.accounts):
            self.accounts.append(job.account)
        self._rows.append((job.id, number, credit, job.work_log2))
        if keep:
            self.kept[job.id] = job

    def sort(self) -> None:
        """Put the columns in the order of numbers."""
        self._rows.sort()
        table = np.array(self._rows, np.int64).reshape(-1, 4)
        self.ids: NDArray[np.uint32] = table[:, 0].astype(np.uint32)
        self.account: NDArray[np.int32] = table[:, 1].astype(np.int32)
        self.credit: NDArray[np.uint8] = table[:, 2].astype(np.uint8)
        self.work: NDArray[np.uint8] = table[:, 3].astype(np.uint8)


class _Forest:
    """A tree for each account that leaves are put to, as the roots of its whole subtrees."""

    __slots__ = ("_counts", "_hashes", "_sums")

    def __init__(self) -> None:
        self._hashes: NDArray[np.uint8] = np.zeros((4, _LEVELS, 32), np.uint8)
        self._sums: NDArray[np.uint64] = np.zeros((4, _LEVELS, 3), np.uint64)
        self._counts: NDArray[np.uint64] = np.zeros(4, np.uint64)

    def add(self, leaves: Leaves, account: NDArray[np.int32], work_log2: NDArray[np.uint8]) -> None:
        """Put each leaf to its account's tree.

        Raises:
            EvidenceError: If a sum overflows 128 bits.
        """
        if not len(leaves):
            return
        needed = int(account.max()) + 1
        if needed > len(self._counts):
            self._make_room(max(needed, 2 * len(self._counts)))
        if not _absorb(
            leaves, account, work_log2, self._hashes, self._sums, self._counts,
            tree.SHARES.domain[0], INITIAL_STATE,
        ):  # fmt: skip
            raise EvidenceError("sum of work overflows 128 bits")

    def root(self, accounts: Sequence[bytes]) -> tuple[Node, int]:
        """Return the root over all accounts that have leaves, and their number.

        Raises:
            EvidenceError: If a sum overflows 128 bits.
        """
        order = sorted(
            (
                number
                for number in range(len(accounts))
                if number < len(self._counts) and self._counts[number]
            ),
            key=accounts.__getitem__,
        )
        roots = Level(np.empty((len(order), 32), np.uint8), np.empty((len(order), 3), np.uint64))
        if not _fold(
            np.array(order, np.int64), self._hashes, self._sums, self._counts, roots.hashes, roots.sums,
            tree.SHARES.domain[0], INITIAL_STATE,
        ):  # fmt: skip
            raise EvidenceError("sum of work overflows 128 bits")
        names = np.frombuffer(b"".join(accounts[number] for number in order), np.uint8).reshape(-1, 32)
        return share_tree.root_of(share_tree.account_level(names, roots), tree.ACCOUNTS), len(order)

    def _make_room(self, count: int) -> None:
        more = count - len(self._counts)
        self._hashes = np.concatenate([self._hashes, np.zeros((more, _LEVELS, 32), np.uint8)])
        self._sums = np.concatenate([self._sums, np.zeros((more, _LEVELS, 3), np.uint64)])
        self._counts = np.concatenate([self._counts, np.zeros(more, np.uint64)])


@njit(cache=True, nogil=True)
def _find(ids: Any, number: Any) -> int:
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        if ids[middle] < number:
            low = middle + 1
        else:
            high = middle
    return low if low < len(ids) and ids[low] == number else -1


@njit(cache=True, nogil=True)
def _unknown_jobs(rows: Any, ids: Any, accepted: int, unknown: Any) -> int:
    """Write the jobs of accepted shares that are not among ``ids``; return how many, some perhaps twice."""
    found = 0
    for i in range(len(rows)):
        if rows[i].verdict != accepted or _find(ids, rows[i].job) >= 0:
            continue
        if found == 0 or unknown[found - 1] != rows[i].job:
            unknown[found] = rows[i].job
            found += 1
    return found


@njit(cache=True, nogil=True)
def _pick(  # noqa: PLR0917 - compiled code takes no keywords
    rows: Any, ids: Any, accepted: int, first: int, leaves: Any, which: Any, verdicts: Any
) -> int:
    """Write accepted shares as leaves from position ``first`` on, and the places of their jobs in ``ids``; count verdicts."""
    count = 0
    for i in range(len(rows)):
        row = rows[i]
        verdicts[row.verdict] += np.uint64(1)
        if row.verdict != accepted:
            continue
        leaf = leaves[count]
        leaf.position = np.uint32(first + count)
        leaf.time_us = np.uint64(row.time_us)
        leaf.session = row.session
        leaf.worker = row.worker
        leaf.job = row.job
        leaf.ntime = row.ntime
        leaf.nonce = row.nonce
        leaf.version = row.version
        leaf.extranonce1 = row.extranonce1
        leaf.extranonce2 = row.extranonce2
        which[count] = _find(ids, row.job)
        count += 1
    return count


@njit(cache=True, nogil=True)
def _put(block: Any, at: int, value: Any, size: int) -> int:
    """Write a number of ``size`` bytes, big-endian; return where the next one goes."""
    for k in range(size):
        block[at + k] = np.uint8((np.uint64(value) >> np.uint64(8 * (size - 1 - k))) & np.uint64(255))
    return at + size


@njit(cache=True, nogil=True)
def _hash_leaf(leaf: Any, block: Any, state: Any, out: Any, initial: Any) -> None:
    """Hash one leaf; the rest of the block is padded already."""
    at = _put(block, 1, leaf.position, 4)
    at = _put(block, at, leaf.time_us, 8)
    at = _put(block, at, leaf.session, 4)
    at = _put(block, at, leaf.worker, 4)
    at = _put(block, at, leaf.job, 4)
    at = _put(block, at, leaf.ntime, 4)
    at = _put(block, at, leaf.nonce, 4)
    at = _put(block, at, leaf.version, 4)
    at = _put(block, at, leaf.extranonce1, 8)
    _put(block, at, leaf.extranonce2, 8)
    for k in range(8):
        state[k] = initial[k]
    compress(state, block, 0)
    put_state(out, 0, state)


@njit(cache=True, nogil=True)
def _join(  # noqa: PLR0917 - compiled code takes no keywords
    left: Any, left_sums: Any, node: Any, sums: Any, blocks: Any, state: Any, initial: Any
) -> bool:
    """Put the node above ``left`` and ``node`` in the latter's place; return whether its sum fits."""
    for k in range(3):
        _put(blocks, 1 + 8 * k, left_sums[k], 8)
        _put(blocks, 57 + 8 * k, sums[k], 8)
    blocks[25:57] = left
    blocks[81:113] = node
    for k in range(8):
        state[k] = initial[k]
    compress(state, blocks, 0)
    compress(state, blocks, 64)
    put_state(node, 0, state)
    low = left_sums[1] + sums[1]
    carry = np.uint64(1) if low < sums[1] else np.uint64(0)
    high = left_sums[0] + sums[0]
    overflow = high < sums[0]
    total = high + carry
    sums[0], sums[1], sums[2] = total, low, left_sums[2] + sums[2]
    return not (overflow or total < high)


@njit(cache=True, nogil=True)
def _node_blocks(domain: int) -> Any:
    """Return the two blocks of a node's message, padded."""
    size = 1 + 2 * (16 + 8 + 32)
    blocks = np.zeros(128, np.uint8)
    blocks[0] = domain
    blocks[size] = 0x80
    blocks[126], blocks[127] = (8 * size) >> 8, (8 * size) & 255
    return blocks


@njit(cache=True, nogil=True)
def _absorb(  # noqa: PLR0917 - compiled code takes no keywords
    leaves: Any, account: Any, work_log2: Any, hashes: Any, sums: Any, counts: Any, domain: int, initial: Any
) -> bool:
    """Put leaves to their accounts' trees: each joins the whole subtrees of its size, as a one carries in a binary counter."""
    blocks, block = _node_blocks(domain), np.zeros(64, np.uint8)
    block[LEAF_SIZE] = 0x80
    block[62], block[63] = (8 * LEAF_SIZE) >> 8, (8 * LEAF_SIZE) & 255
    state, node, total = np.empty(8, np.uint32), np.empty(32, np.uint8), np.empty(3, np.uint64)
    for i in range(len(leaves)):
        _hash_leaf(leaves[i], block, state, node, initial)
        work = np.uint64(work_log2[i])
        total[0] = np.uint64(1) << (work - np.uint64(64)) if work >= 64 else np.uint64(0)
        total[1] = np.uint64(1) << work if work < 64 else np.uint64(0)
        total[2] = 1
        at, level = account[i], 0
        while (counts[at] >> np.uint64(level)) & np.uint64(1):
            if not _join(hashes[at, level], sums[at, level], node, total, blocks, state, initial):
                return False
            level += 1
        hashes[at, level] = node
        sums[at, level] = total
        counts[at] += np.uint64(1)
    return True


@njit(cache=True, nogil=True)
def _fold(  # noqa: PLR0917 - compiled code takes no keywords
    order: Any, hashes: Any, sums: Any, counts: Any, roots: Any, totals: Any, domain: int, initial: Any
) -> bool:
    """Write the root of each account's tree: its whole subtrees joined from the smallest up."""
    blocks, state = _node_blocks(domain), np.empty(8, np.uint32)
    for i in range(len(order)):
        at, begun = order[i], False
        for level in range(_LEVELS):
            if not (counts[at] >> np.uint64(level)) & np.uint64(1):
                continue
            if not begun:
                roots[i] = hashes[at, level]
                totals[i] = sums[at, level]
                begun = True
            elif not _join(hashes[at, level], sums[at, level], roots[i], totals[i], blocks, state, initial):
                return False
    return True
