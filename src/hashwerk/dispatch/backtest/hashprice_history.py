"""Hashprice as it was: from the difficulty of each period, the subsidy, and the coin's price of the day."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

import numpy as np

from hashwerk.chain.network import NETWORKS
from hashwerk.chain.subsidy import subsidy_sat
from hashwerk.dispatch.backtest.settings import MoneySettings
from hashwerk.dispatch.grid import DAY_S, FloatArray, Grid, IntArray
from hashwerk.economics.hashprice import hashprice_per_th_day
from hashwerk.errors import FeedError

_BLOCK_S: Final = 600.0


def hashprice_history(folder: Path, settings: MoneySettings, grid: Grid, currency: str) -> FloatArray:
    """Return the hashprice per PH/s and day, after pool fee and rejects, as known when each interval begins.

    The coin's price is that of 00:00 UTC of the day, the difficulty that of the running period, the rate of exchange the last
    one published before the day.

    Raises:
        FeedError: If a file or a day is missing.
    """
    kept = (1 - settings.pool_fee) * (1 - settings.reject_share)
    if settings.per_ph_day is not None:
        return np.full(len(grid), settings.per_ph_day * kept)
    heights, times_s, difficulties = _difficulties(folder / settings.difficulty_file)
    prices = _column_by_day(folder / settings.price_file, "btc_usd_00utc")
    rates = _rates(folder, settings, currency)
    period = np.searchsorted(times_s, grid.starts_s, side="right") - 1
    if period.min() < 0:
        raise FeedError(f"{settings.difficulty_file} begins after the backtest")
    day = (grid.starts_s // DAY_S).astype(np.int64)
    era = _heights(heights, times_s, grid) // NETWORKS["main"].halving_interval
    cases, where = np.unique(np.stack([period, day, era]), axis=1, return_inverse=True)
    values = np.empty(cases.shape[1])
    for number, (p, d, e) in enumerate(cases.T.tolist()):
        if d not in prices:
            raise FeedError(f"{settings.price_file} has no price of {_date(d)}")
        subsidy = subsidy_sat(NETWORKS["main"], e * NETWORKS["main"].halving_interval)
        usd = hashprice_per_th_day(
            Decimal(difficulties[p]), subsidy, Decimal(repr(settings.fee_share)), Decimal(prices[d])
        )
        values[number] = float(usd) * 1_000 * kept * rates(d)
    return values[np.ravel(where)]


def _heights(heights: list[int], times_s: FloatArray, grid: Grid) -> IntArray:
    """Return the height at the beginning of each interval, between the known ones in proportion: a period can have a halving."""
    ahead = 52  # periods of two weeks, at ten minutes a block, where the file ends
    known_s = np.append(times_s, times_s[-1] + ahead * 2_016 * _BLOCK_S)
    known = np.append(np.array(heights, dtype=np.float64), heights[-1] + ahead * 2_016)
    return np.asarray(np.interp(grid.starts_s, known_s, known), dtype=np.int64)


def _difficulties(path: Path) -> tuple[list[int], FloatArray, list[str]]:
    rows = _rows(path)
    try:
        heights = [int(row["height"]) for row in rows]
        times_s = np.array([float(row["timestamp"]) for row in rows])
        return heights, times_s, [row["difficulty"] for row in rows]
    except (KeyError, ValueError) as error:
        raise FeedError(f"{path.name} has no height, timestamp and difficulty in every row") from error


def _column_by_day(path: Path, column: str) -> dict[int, str]:
    rows = _rows(path)
    if rows and column not in rows[0]:
        raise FeedError(f"{path.name} has no column {column!r}")
    return {_day(row["date"]): row[column] for row in rows if row[column]}


def _rates(folder: Path, settings: MoneySettings, currency: str) -> Callable[[int], float]:
    """Return what a dollar is in the site's currency, by day: the last rates published before the day began."""
    if currency == "USD":
        return lambda day: 1.0
    if settings.fx_file is None:
        raise FeedError(
            f"the coin's price is in USD and the site's currency is {currency}: fx_file names the rates"
        )
    path = folder / settings.fx_file
    dollars = _column_by_day(path, "USD")
    own = dict.fromkeys(dollars, "1") if currency == "EUR" else _column_by_day(path, currency)
    days = np.array(sorted(set(dollars) & set(own)))

    def rate(day: int) -> float:
        place = int(np.searchsorted(days, day, side="left")) - 1
        if place < 0 or day - days[place] > 7:
            raise FeedError(f"{settings.fx_file} has no rate of the week before {_date(day)}")
        known = int(days[place])
        return float(own[known]) / float(dollars[known])

    return rate


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FeedError(f"there is no file {path}: name the folder with --data")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _day(date: str) -> int:
    return (datetime.date.fromisoformat(date) - datetime.date(1970, 1, 1)).days


def _date(day: int) -> str:
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()
