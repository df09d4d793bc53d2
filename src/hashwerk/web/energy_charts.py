"""Options of the charts of energy: price, carbon, plan and power over one axis of time.

What is known is a solid line, a forecast dashed, a gap a gap. Colours are the page's own variables; see `charts`.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Sequence
from typing import Any, Final

from hashwerk.site.energy.view import GroupPlan, Moments, PlanView, SeriesView, SourcePower
from hashwerk.web.charts import CLOCK_LABELS, TEXT

Options = dict[str, Any]
Points = list[list[float | None]]

HOUR_S: Final = 3_600.0
#: Of the page Energy: a day back, two days ahead at most.
BEHIND_S: Final = 24 * HOUR_S
AHEAD_S: Final = 48 * HOUR_S
#: Of the page Now.
SHORT_BEHIND_S: Final = 2 * HOUR_S
SHORT_AHEAD_S: Final = 24 * HOUR_S
#: More groups than this are not told apart by eye; the table has them all.
MOST_STRIPS: Final = 12
NIGHT_FROM_H: Final = 22
NIGHT_TO_H: Final = 6
_LEFT, _RIGHT, _TOP, _TITLE, _GAP = 66, 22, 3, 24, 14
_QUIET: Final = {"animation": False, "symbol": "none", "emphasis": {"disabled": True}}


class Pane:
    """One plot of several that stand under each other over the same time."""

    def __init__(
        self, title: str, height: int, axis: Options, series: list[Options], *, has_zero: bool = False
    ) -> None:
        self.title = title
        self.height = height
        self.axis = axis
        self.series = series
        self.has_zero = has_zero


def day_chart(
    price: SeriesView | None,
    plan: PlanView | None,
    now: float,
    zone: datetime.tzinfo | None = None,
    *,
    moments: Moments | None = None,
    sources: Sequence[SourcePower] = (),
) -> Options:
    """Return price, machines on and power by source, from two hours ago for a day: what stands on *Now*. Empty without any."""
    start, stop = now - SHORT_BEHIND_S, now + SHORT_AHEAD_S
    panes = []
    if price is not None and has_values(price, start, stop):
        panes.append(price_pane(price, start, stop, 118))
    if plan is not None and plan.groups:
        panes.append(machines_pane(plan, start, stop, 84))
    if moments is not None and moments.at_s:
        panes.append(sources_pane(moments, sources, start, stop, 96, plan=plan))
    return stacked(panes, start, stop, now, zone)


def energy_chart(
    price: SeriesView | None,
    carbon: SeriesView | None,
    plan: PlanView | None,
    moments: Moments | None,
    now: float,
    *,
    zone: datetime.tzinfo | None = None,
    sources: Sequence[SourcePower] = (),
) -> Options:
    """Return price, carbon, plan by group, power by source and from the grid below each other for *Energy*. Empty without any."""
    start, stop = now - BEHIND_S, _end(price, plan, now)
    panes = []
    if price is not None and has_values(price, start, stop):
        panes.append(price_pane(price, start, stop, 165))
    if carbon is not None and has_values(carbon, start, stop):
        panes.append(carbon_pane(carbon, start, stop, 80))
    if plan is not None and plan.groups:
        panes.append(strips_pane(plan, start, stop))
    if moments is not None and moments.sources:
        panes.append(sources_pane(moments, sources, start, stop, 120))
    if plan is not None or (moments is not None and moments.at_s):
        panes.append(power_pane(plan, moments, start, stop, 150))
    return stacked(panes, start, stop, now, zone)


def chart_height(options: Options) -> int:
    """Return how many pixels a chart needs from top to bottom."""
    grids = options.get("grid") or []
    return 0 if not grids else int(grids[-1]["top"] + grids[-1]["height"] + 30)


def has_values(series: SeriesView, start: float, stop: float) -> bool:
    """Say whether anything is known of a span."""
    return any(
        value is not None and start - series.resolution_s < at < stop
        for at, value in zip(series.starts_s, series.values, strict=True)
    )


def _end(price: SeriesView | None, plan: PlanView | None, now: float) -> float:
    ends = [now + 12 * HOUR_S]
    if price is not None and price.starts_s:
        ends.append(float(price.starts_s[-1] + price.resolution_s))
    if plan is not None and plan.ends_s:
        ends.append(plan.ends_s[-1])
    return min(max(ends), now + AHEAD_S)


def price_pane(price: SeriesView, start: float, stop: float, height: int) -> Pane:
    """Return the price as steps; what lies below zero is filled in another colour."""
    known, forecast = _parted(price, start, stop)
    ends = [at + price.resolution_s for at in price.starts_s]
    below_zero = [None if value is None else min(value, 0.0) for value in price.values]
    below = _held(price.starts_s, ends, below_zero, start, stop)
    series = [
        _line(f"Price, {price.unit}", known, "var(--ink)"),
        _line(f"Price forecast, {price.unit}", forecast, "var(--ink)", dashed=True),
    ]
    if any(value is not None and value < 0 for _, value in below):
        filled = {"color": "var(--violet)", "opacity": 0.35}
        series.append(
            _line("below zero", below, "var(--violet)", areaStyle=filled, lineStyle={"opacity": 0}, z=1)
        )
    kind = (
        ", typical day of the month"
        if price.is_typical
        else ", what was known last"
        if price.is_stale
        else ""
    )
    axis = _value_axis("hw.plain") | {"splitNumber": 4}
    return Pane(f"Price, {price.unit}{kind}", height, axis, series, has_zero=True)


def carbon_pane(carbon: SeriesView, start: float, stop: float, height: int) -> Pane:
    """Return the carbon intensity of the grid."""
    known, forecast = _parted(carbon, start, stop)
    fill = {"color": "var(--brown)", "opacity": 0.16}
    series = [
        _line(f"Carbon, {carbon.unit}", known, "var(--brown)", areaStyle=fill),
        _line(f"Carbon forecast, {carbon.unit}", forecast, "var(--brown)", dashed=True),
    ]
    kind = (
        ", typical day of the month"
        if carbon.is_typical
        else ", what was known last"
        if carbon.is_stale
        else ""
    )
    axis = _value_axis("hw.plain") | {"min": 0, "splitNumber": 2}
    return Pane(f"Carbon of the grid, {carbon.unit}{kind}", height, axis, series)


def machines_pane(plan: PlanView, start: float, stop: float, height: int) -> Pane:
    """Return how many machines run in the plan, as steps."""
    totals = [sum(column) for column in zip(*(group.running for group in plan.groups), strict=True)]
    points = _held(plan.starts_s, plan.ends_s, totals, start, stop)
    fill = {"color": "var(--violet-band)", "opacity": 1}
    axis = _value_axis("hw.plain") | {"min": 0, "splitNumber": 2, "minInterval": 1}
    line = _line("On as planned, machines", points, "var(--violet)", areaStyle=fill)
    return Pane("Machines on, as planned", height, axis, [line])


def strips_pane(plan: PlanView, start: float, stop: float) -> Pane:
    """Return a strip a group: as high as the part of its machines that runs, empty while all sleep."""
    groups = _most_power(plan.groups)
    data = []
    for row, group in enumerate(groups):
        most = max(group.running, default=0.0) or 1.0
        for first, last, running in _merged(plan.starts_s, plan.ends_s, group.running):
            if last > start and first < stop:
                data.append([_ms(max(first, start)), _ms(min(last, stop)), row, round(running / most, 4)])
    axis = {
        "type": "category",
        "inverse": True,
        "z": 4,  # names stand where the day before has no plan
        "data": [group.name for group in groups],
        "axisTick": {"show": False},
        "axisLine": {"show": False},
        "axisLabel": TEXT
        | {"inside": True, "margin": 2, "width": 124, "overflow": "truncate", "interval": 0},
        "splitLine": {"show": True, "interval": 0, "lineStyle": {"color": "var(--line-strong)"}},
    }
    strip = {
        "name": "strips",
        "type": "custom",
        ":renderItem": "hw.strip",
        "encode": {"x": [0, 1], "y": 2},
        "data": data,
        "clip": True,
        "animation": False,
        "silent": True,
        "tooltip": {"show": False},
    }
    left_out = len(plan.groups) - len(groups)
    more = f"; {left_out} smaller groups stand in the table" if left_out else ""
    return Pane(
        f"Plan by group: height is the part that runs{more}", max(26 * len(groups), 40), axis, [strip]
    )


def power_pane(
    plan: PlanView | None, moments: Moments | None, start: float, stop: float, height: int
) -> Pane:
    """Return what was measured, what was wanted and what is planned."""
    series = []
    if moments is not None and moments.at_s:
        step_s = _step_of(moments.at_s)
        ends = [at + step_s for at in moments.at_s]
        measured = _held(moments.at_s, ends, moments.measured_w, start, stop)
        wanted = _held(moments.at_s, ends, moments.setpoint_w, start, stop)
        series.append(_line("Measured, W", measured, "var(--ink)", z=4))
        series.append(_line("Set-point, W", wanted, "var(--violet)", lineStyle={"width": 3, "opacity": 0.65}))
    if plan is not None:
        ahead = _held(plan.starts_s, plan.ends_s, plan.import_w, start, stop)
        series.append(_line("Planned, W", ahead, "var(--violet)", dashed=True))
    axis = _value_axis("hw.watts") | {"splitNumber": 3, "minInterval": 100}
    return Pane("Power from the grid", height, axis, series, has_zero=True)


def sources_pane(
    moments: Moments,
    sources: Sequence[SourcePower],
    start: float,
    stop: float,
    height: int,
    *,
    plan: PlanView | None = None,
) -> Pane:
    """Return measured power stacked by source: clean plants lowest, then fossil ones, the grid on top; with the plan's import."""
    clean = {source.name: source.is_clean for source in sources}
    ranks = {True: 0, False: 1, None: 2}
    names = sorted(moments.sources, key=lambda name: (ranks[clean.get(name)], name))
    colours = {True: "var(--teal)", False: "var(--brown)", None: "var(--muted)"}
    layers = [(name, moments.sources[name], colours[clean.get(name)]) for name in names]
    layers.append(("Grid", moments.measured_w, "var(--blue)"))
    step_s = _step_of(moments.at_s)
    series = []
    for name, values, colour in layers:
        # A layer on a gap would stand on nothing: where the grid is not known none is drawn.
        points: Points = [
            [_ms(at), None if grid is None or value is None else round(value, 1)]
            for at, value, grid in zip(moments.at_s, values, moments.measured_w, strict=True)
            if start <= at < stop
        ]
        if points:
            end = _ms(moments.at_s[-1] + step_s)
            points += [[end, points[-1][1]], [end, None]]
        fill = {"color": colour, "opacity": 0.55}
        drawn = _line(f"{name}, W", points, colour, areaStyle=fill, lineStyle={"width": 0})
        series.append(drawn | {"stack": "sources"})
    if plan is not None:
        ahead = _held(plan.starts_s, plan.ends_s, plan.import_w, start, stop)
        series.append(_line("Planned from the grid, W", ahead, "var(--violet)", dashed=True))
    kinds = " over ".join(["grid", *("clean" if clean.get(name) else name for name in reversed(names))])
    axis = _value_axis("hw.watts") | {"splitNumber": 2, "minInterval": 100}
    return Pane(f"Power by source: {kinds}", height, axis, series, has_zero=True)


