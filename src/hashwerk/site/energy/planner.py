"""Makes plans: asks what is known now, lets a policy think in a thread of its own, and says what went wrong."""

from __future__ import annotations

import asyncio
import datetime
import logging
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from hashwerk.clock import Clock
from hashwerk.dispatch.grid import HOUR_S
from hashwerk.dispatch.policies.marginal import climb_down
from hashwerk.dispatch.problem import Problem
from hashwerk.dispatch.safety import Signal as Watched
from hashwerk.dispatch.safety import Stance
from hashwerk.dispatch.schedule import Schedule
from hashwerk.dispatch.settings import DispatchSettings
from hashwerk.energy.ports import Feed, Signal
from hashwerk.energy.series import Series
from hashwerk.energy.settings import EnergySettings
from hashwerk.energy.tariff import Tariff
from hashwerk.errors import DispatchError
from hashwerk.feeds.settings import FeedSettings
from hashwerk.policy.settings import PlaceSettings
from hashwerk.site.energy.curtailment import Curtailment
from hashwerk.site.energy.groups import make_herds
from hashwerk.site.energy.obligations import Contract, contract_of, month_stop_s
from hashwerk.site.energy.place import Place
from hashwerk.site.energy.planning import Known, Plan, make_plan, make_policy, make_problem_of
from hashwerk.site.energy.ports import FleetPort, MachineNow
from hashwerk.site.energy.present import Gauge
from hashwerk.site.energy.signals import Hashprice, Signals

log = logging.getLogger(__name__)

_BEHIND_S: Final = 12 * 3_600
_AHEAD_S: Final = 36 * 3_600
#: These need no hashprice: they do not compare.
_NEEDS_NO_HASHPRICE: Final = {"always on", "strike"}


class EnergyParts(msgspec.Struct, frozen=True, kw_only=True):
    """The sections of a site file that energy is run by."""

    dispatch: DispatchSettings = DispatchSettings()
    energy: EnergySettings = EnergySettings()
    feeds: tuple[FeedSettings, ...] = ()
    place: PlaceSettings = PlaceSettings()
    is_simulation: bool = False
    assumptions: tuple[str, ...] = ()


