"""The single comparisons of a reconciliation: work credited against accepted, satoshi against the scheme's formula, luck."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import msgspec

from hashwerk.economics.books import DayBooks
from hashwerk.economics.findings import Finding, Reason, Unit
from hashwerk.economics.schemes import (
    Scheme,
    Terms,
    expected_pay_sat,
    luck,
    net_reward_sat,
    window_of,
    window_pay_sat,
)

#: Difficulty 1 is 2**32 hashes to most pools and 2**48/65535 to others.
SHARE_ROUNDING: Final = Decimal(1) / 65_535
_ZERO: Final = Decimal(0)


class Allowance(msgspec.Struct, frozen=True, kw_only=True):
    """What is tolerated before a difference is called one."""

    boundary_s: int = 120
    share_rounding: Decimal = SHARE_ROUNDING
    confidence: float = 0.95


def credit_findings(
    accepted: Decimal,
    credited: Decimal | None,
    *,
    lost: Decimal,
    edge: Decimal,
    step: Decimal,
    allowance: Allowance,
) -> list[Finding]:
    """Compare work accepted with work credited. A lost share may be in the pool's books or not: it widens upwards."""
    if credited is None:
        return []
    tolerance = (accepted + edge + lost) * allowance.share_rounding + edge + step
    low, high = max(_ZERO, accepted - tolerance), accepted + tolerance + lost
    if low <= credited <= high:
        return []
    reason = Reason.CREDITED_LESS if credited < low else Reason.CREDITED_MORE
    return [Finding(reason=reason, unit=Unit.DIFFICULTY, size=credited - accepted, low=low, high=high)]


def owed(
    terms: Terms, books: DayBooks, accepted: Decimal | None, edge: Decimal
) -> tuple[Decimal | None, Decimal | None, list[Finding]]:
    """Return what the scheme owes at least and at most for a day's work, and what was missing to say so.

    The work is that in the pool's books where it tells it, so that a difference in work is not found twice; else what was
    accepted, give or take the day's edges.
    """
    credited = books.credited
    if credited is not None and credited.difficulty is not None:
        work, spread = credited.difficulty, credited.difficulty_step
    elif accepted is not None:
        work, spread = accepted, edge
    else:
        return None, None, []
    if not books.networks:
        return None, None, [Finding(reason=Reason.NETWORK_MISSING)]
    low = min(
        expected_pay_sat(terms, max(_ZERO, work - spread), network, network.fees_low_sat or 0)
        for network in books.networks
    )
    if terms.scheme is not Scheme.PPS and any(network.fees_high_sat is None for network in books.networks):
        return low, None, [Finding(reason=Reason.FEES_MISSING, detail="the least owed has none")]
    high = max(
        expected_pay_sat(terms, work + spread, network, network.fees_high_sat or 0)
        for network in books.networks
    )
    return low, high, []


def pay_findings(
    credited_sat: Decimal | None, step: Decimal, low_sat: Decimal | None, high_sat: Decimal | None
) -> list[Finding]:
    """Compare satoshi credited with what a scheme without luck owes."""
    if credited_sat is None or low_sat is None:
        return []
    if credited_sat < low_sat - step:
        reason, size = Reason.PAID_LESS, credited_sat - low_sat
    elif high_sat is not None and credited_sat > high_sat + step:
        reason, size = Reason.PAID_MORE, credited_sat - high_sat
    else:
        return []
    high = None if high_sat is None else high_sat + step
    return [Finding(reason=reason, unit=Unit.SAT, size=size, low=low_sat - step, high=high)]


def block_findings(terms: Terms, books: DayBooks) -> list[Finding]:
    """Compare each block's payment with what the shares in its window earn of the subsidy alone. Nothing of this is luck.

    The fees of the block itself are not known here, so this is the least that it owes. On the day of a retarget the harder
    difficulty counts, under which the same shares are less of the window.
    """
    window = window_of(terms)
    if books.credited is None or not books.networks or window is None:
        return []
    findings = []
    for block in books.credited.block_credits:
        least = min(
            window_pay_sat(
                terms,
                min(block.window_shares, window * network.difficulty),
                network.difficulty,
                network.subsidy_sat,
            )
            for network in books.networks
        )
        if block.net_sat < least - books.credited.sat_step:
            at = dt.datetime.fromtimestamp(block.at, dt.UTC)
            findings.append(
                Finding(
                    reason=Reason.BLOCK_LESS,
                    detail=f"at {at:%H:%M:%S}",
                    unit=Unit.SAT,
                    size=block.net_sat - least,
                    low=least - books.credited.sat_step,
                )
            )
    return findings


def luck_findings(
    terms: Terms,
    days: Sequence[DayBooks],
    *,
    sat: Decimal | None,
    blocks: int | None,
    low_sat: Decimal | None,
    high_sat: Decimal | None,
    allowance: Allowance,
    pool_share: Decimal | None,
) -> list[Finding]:
    """Ask whether a scheme's luck explains what was credited: blocks that paid, against the Poisson interval for their number.

    What one block pays is taken from the blocks themselves, or from ``pool_share``, or is the whole block when mining solo.
    """
    if sat is None or low_sat is None:
        return []
    each = _per_block_sat(terms, days, sat, blocks, pool_share)
    if each is None:
        return [Finding(reason=Reason.LUCK_UNKNOWN)]
    low = luck(low_sat, each, allowance.confidence).low_sat
    high = None if high_sat is None else luck(high_sat, each, allowance.confidence).high_sat
    assert low is not None
    # A whole block either way is never more exact than its own payment.
    if sat < low - each / 2:
        reason, size = Reason.PAID_LESS, sat - low_sat
    elif high is not None and high_sat is not None and sat > high + each / 2:
        reason, size = Reason.PAID_MORE, sat - high_sat
    else:
        return []
    return [
        Finding(
            reason=reason,
            detail="more than luck explains",
            unit=Unit.SAT,
            size=size,
            low=low,
            high=high,
            confidence=allowance.confidence,
        )
    ]


def _per_block_sat(
    terms: Terms, days: Sequence[DayBooks], sat: Decimal, blocks: int | None, pool_share: Decimal | None
) -> Decimal | None:
    if blocks:
        return sat / blocks if sat > 0 else None
    share = Decimal(1) if terms.scheme is Scheme.SOLO else pool_share
    networks = [network for day in days for network in day.networks]
    if share is None or not networks:
        return None
    fees_sat = networks[0].fees_high_sat or _ZERO
    return share * net_reward_sat(terms, networks[0].subsidy_sat, fees_sat)
