"""Options of the charts (ECharts). Colours are the page's own variables, so both themes are drawn alike.

An interval is a band, a step without data is a gap, and a block is a mark on the axis of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from hashwerk.web.history import Point, Range

Options = dict[str, Any]

TEXT: Final = {"color": "var(--muted)", "fontSize": 12, "fontFamily": "var(--font)"}
MAX_MARKS: Final = 240
CLOCK_LABELS: Final = {
    "year": "{yyyy}",
    "month": "{d} {MMM}",
    "day": "{d} {MMM}",
    "hour": "{HH}:{mm}",
    "minute": "{HH}:{mm}",
}
_QUIET: Final = {"animation": False, "silent": True, "symbol": "none", "emphasis": {"disabled": True}}


def rate_chart(points: Sequence[Point], span: Range, found: Iterable[float], now: float) -> Options:
    """Return the measured hash rate over time with its 95 % band, and marks at the times blocks were found.

    The band is drawn as two stacked lines: the lower bound, unseen, and upon it the width, filled.
    """
    middle_s = span.step_s / 2
    times = [_ms(point.start + middle_s) for point in points]
    low = [[at, point.low_hs] for at, point in zip(times, points, strict=True)]
    width = [
        [at, None if point.high_hs is None or point.low_hs is None else point.high_hs - point.low_hs]
        for at, point in zip(times, points, strict=True)
    ]
    rate = [
        _dot(at, point) if _stands_alone(points, index) else [at, point.hashrate_hs]
        for index, (at, point) in enumerate(zip(times, points, strict=True))
    ]
    marks = [[_ms(found_at), 0] for found_at in thin_out(found, now - span.span_s, span.span_s / MAX_MARKS)]
    return _base(span, now, "hw.rateTip", "hw.hashrate") | {
        "series": [
            _QUIET
            | {"name": "low", "type": "line", "data": low, "stack": "band", "lineStyle": {"opacity": 0}},
            _QUIET
            | {
                "name": "95 % band",
                "type": "line",
                "data": width,
                "stack": "band",
                "lineStyle": {"opacity": 0},
                "areaStyle": {"color": "var(--violet-band)", "opacity": 1},
            },
            _QUIET
            | {
                "name": "hash rate",
                "type": "line",
                "data": rate,
                "lineStyle": {"color": "var(--violet)", "width": 2},
                "itemStyle": {"color": "var(--violet)"},
            },
            _QUIET
            | {
                "name": "blocks",
                "type": "scatter",
                "data": marks,
                "symbol": "triangle",
                "z": 5,
                "symbolSize": 7,
                "symbolOffset": [0, -5],
                "itemStyle": {"color": "var(--ink)"},
            },
        ]
    }


def _stands_alone(points: Sequence[Point], index: int) -> bool:
    # A line needs two ends: a measurement between two gaps would not be seen.
    around = (points[other].hashrate_hs for other in (index - 1, index + 1) if 0 <= other < len(points))
    return points[index].hashrate_hs is not None and all(value is None for value in around)


def _dot(at: int, point: Point) -> Options:
    return {"value": [at, point.hashrate_hs], "symbol": "circle", "symbolSize": 5}


def thin_out(times: Iterable[float], since: float, spacing_s: float) -> list[float]:
    """Return the times from ``since`` on, oldest first, at most one for each ``spacing_s``: more cannot be seen."""
    kept: dict[int, float] = {}
    for at in times:
        if at >= since:
            kept.setdefault(int(at // spacing_s), at)
    return sorted(kept.values())


def shares_chart(points: Sequence[Point], span: Range, now: float) -> Options:
    """Return shares accepted and rejected in each step, as stacked bars."""
    middle_s = span.step_s / 2
    accepted = [[_ms(point.start + middle_s), point.accepted or None] for point in points]
    rejected = [[_ms(point.start + middle_s), point.rejected or None] for point in points]
    bar = _QUIET | {"type": "bar", "stack": "shares", "barCategoryGap": "25%", "barMaxWidth": 14}
    return _base(span, now, "hw.sharesTip", "hw.count") | {
        "series": [
            bar | {"name": "accepted", "data": accepted, "itemStyle": {"color": "var(--violet)"}},
            bar | {"name": "rejected", "data": rejected, "itemStyle": {"color": "var(--amber)"}},
        ]
    }


def _base(span: Range, now: float, tip: str, scale: str) -> Options:
    return {
        "animation": False,
        "grid": {"left": 66, "right": 10, "top": 22, "bottom": 28},
        "tooltip": {
            "trigger": "axis",
            ":formatter": tip,
            "confine": True,
            "transitionDuration": 0,
            "backgroundColor": "var(--panel)",
            "borderColor": "var(--line)",
            "textStyle": {"color": "var(--ink)", "fontSize": 13},
            "axisPointer": {"lineStyle": {"color": "var(--muted)", "type": "solid"}, "animation": False},
        },
        "xAxis": {
            "type": "time",
            "min": _ms(now - span.span_s),
            "max": _ms(now),
            "axisLine": {"lineStyle": {"color": "var(--line-strong)"}},
            "axisTick": {"lineStyle": {"color": "var(--line-strong)"}},
            "axisLabel": TEXT | {"hideOverlap": True, "formatter": CLOCK_LABELS},
            "splitLine": {"show": False},
            "splitNumber": 5,
        },
        "yAxis": {
            "type": "value",
            "min": 0,
            "axisLabel": TEXT | {":formatter": scale},
            "splitLine": {"lineStyle": {"color": "var(--line)"}},
            "splitNumber": 4,
        },
    }


def _ms(time_s: float) -> int:
    return int(time_s * 1000)


CurvePoint = tuple[float, float, str | None]
_POINT_TIP: Final = (
    "(p) => `<div class=tip-head>${p.value[2] ?? 'the only mode'}</div><div class=tip-row><span>${p.seriesName}</span>"
    "<b>${Math.round(p.value[1]).toLocaleString('en-US')} W, ${hw.hashrate(p.value[0])}</b></div>`"
)


def curve_chart(
    published: Sequence[CurvePoint], learned: Sequence[CurvePoint], now: tuple[float, float] | None
) -> Options:
    """Return power over hash rate: what is published of a machine, what was learned on site, and where it is now.

    Points are (H/s, W, mode).
    """
    options = _base(Range("", 0, 1), 0.0, "", "(w) => w.toLocaleString('en-US') + ' W'")
    options["tooltip"] = options["tooltip"] | {"trigger": "item", ":formatter": _POINT_TIP}
    axis = {
        "type": "value",
        "min": 0,
        "axisLabel": TEXT | {":formatter": "hw.hashrate", "hideOverlap": True},
    }
    options["xAxis"] = axis | {
        "splitLine": {"show": False},
        "splitNumber": 5,
        "axisLine": {"lineStyle": {"color": "var(--line-strong)"}},
    }
    options["grid"] = options["grid"] | {"right": 34}
    muted, violet = "var(--muted)", "var(--violet)"
    line = {"type": "line", "animation": False, "symbolSize": 9}
    return options | {
        "series": [
            line
            | {
                "name": "published",
                "data": [list(point) for point in published],
                "symbol": "emptyDiamond",
                "lineStyle": {"color": muted, "type": "dashed", "width": 1.5},
                "itemStyle": {"color": muted},
            },
            line
            | {
                "name": "learned here",
                "data": [list(point) for point in learned],
                "symbol": "circle",
                "lineStyle": {"color": violet, "width": 2},
                "itemStyle": {"color": violet},
            },
            {
                "name": "now",
                "type": "scatter",
                "animation": False,
                "data": [] if now is None else [[*now, "now"]],
                "symbol": "path://M0 0L10 10M10 0L0 10",
                "symbolSize": 11,
                "z": 5,
                "itemStyle": {"color": "none", "borderColor": "var(--ink)", "borderWidth": 2.5},
            },
        ]
    }
