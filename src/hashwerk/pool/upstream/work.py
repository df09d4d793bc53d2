"""A pool's job as one of ours: its coinbase ends where our own extranonces begin.

The pool gives a machine ``extranonce1 ‖ extranonce2``. We keep the pool's extranonce1 and, where it gives enough room, one
byte of padding in front; what is left is split into an extranonce1 and an extranonce2 of our machines. So a machine keeps its
extranonce when the pool's changes, and when it works for another pool: all it gets is a job.

The byte of padding differs between the jobs made from one of the pool's, as the job number in our own coinbases does: no two
jobs then have a header in common (docs/adr/0008). Where the pool gives too little room, work of one session may repeat after a
change of target, and the table of duplicates sees to it that nothing counts twice.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from hashwerk.chain.target import target_from_compact
from hashwerk.chain.template import Template
from hashwerk.pool.room import Room
from hashwerk.stratum.ports import Account
from hashwerk.stratum.v1.client_events import ClientJob
from hashwerk.work.job import Job, UpstreamPart

_DIFFICULTY_1_TARGET: Final = 0xFFFF << 208
_MAX_TARGET: Final = (1 << 256) - 1
#: Least bytes of a machine's own: cgminer accepts extranonce2 sizes from 2.
_LEAST_EXTRANONCE2: Final = 2
_VARIANTS: Final = 256
UNBOUND: Final = b""  # instead of a tag: the coinbase is the pool's (facts of evidence: unbound work)


def target_of(difficulty: float) -> int:
    """Return the target of a pool's difficulty: ``0xffff · 2**208 / difficulty``, exact and rounded down."""
    return min(int(Fraction(_DIFFICULTY_1_TARGET) / Fraction(difficulty)), _MAX_TARGET)


def room_for(extranonce2_size: int) -> Room | None:
    """Return how a pool's extranonce2 is divided among machines; None if it is too small to be divided."""
    if extranonce2_size >= 4 + _LEAST_EXTRANONCE2:
        left = extranonce2_size - 4
        return Room(4, min(8, left - 1 if left > _LEAST_EXTRANONCE2 else left))
    if extranonce2_size > _LEAST_EXTRANONCE2:
        return Room(extranonce2_size - _LEAST_EXTRANONCE2, _LEAST_EXTRANONCE2)
    return None


class UpstreamWork:
    """One job of a pool, from which the jobs of accounts and targets are made."""

    __slots__ = ("_made", "_source", "_version_mask", "job", "link", "target", "template", "upstream_id")

    def __init__(
        self,
        job: ClientJob,
        *,
        upstream_id: int,
        link: int,
        source: str,
        network: str,
        version_mask: int,
        now: float,
    ) -> None:
        """Take a pool's job.

        Args:
            job: The job, with everything that held when it came.
            upstream_id: The pool in the ledger.
            link: The connection it came over.
            source: The pool's name.
            network: The chain we believe it is of.
            version_mask: The bits our machines may roll at most.
            now: Unix seconds.

        Raises:
            DecodeError: If no block can be built on it; the message says why.
        """
        target_from_compact(job.nbits)
        self.job = job
        self.upstream_id = upstream_id
        self.link = link
        self.target = target_of(job.difficulty)
        self._source = source
        self._version_mask = job.version_mask & version_mask
        self._made = 0
        self.template = Template(
            network=network,
            height=coinbase_height(job.coinbase1),
            version=job.version,
            prev_hash=job.prev_hash,
            nbits=job.nbits,
            time=job.ntime,
            min_time=job.ntime,
            coinbase_value_sat=0,
            source=source,
            received_at=now,
        )

    @property
    def prev_hash(self) -> bytes:
        """The block it builds on."""
        return self.template.prev_hash

    @property
    def version_mask(self) -> int:
        """The bits machines may roll."""
        return self._version_mask

    @property
    def most_work_log2(self) -> int:
        """The hardest target of ours that everything the pool wants still meets."""
        return max(0, ((1 << 256) // (self.target + 1)).bit_length() - 1)

    @property
    def is_repeating(self) -> bool:
        """Whether two jobs made from this one would have work in common: there is no room for padding."""
        room = room_for(self.job.extranonce2_size)
        return room is None or sum(room) >= self.job.extranonce2_size

    def fits(self, room: Room) -> bool:
        """Return whether a machine with such an extranonce can work on it."""
        return sum(room) <= self.job.extranonce2_size

    def build(self, *, job_id: int, account: Account, work_log2: int, room: Room, now: float) -> Job:
        """Return the job of an account and target.

        Raises:
            ValueError: If the machine's extranonce does not fit.
        """
        job = self.job
        if not self.fits(room):
            raise ValueError(
                f"extranonces of {sum(room)} bytes do not fit into the pool's {job.extranonce2_size}"
            )
        spare = job.extranonce2_size - sum(room)
        padding = (self._made % _VARIANTS).to_bytes(1, "big").rjust(spare, b"\0") if spare else b""
        self._made += 1
        return Job(
            id=job_id,
            account_id=account.id,
            work_log2=work_log2,
            template=self.template,
            coinbase1=job.coinbase1 + job.extranonce1 + padding,
            coinbase2=job.coinbase2,
            branch=job.branch,
            # Zero bits inside the mask: servers and firmwares differ in how they put the rolled bits in.
            version=job.version & ~self._version_mask & 0xFFFF_FFFF,
            version_mask=self._version_mask,
            ntime=job.ntime,
            extranonce1_size=room.extranonce1_size,
            extranonce2_size=room.extranonce2_size,
            tag=UNBOUND,
            tag_preimage=UNBOUND,
            created_at=now,
            clean=job.clean,
            upstream=UpstreamPart(
                upstream_id=self.upstream_id,
                link=self.link,
                job_id=job.job_id,
                target=self.target,
                difficulty=str(job.difficulty),
                padding=padding,
                version_mask=job.version_mask,
            ),
        )


def coinbase_height(coinbase1: bytes) -> int:
    """Return the height that a coinbase begins with (BIP-0034); 0 if none can be read."""
    at = 4 + 1 + 36  # version, one input, no previous output
    if len(coinbase1) > at + 2 and coinbase1[4:6] == b"\0\1":
        at += 2  # a marker and flag that do not belong here, sent all the same
    if len(coinbase1) < at + 2:
        return 0
    size = coinbase1[at + 1]
    if 0x51 <= size <= 0x60:
        return size - 0x50  # OP_1 to OP_16
    if 0 < size <= 4 and len(coinbase1) >= at + 2 + size:
        return int.from_bytes(coinbase1[at + 2 : at + 2 + size], "little")
    return 0
