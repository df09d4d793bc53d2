"""Every share hashed again, in compiled code: what its header was, and how far below its target it lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.chain.target import target_from_compact
from hashwerk.errors import DecodeError
from hashwerk.evidence.lanes import hash_lanes
from hashwerk.evidence.records import Job
from hashwerk.evidence.share_leaf import Bytes2D, Leaves
from hashwerk.work.sha256 import INITIAL_STATE, midstate

#: Most bytes that the coinbases of one epoch's jobs may take, each in a row of the longest one's length.
MAX_TABLE_BYTES: Final = 256 << 20

_HASH: Final = ("<u8", (4,))
_ROW: Final = np.dtype(
    [
        ("network_target", *_HASH),
        ("midstate", "<u4", (8,)),
        ("prev_hash", "u1", (32,)),
        ("id", "<u4"),
        ("version", "<u4"),
        ("version_mask", "<u4"),
        ("min_time", "<u4"),
        ("max_time", "<u4"),
        ("nbits", "<u4"),
        ("tail_size", "<u4"),
        ("extranonce_at", "<u4"),
        ("extranonce1_size", "u1"),
        ("extranonce2_size", "u1"),
        ("branch_size", "u1"),
        ("work_log2", "u1"),  # credited
        ("created_us", "<u8"),
    ],
    align=True,
)


class Hashed(NamedTuple):
    """What hashing shares again gave; arrays of n."""

    hashes: Bytes2D  # (n, 32), internal order
    zeros: NDArray[np.uint16]  # leading zero bits of the hash as a number
    uniform: NDArray[np.float64]  # hash over target, in 0 … 1 where the share meets it
    blocks: NDArray[np.bool_]  # meets the network's target
    rows: NDArray[np.intp]  # row of each share's job


class JobTable:
    """The jobs of one epoch, packed."""

    def __init__(self, jobs: Sequence[Job], work: Mapping[int, int]) -> None:
        """Pack jobs that `parse_coinbase` has accepted.

        Args:
            jobs: The jobs.
            work: What a share of each is credited, as a power of two.

        Raises:
            DecodeError: If nBits stand for no target, or they are too large together.
        """
        jobs = sorted(jobs, key=lambda job: job.id)
        tails = [_padded_tail(job) for job in jobs]
        self.account_of = {job.id: job.account for job in jobs}
        self.rows: NDArray[np.void] = np.zeros(len(jobs), _ROW)
        width = max((len(tail) for tail, _ in tails), default=64)
        if len(jobs) * width > MAX_TABLE_BYTES:
            raise DecodeError(
                f"{len(jobs)} jobs with coinbases of up to {width} bytes are too many for one epoch"
            )
        tails_ = np.zeros((len(jobs), width), np.uint8)
        depth = max((len(job.branch) for job in jobs), default=0)
        branches = np.zeros((len(jobs), max(depth, 1), 32), np.uint8)
        for number, (job, (tail, at)) in enumerate(zip(jobs, tails, strict=True)):
            row = self.rows[number]
            target = target_from_compact(job.nbits)
            row["network_target"] = [target >> shift & 0xFFFF_FFFF_FFFF_FFFF for shift in (0, 64, 128, 192)]
            row["midstate"] = midstate(job.coinbase1)
            row["prev_hash"] = np.frombuffer(job.prev_hash, np.uint8)
            row["max_time"] = 0xFFFF_FFFF if job.max_time is None else job.max_time
            row["tail_size"], row["extranonce_at"] = len(tail), at
            row["branch_size"], row["work_log2"] = len(job.branch), work[job.id]
            for name in (
                "id",
                "version",
                "version_mask",
                "min_time",
                "nbits",
                "extranonce1_size",
                "extranonce2_size",
                "created_us",
            ):
                row[name] = getattr(job, name)
            tails_[number, : len(tail)] = np.frombuffer(tail, np.uint8)
            for level, sibling in enumerate(job.branch):
                branches[number, level] = np.frombuffer(sibling, np.uint8)
        self._tails = tails_.view(">u4").astype(np.uint32)
        self._branches = branches.view(">u4").astype(np.uint32)

    def find(self, jobs: NDArray[np.uint32]) -> NDArray[np.intp]:
        """Return the rows of jobs.

        Raises:
            DecodeError: If one is not here.
        """
        at = np.searchsorted(self.rows["id"], jobs)
        known = at < len(self.rows)
        known[known] = self.rows["id"][at[known]] == jobs[known]
        if not known.all():
            raise DecodeError(f"a share names job {int(jobs[~known][0])}, which the epoch does not hold")
        return at

    def hash(self, leaves: Leaves) -> Hashed:
        """Hash shares again.

        Raises:
            DecodeError: If one names a job that is not here, or its extranonces do not fit the job's sizes.
        """
        rows = self.find(leaves["job"])
        for name in ("extranonce1", "extranonce2"):
            bits = 8 * self.rows[f"{name}_size"][rows].astype(np.uint64)
            room = np.where(
                bits >= 64, np.uint64(2**64 - 1), (np.uint64(1) << (bits % np.uint64(64))) - np.uint64(1)
            )
            if (leaves[name] > room).any():
                raise DecodeError(f"an {name} does not fit its job's size")
        hashes = self._hash(leaves, rows)
        count = len(leaves)
        zeros, uniform = np.empty(count, np.uint16), np.empty(count, np.float64)
        blocks = np.empty(count, np.bool_)
        _measure(hashes, rows, self.rows, zeros, uniform, blocks)
        return Hashed(hashes, zeros, uniform, blocks, rows)

    def _hash(self, leaves: Leaves, rows: NDArray[np.intp]) -> Bytes2D:
        """Hash shares side by side with others of their job."""
        hashes = np.empty((len(leaves), 32), np.uint8)
        sequence = np.argsort(rows, kind="stable")
        ends = np.flatnonzero(np.diff(rows[sequence])) + 1
        for chosen in np.split(sequence, ends):
            if len(chosen):
                row = int(rows[chosen[0]])
                hash_lanes(
                    leaves,
                    chosen,
                    self.rows[row],
                    self._tails[row],
                    self._branches[row],
                    INITIAL_STATE,
                    hashes,
                )
        return hashes


def _padded_tail(job: Job) -> tuple[bytes, int]:
    """Return what follows coinbase1's whole blocks, padded, and where the extranonces begin in it."""
    whole = len(job.coinbase1) // 64 * 64
    gap = bytes(job.extranonce1_size + job.extranonce2_size)
    size = len(job.coinbase1) + len(gap) + len(job.coinbase2)
    padding = b"\x80" + bytes(-(size + 9) % 64) + (8 * size).to_bytes(8, "big")
    return job.coinbase1[whole:] + gap + job.coinbase2 + padding, len(job.coinbase1) - whole


