"""The month's figures, renewed now and then from the record: bill, peak, and how clean its hours were."""

from __future__ import annotations

import datetime
from decimal import Decimal

from hashwerk.energy.settings import EnergySettings
from hashwerk.energy.tariff import Tariff
from hashwerk.energy.usage import BillingFacts
from hashwerk.site.energy import accounts
from hashwerk.site.energy.billing_facts import facts_so_far
from hashwerk.site.energy.cleanness import clean_view
from hashwerk.site.energy.hours import GridTold, Hours
from hashwerk.site.energy.metered import SiteRegisters
from hashwerk.site.energy.obligations import contract_of, taken_wh
from hashwerk.site.energy.record import EnergyRecord, Quarter
from hashwerk.site.energy.view import BillView, CleanView


class Month:
    """Bill and scores of the month so far. `renew` runs in a thread; what it leaves is read by the loop."""

    def __init__(
        self,
        energy: EnergySettings,
        tariff: Tariff | None,
        facts: BillingFacts,
        record: EnergyRecord,
        registers: SiteRegisters | None = None,
    ) -> None:
        self._energy = energy
        self._tariff = tariff
        self._told = facts
        self.facts = facts  # with what the record adds to them
        self._record = record
        self._registers = registers
        self.hours = Hours(energy, record, registers)
        self.bill: BillView | None = None
        self.clean: CleanView | None = None
        self.imported_kwh = Decimal(0)
        self.peaks_w: dict[str, float] = {}  # by demand charge
        self.taken_wh = 0.0  # of the contract that plans are made with

    def renew(self, now: float, zone: datetime.tzinfo, told: GridTold = GridTold()) -> None:  # noqa: B008 - frozen
        """Close the hours that are over, and add up the month so far.

        Raises:
            StoreError: If the record cannot be used.
        """
        self.hours.close(now, told)
        begin_s = accounts.month_begin_s(now, zone)
        if told.price is not None:
            self._record.put_market(accounts.market_prices(self._record.quarters(begin_s, now), told.price))
        quarters = self._quarters(begin_s, now)
        contract = contract_of(self._energy.sources)
        self.taken_wh = 0.0 if contract is None else taken_wh(contract, quarters)
        if self._tariff is not None:
            self.peaks_w = accounts.demand_peaks_w(self._tariff, quarters, begin_s)
            self.imported_kwh = Decimal(sum(accounts.taken_wh(one) for one in quarters)) / 1_000
            self.facts, remarks = facts_so_far(self._tariff, self._told, self._record, begin_s, now)
            self.bill = accounts.month_bill(self._tariff, self.facts, quarters, begin_s, remarks)
        self.clean = clean_view(self.hours.rules, self._record.hours(begin_s, now), begin_s, now)

    def _quarters(self, start_s: float, now: float) -> list[Quarter]:
        quarters = self._record.quarters(start_s, now)
        return quarters if self._registers is None else self._registers.counted(quarters)
