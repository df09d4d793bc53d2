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
from hashwerk.errors import DispatchError


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


def make_problem(
    grid: Grid,
    groups: Sequence[Group],
    *,
    hashprice_per_ph_day: float | FloatArray,
    buy_per_mwh: float | FloatArray,
    sell_per_mwh: float | FloatArray = 0.0,
    histories: Sequence[GroupHistory] | None = None,
    available: IntArray | None = None,
    auxiliary_w: float | FloatArray = 0.0,
    cooling_share: float | FloatArray = 0.0,
    local_w: float | FloatArray = 0.0,
    must_take_w: float | FloatArray = 0.0,
    export_limit_w: float = 0.0,
    limits: Sequence[Limit] = (),
    ramp: Ramp | None = None,
    battery: Battery | None = None,
    demand: Sequence[DemandCharge] = (),
    ppa: Ppa | None = None,
    carbon: Carbon | None = None,
    clean: CleanOnly | None = None,
    events: Sequence[Event] = (),
    reserves: Sequence[Reserve] = (),
    currency: str = "EUR",
    assumptions: Sequence[str] = (),
) -> Problem:
    """Return a problem; single numbers are spread over the grid, and all machines are asleep where no history is given.

    Raises:
        DispatchError: If an array does not fit the grid, or counts contradict each other.
    """

    def over_time(value: float | FloatArray, name: str) -> FloatArray:
        array = np.asarray(value, dtype=np.float64)
        if array.shape not in ((), (len(grid),)):
            raise DispatchError(f"{name} has {array.size} values where the plan has {len(grid)} intervals")
        return np.broadcast_to(array, (len(grid),)).copy()

    if histories is None:
        histories = [GroupHistory.settled(group, 0) for group in groups]
    counts = np.array([group.count for group in groups], dtype=np.int64)
    if available is None:
        available = np.repeat(counts[:, None], len(grid), axis=1)
    problem = Problem(
        grid=grid,
        groups=tuple(groups),
        histories=tuple(histories),
        hashprice_per_ph_day=over_time(hashprice_per_ph_day, "hashprice"),
        buy_per_mwh=over_time(buy_per_mwh, "the buying price"),
        sell_per_mwh=over_time(sell_per_mwh, "the selling price"),
        available=available,
        auxiliary_w=over_time(auxiliary_w, "auxiliary power"),
        cooling_share=over_time(cooling_share, "the share of cooling"),
        local_w=over_time(local_w, "own generation"),
        must_take_w=over_time(must_take_w, "generation that must be taken"),
        export_limit_w=export_limit_w,
        limits=tuple(limits),
        ramp=ramp,
        battery=battery,
        demand=tuple(demand),
        ppa=ppa,
        carbon=carbon,
        clean=clean,
        events=tuple(events),
        reserves=tuple(reserves),
        currency=currency,
        assumptions=tuple(assumptions),
    )
    _check_counts(problem, counts)
    return problem


def _check_counts(problem: Problem, counts: IntArray) -> None:
    if problem.available.shape != (len(problem.groups), len(problem.grid)):
        raise DispatchError(
            f"available machines have the shape {problem.available.shape}, the plan has"
            f" {len(problem.groups)} groups and {len(problem.grid)} intervals"
        )
    if len(problem.histories) != len(problem.groups):
        raise DispatchError(f"there are {len(problem.histories)} histories for {len(problem.groups)} groups")
    for group, history, available in zip(problem.groups, problem.histories, problem.available, strict=True):
        known = len(history.on_for_s) + len(history.off_for_s)
        if known != group.count:
            raise DispatchError(f"{group.name} has {group.count} machines and the histories of {known}")
        if available.min() < 0 or available.max() > group.count:
            raise DispatchError(
                f"{group.name} has {group.count} machines and says that {available.max()} are available"
            )
    for name, values in (
        ("auxiliary power", problem.auxiliary_w),
        ("the share of cooling", problem.cooling_share),
        ("generation that must be taken", problem.must_take_w),
    ):
        if not np.isfinite(values).all():
            raise DispatchError(f"{name} is not known in {int((~np.isfinite(values)).sum())} intervals")
    feeders = {group.feeder for group in problem.groups}
    for limit in problem.limits:
        if limit.limit_w.shape != (len(problem.grid),):
            raise DispatchError(
                f"the limit {limit.name!r} has {limit.limit_w.size} values for {len(problem.grid)} intervals"
            )
        if np.isnan(limit.limit_w).any():
            raise DispatchError(
                f"the limit {limit.name!r} is not known in {int(np.isnan(limit.limit_w).sum())} intervals"
            )
        if limit.feeder is not None and limit.feeder not in feeders:
            raise DispatchError(
                f"the limit {limit.name!r} is for the feeder {limit.feeder!r}, which feeds no group"
            )


def missing_prices(problem: Problem) -> str | None:
    """Return in words what is missing from the prices or the hashprice, or None if nothing is."""
    for name, values in (
        ("the buying price", problem.buy_per_mwh),
        ("the selling price", problem.sell_per_mwh),
        ("the hashprice", problem.hashprice_per_ph_day),
        ("own generation", problem.local_w),
    ):
        missing = ~np.isfinite(values)
        if missing.any():
            first_s = problem.grid.starts_s[int(np.argmax(missing))]
            at = np.datetime_as_string(np.datetime64(int(first_s), "s"), unit="m")
            return (
                f"{name} is missing in {int(missing.sum())} of {len(problem.grid)} intervals, first at {at}Z"
            )
    return None


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
