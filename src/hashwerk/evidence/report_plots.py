"""Plots of a statement: energy by the hour, hashes by the hour with their intervals, work by account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashwerk.evidence.verify.result import Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The palette of the pages: teal is clean, grey the rest, violet work. The page of HTML turns them into its own variables.
INK: Final = "#1d2733"
TEAL: Final = "#0f8b8d"
GREY: Final = "#9aa5b1"
AMBER: Final = "#c98a1b"
VIOLET: Final = "#6b4fa0"
COLOURS: Final = {"ink": INK, "clean": TEAL, "rest": GREY, "filled": AMBER, "work": VIOLET}
#: Up to so many hours each has a mark and a bar of its own; beyond that a band is read more easily.
_MARKED: Final = 72
_ACCOUNTS: Final = 12
A4_INCHES: Final = (8.27, 11.69)


class Plot(NamedTuple):
    """Something that can be drawn, and how high it wants to be, in inches."""

    height: float
    draw: Callable[[Axes], None]


def plots(report: Report) -> list[Plot]:
    """Return the plots of a report; those for which there is nothing are left out."""
    hours = ((report.statement.get("energy") or {}).get("hours")) or []
    work = report.statement.get("work") or {}
    per_hour = work.get("hashes_per_hour") or []
    accounts = work.get("accounts") or []
    found = []
    if any(hour["load_wh"] for hour in hours):
        found.append(Plot(3.0, partial(_energy, hours)))
    if per_hour:
        found.append(Plot(3.0, partial(_hashes, per_hour)))
    if len(accounts) > 1:
        found.append(Plot(1.2 + 0.25 * min(len(accounts), _ACCOUNTS), partial(_accounts, accounts)))
    return found


def figure_of(plot: Plot) -> Figure:
    """Return one plot for a page of HTML, without a ground of its own."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.3, plot.height), layout="constrained", facecolor="none")
    _draw(plot, figure.subplots())
    return figure


def page_of(drawn: Sequence[Plot]) -> Figure:
    """Return an A4 page with plots below each other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=A4_INCHES, layout="constrained")
    heights = [plot.height for plot in drawn]
    part = min(sum(heights) / A4_INCHES[1], 0.9)
    figure.set_layout_engine("constrained", rect=(0.06, 0.95 - part, 0.88, part), hspace=0.06)
    axes = figure.subplots(len(heights), 1, squeeze=False, gridspec_kw={"height_ratios": heights})
    for plot, one in zip(drawn, axes[:, 0], strict=True):
        _draw(plot, one)
    return figure


def _draw(plot: Plot, axes: Axes) -> None:
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    for part in (axes.spines["left"], axes.spines["bottom"]):
        part.set_color(INK)
    axes.tick_params(colors=INK, labelsize=8)
    plot.draw(axes)


def _label(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, color=INK, loc="left", fontsize=11)
    axes.set_ylabel(unit, color=INK, fontsize=9)


def _times(rows: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Return when hours begin, in days as axes count them."""
    moments = [datetime.fromisoformat(row["start"]).timestamp() for row in rows]
    return np.array(moments, np.float64) / 86_400


def _time_axis(axes: Axes, times: NDArray[np.float64]) -> None:
    """Mark at most nine of the hours; the day stands at the first one and where it changes."""
    marked = times[:: -(-len(times) // 9)].tolist()
    names, day = [], ""
    for moment in marked:
        at = datetime.fromtimestamp(moment * 86_400, UTC)
        names.append(at.strftime("%H:%M") + (at.strftime("\n%Y-%m-%d") if at.strftime("%F") != day else ""))
        day = at.strftime("%F")
    axes.set_xticks(marked, names)
    axes.set_xlabel("UTC", color=INK, fontsize=8)


def _legend(axes: Axes) -> None:
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _energy(hours: Sequence[dict[str, Any]], axes: Axes) -> None:
    times = _times(hours)
    width = 0.85 / 24
    clean = [min(h["clean_wh"], max(h["load_wh"] - h["filled_wh"], 0)) / 1000 for h in hours]
    filled = [h["filled_wh"] / 1000 for h in hours]
    rest = [h["load_wh"] / 1000 - c - f for h, c, f in zip(hours, clean, filled, strict=True)]
    base = [0.0] * len(hours)
    parts = (
        ("carbon-free,\nwith evidence", clean, TEAL),
        ("residual mix", rest, GREY),
        ("missed, filled", filled, AMBER),
    )
    for name, values, colour in parts:
        if any(values):
            axes.bar(times, values, width, base, color=colour, label=name, align="edge")
            base = [b + v for b, v in zip(base, values, strict=True)]
    _label(axes, "Energy by the hour", "kWh")
    _time_axis(axes, times)
    _legend(axes)


def _hashes(rows: Sequence[dict[str, Any]], axes: Axes) -> None:
    times = _times(rows)
    values = [float(row["value"]) for row in rows]
    low = [row["low"] if row["low"] is not None else value for row, value in zip(rows, values, strict=True)]
    high = [
        row["high"] if row["high"] is not None else value for row, value in zip(rows, values, strict=True)
    ]
    if len(rows) <= _MARKED:
        spread = [
            [max(value - bound, 0.0) for value, bound in zip(values, low, strict=True)],
            [max(bound - value, 0.0) for value, bound in zip(values, high, strict=True)],
        ]
        axes.errorbar(times, values, spread, fmt="o", color=VIOLET, markersize=4, capsize=3, linewidth=1.2)
    else:
        axes.fill_between(times, low, high, color=VIOLET, alpha=0.25, step="post")
        axes.step(times, values, where="post", color=VIOLET, linewidth=1.2)
    _label(axes, "Hashes by the hour, with their 95 % interval", "hashes")
    _time_axis(axes, times)
    axes.yaxis.get_offset_text().set_color(INK)
    axes.set_ylim(bottom=0)


def _accounts(rows: Sequence[dict[str, Any]], axes: Axes) -> None:
    ordered = sorted(rows, key=lambda row: -int(row["hashes"]))
    shown = ordered[:_ACCOUNTS]
    total = sum(int(row["hashes"]) for row in rows) or 1
    names = [row["account"][:16] + "…" for row in shown]
    axes.barh(names, [100 * int(row["hashes"]) / total for row in shown], color=VIOLET)
    axes.invert_yaxis()
    more = "" if len(ordered) == len(shown) else f", the largest {len(shown)} of {len(ordered)}"
    axes.set_title(f"Work by account{more}", color=INK, loc="left", fontsize=11)
    axes.set_xlabel("% of bound work", color=INK, fontsize=9)
