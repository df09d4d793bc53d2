"""The coinbase: the transaction that names the block's height, pays its reward and carries the extranonces.

Its script reads: height (BIP-0034) | pool tag | one push of job number, extranonce1 and extranonce2. The last
push is written as a push so that no byte of an extranonce can count as a signature operation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from hashwerk.chain.header import ZERO_HASH
from hashwerk.chain.serial import compact_size
from hashwerk.chain.template import Template
from hashwerk.chain.transaction import UINT32_MAX, WITNESS_SCALE_FACTOR, Transaction
from hashwerk.errors import CoinbaseSizeError

MAX_SCRIPT_SIG_SIZE: Final = 100
COMMITMENT_SIZE: Final = 32
JOB_NUMBER_SIZE: Final = 4
COINBASE_VERSION: Final = 2
#: Not final, so that the lock time below counts (BIP-0054).
COINBASE_SEQUENCE: Final = 0xFFFF_FFFE

#: Marker, flag, and a stack of one item of 32 bytes: 36 bytes that weigh one unit each.
_WITNESS_WEIGHT: Final = 2 + 1 + 1 + 32

#: Largest coinbase without witness, in bytes, that a class of firmware or service hashes correctly; larger
#: ones are cut in silence and every share is wrong. As other pools found by trying (facts collected in
#: November 2026).
FIRMWARE_COINBASE_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "small-384": 384,
        "nerdminer": 512,
        "nicehash": 500,
        "antminer-s19": 730,
        "antminer-s21": 2_250,
        "whatsminer": 6_500,
        "vnish": 16_000,
        "epic": 16_000,
        "unknown": 500,
    }
)

# What mining.subscribe says of itself begins with one of these, upper and lower case apart.
_USER_AGENTS: Final = (
    ("nicehash", "nicehash"),
    ("nerdminer", "nerdminer"),
    ("sparkminer", "small-384"),
    ("bitaxe", "small-384"),
    ("antminer s21/", "antminer-s21"),
    ("antminer s19", "antminer-s19"),
    ("bmminer/", "antminer-s19"),
    ("whatsminer/v1", "whatsminer"),
    ("xminer-1.", "vnish"),
    ("powerplay-bm/", "epic"),
)


class CoinbaseParts(msgspec.Struct, frozen=True):
    """A coinbase without witness, cut where the extranonces go."""

    coinbase1: bytes
    coinbase2: bytes

    def with_extranonce(self, extranonce: bytes) -> bytes:
        """Return the whole coinbase without witness, from extranonce1 followed by extranonce2."""
        return self.coinbase1 + extranonce + self.coinbase2


def firmware_class(user_agent: str) -> str:
    """Return the size class of a user agent, a key of `FIRMWARE_COINBASE_LIMITS`."""
    lowered = user_agent.lower()
    return next((name for prefix, name in _USER_AGENTS if lowered.startswith(prefix)), "unknown")


def build_coinbase(
    *,
    template: Template,
    outputs: Sequence[tuple[int, bytes]],
    pool_tag: bytes,
    job_number: int,
    extranonce_size: int,
    commitment: bytes | None = None,
    size_limit: int | None = None,
) -> CoinbaseParts:
    """Build the coinbase of one job.

    The lock time is the height less one and the sequence is not final, which BIP-0054 asks of every coinbase.

    Args:
        template: Gives height, reward and witness commitment.
        outputs: Value in satoshi and script of each payout; together exactly the template's coinbase value.
        pool_tag: Who mined it, for all to read. May be empty.
        job_number: Makes the coinbase of every job different; below 2**32, written big-endian.
        extranonce_size: Bytes of extranonce1 and extranonce2 together.
        commitment: 32 bytes to commit to in an output of their own, or None.
        size_limit: Largest coinbase without witness in bytes, see `FIRMWARE_COINBASE_LIMITS`; None: no limit.

    Raises:
        ValueError: If the outputs do not add up, or an argument is out of its range.
        CoinbaseSizeError: If the script is above 100 bytes or the coinbase above ``size_limit``.
    """
    _check_outputs(outputs, template.coinbase_value_sat)
    if not 0 <= job_number <= UINT32_MAX:
        raise ValueError(f"job number out of range: {job_number}")
    if not 1 <= extranonce_size <= MAX_SCRIPT_SIG_SIZE:
        raise ValueError(f"extranonce size out of range: {extranonce_size}")
    script_head = (
        height_push(template.height)
        + (push_data(pool_tag) if pool_tag else b"")
        + _push_length(JOB_NUMBER_SIZE + extranonce_size)
        + job_number.to_bytes(JOB_NUMBER_SIZE, "big")
    )
    script_size = len(script_head) + extranonce_size
    if script_size > MAX_SCRIPT_SIG_SIZE:
        raise CoinbaseSizeError(
            f"the coinbase script has {script_size} bytes, {MAX_SCRIPT_SIG_SIZE} are allowed; "
            f"shorten the pool tag ({len(pool_tag)} bytes)"
        )
    # A height of 1 … 16 takes one byte and the script needs two; the push of the extranonces sees to that.
    parts = CoinbaseParts(
        coinbase1=_head() + compact_size(script_size) + script_head,
        coinbase2=_tail(template, outputs, commitment),
    )
    size = coinbase_size(parts, extranonce_size)
    if size_limit is not None and size > size_limit:
        raise CoinbaseSizeError(
            f"the coinbase has {size} bytes and this firmware takes {size_limit}; "
            f"use fewer payout outputs ({len(outputs)}) or a shorter pool tag ({len(pool_tag)} bytes)"
        )
    return parts


def coinbase_size(parts: CoinbaseParts, extranonce_size: int) -> int:
    """Return the size in bytes without witness, as firmware sees it."""
    return len(parts.coinbase1) + extranonce_size + len(parts.coinbase2)


def coinbase_weight(parts: CoinbaseParts, extranonce_size: int, *, witness: bool) -> int:
    """Return the coinbase's weight in weight units, with the reserved value as its ``witness`` or without."""
    stripped_weight = coinbase_size(parts, extranonce_size) * WITNESS_SCALE_FACTOR
    return stripped_weight + (_WITNESS_WEIGHT if witness else 0)


