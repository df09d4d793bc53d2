"""Plots of a backtest as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hashwerk.dispatch.backtest.report import Course

_DAYS_SHOWN = 14


def save_plots(course: Course, folder: Path) -> list[Path]:
    """Write the cumulative margins, the price duration, and two weeks of price and power; return the files."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

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

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    for policy, margin in course.margin.items():
        axes.plot(times, np.cumsum(margin) / 1e3, label=policy, linewidth=1.2)
    axes.set(title=title, ylabel=f"margin so far, thousand {currency}, without demand charges")
    axes.legend()
    save("margin")

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    price = np.sort(course.price_per_mwh[np.isfinite(course.price_per_mwh)])[::-1]
    axes.plot(np.linspace(0, 100, len(price)), price, color="tab:gray", linewidth=1.2)
    axes.set(title=f"{title}: price duration", xlabel="% of the time at or above", ylabel=f"{currency}/MWh")
    axes.set_yscale("symlog", linthresh=100)
    save("price")

    first, last = _most_moving(course)
    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    above.step(
        times[first:last], course.price_per_mwh[first:last], where="post", color="tab:gray", linewidth=1
    )
    above.set(title=f"{title}: the two weeks in which the price moved most", ylabel=f"{currency}/MWh")
    for policy, import_w in course.import_w.items():
        below.step(times[first:last], import_w[first:last] / 1e6, where="post", label=policy, linewidth=1)
    below.set(ylabel="import, MW")
    below.legend()
    save("weeks")
    return written


def _most_moving(course: Course) -> tuple[int, int]:
    """Return the two weeks with the highest mean absolute change of the price."""
    width = min(len(course.starts_s), round(_DAYS_SHOWN * 86_400 / course.result.interval_s))
    change = np.abs(np.diff(np.nan_to_num(course.price_per_mwh), prepend=course.price_per_mwh[:1]))
    sums = np.cumsum(np.nan_to_num(change))
    moved = sums[width - 1 :] - np.concatenate([[0.0], sums[: len(sums) - width]])
    first = int(np.argmax(moved))
    return first, first + width
