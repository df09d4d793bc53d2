"""The month's figures, renewed now and then from the record: bill, peak, scores, and the rule declared for them."""

from __future__ import annotations

import datetime
import logging
from typing import Final

from hashwerk.energy.settings import EnergySettings, next_month_s
from hashwerk.energy.sources import AttributionError, Declaration
from hashwerk.energy.tariff import Tariff
from hashwerk.energy.usage import BillingFacts
from hashwerk.site.energy import accounts
from hashwerk.site.energy.metered import SiteRegisters
from hashwerk.site.energy.obligations import contract_of, taken_wh
from hashwerk.site.energy.record import EnergyRecord, Quarter
from hashwerk.site.energy.view import BillView, CleanView

log = logging.getLogger(__name__)

_DECLARED: Final = "declarations"
_HOUR_S: Final = 3_600


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
        self.bill: BillView | None = None
        self.clean: CleanView | None = None
        self.peak_w = 0.0
        self.taken_wh = 0.0  # of the contract that plans are made with

    def renew(self, now: float, zone: datetime.tzinfo, grid_g_per_kwh: float | None) -> None:
        """Add up the month so far.

        Raises:
            StoreError: If the record cannot be used.
        """
        begin_s = accounts.month_begin_s(now, zone)
        quarters = self._quarters(begin_s, now)
        self.peak_w = accounts.peak_w(quarters)
        contract = contract_of(self._energy.sources)
        self.taken_wh = 0.0 if contract is None else taken_wh(contract, quarters)
        if self._tariff is not None:
            self.bill = accounts.month_bill(self._tariff, self._facts, quarters, begin_s)
        if self._energy.sources:
            declared = self._declared(now)
            since_s = float(declared.start_s)
            counted = quarters if since_s >= begin_s else self._quarters(since_s, now)
            self.clean = accounts.clean_view(self._energy, declared, counted, grid_g_per_kwh)

    def _quarters(self, start_s: float, now: float) -> list[Quarter]:
        quarters = self._record.quarters(start_s, now)
        return quarters if self._registers is None else self._registers.counted(quarters)

    def _declared(self, now: float) -> Declaration:
        """Return the rule that holds now. A new one holds from the next full hour: nothing is declared for what is past."""
        settings = self._energy.attribution
        known: list[Declaration] = self._record.kept(_DECLARED, list[Declaration]) or []
        current = next((one for one in known if one.start_s <= now < one.stop_s), None)
        ahead = next((one for one in known if one.start_s > now), None)
        if current is not None and ahead is not None:
            return current
        month_s, after_s = next_month_s(now)
        new: list[Declaration] = []
        try:
            if current is None and ahead is None:
                start_s = (int(now) // _HOUR_S + 1) * _HOUR_S
                new.append(settings.declare(start_s, max(month_s, start_s + _HOUR_S), now))
            elif current is not None and (current.rule, current.order) != (settings.rule, settings.order):
                log.warning("the new rule of attribution holds from the next month on")
            if current is not None:
                new.append(settings.declare(max(month_s, current.stop_s), after_s, now))
        except AttributionError as error:
            log.error("no rule of attribution is declared: %s", error)
        if new:
            known = [*known, *new]
            self._record.keep(_DECLARED, known[-24:])
        return current or ahead or known[-1]