def is_bip54_coinbase(coinbase: Transaction, height: int) -> bool:
    """Return whether the coinbase of the block at ``height`` obeys BIP-0054: lock time and sequence."""
    return coinbase.lock_time == height - 1 and coinbase.inputs[0].sequence != UINT32_MAX


def height_push(height: int) -> bytes:
    """Return the height as Bitcoin Core's scripts write a number, which BIP-0034 asks for.

    One byte (OP_0 … OP_16) up to 16, then a push of the shortest signed little-endian number.

    Raises:
        ValueError: If the height is negative or has more than 32 bits.
    """
    if not 0 <= height <= UINT32_MAX:
        raise ValueError(f"height out of range: {height}")
    if height == 0:
        return b"\x00"
    if height <= 16:
        return bytes((0x50 + height,))
    # One bit more than the number has: the highest bit is the sign.
    number = height.to_bytes(height.bit_length() // 8 + 1, "little")
    return push_data(number)


def push_data(data: bytes) -> bytes:
    """Return the script that pushes ``data`` of 1 … 255 bytes.

    Raises:
        ValueError: If it is empty or longer.
    """
    return _push_length(len(data)) + data


def _push_length(size: int) -> bytes:
    if 1 <= size <= 75:
        return bytes((size,))
    if 76 <= size <= 255:
        return bytes((0x4C, size))  # OP_PUSHDATA1
    raise ValueError(f"a push has 1 … 255 bytes: {size}")


def _check_outputs(outputs: Sequence[tuple[int, bytes]], coinbase_value_sat: int) -> None:
    if not outputs:
        raise ValueError("a coinbase has at least one payout")
    if any(value_sat < 0 for value_sat, _ in outputs):
        raise ValueError("a payout is negative")
    total_sat = sum(value_sat for value_sat, _ in outputs)
    if total_sat != coinbase_value_sat:
        raise ValueError(f"payouts add up to {total_sat} sat, the coinbase is worth {coinbase_value_sat} sat")


def _head() -> bytes:
    """Return what comes before the script: version, one input that spends nothing."""
    return COINBASE_VERSION.to_bytes(4, "little") + b"\x01" + ZERO_HASH + UINT32_MAX.to_bytes(4, "little")


def _tail(template: Template, outputs: Sequence[tuple[int, bytes]], commitment: bytes | None) -> bytes:
    """Return what comes after the script: sequence, outputs, lock time."""
    scripts = list(outputs)
    if commitment is not None:
        if len(commitment) != COMMITMENT_SIZE:
            raise ValueError(f"a commitment has {COMMITMENT_SIZE} bytes, not {len(commitment)}")
        scripts.append((0, b"\x6a" + push_data(commitment)))  # OP_RETURN
    if template.witness_commitment is not None:
        # Last, because the last output of this form is the one that counts (BIP-0141).
        scripts.append((0, template.witness_commitment))
    serialized = [
        value_sat.to_bytes(8, "little") + compact_size(len(script)) + script for value_sat, script in scripts
    ]
    return b"".join(
        [
            COINBASE_SEQUENCE.to_bytes(4, "little"),
            compact_size(len(serialized)),
            *serialized,
            max(0, template.height - 1).to_bytes(4, "little"),
        ]
    )
