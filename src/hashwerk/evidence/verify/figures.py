"""Figures of a statement: value, unit, and what it is worth, which is never more than what it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from hashwerk.evidence.bundle import Manifest
from hashwerk.evidence.epoch import Header
from hashwerk.evidence.records import Payout
from hashwerk.evidence.verify.block_shares import BlockShare
from hashwerk.evidence.verify.epochs import StandingWalk
from hashwerk.evidence.verify.facts import Facts
from hashwerk.evidence.verify.result import Checks
from hashwerk.evidence.verify.shares import Work
from hashwerk.evidence.verify.time import Bounds


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """All that a statement is made from."""

    manifest: Manifest
    headers: Sequence[Header]
    standing: StandingWalk
    facts: Facts
    work: Work
    checks: Checks
    bounds: Sequence[Bounds]
    efficiency_mj_per_th: int | None  # of the best declared machine; None: none is declared
    pinned: bool
    block_shares: dict[bytes, BlockShare]
    payouts: Sequence[Payout]  # that count
    lacking: int  # payouts that could not be recomputed

    @property
    def duration_s(self) -> float:
        """Length of the period."""
        return (self.headers[-1].end_us - self.headers[0].start_us) / 1e6

    @property
    def timed(self) -> bool:
        """Whether others than the operator say when every epoch's work was done."""
        return all(bound.before_us is not None for bound in self.bounds if bound.epoch)

    def worth(self, label: str, *checks: str) -> str:
        """Return a label, or that a check which the figure rests on fails."""
        failed = next((name for name in (*_ALWAYS, *checks) if self.checks.is_contradicted(name)), None)
        return str(label) if failed is None else f"not shown: the check of {failed} fails"


#: What every figure rests on.
_ALWAYS = ("container", "seal", "key chain", "epoch chain", "standing", "scale", "records")
#: What figures of work rest on.
WORK_CHECKS = ("shares", "duplicates", "sums", "uniformity")
ENERGY_CHECKS = ("meters", "energy bound")


def figure(value: Any, unit: str, label: str, **more: Any) -> dict[str, Any]:
    """Return one figure: value, unit, what it is worth."""
    return {"value": value, "unit": unit, "label": str(label), **more}
