"""Interval after interval: what is wanted becomes what may be, as machine code.

Stops take the machines that may stop; starts take those that may start; a hard limit takes the least efficient step first,
and a machine before its minimum time only when nothing else is left.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from hashwerk.dispatch.grid import FloatArray, IntArray

_MIN_ON, _MIN_OFF, _STARTS, _SITE, _FEEDER, _RAMP, _UNAVAILABLE = 2, 3, 4, 5, 6, 7, 1


@njit(cache=True, nogil=True)
def enforce(  # noqa: PLR0917 - machine code takes plain arrays
    want: IntArray,
    group: IntArray,
    rank: IntArray,
    power_w: FloatArray,
    available: IntArray,
    counts: IntArray,
    unit: IntArray,
    running_before: IntArray,
    held_on: IntArray,
    held_off: IntArray,
    min_on_s: FloatArray,
    min_off_s: FloatArray,
    starts_left: IntArray,
    starts_per_day: IntArray,
    starts_s: FloatArray,
    durations_s: FloatArray,
    machines_w: FloatArray,
    wished_w: FloatArray,
    rise_w: FloatArray,
    fall_w: FloatArray,
    cooled: FloatArray,
    offset_w: FloatArray,
    import_before_w: float,
    feeder: IntArray,
    feeder_w: FloatArray,
) -> tuple[IntArray, IntArray, IntArray, IntArray, FloatArray]:
    """Return counts (S, T), starts (G, T), early stops (G, T), causes (G, T) and what is still above a limit, W (T,).

    Args:
        want: Machines wanted in each step or above, in merit order, (S, T).
        group, rank, power_w: Of the steps, (S,).
        available: (G, T).
        unit: How many machines of a group one switch turns: 1, or all of them, (G,).
        counts, running_before: Machines, and those on just before, (G,).
        held_on, held_off: Machines that their history keeps on, or asleep, (G, T), never rising.
        min_on_s, min_off_s: (G,).
        starts_left: On the first day, (G,).
        starts_per_day: On every other, (G,).
        starts_s, durations_s: The grid, (T,).
        machines_w: What the site's limits leave to machines above their residual power, (T,).
        wished_w: The same of a limit of the policy's own, for which nobody stops before his time, (T,).
        rise_w, fall_w: Largest change of import within each interval, (T,), infinite where free.
        cooled: Import per watt of machine, (T,).
        offset_w: Import with every machine asleep: house and battery less own generation, (T,).
        import_before_w: Measured; not a number where it does not bind.
        feeder: Of each group, −1 for none, (G,).
        feeder_w: What each feeder leaves to machines above their residual power, (F, T).
    """
    step_count, times = want.shape
    groups = len(counts)
    feeders = feeder_w.shape[0]
    chosen = np.zeros((step_count, times), np.int64)
    starts = np.zeros((groups, times), np.int64)
    locked = np.zeros((groups, times), np.int64)  # starts that are still on and young
    stops = np.zeros((groups, times), np.int64)
    broken = np.zeros((groups, times), np.int64)
    cause = np.zeros((groups, times), np.int64)
    above_w = np.zeros(times)
    on_before = running_before.copy()
    first_on = np.zeros(groups, np.int64)
    first_off = np.zeros(groups, np.int64)
    young = np.zeros(groups, np.int64)  # sum of `locked` in the window
    resting = np.zeros(groups, np.int64)
    lost = np.zeros(groups, np.int64)  # of held_on, stopped early
    budget = starts_left.copy()
    on_step = np.zeros(groups, np.int64)
    for s in range(step_count):
        if rank[s] == 0:
            on_step[group[s]] = s
    now = np.zeros(step_count, np.int64)
    low = np.zeros(groups, np.int64)
    excess_w = np.zeros(feeders)
    import_last_w = import_before_w
    day = int(starts_s[0] // 86400.0)
    for t in range(times):
        if int(starts_s[t] // 86400.0) != day:
            day = int(starts_s[t] // 86400.0)
            for g in range(groups):
                budget[g] = starts_per_day[g]
        for g in range(groups):
            while first_on[g] < t and starts_s[first_on[g]] <= starts_s[t] - min_on_s[g] + 1e-6:
                young[g] -= locked[g, first_on[g]]
                locked[g, first_on[g]] = 0
                first_on[g] += 1
            while first_off[g] < t and starts_s[first_off[g]] <= starts_s[t] - min_off_s[g] + 1e-6:
                resting[g] -= stops[g, first_off[g]]
                first_off[g] += 1
            keep = young[g] + max(0, held_on[g, t] - lost[g])
            low[g] = min(_whole_up(keep, unit[g]), _whole(available[g, t], unit[g]))
            rested = max(0, counts[g] - on_before[g] - resting[g] - held_off[g, t])
            s = on_step[g]
            on = _whole(min(want[s, t], available[g, t]), unit[g])
            if want[s, t] > available[g, t]:
                cause[g, t] = _UNAVAILABLE
            if on < low[g]:
                on = low[g]
                cause[g, t] = _MIN_ON
            most = on_before[g] + _whole(min(rested, budget[g]), unit[g])
            if on > most:
                cause[g, t] = _STARTS if budget[g] < rested else _MIN_OFF
                on = most
            now[s] = on
        # higher steps presuppose lower ones; the merit order has each group's steps in rising order
        total_w = 0.0
        for f in range(feeders):
            excess_w[f] = -feeder_w[f, t]
        for s in range(step_count):
            g = group[s]
            if rank[s] > 0:
                now[s] = _whole(min(want[s, t], now[_below(s, group, rank)]), unit[g])
            total_w += now[s] * power_w[s]
            if feeder[g] >= 0:
                excess_w[feeder[g]] += now[s] * power_w[s]
        # down no faster than the ramp allows: what ran goes on, the best steps first
        floor_w = -np.inf
        if t > 0 or not np.isnan(import_before_w):
            floor_w = (import_last_w - fall_w[t] - offset_w[t]) / cooled[t]
        if total_w < floor_w and t > 0:
            for s in range(step_count):
                g = group[s]
                more = min(chosen[s, t - 1], available[g, t]) - now[s]
                if rank[s] > 0:
                    more = min(more, now[_below(s, group, rank)] - now[s])
                more = _whole(min(more, int(np.ceil((floor_w - total_w) / power_w[s]))), unit[g])
                if more > 0:
                    now[s] += more
                    total_w += more * power_w[s]
                    if feeder[g] >= 0:
                        excess_w[feeder[g]] += more * power_w[s]
                    cause[g, t] = _RAMP
        # hard limits: the last of the merit order goes first
        allowed_w = machines_w[t]
        ramped_w = np.inf
        if t > 0 or not np.isnan(import_before_w):
            ramped_w = (import_last_w + rise_w[t] - offset_w[t]) / cooled[t]
        for attempt in range(2):
            bound_w = min(allowed_w, ramped_w, wished_w[t]) if attempt == 0 else allowed_w
            for back in range(step_count):
                s = step_count - 1 - back
                g = group[s]
                over_site = total_w - bound_w
                over_feeder = excess_w[feeder[g]] if feeder[g] >= 0 else -1.0
                over = max(over_site, over_feeder)
                if over <= 1e-6 or now[s] == 0:
                    continue
                least = 0
                if rank[s] == 0 and attempt == 0:
                    least = low[g]
                less = min(now[s] - least, _whole_up(int(np.ceil((over - 1e-6) / power_w[s])), unit[g]))
                if less <= 0:
                    continue
                now[s] -= less
                total_w -= less * power_w[s]
                if feeder[g] >= 0:
                    excess_w[feeder[g]] -= less * power_w[s]
                if over_feeder >= over_site:
                    cause[g, t] = _FEEDER
                elif ramped_w < min(allowed_w, wished_w[t]) and attempt == 0:
                    cause[g, t] = _RAMP
                else:
                    cause[g, t] = _SITE
        above_w[t] = max(0.0, total_w - allowed_w)
        for f in range(feeders):
            above_w[t] = max(above_w[t], excess_w[f])
        if above_w[t] <= 1e-6:
            above_w[t] = 0.0
        for g in range(groups):
            on = now[on_step[g]]
            change = on - on_before[g]
            if change > 0:
                starts[g, t] = change
                locked[g, t] = change
                young[g] += change
                budget[g] -= change
            elif change < 0:
                stops[g, t] = -change
                resting[g] += -change
                early = -change - max(0, on_before[g] - young[g] - max(0, held_on[g, t] - lost[g]))
                if early > 0:
                    broken[g, t] = early
                    from_history = min(early, max(0, held_on[g, t] - lost[g]))
                    lost[g] += from_history
                    early -= from_history
                    place = first_on[g]
                    while early > 0 and place <= t:
                        taken = min(early, locked[g, place])
                        locked[g, place] -= taken
                        young[g] -= taken
                        early -= taken
                        place += 1
            on_before[g] = on
        for s in range(step_count):
            chosen[s, t] = now[s]
        import_last_w = max(0.0, offset_w[t] + total_w * cooled[t])
    return chosen, starts, broken, cause, above_w


@njit(cache=True, nogil=True)
def _below(s: int, group: IntArray, rank: IntArray) -> int:
    """Return the place of the step just below one, which comes before it in the merit order."""
    place = s - 1
    while group[place] != group[s] or rank[place] != rank[s] - 1:
        place -= 1
    return place


@njit(cache=True, nogil=True)
def _whole(machines: int, unit: int) -> int:
    """Return the most machines that whole switches turn, no more than given."""
    return machines if unit <= 1 else machines // unit * unit


@njit(cache=True, nogil=True)
def _whole_up(machines: int, unit: int) -> int:
    """Return the fewest machines that whole switches turn, no fewer than given."""
    return machines if unit <= 1 else -(-machines // unit) * unit