def stacked(
    panes: Sequence[Pane], start: float, stop: float, now: float, zone: datetime.tzinfo | None
) -> Options:
    """Return plots under each other that share the axis of time, with nights, midnight lines and now."""
    if not panes:
        return {}
    nights = [[{"xAxis": _ms(a)}, {"xAxis": _ms(b)}] for a, b in night_spans(start, stop, zone)]
    titles, grids, x_axes, y_axes, series = [], [], [], [], []
    top = _TOP
    for index, pane in enumerate(panes):
        is_last = index == len(panes) - 1
        style = TEXT | {"fontWeight": "normal", "color": "var(--soft)"}
        titles.append({"text": pane.title, "left": 0, "top": top, "padding": 0, "textStyle": style})
        place = {"left": _LEFT, "right": _RIGHT, "top": top + _TITLE, "height": pane.height}
        grids.append(place | {"outerBoundsMode": "none"})  # else ECharts narrows those with long labels
        top += _TITLE + pane.height + _GAP
        x_axes.append(_time_axis(index, start, stop, is_shown=is_last))
        y_axes.append(pane.axis | {"gridIndex": index})
        series += [one | {"xAxisIndex": index, "yAxisIndex": index} for one in pane.series]
        series.append(
            _ground(index, nights, now, is_first=index == 0, has_zero=pane.has_zero, axis=pane.axis)
        )
    return {
        "animation": False,
        "title": titles,
        "grid": grids,
        "xAxis": x_axes,
        "yAxis": y_axes,
        "axisPointer": {
            "link": [{"xAxisIndex": "all"}],
            "lineStyle": {"color": "var(--muted)", "type": "solid"},
        },
        "tooltip": {
            "trigger": "axis",
            ":formatter": "hw.energyTip",
            "confine": True,
            "transitionDuration": 0,
            "backgroundColor": "var(--panel)",
            "borderColor": "var(--line)",
            "textStyle": {"color": "var(--ink)", "fontSize": 13},
            "axisPointer": {"animation": False},
        },
        "series": series,
    }


