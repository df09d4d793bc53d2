"""From a Stratum job to headers to be hashed: extranonce2, merkle root, version bits, time.

One extranonce2 gives 2**16 versions (BIP-0320) of 2**32 nonces each, 2**48 hashes for one merkle root; a
thread of 50 MH/s needs two months for it. So a thread takes an extranonce2 of its own, goes through the
versions, and seldom comes back for another.
"""

from __future__ import annotations

import struct
import threading
from fractions import Fraction
from typing import Final

import msgspec

from hashwerk.chain.header import double_sha256
from hashwerk.chain.merkle import root_from_branch
from hashwerk.chain.target import DIFFICULTY_1_TARGET, MAX_TARGET
from hashwerk.stratum.v1.client import ClientJob

NONCES_PER_HEADER: Final = 1 << 32
#: With fewer bytes a fast miner comes round to an extranonce2 while another thread still works on it.
_ROOMY_EXTRANONCE2_SIZE: Final = 2
_LAYOUT: Final = struct.Struct("<I32s32sII")  # a header without its nonce
_MAX_TIME: Final = 0xFFFF_FFFF


def target_from_difficulty(difficulty: int | float | Fraction) -> int:
    """Return the largest hash that counts at a difficulty, floor(0xffff·2**208 / difficulty), below 2**256.

    Computed as an exact fraction: a float is one itself, and the division never rounds up.

    Raises:
        ValueError: If the difficulty is not a positive finite number.
    """
    if not 0 < difficulty < float("inf"):
        raise ValueError(f"difficulty must be positive and finite: {difficulty}")
    return min(int(DIFFICULTY_1_TARGET / Fraction(difficulty)), MAX_TARGET)


def deposit_bits(number: int, mask: int) -> int:
    """Return the low bits of ``number`` spread over the one bits of ``mask``, lowest first."""
    spread = 0
    while mask and number:
        lowest = mask & -mask
        if number & 1:
            spread |= lowest
        number >>= 1
        mask ^= lowest
    return spread


class ExtranonceCounter:
    """Gives out extranonce2 numbers, each once, to all threads and over all jobs.

    It is never set back: a session may be resumed with the same extranonce1 and a server may send the same
    job again, and then a counter that starts anew would find the same shares twice.
    """

    def __init__(self, start: int = 0) -> None:
        """Begin with ``start``."""
        self._next = start
        self._lock = threading.Lock()

    def take(self) -> int:
        """Return the next number."""
        with self._lock:
            number = self._next
            self._next += 1
        return number


class HeaderWork(msgspec.Struct, frozen=True):
    """One header to be scanned over all its nonces."""

    header76: bytes  # the header without its nonce
    extranonce2: bytes
    ntime: int
    version_bits: int  # the rolled bits, inside the mask


class JobWork:
    """One job as a source of headers; threads share it and each takes a `HeaderStream`."""

    def __init__(self, job: ClientJob, extranonces: ExtranonceCounter, *, received_at: float) -> None:
        """Prepare a job that came at ``received_at``, seconds of a monotonic clock."""
        self.job = job
        self.target: Final = target_from_difficulty(job.difficulty)
        self.received_at = received_at
        self._extranonces = extranonces
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def versions(self) -> int:
        """How many versions each extranonce2 gives."""
        return 1 << self.job.version_mask.bit_count()

    def stream(self) -> HeaderStream:
        """Return a thread's own sequence of headers."""
        return HeaderStream(self)

    @property
    def rolls_with_time(self) -> bool:
        """Whether ntime follows the clock; otherwise it counts the rounds through a tiny extranonce2."""
        return self.job.extranonce2_size >= _ROOMY_EXTRANONCE2_SIZE

    def take_extranonce2(self) -> tuple[bytes, int]:
        """Return an extranonce2, and how often all of the job's size had been used before.

        What comes round again needs another time to be other work.
        """
        size = self.job.extranonce2_size
        number = self._extranonces.take()
        with self._lock:
            rounds = self._taken >> 8 * size
            self._taken += 1
        return (number % (1 << 8 * size)).to_bytes(size, "big"), rounds

    def merkle_root(self, extranonce2: bytes) -> bytes:
        """Return the merkle root, internal order, of this job with one extranonce2."""
        job = self.job
        coinbase = job.coinbase1 + job.extranonce1 + extranonce2 + job.coinbase2
        return root_from_branch(double_sha256(coinbase), job.branch)

    def header(self, extranonce2: bytes, merkle_root: bytes, version_bits: int, ntime: int) -> HeaderWork:
        """Return the header with these choices made."""
        job = self.job
        # BIP-0310: the mask's bits of the job's version are replaced by the miner's.
        version = job.version & ~job.version_mask | version_bits
        header76 = _LAYOUT.pack(version, job.prev_hash, merkle_root, ntime, job.nbits)
        return HeaderWork(header76, extranonce2, ntime, version_bits)


class HeaderStream:
    """The headers of one thread, no two alike: every version of one extranonce2, then the next one."""

    def __init__(self, work: JobWork) -> None:
        """Begin before the first header."""
        self._work = work
        self._version = 0
        self._extranonce2 = b""
        self._merkle_root = b""
        self._round = 0

    def next(self, now: float) -> HeaderWork | None:
        """Return the next header, or None when the job has no time left to give.

        Its time is the job's plus the seconds since the job came (``now`` is of the same clock): real time,
        no faster.
        """
        work = self._work
        job = work.job
        if self._version == 0:
            self._extranonce2, self._round = work.take_extranonce2()
            self._merkle_root = work.merkle_root(self._extranonce2)
        elapsed_s = max(0, int(now - work.received_at)) if work.rolls_with_time else 0
        ntime = job.ntime + elapsed_s + self._round
        if ntime > _MAX_TIME:
            return None
        # The job's own version comes first: no bit is rolled without need.
        version_bits = deposit_bits(self._version, job.version_mask)
        self._version = (self._version + 1) % work.versions
        return work.header(self._extranonce2, self._merkle_root, version_bits, ntime)
