"""The month's figures, renewed now and then from the record: bill, peak, and how clean its hours were."""

from __future__ import annotations

import datetime

from hashwerk.energy.settings import EnergySettings
from hashwerk.energy.tariff import Tariff
from hashwerk.energy.usage import BillingFacts
from hashwerk.site.energy import accounts
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
        self._facts = facts
        self._record = record
        self._registers = registers
        self.hours = Hours(energy, record, registers)
        self.bill: BillView | None = None
        self.clean: CleanView | None = None
        self.peak_w = 0.0
        self.taken_wh = 0.0  # of the contract that plans are made with

    def renew(self, now: float, zone: datetime.tzinfo, told: GridTold = GridTold()) -> None:  # noqa: B008 - frozen
        """Close the hours that are over, and add up the month so far.

        Raises:
            StoreError: If the record cannot be used.
        """
        self.hours.close(now, told)
        begin_s = accounts.month_begin_s(now, zone)
        quarters = self._quarters(begin_s, now)
        self.peak_w = accounts.peak_w(quarters)
        contract = contract_of(self._energy.sources)
        self.taken_wh = 0.0 if contract is None else taken_wh(contract, quarters)
        if self._tariff is not None:
            self.bill = accounts.month_bill(self._tariff, self._facts, quarters, begin_s)
        self.clean = clean_view(self.hours.rules, self._record.hours(begin_s, now), begin_s, now)

    def _quarters(self, start_s: float, now: float) -> list[Quarter]:
        quarters = self._record.quarters(start_s, now)
        return quarters if self._registers is None else self._registers.counted(quarters)