def night_spans(start: float, stop: float, zone: datetime.tzinfo | None = None) -> list[tuple[float, float]]:
    """Return the nights, 22 to 6 o'clock, that a span has; None: by this computer's own zone."""
    day = datetime.datetime.fromtimestamp(start, datetime.UTC).astimezone(zone).date() - datetime.timedelta(
        days=1
    )
    found: list[tuple[float, float]] = []
    while True:
        begin = _at(day, NIGHT_FROM_H, zone)
        end = _at(day + datetime.timedelta(days=1), NIGHT_TO_H, zone)
        if begin >= stop:
            return found
        if end > start:
            found.append((max(begin, start), min(end, stop)))
        day += datetime.timedelta(days=1)


def _at(day: datetime.date, hour: int, zone: datetime.tzinfo | None) -> float:
    naive = datetime.datetime.combine(day, datetime.time(hour))
    return naive.timestamp() if zone is None else naive.replace(tzinfo=zone).timestamp()


def _ground(
    index: int, nights: list[Any], now: float, *, is_first: bool, has_zero: bool, axis: Options
) -> Options:
    # Nights, zero and now belong to no series that could be missing: an empty one carries them.
    label = TEXT | {"show": is_first, "formatter": "now", "distance": 5, "color": "var(--ink)"}
    style = {"color": "var(--ink)", "type": "solid", "width": 1}
    marks: list[Options] = [{"xAxis": _ms(now), "label": label, "lineStyle": style}]
    if has_zero:
        marks.append({"yAxis": 0, "label": {"show": False}, "lineStyle": style | {"color": "var(--muted)"}})
    data: list[Any] = [] if axis["type"] == "category" else [[_ms(now), None]]
    return {
        "name": "ground",
        "type": "line",
        "data": data,
        "xAxisIndex": index,
        "yAxisIndex": index,
        "silent": True,
        "animation": False,
        "tooltip": {"trigger": "none"},  # else the pointer snaps to its one empty point
        "markArea": {
            "silent": True,
            "animation": False,
            "data": nights,
            "itemStyle": {"color": "var(--night)"},
        },
        "markLine": {"silent": True, "animation": False, "symbol": "none", "data": marks},
    }


