"""Where the writer goes on after a restart: kept in the logbook, in the same transaction as the records it speaks of."""

from __future__ import annotations

import msgspec

from hashwerk.store.payouts import PaidBlocks


class RegisterState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a register is logged."""

    end_us: int
    count_wh: int
    serial: str  # as logged
    told: str | None  # as the meter tells it
    is_broken: bool = False  # what it counted since is not known


class LogState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the writer remembers."""

    begun_s: int  # meters are logged from here on
    registers: dict[str, RegisterState] = {}  # by the name under which they are logged
    plants: dict[str, str] = {}  # meter of a plant → the register that shows what it gave
    sources_until_s: int | None = None  # sources are logged up to here
    grid: tuple[int, bytes] | None = None  # the hour and what was last said of the grid in it
    orders: tuple[str, ...] = ()  # stages of orders that are logged, the oldest first
    declared: dict[str, bytes] = {}  # inventory and facts as last logged, by kind and name
    certificates: frozenset[str] = frozenset()
    blocks: PaidBlocks = PaidBlocks()


def encode_state(state: LogState) -> bytes:
    """Return the bytes that are kept."""
    return msgspec.msgpack.encode(state)


def decode_state(data: bytes) -> LogState:
    """Return what was kept.

    Raises:
        msgspec.DecodeError: If it is damaged.
    """
    return msgspec.msgpack.decode(data, type=LogState)
