"""The check of many shares at once: jobs packed into arrays, and one pass of compiled code over rows.

It gives the same verdicts as `check.judge_share`, bit for bit; a property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.chain.target import target_from_compact
from hashwerk.work.check import MAX_FUTURE_S
from hashwerk.work.job import Job
from hashwerk.work.sha256 import INITIAL_STATE, compress, midstate
from hashwerk.work.share import FLAG_BLOCK, FLAG_NETWORK, SHARE_DTYPE, Verdict
from hashwerk.work.target import target_from_work_log2

#: The terms of a session on which its shares are judged. One row a session, at an index of the caller's
#: choice.
TERMS_DTYPE: Final = np.dtype(
    [
        ("extranonce1", "<u8"),
        ("session", "<u4"),
        ("account", "<u4"),
        ("version_mask", "<u4"),  # bits that the machine was told it may roll
        ("least_work_log2", "u1"),  # the easiest target sent to it that can still be valid
    ],
    align=True,
)

_HASH: Final = ("<u8", (4,))  # 256 bits as little-endian limbs
#: One job as the compiled check reads it.
JOB_DTYPE: Final = np.dtype(
    [
        ("expires_at", "<f8"),
        ("notable_target", *_HASH),
        ("network_target", *_HASH),
        ("share_target", *_HASH),
        ("midstate", "<u4", (8,)),  # after the whole blocks of coinbase1
        ("prev_hash", "u1", (32,)),
        ("id", "<u4"),  # 0: no job here
        ("account", "<u4"),
        ("version", "<u4"),
        ("version_mask", "<u4"),
        ("min_time", "<u4"),
        ("max_time", "<u4"),
        ("nbits", "<u4"),
        ("generation", "<u4"),
        ("tail_size", "<u4"),  # the rest of the padded coinbase, a multiple of 64 bytes
        ("extranonce_at", "<u4"),  # where extranonce1 begins in it
        ("extranonce1_size", "u1"),
        ("extranonce2_size", "u1"),
        ("branch_size", "u1"),  # levels
        ("work_log2", "u1"),
        ("stale", "u1"),
    ],
    align=True,
)

#: `SHARE_DTYPE` with the hash key as two numbers, which compiled code can read.
ROW_DTYPE: Final = np.dtype(
    [
        (name, ("<u8", (2,)) if name == "hash_key" else SHARE_DTYPE.fields[name][0])  # type: ignore[index]
        for name in SHARE_DTYPE.names or ()
    ]
)

_NO_MAX_TIME: Final = 0xFFFF_FFFF
_FIRST_CAPACITY: Final = 64

_ACCEPTED: Final = int(Verdict.ACCEPTED)
_STALE: Final = int(Verdict.STALE)
_UNKNOWN_JOB: Final = int(Verdict.UNKNOWN_JOB)
_MALFORMED: Final = int(Verdict.MALFORMED)
_LOW_DIFFICULTY: Final = int(Verdict.LOW_DIFFICULTY)
_TIME_TOO_OLD: Final = int(Verdict.TIME_TOO_OLD)
_TIME_TOO_NEW: Final = int(Verdict.TIME_TOO_NEW)
_BAD_VERSION: Final = int(Verdict.BAD_VERSION)


def _limbs(number: int) -> list[int]:
    return [number >> shift & 0xFFFF_FFFF_FFFF_FFFF for shift in (0, 64, 128, 192)]


def _padded_tail(job: Job) -> tuple[bytes, int]:
    """Return what follows coinbase1's whole blocks, padding included, and where the extranonces begin."""
    whole = len(job.coinbase1) // 64 * 64
    gap = bytes(job.extranonce1_size + job.extranonce2_size)
    size = len(job.coinbase1) + len(gap) + len(job.coinbase2)
    padding = b"\x80" + bytes(-(size + 9) % 64) + (8 * size).to_bytes(8, "big")
    return job.coinbase1[whole:] + gap + job.coinbase2 + padding, len(job.coinbase1) - whole


