"""What a hash earns: hashprice, the power price at which a machine breaks even, and the spread of luck.

Money is `Decimal` in whatever currency the coin's price was given in; every function says its unit. Arithmetic is done
with 34 significant digits whatever the caller's decimal context is, and nothing is rounded: rounding belongs to whoever
shows or settles a figure.
"""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import Final

import msgspec

from hashwerk.chain.subsidy import SAT_PER_BTC

#: Hashes a block takes on average at difficulty 1. Exactly it is 2**256 / (0xffff·2**208 + 1), which is larger by
#: 1/65535; published hashprices use 2**32, and so does this module.
HASHES_PER_DIFFICULTY: Final = 1 << 32
SECONDS_PER_DAY: Final = 86_400
HASHES_PER_TH: Final = 10**12
#: 0.024 = 24 h/day · 1 J/TH · 1 TH/s / 1000 W/kW, in kWh a day; with MWh and PH the factor is the same.
_MWH_PER_DAY_PER_PH_PER_J_TH: Final = Decimal("0.024")
_PRECISION: Final = Context(prec=34)

Number = Decimal | int
"""What money formulas take. A float is refused by the type: ``Decimal(str(x))`` says what was meant."""


class BlockCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many blocks a hash rate finds in a period, before it is known.

    ``low`` and ``high`` bound the count with at least the given confidence: the chance of fewer than ``low``, and that
    of more than ``high``, are each at most (1 − confidence)/2.
    """

    expected: Decimal
    low: int
    high: int
    relative_spread: Decimal | None  # standard deviation over mean, 1/√λ; None where nothing is expected


def hashprice_per_th_day(
    difficulty: Number, subsidy_sat: int, fee_share: Number, price_per_btc: Number
) -> Decimal:
    """Return what one TH/s earns in a day, in the currency of ``price_per_btc``.

    hashprice = 86400·10¹² / (2³²·D) · subsidy / (1 − fee share) · price, where the fee share is
    fees / (subsidy + fees), usually its mean over 144 blocks (the definition of Luxor's hashprice index).

    Raises:
        ValueError: If the difficulty is not positive, the fee share is not in [0, 1), or a value is negative.
    """
    with localcontext(_PRECISION):
        return (
            hashprice_sat_per_th_day(difficulty, subsidy_sat, fee_share) * _price(price_per_btc) / SAT_PER_BTC
        )


def hashprice_sat_per_th_day(difficulty: Number, subsidy_sat: int, fee_share: Number) -> Decimal:
    """Return what one TH/s earns in a day, in satoshi.

    Raises:
        ValueError: If the difficulty is not positive, the fee share is not in [0, 1), or the subsidy is negative.
    """
    if not 0 <= fee_share < 1:
        raise ValueError(f"a share of fees lies in [0, 1): {fee_share}")
    if subsidy_sat < 0:
        raise ValueError(f"a subsidy is not negative: {subsidy_sat}")
    with localcontext(_PRECISION):
        reward_sat = Decimal(subsidy_sat) / (1 - Decimal(fee_share))
        return expected_blocks(HASHES_PER_TH, SECONDS_PER_DAY, difficulty) * reward_sat


def fee_share(subsidy_sat: int, fees_sat: int) -> Decimal:
    """Return fees / (subsidy + fees), of one block or summed over many.

    Raises:
        ValueError: If a value is negative, or both are zero.
    """
    if subsidy_sat < 0 or fees_sat < 0:
        raise ValueError(f"subsidy and fees are not negative: {subsidy_sat}, {fees_sat}")
    if subsidy_sat + fees_sat == 0:
        raise ValueError("a block that pays nothing has no share of fees")
    with localcontext(_PRECISION):
        return Decimal(fees_sat) / (subsidy_sat + fees_sat)


def break_even_per_mwh(hashprice_per_ph_day: Number, efficiency_j_per_th: Number) -> Decimal:
    """Return the power price per MWh at which a machine earns just its power.

    hashprice [per PH/s and day] / (0.024 · J/TH). When two modes of one machine are compared the efficiency is that of
    the *extra* watts, ΔW/ΔTH (`marginal_j_per_th`), never the average.

    Raises:
        ValueError: If the efficiency is not positive.
    """
    if not efficiency_j_per_th > 0:
        raise ValueError(f"an efficiency in J/TH is positive: {efficiency_j_per_th}")
    with localcontext(_PRECISION):
        return Decimal(hashprice_per_ph_day) / (_MWH_PER_DAY_PER_PH_PER_J_TH * efficiency_j_per_th)


def power_cost_per_th_day(power_price_per_mwh: Number, efficiency_j_per_th: Number) -> Decimal:
    """Return what the power of one TH/s costs in a day, in the currency of the price: 0.000024 · J/TH · price."""
    with localcontext(_PRECISION):
        return _MWH_PER_DAY_PER_PH_PER_J_TH / 1000 * efficiency_j_per_th * power_price_per_mwh


def marginal_j_per_th(
    power_low_w: Number, hashrate_low_ths: Number, power_high_w: Number, hashrate_high_ths: Number
) -> Decimal:
    """Return what the next terahash costs in joules when a machine goes from a low mode to a high one.

    Raises:
        ValueError: If the high mode hashes no faster than the low one.
    """
    if not hashrate_high_ths > hashrate_low_ths:
        raise ValueError(f"the high mode is not faster: {hashrate_high_ths} against {hashrate_low_ths} TH/s")
    with localcontext(_PRECISION):
        return (Decimal(power_high_w) - power_low_w) / (Decimal(hashrate_high_ths) - hashrate_low_ths)


def expected_blocks(hashrate_hs: Number, duration_s: Number, difficulty: Number) -> Decimal:
    """Return λ = h·t / (2³²·D), the blocks found on average (M. Rosenfeld, arXiv 1112.4980, section 1).

    Raises:
        ValueError: If the difficulty is not positive, or hash rate or duration is negative.
    """
    if not difficulty > 0:
        raise ValueError(f"a difficulty is positive: {difficulty}")
    if hashrate_hs < 0 or duration_s < 0:
        raise ValueError(f"hash rate and duration are not negative: {hashrate_hs} H/s, {duration_s} s")
    with localcontext(_PRECISION):
        return Decimal(hashrate_hs) * duration_s / (HASHES_PER_DIFFICULTY * Decimal(difficulty))


def block_count(expected: Decimal, confidence: float = 0.95) -> BlockCount:
    """Return how many blocks luck may bring where ``expected`` are expected: a Poisson count and its spread.

    The relative standard deviation of a solo payout is 1/√λ (Rosenfeld, section 2).

    Raises:
        ValueError: If ``expected`` is negative or ``confidence`` is not between 0 and 1.
    """
    if expected < 0:
        raise ValueError(f"an expected count is not negative: {expected}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1: {confidence}")
    from scipy.stats import poisson  # half a second to import: not for a command that only asks for help

    tail = (1 - confidence) / 2
    low = int(poisson.ppf(tail, float(expected)))
    high = int(poisson.isf(tail, float(expected)))
    with localcontext(_PRECISION):
        spread = 1 / expected.sqrt() if expected else None
    return BlockCount(expected=expected, low=max(0, low), high=max(0, high), relative_spread=spread)


def _price(price: Number) -> Decimal:
    if price < 0:
        raise ValueError(f"a price of coin is not negative: {price}")
    return Decimal(price)
