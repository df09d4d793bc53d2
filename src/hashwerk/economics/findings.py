"""What a reconciliation can find, and in which words."""

from __future__ import annotations

import enum
from decimal import Decimal

import msgspec


class Reason(enum.Enum):
    """Why two books differ, or cannot be compared."""

    LEDGER_MISSING = "the ledger does not cover this time"
    CREDIT_MISSING = "the pool's books do not have this"
    NOT_FINAL = "the pool has not closed this day"
    NETWORK_MISSING = "the network's difficulty and reward are not known"
    FEES_MISSING = "the fees of the blocks are not known"
    LUCK_UNKNOWN = "the pool lists no blocks, so luck cannot be told from withholding"
    REJECTED = "rejected by the pool"
    LOST = "handed in and never answered"
    CREDITED_LESS = "less work credited than accepted"
    CREDITED_MORE = "more work credited than accepted"
    PAID_LESS = "less credited in satoshi than the scheme owes"
    PAID_MORE = "more credited in satoshi than the scheme owes"
    BLOCK_LESS = "a block paid less than the shares in its window earn without any fees"
    UNKNOWN_HERE = "a name that the ledger does not have"
    UNKNOWN_THERE = "a name that the pool does not have"


class Grade(enum.Enum):
    """What a finding means for who was to be paid."""

    NOTE = "note"  # no judgement
    MISSING = "missing"  # something could not be compared
    SHORT = "short"  # the pool has less than it should
    OVER = "over"


class Unit(enum.Enum):
    """What sizes are measured in."""

    DIFFICULTY = "difficulty"
    SAT = "sat"


GRADES: dict[Reason, Grade] = {
    Reason.LEDGER_MISSING: Grade.MISSING,
    Reason.CREDIT_MISSING: Grade.MISSING,
    Reason.NOT_FINAL: Grade.NOTE,
    Reason.NETWORK_MISSING: Grade.MISSING,
    Reason.FEES_MISSING: Grade.MISSING,
    Reason.LUCK_UNKNOWN: Grade.MISSING,
    Reason.REJECTED: Grade.NOTE,
    Reason.LOST: Grade.NOTE,
    Reason.CREDITED_LESS: Grade.SHORT,
    Reason.CREDITED_MORE: Grade.OVER,
    Reason.PAID_LESS: Grade.SHORT,
    Reason.PAID_MORE: Grade.OVER,
    Reason.BLOCK_LESS: Grade.SHORT,
    Reason.UNKNOWN_HERE: Grade.NOTE,
    Reason.UNKNOWN_THERE: Grade.SHORT,
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One difference, or one thing that could not be compared.

    ``size`` is theirs less ours: negative where the pool has less. ``low`` and ``high`` bound what the pool may honestly
    have; where the scheme has luck they hold its interval too, with ``confidence``, else they are the tolerance alone.
    """

    reason: Reason
    detail: str = ""
    unit: Unit | None = None
    size: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    confidence: float | None = None

    @property
    def grade(self) -> Grade:
        """What this means."""
        return GRADES[self.reason]
