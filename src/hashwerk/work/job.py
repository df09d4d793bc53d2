"""The job: one piece of work, frozen when it is made.

A job belongs to one account and one share target. Both are committed in its coinbase by a tag, so a share can never
be relabelled afterwards, and a change of target is a new job. Every session of that account and target works on it
with its own extranonce1.
"""

from __future__ import annotations

import msgspec

from hashwerk.chain.template import Template


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

    @property
    def wire_id(self) -> str:
        """The job id as machines see it."""
        return f"{self.id:x}"
