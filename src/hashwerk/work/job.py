"""The job: one piece of work, frozen when it is made.

A job belongs to one account and one share target. Both are committed in its coinbase by a tag, so a share can never
be relabelled afterwards, and a change of target is a new job. Every session of that account and target works on it
with its own extranonce1.
"""

from __future__ import annotations

import msgspec

from hashwerk.chain.target import target_from_compact
from hashwerk.chain.template import Template


class UpstreamPart(msgspec.Struct, frozen=True, kw_only=True):
    """What a job owes to the pool it came from.

    The pool sees ``extranonce2 = padding ‖ extranonce1 ‖ extranonce2`` of our own: its extranonce1 and the padding are the
    end of the job's coinbase1.
    """

    upstream_id: int  # in the ledger's table
    link: int  # the connection it came over; shares can only go back over the same one
    job_id: str  # as the pool wrote it
    target: int  # at or below this a share counts for the pool
    difficulty: str  # as the pool wrote it, exact
    padding: bytes
    version_mask: int  # agreed with the pool, of which machines may roll what the job's own mask allows


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A frozen piece of work. The id on the wire is ``f"{id:x}"``."""

    id: int  # unique in the ledger, below 2**32, never reused
    account_id: int
    work_log2: int
    template: Template
    coinbase1: bytes  # serialised without witness, up to extranonce1
    coinbase2: bytes  # from after extranonce2
    branch: tuple[bytes, ...]  # merkle branch of the coinbase, internal byte order
    version: int  # zero bits inside version_mask
    version_mask: int
    ntime: int
    extranonce1_size: int
    extranonce2_size: int
    tag: bytes  # the 32-byte commitment in the coinbase
    tag_preimage: bytes
    created_at: float  # UTC seconds
    clean: bool = False  # the first job on its prevhash
    upstream: UpstreamPart | None = None  # None: built here, and bound to its account by the tag

    @property
    def wire_id(self) -> str:
        """The job id as machines see it."""
        return f"{self.id:x}"

    @property
    def notable_target(self) -> int:
        """At or below this a hash is more than a share: a block of our own, or a share for the upstream pool."""
        return target_from_compact(self.template.nbits) if self.upstream is None else self.upstream.target