class JobTable:
    """Live jobs in packed arrays, with an index from id to row that compiled code can search."""

    def __init__(self) -> None:
        self.jobs: NDArray[np.void] = np.zeros(_FIRST_CAPACITY, JOB_DTYPE)
        self.tails: NDArray[np.uint8] = np.zeros((_FIRST_CAPACITY, 256), np.uint8)
        self.branches: NDArray[np.uint8] = np.zeros((_FIRST_CAPACITY, 4, 32), np.uint8)
        self.index: NDArray[np.int32] = np.full(2 * _FIRST_CAPACITY, -1, np.int32)
        self._rows: dict[int, int] = {}
        self._free = list(range(_FIRST_CAPACITY))[::-1]

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, job: Job, *, expires_at: float, generation: int) -> None:
        """Pack a job. Its duplicates are forgotten together with those of its ``generation``.

        Raises:
            ValueError: If the id is 0, or taken by a live job.
        """
        if job.id == 0 or job.id in self._rows:
            raise ValueError(f"job id is 0 or taken: {job.id}")
        tail, extranonce_at = _padded_tail(job)
        self._make_room(len(tail), len(job.branch))
        number = self._free.pop()
        template = job.template
        row = self.jobs[number]
        row["expires_at"] = expires_at
        row["notable_target"] = _limbs(job.notable_target)
        row["network_target"] = _limbs(target_from_compact(template.nbits))
        row["share_target"] = _limbs(target_from_work_log2(job.work_log2))
        row["midstate"] = midstate(job.coinbase1)
        row["prev_hash"] = np.frombuffer(template.prev_hash, np.uint8)
        row["account"] = job.account_id
        row["version"] = job.version
        row["version_mask"] = job.version_mask
        row["min_time"] = template.min_time
        row["max_time"] = _NO_MAX_TIME if template.max_time is None else template.max_time
        row["nbits"] = template.nbits
        row["generation"] = generation
        row["tail_size"] = len(tail)
        row["extranonce_at"] = extranonce_at
        row["extranonce1_size"] = job.extranonce1_size
        row["extranonce2_size"] = job.extranonce2_size
        row["branch_size"] = len(job.branch)
        row["work_log2"] = job.work_log2
        row["stale"] = 0
        self.tails[number, : len(tail)] = np.frombuffer(tail, np.uint8)
        for level, sibling in enumerate(job.branch):
            self.branches[number, level] = np.frombuffer(sibling, np.uint8)
        row["id"] = job.id
        self._rows[job.id] = number
        _enter(self.index, self.jobs, number)

    def mark_stale(self, job_id: int) -> None:
        """Say that a job's prevhash is no longer the tip's."""
        if job_id in self._rows:
            self.jobs[self._rows[job_id]]["stale"] = 1

    def set_expiry(self, job_id: int, expires_at: float) -> None:
        """Say until when a job's shares count."""
        if job_id in self._rows:
            self.jobs[self._rows[job_id]]["expires_at"] = expires_at

    def remove(self, job_ids: Iterable[int]) -> None:
        """Forget jobs; a share of one is a share of an unknown job from now on."""
        for job_id in job_ids:
            number = self._rows.pop(job_id, None)
            if number is not None:
                self.jobs[number]["id"] = 0
                self._free.append(number)
        self._reindex()

    def generations_of(self, job_ids: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return the generation of each job.

        Raises:
            KeyError: If one of them is not here.
        """
        known, which = np.unique(job_ids, return_inverse=True)
        rows = np.array([self._rows[int(job_id)] for job_id in known], np.int64)
        generations: NDArray[np.uint32] = self.jobs["generation"][rows[which]]
        return generations

    def _reindex(self) -> None:
        self.index = np.full(2 * len(self.jobs), -1, np.int32)
        for number in self._rows.values():
            _enter(self.index, self.jobs, number)

    def _make_room(self, tail_size: int, branch_size: int) -> None:
        old_capacity = len(self.jobs)
        capacity = old_capacity if self._free else 2 * old_capacity
        width = max(self.tails.shape[1], tail_size)
        levels = max(self.branches.shape[1], branch_size)
        if (capacity, width, levels) == (old_capacity, self.tails.shape[1], self.branches.shape[1]):
            return
        jobs, tails, branches = self.jobs, self.tails, self.branches
        self.jobs = np.zeros(capacity, JOB_DTYPE)
        self.tails = np.zeros((capacity, width), np.uint8)
        self.branches = np.zeros((capacity, levels, 32), np.uint8)
        self.jobs[:old_capacity] = jobs
        self.tails[:old_capacity, : tails.shape[1]] = tails
        self.branches[:old_capacity, : branches.shape[1]] = branches
        self._free = [*range(capacity - 1, old_capacity - 1, -1), *self._free]
        self._reindex()


class Checked(NamedTuple):
    """What a batch check found, beside what it wrote into the rows."""

    blocks: (
        int  # rows that meet their job's notable target, whatever their verdict; FLAG_BLOCK is set on them
    )
    generations: NDArray[np.uint32]  # of the job of each row that was accepted
    lowest: int  # generation among the accepted rows; above `highest` when there is none
    highest: int


def check_batch(
    table: JobTable,
    rows: NDArray[np.void],
    *,
    extranonce2_sizes: NDArray[np.uint8],
    seats: NDArray[np.int32],
    terms: NDArray[np.void],
    now: float,
) -> Checked:
    """Judge rows of `ROW_DTYPE` in place: all checks but for duplicates.

    A row comes with ``worker``, ``job``, ``extranonce2``, ``ntime``, ``nonce``, the rolled bits in
    ``version``, and a verdict: one that is not `Verdict.ACCEPTED` already stays, but the row is hashed all
    the same, for it may be a block. ``extranonce2_sizes`` are the bytes in which each extranonce2 was
    written. ``seats[i]`` is the row of ``terms`` (`TERMS_DTYPE`) of its session. Filled in are session,
    extranonce1, the full version, hash key, work, flags and verdict.
    """
    generations = np.empty(len(rows), np.uint32)
    blocks, lowest, highest = _check_rows(
        rows,
        extranonce2_sizes,
        seats,
        terms,
        table.jobs,
        table.tails,
        table.branches,
        table.index,
        now,
        INITIAL_STATE,
        generations,
    )
    return Checked(blocks, generations, lowest, highest)


@njit(cache=True, nogil=True)
def _find(index: Any, jobs: Any, job_id: Any) -> Any:
    """Return the row of a job, or -1."""
    mask = len(index) - 1
    at = (np.int64(job_id) * 0x9E3779B1) & mask
    while index[at] >= 0:
        if jobs[index[at]].id == job_id:
            return np.int64(index[at])
        at = (at + 1) & mask
    return np.int64(-1)


@njit(cache=True, nogil=True)
def _enter(index: Any, jobs: Any, row: int) -> None:
    mask = len(index) - 1
    at = (np.int64(jobs[row].id) * 0x9E3779B1) & mask
    while index[at] >= 0:
        at = (at + 1) & mask
    index[at] = row


@njit(cache=True, nogil=True)
def _put_word(data: Any, at: int, word: Any) -> None:
    data[at] = (word >> 24) & 255
    data[at + 1] = (word >> 16) & 255
    data[at + 2] = (word >> 8) & 255
    data[at + 3] = word & 255


@njit(cache=True, nogil=True)
def _put_word_little(data: Any, at: int, word: Any) -> None:
    data[at] = word & 255
    data[at + 1] = (word >> 8) & 255
    data[at + 2] = (word >> 16) & 255
    data[at + 3] = (word >> 24) & 255


@njit(cache=True, nogil=True)
def _put_extranonce(data: Any, at: int, value: Any, size: int) -> None:
    for k in range(size):
        data[at + k] = np.uint8((value >> np.uint64(8 * (size - 1 - k))) & np.uint64(255))


@njit(cache=True, nogil=True)
def _swapped(word: Any) -> Any:
    word = np.uint32(word)
    return np.uint64(
        ((word & 0xFF) << 24) | ((word & 0xFF00) << 8) | ((word >> 8) & 0xFF00) | ((word >> 24) & 0xFF)
    )


@njit(cache=True, nogil=True)
def _meets(state: Any, target: Any) -> bool:
    """Return whether the hash in ``state`` is at or below the target, both as little-endian numbers."""
    for limb in range(3, -1, -1):
        value = _swapped(state[2 * limb]) | (_swapped(state[2 * limb + 1]) << np.uint64(32))
        if value != target[limb]:
            return bool(value < target[limb])
    return True


@njit(cache=True, nogil=True)
def _hash_digest(state: Any, digest_block: Any, initial: Any) -> None:
    """Replace the digest in ``state`` by its own SHA-256. ``digest_block`` holds the padding of 32 bytes."""
    for k in range(8):
        _put_word(digest_block, 4 * k, state[k])
        state[k] = initial[k]
    compress(state, digest_block, 0)


@njit(cache=True, nogil=True)
def _check_rows(  # noqa: PLR0917 - compiled code takes no keywords
    rows: Any,
    extranonce2_sizes: Any,
    seats: Any,
    terms: Any,
    jobs: Any,
    tails: Any,
    branches: Any,
    index: Any,
    now: float,
    initial: Any,
    generations: Any,
) -> tuple[int, int, int]:
    blocks = 0
    lowest, highest = np.int64(1 << 40), np.int64(-1)
    state = np.empty(8, np.uint32)
    coinbase = np.empty(tails.shape[1], np.uint8)
    digest_block = np.zeros(64, np.uint8)
    digest_block[32], digest_block[62] = 0x80, 0x01  # 256 bits
    pair = np.zeros(128, np.uint8)  # two hashes, and the padding of 64 bytes
    pair[64], pair[126] = 0x80, 0x02  # 512 bits
    header = np.zeros(128, np.uint8)
    header[80], header[126], header[127] = 0x80, 0x02, 0x80  # 640 bits
    for i in range(len(rows)):
        row, term = rows[i], terms[seats[i]]
        row.session, row.extranonce1 = term.session, term.extranonce1
        slot = _find(index, jobs, row.job)
        if slot < 0:
            if row.verdict == _ACCEPTED:
                row.verdict = _UNKNOWN_JOB
            continue
        job = jobs[slot]
        if extranonce2_sizes[i] != job.extranonce2_size:
            row.verdict = _MALFORMED
            continue
        bits = row.version
        row.version = (job.version & ~job.version_mask) | bits
        row.work_log2 = job.work_log2
        # The coinbase's hash.
        tail_size = job.tail_size
        coinbase[:tail_size] = tails[slot, :tail_size]
        at = job.extranonce_at
        _put_extranonce(coinbase, at, row.extranonce1, job.extranonce1_size)
        _put_extranonce(coinbase, at + job.extranonce1_size, row.extranonce2, job.extranonce2_size)
        for k in range(8):
            state[k] = job.midstate[k]
        for offset in range(0, tail_size, 64):
            compress(state, coinbase, offset)
        _hash_digest(state, digest_block, initial)
        # The merkle root.
        for level in range(job.branch_size):
            for k in range(8):
                _put_word(pair, 4 * k, state[k])
                state[k] = initial[k]
            pair[32:64] = branches[slot, level]
            compress(state, pair, 0)
            compress(state, pair, 64)
            _hash_digest(state, digest_block, initial)
        # The header's hash.
        _put_word_little(header, 0, row.version)
        for k in range(32):
            header[4 + k] = job.prev_hash[k]
        for k in range(8):
            _put_word(header, 36 + 4 * k, state[k])
            state[k] = initial[k]
        _put_word_little(header, 68, row.ntime)
        _put_word_little(header, 72, job.nbits)
        _put_word_little(header, 76, row.nonce)
        compress(state, header, 0)
        compress(state, header, 64)
        _hash_digest(state, digest_block, initial)
        row.hash_key[0] = _swapped(state[0]) | (_swapped(state[1]) << np.uint64(32))
        row.hash_key[1] = _swapped(state[2]) | (_swapped(state[3]) << np.uint64(32))
        if _meets(state, job.network_target):
            row.flags |= FLAG_NETWORK
        if _meets(state, job.notable_target):
            row.flags |= FLAG_BLOCK
            blocks += 1
        if row.verdict != _ACCEPTED:
            continue
        if job.account != term.account or job.work_log2 < term.least_work_log2:
            row.verdict = _UNKNOWN_JOB
        elif job.stale:
            row.verdict = _STALE
        elif row.ntime < job.min_time:
            row.verdict = _TIME_TOO_OLD
        elif row.ntime > min(np.int64(job.max_time), np.int64(now) + MAX_FUTURE_S):
            row.verdict = _TIME_TOO_NEW
        elif bits & ~term.version_mask:
            row.verdict = _BAD_VERSION
        elif not _meets(state, job.share_target):
            row.verdict = _LOW_DIFFICULTY
        elif job.expires_at < now:
            row.verdict = _UNKNOWN_JOB
        else:
            generations[i] = job.generation
            lowest = min(lowest, np.int64(job.generation))
            highest = max(highest, np.int64(job.generation))
    return blocks, lowest, highest  # type: ignore[return-value]  # numba gives Python's own integers
