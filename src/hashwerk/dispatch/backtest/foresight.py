"""Perfect foresight: what could not have been exceeded by anybody who had known all prices.

Nothing but power couples the steps of a merit order, so each interval is filled by itself, best step first, with fractions of
machines; only a demand charge ties the intervals of a month together, and through one number, the peak: the margin is concave
in it. Start costs, minimum times, ramps and whole machines are left out, which makes it a bound and no policy. A battery ties
hours together as well; then each month is one linear program.
"""

from __future__ import annotations

import datetime
import itertools

import msgspec
import numpy as np
from numba import njit

from hashwerk.dispatch.backtest.foresight_program import by_program
from hashwerk.dispatch.enforce import site_limit_w
from hashwerk.dispatch.grid import FloatArray, Grid, IntArray
from hashwerk.dispatch.merit import merit_order
from hashwerk.dispatch.policies.prices import coincident_per_mwh
from hashwerk.dispatch.problem import DemandCharge, Problem

#: Watts between which the best peak is found: far below what moves a cent.
_PEAK_TOLERANCE_W = 0.5


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """The highest margin there could have been, month by month, and how it was found."""

    margins: tuple[float, ...]  # of the UTC months
    method: str

    @property
    def margin(self) -> float:
        """The sum of the months."""
        return sum(self.margins)


def least_demand_cost(charge: DemandCharge) -> float:
    """Return what a month costs whatever is drawn in it: a tariff's least power."""
    return charge.price_per_kw * charge.month_to_date_w / 1_000


