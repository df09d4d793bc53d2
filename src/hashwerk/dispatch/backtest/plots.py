"""Plots of a backtest as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from hashwerk.dispatch.backtest.report import Course

_DAYS_SHOWN = 14
_LEGEND_COLUMNS = 5
#: A highest price so many times that of the dearest twentieth does not fit on a linear scale.
_SPIKY = 5


def save_plots(course: Course, folder: Path) -> list[Path]:
    """Write the cumulative margins, the price duration, and two weeks of price and power; return the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(letter if letter.isalnum() else "-" for letter in course.result.site.lower()).strip("-")
    times = course.starts_s.astype("datetime64[s]")
    currency, title = (
        course.result.currency,
        f"{course.result.site}, {course.result.start} to {course.result.stop}",
    )
    written: list[Path] = []

    def save(kind: str) -> None:
        path = folder / f"{stem}-{kind}.png"
        figure.savefig(path, dpi=110)
        plt.close(figure)
        written.append(path)

    figure, (above, below) = plt.subplots(
        2, 1, figsize=(9, 6.5), sharex=True, height_ratios=(2, 1), layout="constrained"
    )
    largest = max(float(np.abs(np.cumsum(margin)).max()) for margin in course.margin.values())
    unit, money = (1e3, f"thousand {currency}") if largest >= 1e5 else (1.0, currency)
    ends_s, bound = np.array(course.bound).T
    ends, last = ends_s.astype("datetime64[s]"), np.searchsorted(course.starts_s, ends_s) - 1
    for number, (policy, margin) in enumerate(course.margin.items()):
        so_far = np.cumsum(margin)
        above.plot(times, so_far / unit, label=policy, color=f"C{number}", linewidth=1.2)
        if number:  # always on is far below the others in most years
            below.plot(ends, (bound - so_far[last]) / unit, color=f"C{number}", marker=".", linewidth=1)
    above.plot(
        ends, bound / unit, label="perfect foresight, at the ends of months",
        color="black", linestyle="none", marker="_", markersize=12,
    )  # fmt: skip
    above.set(title=title, ylabel=f"margin so far, {money}")
    below.set(ylabel=f"regret so far, {money}")
    below.set_ylim(bottom=min(0.0, below.get_ylim()[0]))
    above.grid(alpha=0.3)
    below.grid(alpha=0.3)
    _legend_below(figure, above)
    save("margin")

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    price = np.sort(course.price_per_mwh[np.isfinite(course.price_per_mwh)])[::-1]
    axes.plot(np.linspace(0, 100, len(price)), price, color="tab:gray", linewidth=1.2)
    axes.set(title=f"{title}: price duration", xlabel="% of the time at or above", ylabel=f"{currency}/MWh")
    if np.abs(price).max() > _SPIKY * np.quantile(np.abs(price), 0.95):
        # Linear up to 100, powers of ten beyond: both ordinary hours and a crisis can be read.
        axes.set_yscale("symlog", linthresh=100, linscale=2)
        ends = [10.0**power for power in range(2, 6)]
        within = [-100.0, -50.0, 0.0, 50.0, *ends, *(-end for end in ends)]
        axes.set_yticks(
            [
                tick
                for tick in sorted(set(within))
                if price.min() * 1.5 <= tick <= price.max() * 1.5 or not tick
            ]
        )
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(alpha=0.3)
    save("price")

    first, until = _most_moving(course)
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    above.step(
        times[first:until], course.price_per_mwh[first:until], where="post", color="tab:gray", linewidth=1
    )
    above.set(title=f"{title}: the two weeks in which the price moved most", ylabel=f"{currency}/MWh")
    most_w = max(float(import_w.max()) for import_w in course.import_w.values())
    unit, power = (1e6, "MW") if most_w >= 1e6 else (1e3, "kW")
    for policy, import_w in course.import_w.items():
        below.step(times[first:until], import_w[first:until] / unit, where="post", label=policy, linewidth=1)
    below.set(ylabel=f"import, {power}")
    _legend_below(figure, below)
    save("weeks")
    return written


def _legend_below(figure: Any, axes: Any) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=min(len(labels), _LEGEND_COLUMNS),
        frameon=False,
        fontsize=9,
    )


def _most_moving(course: Course) -> tuple[int, int]:
    """Return the two weeks with the highest mean absolute change of the price."""
    width = min(len(course.starts_s), round(_DAYS_SHOWN * 86_400 / course.result.interval_s))
    change = np.abs(np.diff(np.nan_to_num(course.price_per_mwh), prepend=course.price_per_mwh[:1]))
    sums = np.cumsum(np.nan_to_num(change))
    moved = sums[width - 1 :] - np.concatenate([[0.0], sums[: len(sums) - width]])
    first = int(np.argmax(moved))
    return first, first + width
