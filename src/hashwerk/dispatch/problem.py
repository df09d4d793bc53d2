"""The question put to a policy: machines in groups, limits, prices and obligations over the intervals of a grid.

All arrays over time have shape (T,), those over groups and time (G, T). Power is in watts, consumption positive, energy
in Wh, prices in the site's currency per MWh, hashprice in that currency per PH/s and day after fees and rejects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid, IntArray
from hashwerk.dispatch.modes import Mode, check_modes


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Machines that are alike: same model, firmware, cooling, feeder and age. They are counted, not named."""

    name: str
    modes: tuple[Mode, ...]  # rising in power
    count: int
    residual_w: float = 0.0  # one sleeping machine
    wake_s: float = 0.0  # from the command to full hash rate: what is lost at each start
    wear_per_start: float = 0.0  # currency
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    starts_per_day: int | None = None  # of one machine, per UTC day
    feeder: str | None = None
    response_s: float = 60.0  # proven time from the command to the measured fall of power
    together: bool = False  # all machines share one switch: the whole group is in one mode

    def __post_init__(self) -> None:
        check_modes(self.modes, self.residual_w)
        if self.count < 0:
            raise ValueError(f"{self.name}: a group has no fewer than 0 machines: {self.count}")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class GroupHistory:
    """How long each machine of a group has been on or asleep, and how often it may still start today.

    One entry a machine; running ones first in ``starts_left``, which is None where starts are not limited.
    """

    on_for_s: FloatArray
    off_for_s: FloatArray
    starts_left: IntArray | None = None

    @staticmethod
    def settled(group: Group, running: int) -> GroupHistory:
        """Return the history of a group that has not changed for long, all its starts of today left."""
        left = None if group.starts_per_day is None else np.full(group.count, group.starts_per_day)
        long_s = 365 * DAY_S
        return GroupHistory(
            on_for_s=np.full(running, long_s),
            off_for_s=np.full(group.count - running, long_s),
            starts_left=left,
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Limit:
    """A hard upper bound with a name that people know: a breaker, a feeder, a curtailment order, a rule of the place.

    ``feeder`` None bounds the site's import; a name bounds the power of the machines on that feeder, cooling left out.
    """

    name: str
    limit_w: FloatArray
    feeder: str | None = None


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """How fast the site's import may change; None: as fast as it likes."""

    up_w_per_s: float | None = None
    down_w_per_s: float | None = None
    import_before_w: float | None = None  # measured just before the first interval; None: not bounded there


class Battery(msgspec.Struct, frozen=True, kw_only=True):
    """A battery behind the meter."""

    capacity_wh: float
    power_w: float
    stored_wh: float  # now
    efficiency: float = 0.92  # of a full cycle; half of the loss is charged each way
    wear_per_mwh: float = 0.0  # of energy discharged
    reserve_wh: float = 0.0
    end_wh: float | None = None  # least content at the end of the plan; None: no emptier than now


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DemandCharge:
    """A price on the highest mean import over a tariff interval of 15 or 30 minutes.

    Args:
        price_per_kw: Currency per kW of the period's peak.
        month_to_date_w: The highest mean so far: below it imports cost nothing more.
        interval_s: The tariff's interval.
        applies: Which intervals of the grid count, shape (T,); None: all.
        imported_wh: Already imported in the tariff interval that has begun before the grid does.
    """

    name: str
    price_per_kw: float
    month_to_date_w: float
    interval_s: float = 900.0
    applies: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None
    imported_wh: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CoincidentPeak:
    """A price on the import while the whole grid has its peak, which nobody knows before it is over.

    Args:
        price_per_kw: Currency per kW of mean import in the interval of a peak.
        chance: How many peaks are expected to fall into each interval, shape (T,): a probability where it is at most one.
    """

    name: str
    price_per_kw: float
    chance: FloatArray


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Ppa:
    """A contract to take energy at a price, with a least quantity per settlement period; a surplus is resold.

    Args:
        power_w: What can be taken, shape (T,).
        min_take_wh: Left to take in the period until the end of the grid.
        shortfall_per_mwh: Paid for each MWh not taken.
        resale_per_mwh: Earned by what is taken and not used, shape (T,); None: it cannot be resold.
    """

    name: str
    price_per_mwh: float
    power_w: FloatArray
    min_take_wh: float = 0.0
    shortfall_per_mwh: float = 0.0
    resale_per_mwh: FloatArray | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Carbon:
    """Emission of imports, its price, and a budget for what is left of the period."""

    g_per_kwh: FloatArray
    price_per_t: float = 0.0
    budget_g: float | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CleanOnly:
    """Hourly matching: in each period the import is no more than contracted clean energy (own plants come before it)."""

    contracted_w: FloatArray
    tolerance_wh: float = 0.0
    period_s: float = 3_600.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Event:
    """A demand response event: import falls below a baseline by what was committed, at a price.

    An emergency is a hard limit. An economic event pays ``pay_per_mwh`` for what is delivered, up to the commitment, and
    takes ``penalty_per_mwh`` for what is not.
    """

    name: str
    baseline_w: FloatArray
    committed_w: FloatArray  # 0 outside the event
    emergency: bool = False
    pay_per_mwh: float = 0.0
    penalty_per_mwh: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Reserve:
    """Power sold as reserve: that much must be on, in groups whose proven response is fast enough."""

    name: str
    sold_w: FloatArray
    response_s: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Problem:
    """What is known when a plan is made."""

    grid: Grid
    groups: tuple[Group, ...]
    histories: tuple[GroupHistory, ...]
    hashprice_per_ph_day: FloatArray
    buy_per_mwh: FloatArray
    sell_per_mwh: FloatArray  # for energy fed in
    available: IntArray  # machines that can be told to run, shape (G, T)
    auxiliary_w: FloatArray  # house, network, pumps: not machines
    cooling_share: FloatArray  # watts of cooling for each watt of machine
    local_w: FloatArray  # own plants behind the meter, at most
    must_take_w: FloatArray  # the part of it that cannot be turned down
    export_limit_w: float = 0.0
    limits: tuple[Limit, ...] = ()
    ramp: Ramp | None = None
    battery: Battery | None = None
    demand: tuple[DemandCharge, ...] = ()
    coincident: tuple[CoincidentPeak, ...] = ()
    ppa: Ppa | None = None
    carbon: Carbon | None = None
    clean: CleanOnly | None = None
    events: tuple[Event, ...] = ()
    reserves: tuple[Reserve, ...] = ()
    currency: str = "EUR"
    assumptions: tuple[str, ...] = field(default=())

    def running_before(self) -> IntArray:
        """Return how many machines of each group were running just before, shape (G,)."""
        return np.array([len(history.on_for_s) for history in self.histories], dtype=np.int64)


def part_of(problem: Problem, first: int, last: int, histories: Sequence[GroupHistory]) -> Problem:
    """Return the intervals [first, last) of a problem as one of its own, with the machines' histories at its beginning."""
    here = slice(first, last)
    ppa, carbon, clean = problem.ppa, problem.carbon, problem.clean
    return replace(
        problem,
        grid=Grid(problem.grid.starts_s[here], problem.grid.durations_s[here]),
        histories=tuple(histories),
        hashprice_per_ph_day=problem.hashprice_per_ph_day[here],
        buy_per_mwh=problem.buy_per_mwh[here],
        sell_per_mwh=problem.sell_per_mwh[here],
        available=problem.available[:, here],
        auxiliary_w=problem.auxiliary_w[here],
        cooling_share=problem.cooling_share[here],
        local_w=problem.local_w[here],
        must_take_w=problem.must_take_w[here],
        limits=tuple(replace(limit, limit_w=limit.limit_w[here]) for limit in problem.limits),
        demand=tuple(
            replace(charge, applies=None if charge.applies is None else charge.applies[here])
            for charge in problem.demand
        ),
        coincident=tuple(replace(peak, chance=peak.chance[here]) for peak in problem.coincident),
        ppa=None
        if ppa is None
        else replace(
            ppa,
            power_w=ppa.power_w[here],
            resale_per_mwh=None if ppa.resale_per_mwh is None else ppa.resale_per_mwh[here],
        ),
        carbon=None if carbon is None else replace(carbon, g_per_kwh=carbon.g_per_kwh[here]),
        clean=None if clean is None else replace(clean, contracted_w=clean.contracted_w[here]),
        events=tuple(
            replace(event, baseline_w=event.baseline_w[here], committed_w=event.committed_w[here])
            for event in problem.events
        ),
        reserves=tuple(replace(reserve, sold_w=reserve.sold_w[here]) for reserve in problem.reserves),
    )
