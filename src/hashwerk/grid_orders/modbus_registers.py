"""The registers of the inbound Modbus server, and what their figures mean. The table stands in docs/guide/grid-orders.md."""

from __future__ import annotations

import enum
from typing import Final

from hashwerk.dispatch.orders import OrderKind

MAP_VERSION: Final = 1
#: First registers, and how many there are: what is read, and what is written.
SEEN, SEEN_COUNT = 0, 14
WRITTEN, WRITTEN_COUNT = 100, 6
SETPOINT, MODE, MINUTES, HEARTBEAT, ACTIVATE = 0, 2, 3, 4, 5  # from WRITTEN on
#: Of a figure of two registers that is not known.
UNKNOWN: Final = -(2**31)


class Status(enum.IntEnum):
    """What register 8 says."""

    FREE = 0
    AHEAD = 1  # taken; power does not follow yet, or its baseline is being measured
    REDUCING = 2
    REACHED = 3
    MASTER_SILENT = 4
    REFUSED = 5  # the last activation


class Mode(enum.IntEnum):
    """What is written to the mode register."""

    NONE = 0
    REDUCE_TO = 1
    REDUCE_BY = 2
    ALL = 3


KINDS: Final = {
    Mode.REDUCE_TO: OrderKind.REDUCE_TO,
    Mode.REDUCE_BY: OrderKind.REDUCE_BY,
    Mode.ALL: OrderKind.ALL,
}


def words(value: float | None) -> tuple[int, int]:
    """Return a figure as two registers, the high one first."""
    figure = UNKNOWN if value is None else max(UNKNOWN + 1, min(2**31 - 1, round(value)))
    figure &= 0xFFFF_FFFF
    return figure >> 16, figure & 0xFFFF


def number(high: int, low: int) -> int:
    """Return the signed figure of two registers."""
    figure = high << 16 | low
    return figure - 2**32 if figure >= 2**31 else figure