class Planner:
    """The plan in force and what it was made from. Owned by one loop.

    Raises:
        ConfigError: If a feed, a tariff or the rules cannot be used.
    """

    def __init__(
        self,
        parts: EnergyParts,
        fleet: FleetPort,
        clock: Clock,
        curtailment: Curtailment,
        own_feeds: Sequence[Feed] = (),
    ) -> None:
        self._settings = parts.dispatch
        self.contract = contract_of(parts.energy.sources)
        self._fleet = fleet
        self._clock = clock
        self._curtailment = curtailment
        self.tariff: Tariff | None = parts.energy.tariff.load()
        self.facts = parts.energy.tariff.facts()
        self.zone: datetime.tzinfo = datetime.UTC if self.tariff is None else ZoneInfo(self.tariff.zone)
        self.signals = Signals(parts.feeds, clock, parts.dispatch.currency, own_feeds)
        self.gauge = Gauge(fleet, parts.dispatch, parts.energy)
        self._place = Place(parts.place, parts.energy)
        self._policy = make_policy(parts.dispatch)
        self._had_price = False
        self.plan: Plan | None = None
        self.trouble: str | None = None  # why there is no new plan
        self._told: str | None = None  # of which the log knows
        self.price: Series | None = None
        self.carbon: Series | None = None
        self.generation: Series | None = None
        self.hashprice = Hashprice(per_ph_day=None, text="not known yet")
        self.month_peaks_w: dict[str, float] = {}  # by demand charge
        self.month_kwh = Decimal(0)
        self.taken_wh = 0.0  # of the contract, this month
        self.battery: Series | None = None

    async def renew_signals(self) -> None:
        """Take in what feeds tell now."""
        now = self._clock.time()
        start_s = int(now) - _BEHIND_S
        stop_s = int(now + max(_AHEAD_S, self._settings.horizon_h * HOUR_S))
        self.price = await self.signals.series(Signal.PRICE, start_s, stop_s)
        self.carbon = await self.signals.series(Signal.CARBON_AVERAGE, start_s, stop_s)
        self.generation = await self.signals.series(Signal.GENERATION, start_s, stop_s)
        if self._settings.battery is not None:
            self.battery = await self.signals.series(Signal.BATTERY_CHARGE, start_s, stop_s)
        self.hashprice = self.signals.hashprice(self._settings.hashprice)

    def price_now(self) -> float | None:
        """Return what a MWh more costs now, as the plan in force has it, else as the feed tells; None where it is not known."""
        now = self._clock.time()
        if self.plan is not None:
            grid = self.plan.problem.grid
            if grid.starts_s[0] <= now < grid.ends_s[-1]:
                value = float(self.plan.problem.buy_per_mwh[self.plan.at(now)])
                return value if value == value else None  # noqa: PLR0124 - not a number is not known
        if self.price is None:
            return None
        value_now = self.price.at(now)
        return None if value_now is None else value_now + self._settings.fees_per_mwh

    def watched(self) -> list[Watched]:
        """Return the signals that decisions rest on, with their ages."""
        now, found = self._clock.time(), list[Watched]()
        if self.price is not None and (self.tariff is None or self.tariff.needs_market):
            is_known = self.price.at(now) is not None
            self._had_price |= is_known
            age_s = 0.0 if is_known else None
            found.append(
                Watched(
                    name="the price",
                    age_s=age_s,
                    max_age_s=self._settings.every_s,
                    when_stale=self._settings.when_price_stale if self._had_price else "keep",
                )
            )
        elif self.signals.is_configured and self._tells_no_price():
            found.append(Watched(name="the price", age_s=None, max_age_s=0.0, when_stale="keep"))
        meter = self.gauge.meter_signal(now)
        if meter is not None:
            found.append(meter)
        return found

    def _tells_no_price(self) -> bool:
        """Say whether a price is waited for: plans are made with prices, and no tariff has its own."""
        return self.tariff is None and self.signals.expects(Signal.PRICE)

    async def make(self, stance: Stance, reasons: Sequence[str]) -> Plan | None:
        """Make a plan from what is known now; None where that cannot be done, and `trouble` says why."""
        now, machines = self._clock.time(), self._fleet.machines()
        await self.renew_signals()
        self.gauge.look(machines, now)
        self.trouble = self._why_not(machines)
        if self.trouble is not None:
            return None
        is_fallback = stance is Stance.FALL_BACK
        known = self._known(machines, now)
        began_s = time.perf_counter()  # to show how long it took, and for nothing else
        try:
            problem, schedule, remarks = await self._solve(known, is_fallback=is_fallback)
        except DispatchError as error:
            self.trouble = str(error).removeprefix("no plan: ")
            if self.trouble != self._told:
                log.warning("there is no plan: %s", self.trouble)
            self._told = self.trouble
            return None
        if is_fallback and reasons:
            remarks = (f"fallback policy: {reasons[0]}", *remarks)
        self._told = None
        self.plan = Plan(
            made_s=now,
            took_s=time.perf_counter() - began_s,
            policy=self._settings.fallback if is_fallback else self._settings.policy,
            herds=known.herds,
            problem=problem,
            schedule=schedule,
            remarks=remarks,
        )
        return self.plan

    async def _solve(self, known: Known, *, is_fallback: bool) -> tuple[Problem, Schedule, tuple[str, ...]]:
        policy = make_policy(self._settings, self._settings.fallback) if is_fallback else self._policy
        try:
            async with asyncio.timeout(2.0 * self._settings.time_limit_s + 5.0):
                return await asyncio.to_thread(
                    make_plan, known, self._settings, policy, self.tariff, self.facts
                )
        except DispatchError:
            raise
        except Exception as error:  # whatever goes wrong in a solver, machines are not left without a plan
            is_late = isinstance(error, TimeoutError)
            log.exception("the plan failed; the merit order takes its place")
            self._policy = make_policy(self._settings)  # the old one may still be at work
            reason = "it took too long" if is_late else f"{type(error).__name__}: {error}"
            problem, remarks = make_problem_of(known, self._settings, self.tariff, self.facts)
            schedule = await asyncio.to_thread(climb_down, problem, reason)
            return problem, schedule, (*schedule.remarks, *remarks)

    def _why_not(self, machines: Sequence[MachineNow]) -> str | None:
        if not machines:
            return "no machine has been found yet"
        if all(machine.reason_not_ours is not None for machine in machines):
            return f"there is no machine that may be switched: {machines[0].reason_not_ours}"
        needs_hashprice = self._settings.policy not in _NEEDS_NO_HASHPRICE or (
            self._settings.policy == "strike" and self._settings.strike_per_mwh is None
        )
        if needs_hashprice and self.hashprice.per_ph_day is None:
            return f"the hashprice is {self.hashprice.text}"
        if self.price is None and self._tells_no_price() and self._settings.policy != "always on":
            return "no feed has told a price yet"
        return None

    def _contract(self, now: float) -> Contract | None:
        if self.contract is None:
            return None
        stop_s = month_stop_s(now, self.zone)
        return Contract(source=self.contract, taken_wh=self.taken_wh, period_stop_s=stop_s)

    def _known(self, machines: Sequence[MachineNow], now: float) -> Known:
        fleet, settings, gauge = self._fleet, self._settings, self.gauge
        herds = tuple(make_herds(machines, fleet.limits, now, pace=fleet.pace))
        span_s = settings.horizon_h * HOUR_S + 2 * settings.interval_s
        most_w = sum(herd.group.count * herd.group.modes[-1].power_w for herd in herds)
        return Known(
            now=now,
            herds=herds,
            orders=self._curtailment.for_plan(now - settings.interval_s, now + span_s, gauge.import_w),
            price=self.price,
            carbon=self.carbon,
            generation=self.generation,
            hashprice_per_ph_day=self.hashprice.per_ph_day,
            generation_w=sum(gauge.own_w.values()),
            auxiliary_w=gauge.auxiliary_w(machines),
            cooling_share=gauge.cooling_share,
            import_w=gauge.import_w,
            month_peaks_w=self.month_peaks_w,
            month_kwh=self.month_kwh,
            battery_content=None if self.battery is None else self.battery.at(now),
            contract=self._contract(now),
            zone=self.zone,
            forbidden=self._place.forbidden(now, now + span_s, most_w),
            remarks=self._place.remarks(now, most_w),
        )
