"""The chart of one machine's day: power above, temperature below, each with what it rests on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from hashwerk.web.charts import CLOCK_LABELS, TEXT, Options

if TYPE_CHECKING:
    from hashwerk.fleet.record import HistoryPoint

#: Two moments further apart than this many usual steps have a gap between them.
_GAP_STEPS: Final = 2.5
_DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_TIP: Final = (
    "(ps) => `<div class=tip-head>${hw.localTime(ps[0].value[0] / 1000)}</div>` +"
    " ps.filter((p) => p.value[1] !== null).map((p) => `<div class=tip-row><span>${p.seriesName}</span>"
    "<b>${Math.round(p.value[1]).toLocaleString('en-US')} ${p.seriesName.includes('air') || p.seriesName.includes('chip')"
    " ? '°C' : 'W'}</b></div>`).join('')"
)


def history_chart(points: Sequence[HistoryPoint], now: float) -> Options:
    """Return power (W) and temperature (°C) over the last day; what was not known then is a gap."""
    first = points[0].at if points else now
    since = max(now - _DAY_S, min(first, now - _HOUR_S))
    step_s = _usual_step_s(points)
    return {
        "animation": False,
        "grid": [
            {"left": 66, "right": 10, "top": 14, "height": "42%"},
            {"left": 66, "right": 10, "bottom": 28, "height": "30%"},
        ],
        "tooltip": {
            "trigger": "axis",
            ":formatter": _TIP,
            "confine": True,
            "transitionDuration": 0,
            "backgroundColor": "var(--panel)",
            "borderColor": "var(--line)",
            "textStyle": {"color": "var(--ink)", "fontSize": 13},
            "axisPointer": {"lineStyle": {"color": "var(--muted)", "type": "solid"}, "animation": False},
        },
        "axisPointer": {"link": [{"xAxisIndex": "all"}]},
        "xAxis": [_time_axis(0, since, now), _time_axis(1, since, now)],
        "yAxis": [_value_axis(0, "W"), _value_axis(1, "°C")],
        "series": [
            _line("believed", points, step_s, lambda p: p.power_w, 0, "var(--ink)", "solid"),
            _line("says itself", points, step_s, lambda p: p.reported_w, 0, "var(--muted)", "dashed"),
            _line("its meter", points, step_s, lambda p: p.metered_w, 0, "var(--violet)", "solid"),
            _line("hottest chip", points, step_s, lambda p: p.chip_c, 1, "var(--ink)", "solid"),
            _line("inlet air", points, step_s, lambda p: p.inlet_c, 1, "var(--muted)", "solid"),
        ],
    }


def _usual_step_s(points: Sequence[HistoryPoint]) -> float:
    steps = sorted(b.at - a.at for a, b in pairwise(points))
    return steps[len(steps) // 2] if steps else _DAY_S


def _line(  # noqa: PLR0917 - a row of a table, called from one place
    name: str,
    points: Sequence[HistoryPoint],
    step_s: float,
    value: Callable[[HistoryPoint], float | None],
    axis: int,
    colour: str,
    kind: str,
) -> dict[str, Any]:
    data: list[list[float | None]] = []
    for number, point in enumerate(points):
        if number and point.at - points[number - 1].at > _GAP_STEPS * step_s:
            data.append([1e3 * (points[number - 1].at + step_s), None])
        data.append([1e3 * point.at, value(point)])
    return {
        "name": name,
        "type": "line",
        "xAxisIndex": axis,
        "yAxisIndex": axis,
        "animation": False,
        "showSymbol": len(points) < 2,
        "symbolSize": 5,
        "connectNulls": False,
        "data": data,
        "lineStyle": {"color": colour, "type": kind, "width": 1.5},
        "itemStyle": {"color": colour},
    }


def _time_axis(index: int, since: float, now: float) -> dict[str, Any]:
    return {
        "type": "time",
        "gridIndex": index,
        "min": int(1e3 * since),
        "max": int(1e3 * now),
        "axisLine": {"lineStyle": {"color": "var(--line-strong)"}},
        "axisTick": {"show": bool(index), "lineStyle": {"color": "var(--line-strong)"}},
        "axisLabel": TEXT | {"show": bool(index), "hideOverlap": True, "formatter": CLOCK_LABELS},
        "splitLine": {"show": False},
        "splitNumber": 5,
    }


def _value_axis(index: int, unit: str) -> dict[str, Any]:
    return {
        "type": "value",
        "gridIndex": index,
        "min": 0,
        "axisLabel": TEXT | {":formatter": f"(v) => v.toLocaleString('en-US') + ' {unit}'"},
        "splitLine": {"lineStyle": {"color": "var(--line)"}},
        "splitNumber": 3 if index == 0 else 2,
    }
