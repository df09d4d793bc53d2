"""Bills to the cent."""

from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import Final

import msgspec

from hashwerk.energy.charges import Line, Work, charge
from hashwerk.energy.excess import split_excess
from hashwerk.energy.local_time import WallClock, local_date
from hashwerk.energy.series import Series
from hashwerk.energy.tariff import Tariff, TariffError
from hashwerk.energy.usage import BillingFacts, Usage

_PRECISION: Final = Context(prec=40)


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """What a period costs."""

    tariff: str
    currency: str
    start_s: int
    stop_s: int
    lines: tuple[Line, ...]
    energy_kwh: Decimal
    peak_kw: Decimal | None  # that was charged; None: no demand charge
    estimated_intervals: int = 0

    @property
    def total(self) -> Decimal:
        """The sum of all lines."""
        return sum((line.amount for line in self.lines), Decimal(0))

    def amount(self, component: str) -> Decimal:
        """Return the sum of a component's lines."""
        return sum((line.amount for line in self.lines if line.component == component), Decimal(0))


def make_bill(
    tariff: Tariff, usage: Usage, facts: BillingFacts | None = None, *, market: Series | None = None
) -> Bill:
    """Return the bill for a period.

    Args:
        tariff: The contract.
        usage: What was measured.
        facts: What else the tariff asks for.
        market: Prices per MWh in the tariff's currency, where it has a component of the market.

    Raises:
        TariffError: If the tariff does not hold for the period, says nothing about one of its hours, or lacks a price or a
            fact; the message names it.
    """
    with localcontext(_PRECISION):
        work = _prepare(tariff, usage, facts or BillingFacts(), market)
        for component in tariff.components:
            charge(work, component)
    return Bill(
        tariff=tariff.name,
        currency=tariff.currency,
        start_s=usage.start_s,
        stop_s=usage.stop_s,
        lines=tuple(work.lines),
        energy_kwh=Decimal(int(usage.import_wh.sum())) / 1_000,
        peak_kw=work.peak_kw,
        estimated_intervals=usage.estimated,
    )


def _prepare(tariff: Tariff, usage: Usage, facts: BillingFacts, market: Series | None) -> Work:
    first, last = local_date(usage.start_s, tariff.zone), local_date(usage.stop_s - 1, tariff.zone)
    if first < tariff.valid_from or (tariff.valid_to is not None and last >= tariff.valid_to):
        until = f"before {tariff.valid_to}" if tariff.valid_to else "on"
        raise TariffError(
            f"the tariff {tariff.name} holds from {tariff.valid_from} {until}, not from {first} to {last}"
        )
    wall = WallClock.at(usage.starts_s, tariff.zone)
    normal_wh, excess_wh = split_excess(tariff, usage, facts)
    return Work(
        tariff=tariff,
        usage=usage,
        facts=facts,
        market=market,
        wall=wall,
        last=WallClock.at(usage.starts_s + usage.interval_s - 1, tariff.zone),
        holidays=tariff.holiday_mask(wall),
        normal_wh=normal_wh,
        excess_wh=excess_wh,
    )