def _time_axis(index: int, start: float, stop: float, *, is_shown: bool) -> Options:
    return {
        "type": "time",
        "gridIndex": index,
        "min": _ms(start),
        "max": _ms(stop),
        "axisLine": {"lineStyle": {"color": "var(--line-strong)"}, "onZero": False},
        "axisTick": {"show": is_shown, "lineStyle": {"color": "var(--line-strong)"}},
        "axisLabel": TEXT | {"show": is_shown, "hideOverlap": True, "formatter": CLOCK_LABELS},
        "splitLine": {"show": False},
        "axisPointer": {"label": {"show": False}},
    }


def _value_axis(scale: str) -> Options:
    return {
        "type": "value",
        "axisLabel": TEXT | {":formatter": scale},
        "splitLine": {"lineStyle": {"color": "var(--line)"}},
        "axisPointer": {"show": False},
    }


def _line(name: str, data: Points, color: str, *, dashed: bool = False, **more: Any) -> Options:
    style = {"color": color, "width": 1.8, "type": "dashed" if dashed else "solid"} | more.pop(
        "lineStyle", {}
    )
    line = {"name": name, "type": "line", "step": "end", "data": data, "lineStyle": style}
    return _QUIET | line | {"itemStyle": {"color": color}} | more


def _parted(series: SeriesView, start: float, stop: float) -> tuple[Points, Points]:
    """Return what is known and what is forecast, each with its gaps."""
    ends = [at + series.resolution_s for at in series.starts_s]
    turn = series.forecast_from_s
    known = [
        None if turn is not None and at >= turn else value
        for at, value in zip(series.starts_s, series.values, strict=True)
    ]
    ahead = [
        value if turn is not None and at >= turn else None
        for at, value in zip(series.starts_s, series.values, strict=True)
    ]
    return _held(series.starts_s, ends, known, start, stop), _held(series.starts_s, ends, ahead, start, stop)


