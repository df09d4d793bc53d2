"""`mining.notify`: a job as machines read it, written and read.

Byte order is where Stratum V1 bites: the prevhash is in internal order with each 4-byte word reversed, the
branches are in internal order as they are, and version, nbits and ntime are big-endian numbers of eight
digits.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hashwerk.errors import DecodeError
from hashwerk.stratum.v1.codec import encode_notification
from hashwerk.work.job import Job
from hashwerk.work.target import difficulty_from_work_log2

#: cgminer and cpuminer read any number; a coinbase of a block has at most this many branches (2**32
#: transactions).
MAX_BRANCHES: Final = 32
MAX_JOB_ID_CHARS: Final = 128


def swap_prevhash(prev_hash: bytes) -> bytes:
    """Return a 32-byte hash with the bytes of each 4-byte word reversed; applying it twice changes nothing.

    Raises:
        ValueError: If it is not 32 bytes.
    """
    if len(prev_hash) != 32:
        raise ValueError(f"prevhash must be 32 bytes: {len(prev_hash)}")
    return b"".join(prev_hash[i : i + 4][::-1] for i in range(0, 32, 4))


class NotifyParams(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters of `mining.notify` in the chain's own form. Hashes are in internal byte order."""

    job_id: str
    prev_hash: bytes
    coinbase1: bytes
    coinbase2: bytes
    branch: tuple[bytes, ...]
    version: int
    nbits: int
    ntime: int
    clean: bool

    def to_params(self) -> list[Any]:
        """Return the list that goes on the wire."""
        return [
            self.job_id,
            swap_prevhash(self.prev_hash).hex(),
            self.coinbase1.hex(),
            self.coinbase2.hex(),
            [node.hex() for node in self.branch],
            # Zero-padded: cpuminer drops a job whose numbers have not eight digits.
            f"{self.version:08x}",
            f"{self.nbits:08x}",
            f"{self.ntime:08x}",
            self.clean,
        ]

    @classmethod
    def from_params(cls, params: list[Any]) -> NotifyParams:
        """Read what a server sent.

        Raises:
            DecodeError: If it is not a job; the message names the part.
        """
        if len(params) < 8:
            raise DecodeError(f"mining.notify has {len(params)} parameters, not 9")
        branch = params[4]
        if not isinstance(branch, list) or len(branch) > MAX_BRANCHES:
            raise DecodeError("merkle branch is not a list of at most 32 hashes")
        job_id = params[0]
        if not isinstance(job_id, str) or not 0 < len(job_id) <= MAX_JOB_ID_CHARS:
            raise DecodeError("job id is not a short string")
        return cls(
            job_id=job_id,
            prev_hash=swap_prevhash(_hex(params[1], "prevhash", 32)),
            coinbase1=_hex(params[2], "coinbase1"),
            coinbase2=_hex(params[3], "coinbase2"),
            branch=tuple(_hex(node, "merkle branch", 32) for node in branch),
            version=_number(params[5], "version"),
            nbits=_number(params[6], "nbits"),
            ntime=_number(params[7], "ntime"),
            # Some servers leave it out; then the job replaces nothing by force.
            clean=len(params) > 8 and params[8] is True,
        )


def _hex(value: Any, name: str, size: int | None = None) -> bytes:
    try:
        decoded = bytes.fromhex(value)
    except (TypeError, ValueError):
        raise DecodeError(f"{name} is not hex") from None
    if size is not None and len(decoded) != size:
        raise DecodeError(f"{name} has {len(decoded)} bytes, not {size}")
    return decoded


def _number(value: Any, name: str) -> int:
    return int.from_bytes(_hex(value, name, 4), "big")


def encode_job(job: Job, *, clean: bool) -> bytes:
    """Return the `mining.notify` line of a job; every session of its account and target gets the same bytes."""
    template = job.template
    params = NotifyParams(
        job_id=job.wire_id,
        prev_hash=template.prev_hash,
        coinbase1=job.coinbase1,
        coinbase2=job.coinbase2,
        branch=job.branch,
        version=job.version,
        nbits=template.nbits,
        ntime=job.ntime,
        clean=clean,
    )
    return encode_notification("mining.notify", params.to_params())


def encode_difficulty(work_log2: int) -> bytes:
    """Return the `mining.set_difficulty` line of a share target."""
    return encode_notification("mining.set_difficulty", [difficulty_from_work_log2(work_log2)])
