"""Jobs as records: made from what the server worked on, and taken apart again to see what their coinbase says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from hashwerk.chain.header import ZERO_HASH
from hashwerk.chain.serial import Cursor
from hashwerk.chain.target import target_from_compact
from hashwerk.errors import DecodeError
from hashwerk.evidence import records
from hashwerk.evidence.epoch import MAX_CREDIT_LOG2
from hashwerk.evidence.tag import TAG_DOMAIN, ZERO_ROOT, job_tag, job_tag_preimage
from hashwerk.work.job import Job

MAX_COINBASE_BYTES: Final = 100_000
MAX_BRANCH: Final = 24  # 16 million transactions
_UINT32_MAX: Final = 0xFFFF_FFFF
_TAG_SCRIPT: Final = b"\x6a\x20"  # OP_RETURN and a push of 32 bytes


class Coinbase(msgspec.Struct, frozen=True):
    """What a job's coinbase says, whatever the extranonces."""

    height: int | None  # BIP-0034; None: the script does not begin with a number
    outputs: tuple[tuple[int, bytes], ...]  # satoshi, script
    commitments: tuple[bytes, ...]  # of 32 bytes, in outputs of their own
    script_ends_with_extranonce: bool

    @property
    def value_sat(self) -> int:
        """All that the outputs pay."""
        return sum(value for value, _ in self.outputs)


def parse_coinbase(job: records.Job) -> Coinbase:
    """Return what a job's coinbase says.

    The whole must be one transaction without witness, and the extranonces must lie inside the input's script: else the
    same bytes could be read in two ways.

    Raises:
        DecodeError: If it is not so.
    """
    room = job.extranonce1_size + job.extranonce2_size
    if not 1 <= room <= 100 or max(job.extranonce1_size, job.extranonce2_size) > 8:
        raise DecodeError(
            f"job {job.id}: extranonces of {job.extranonce1_size} and {job.extranonce2_size} bytes"
        )
    if len(job.branch) > MAX_BRANCH:
        raise DecodeError(f"job {job.id}: a branch of {len(job.branch)} levels")
    data = job.coinbase1 + bytes(room) + job.coinbase2
    if len(data) > MAX_COINBASE_BYTES:
        raise DecodeError(f"job {job.id}: a coinbase of {len(data)} bytes")
    cursor = Cursor(data)
    cursor.read(4)
    if cursor.compact_size() != 1 or cursor.read(36) != ZERO_HASH + b"\xff\xff\xff\xff":
        raise DecodeError(f"job {job.id}: not a coinbase")
    script = cursor.var_bytes()
    script_start = cursor.position - len(script)
    if not script_start <= len(job.coinbase1) <= cursor.position - room:
        raise DecodeError(f"job {job.id}: the extranonces do not lie in the coinbase's script")
    ends = len(job.coinbase1) + room == cursor.position
    cursor.read(4)
    outputs = tuple((cursor.uint64(), cursor.var_bytes()) for _ in range(cursor.count(9)))
    cursor.read(4)
    cursor.finish("coinbase")
    commitments = tuple(
        script_[2:] for _, script_ in outputs if len(script_) == 34 and script_.startswith(_TAG_SCRIPT)
    )
    return Coinbase(_height(script), outputs, commitments, ends)


def check_range(job: records.Job) -> None:
    """Check what a job's numbers may be.

    Raises:
        DecodeError: If one is out of range.
    """
    if job.work_log2 > MAX_CREDIT_LOG2:
        raise DecodeError(f"job {job.id} credits 2**{job.work_log2} hashes a share")
    if job.upstream > 1:
        raise DecodeError(f"job {job.id} is neither bound nor unbound: {job.upstream}")
    target_from_compact(job.nbits)


def coinbase_problems(job: records.Job, coinbase: Coinbase) -> Iterator[str]:
    """Say what is wrong with a job's coinbase, as far as the job alone tells."""
    if job.upstream:
        if job.account != records.UNBOUND:
            yield "is an upstream pool's and names an account"
        return
    if len(coinbase.commitments) != 1:
        yield f"carries {len(coinbase.commitments)} commitments instead of one"
    elif coinbase.commitments[0] != expected_tag(job):
        yield "commits to another site, epoch, account or share target"
    if not coinbase.script_ends_with_extranonce:
        yield "has a script that goes on after the extranonces"
    if coinbase.height != job.height or coinbase.value_sat != job.coinbase_value_sat:
        yield "says another height or value than its coinbase"


def assemble(job: records.Job, extranonce1: int, extranonce2: int) -> bytes:
    """Return the coinbase without witness that was hashed.

    Raises:
        OverflowError: If an extranonce does not fit its size.
    """
    middle = extranonce1.to_bytes(job.extranonce1_size, "big") + extranonce2.to_bytes(
        job.extranonce2_size, "big"
    )
    return job.coinbase1 + middle + job.coinbase2


def expected_tag(job: records.Job) -> bytes:
    """Return the tag that binds a job to site, epoch, account and share target."""
    return job_tag(job_tag_preimage(job.site_key, job.epoch_root, job.account, job.work_log2))


def job_record(job: Job, account: bytes, template_hash: bytes) -> records.Job:
    """Return the record of a job.

    Args:
        job: The job.
        account: The commitment of its account.
        template_hash: The hash of its template.

    Raises:
        DecodeError: If the preimage of its tag is not one.
    """
    upstream = job.upstream is not None
    site_key, root = (bytes(32), ZERO_ROOT) if upstream else split_preimage(job.tag_preimage)
    template = job.template
    return records.Job(
        id=job.id,
        account=records.UNBOUND if upstream else account,
        work_log2=job.work_log2,
        height=template.height,
        prev_hash=template.prev_hash,
        nbits=template.nbits,
        version=job.version & _UINT32_MAX,
        version_mask=job.version_mask,
        min_time=template.min_time,
        max_time=template.max_time,
        ntime=job.ntime,
        coinbase1=job.coinbase1,
        coinbase2=job.coinbase2,
        branch=job.branch,
        extranonce1_size=job.extranonce1_size,
        extranonce2_size=job.extranonce2_size,
        coinbase_value_sat=template.coinbase_value_sat,
        template_hash=template_hash,
        source=template.source,
        upstream=int(upstream),
        site_key=site_key,
        epoch_root=root,
        created_us=int(job.created_at * 1e6),
    )


def split_preimage(preimage: bytes) -> tuple[bytes, bytes]:
    """Return site key and epoch root of a tag's preimage.

    Raises:
        DecodeError: If it is not one.
    """
    start = len(TAG_DOMAIN)
    if not preimage.startswith(TAG_DOMAIN) or len(preimage) != start + 128:
        raise DecodeError("not the preimage of a job's tag")
    return preimage[start : start + 32], preimage[start + 32 : start + 64]


def _height(script: bytes) -> int | None:
    """Return the number that a coinbase's script begins with (BIP-0034)."""
    if not script:
        return None
    if 0x51 <= script[0] <= 0x60:
        return script[0] - 0x50
    if not 1 <= script[0] <= 5 or len(script) <= script[0]:
        return None
    return int.from_bytes(script[1 : 1 + script[0]], "little", signed=True)