def perfect_foresight(problem: Problem, missing: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Bound:
    """Return the bound for a problem with prices as they turned out; intervals without a price are left out.

    Of each month it pays the least demand charge as well, as the accounts do.
    """
    least = sum(least_demand_cost(charge) for charge in problem.demand)
    if problem.battery is not None or problem.ppa is not None or not _one_peak(problem):
        margins = [margin - least for margin in by_program(problem, months(problem.grid), missing)]
        return Bound(margins=tuple(margins), method="linear program, a month at a time")
    margins = []
    charge = problem.demand[0] if problem.demand else None
    fill = _Fill(problem)
    for _, first, last in months(problem.grid):
        span = np.arange(first, last)[~missing[first:last]]
        margin = 0.0
        if len(span):
            margin = fill.margin(span) if charge is None else fill.best_with_peak(span, charge)[0]
        margins.append(margin - least)
    return Bound(
        margins=tuple(margins),
        method="merit order, hour by hour" if charge is None else "merit order under the best peak",
    )


def _one_peak(problem: Problem) -> bool:
    """Tell whether demand charges are one bound on every interval: not where they charge means of several, or some hours."""
    if len(problem.demand) > 1:
        return False
    longest_s = float(problem.grid.durations_s.min())
    return all(
        charge.interval_s <= longest_s and (charge.applies is None or bool(charge.applies.all()))
        for charge in problem.demand
    )


def best_peak_w(problem: Problem, charge: DemandCharge, span: IntArray) -> float:
    """Return the peak that would have been best over some intervals: what a month to come is planned with."""
    return _Fill(problem).best_with_peak(span, charge)[1]


def months(grid: Grid) -> list[tuple[str, int, int]]:
    """Return the UTC months of a grid: name, first interval, one after the last."""
    stamps = grid.starts_s.astype("datetime64[s]").astype("datetime64[M]")
    edges = np.flatnonzero(np.diff(stamps.astype(np.int64))) + 1
    bounds = [0, *edges.tolist(), len(grid)]
    return [(str(stamps[a]), a, b) for a, b in itertools.pairwise(bounds)]


class _Fill:
    """Fills intervals by the merit order; keeps the arrays."""

    __slots__ = ("_arrays", "_limit_w", "_local_w", "_standing_w")

    def __init__(self, problem: Problem) -> None:
        order = merit_order(problem)
        cooled = 1 + problem.cooling_share
        residual_w = sum(group.residual_w * group.count for group in problem.groups)
        standing_w = residual_w * cooled + problem.auxiliary_w
        names = sorted({limit.feeder for limit in problem.limits if limit.feeder is not None})
        feeder_w = np.full((len(names), len(problem.grid)), np.inf)
        for limit in problem.limits:
            if limit.feeder is not None:
                fed_w = sum(g.residual_w * g.count for g in problem.groups if g.feeder == limit.feeder)
                row = names.index(limit.feeder)
                feeder_w[row] = np.minimum(feeder_w[row], limit.limit_w - fed_w)
        of_group = [names.index(g.feeder) if g.feeder in names else -1 for g in problem.groups]
        carbon: FloatArray | float = 0.0
        if problem.carbon is not None:
            carbon = problem.carbon.g_per_kwh / 1_000 * problem.carbon.price_per_t
        self._limit_w, self._standing_w, self._local_w = site_limit_w(problem), standing_w, problem.local_w
        self._arrays = (
            order.break_even_per_mwh(problem) * cooled,
            order.power_w,
            order.available(problem).astype(np.float64),
            np.array(of_group, dtype=np.int64)[order.group],
            feeder_w,
            problem.buy_per_mwh + carbon + coincident_per_mwh(problem),
            problem.sell_per_mwh if problem.export_limit_w > 0 else np.zeros(len(problem.grid)),
            problem.local_w,
            np.full(len(problem.grid), problem.export_limit_w),
            standing_w,
            cooled,
            problem.grid.hours,
        )

    def margin(self, span: IntArray, peak_w: float = np.inf) -> float:
        """Return the best margin over some intervals with the import nowhere above a peak."""
        limit_w = np.minimum(self._limit_w, peak_w)
        return float(_fill(span, limit_w, *self._arrays))

    def best_with_peak(self, span: IntArray, charge: DemandCharge) -> tuple[float, float]:
        """Return the best margin less the charge, and the peak at which it is had."""
        standing_w = np.maximum(0.0, self._standing_w[span] - self._local_w[span])
        low_w = max(float(standing_w.max()), charge.month_to_date_w)
        _, power_w, available = self._arrays[:3]
        most_w = (power_w[:, None] * available[:, span]).sum(axis=0) * self._arrays[10][
            span
        ] + self._standing_w[span]
        high_w = max(low_w, float(np.minimum(most_w, self._limit_w[span]).max()))

        def net(peak_w: float) -> float:
            return self.margin(span, peak_w) - charge.price_per_kw * (peak_w - charge.month_to_date_w) / 1_000

        golden = (5**0.5 - 1) / 2
        a, b = low_w, high_w
        c, d = b - golden * (b - a), a + golden * (b - a)
        at_c, at_d = net(c), net(d)
        while b - a > _PEAK_TOLERANCE_W:
            if at_c >= at_d:
                b, d, at_d = d, c, at_c
                c = b - golden * (b - a)
                at_c = net(c)
            else:
                a, c, at_c = c, d, at_d
                d = a + golden * (b - a)
                at_d = net(d)
        return max((net(w), w) for w in (low_w, high_w, (a + b) / 2))


@njit(cache=True, nogil=True)
def _fill(  # noqa: PLR0917 - machine code takes plain arrays
    span: IntArray,
    limit_w: FloatArray,
    earns_per_mwh: FloatArray,
    power_w: FloatArray,
    available: FloatArray,
    feeder: IntArray,
    feeder_w: FloatArray,
    buy: FloatArray,
    sell: FloatArray,
    local_w: FloatArray,
    export_w: FloatArray,
    standing_w: FloatArray,
    cooled: FloatArray,
    hours: FloatArray,
) -> float:
    """Return the best margin: each step in turn, first on own generation, then on imports, as long as it earns more."""
    total = 0.0
    feeder_left = np.zeros(feeder_w.shape[0])
    for t in span:
        if buy[t] < 0.0:  # importing is paid for: own generation only helps where the limit is reached
            room_w = max(0.0, limit_w[t] + local_w[t] - standing_w[t])
            for f in range(len(feeder_left)):
                feeder_left[f] = feeder_w[f, t]
            used_w, income = standing_w[t], 0.0
            for s in range(len(power_w)):
                part_w = min(available[s, t] * power_w[s], room_w / cooled[t])
                if feeder[s] >= 0:
                    part_w = min(part_w, max(0.0, feeder_left[feeder[s]]))
                    feeder_left[feeder[s]] -= part_w
                room_w -= part_w * cooled[t]
                used_w += part_w * cooled[t]
                income += earns_per_mwh[s, t] * part_w
            total += (income - buy[t] * min(used_w, max(limit_w[t], 0.0))) / 1e6 * hours[t]
            continue
        own_w = max(0.0, local_w[t] - standing_w[t])  # left over by the house
        imported_w = max(0.0, standing_w[t] - local_w[t])
        sells = max(sell[t], 0.0) if export_w[t] > 0 else 0.0
        for f in range(len(feeder_left)):
            feeder_left[f] = feeder_w[f, t]
        earned = 0.0
        for s in range(len(power_w)):
            most_w = available[s, t] * power_w[s]
            if feeder[s] >= 0:
                most_w = min(most_w, max(0.0, feeder_left[feeder[s]]))
            # a surplus that cannot all be fed in is free
            free_w = max(0.0, own_w - export_w[t])
            taken_w = 0.0
            per_site_watt = earns_per_mwh[s, t] / cooled[t]
            first_w = min(most_w, free_w / cooled[t])
            if per_site_watt > 0.0:
                taken_w += first_w
                own_w -= first_w * cooled[t]
            if per_site_watt > min(sells, buy[t]):
                second_w = min(most_w - taken_w, own_w / cooled[t])
                taken_w += second_w
                own_w -= second_w * cooled[t]
            if per_site_watt > buy[t]:
                third_w = min(most_w - taken_w, max(0.0, limit_w[t] - imported_w) / cooled[t])
                taken_w += third_w
                imported_w += third_w * cooled[t]
            if feeder[s] >= 0:
                feeder_left[feeder[s]] -= taken_w
            earned += earns_per_mwh[s, t] * taken_w
        exported_w = min(own_w, export_w[t]) if sells > 0.0 else 0.0
        total += (earned - buy[t] * imported_w + sells * exported_w) / 1e6 * hours[t]
    return total


def month_of(time_s: float) -> str:
    """Return the UTC month of a moment, "2021-02"."""
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).strftime("%Y-%m")


def month_end_s(time_s: float) -> float:
    """Return when the UTC month of a moment ends."""
    moment = datetime.datetime.fromtimestamp(time_s, datetime.UTC)
    year, month = divmod(moment.year * 12 + moment.month, 12)
    return datetime.datetime(year, month + 1, 1, tzinfo=datetime.UTC).timestamp()