def _held(
    starts_s: Sequence[float],
    ends_s: Sequence[float],
    values: Sequence[float | None],
    start: float,
    stop: float,
) -> Points:
    """Return the corners of a step line: each value holds to its interval's end, and a gap breaks it."""
    points: Points = []
    last_end, last = None, None
    for first, end, value in zip(starts_s, ends_s, values, strict=True):
        if end <= start or first >= stop:
            continue
        if last is not None and (value is None or last_end is None or first > last_end):
            points += [[_ms(last_end or first), last], [_ms(last_end or first), None]]
        if value is not None:
            points.append([_ms(max(first, start)), round(value, 3)])
        last_end, last = min(end, stop), None if value is None else round(value, 3)
    if last is not None and last_end is not None:
        points += [[_ms(last_end), last], [_ms(last_end), None]]
    return points


def _merged(
    starts_s: Sequence[float], ends_s: Sequence[float], values: Sequence[float]
) -> list[tuple[float, float, float]]:
    """Return spans of one value: neighbours that are alike become one."""
    spans: list[tuple[float, float, float]] = []
    for first, end, value in zip(starts_s, ends_s, values, strict=True):
        if spans and spans[-1][1] == first and spans[-1][2] == value:
            spans[-1] = (spans[-1][0], end, value)
        else:
            spans.append((first, end, value))
    return spans


def _most_power(groups: Sequence[GroupPlan]) -> list[GroupPlan]:
    if len(groups) <= MOST_STRIPS:
        return list(groups)
    kept = {
        group.name
        for group in sorted(groups, key=lambda group: -max(group.power_w, default=0.0))[:MOST_STRIPS]
    }
    return [group for group in groups if group.name in kept]


def _step_of(at_s: Sequence[float]) -> float:
    return min((b - a for a, b in itertools.pairwise(at_s)), default=60.0)


def _ms(time_s: float) -> int:
    return int(time_s * 1000)