def check_fields(table: JobTable, leaves: Leaves, hashed: Hashed) -> str | None:
    """Return what is wrong with the first share that breaks its job's terms; None if none does."""
    jobs = table.rows[hashed.rows]
    second = leaves["time_us"] // np.uint64(1_000_000)
    checks = (
        ("does not meet its target", hashed.zeros < jobs["work_log2"]),
        (
            "has version bits outside its job's mask",
            ((leaves["version"] ^ jobs["version"]) & ~jobs["version_mask"]) != 0,
        ),
        ("carries a time before its job's earliest", leaves["ntime"] < jobs["min_time"]),
        ("carries a time after its job's latest", leaves["ntime"] > jobs["max_time"]),
        ("carries a time two hours after it was received", leaves["ntime"] > second + np.uint64(7200)),
        (
            "was received before its job was made",
            leaves["time_us"] + np.uint64(1_000_000) < jobs["created_us"],
        ),
    )
    for what, wrong in checks:
        if wrong.any():
            first = leaves[int(np.argmax(wrong))]
            return f"the share at position {int(first['position'])} (job {int(first['job'])}) {what}"
    return None


@njit(cache=True, nogil=True)
def _limb(hash_: Any, index: int) -> Any:
    """Return 64 bits of a hash as a little-endian number, the lowest first."""
    value = np.uint64(0)
    for k in range(8):
        value |= np.uint64(hash_[8 * index + k]) << np.uint64(8 * k)
    return value


@njit(cache=True, nogil=True)
def _leading_zeros(hash_: Any) -> int:
    count = 0
    for k in range(31, -1, -1):
        value = hash_[k]
        if value:
            while value < 128:
                value <<= 1
                count += 1
            return count
        count += 8
    return count


@njit(cache=True, nogil=True)
def _over_target(hash_: Any, work_log2: int) -> float:
    """Return hash · 2**work_log2 / 2**256, by its first 64 bits."""
    word, bits = work_log2 // 64, work_log2 % 64
    value = _limb(hash_, 3 - word)
    if bits:
        value = value << np.uint64(bits)
        if word < 3:
            value |= _limb(hash_, 2 - word) >> np.uint64(64 - bits)
    return float(value) / 18446744073709551616.0


@njit(cache=True, nogil=True)
def _meets(hash_: Any, target: Any) -> bool:
    for index in range(3, -1, -1):
        value = _limb(hash_, index)
        if value != target[index]:
            return bool(value < target[index])
    return True


@njit(cache=True, nogil=True)
def _measure(  # noqa: PLR0917 - compiled code takes no keywords
    hashes: Any, rows: Any, jobs: Any, zeros: Any, uniform: Any, blocks: Any
) -> None:
    for i in range(len(hashes)):
        job = jobs[rows[i]]
        zeros[i] = _leading_zeros(hashes[i])
        uniform[i] = _over_target(hashes[i], job.work_log2)
        blocks[i] = _meets(hashes[i], job.network_target)
