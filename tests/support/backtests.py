"""Small backtests of invented history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hashwerk.dispatch.backtest.history import History, Published, publication_times
from hashwerk.dispatch.backtest.scenario import Scenario
from hashwerk.dispatch.backtest.settings import (
    BacktestSettings,
    GroupSettings,
    ModeSettings,
    PublicationSettings,
    SeriesSettings,
)
from hashwerk.dispatch.grid import uniform_grid

START_S = 1_750_032_000.0  # 2025-06-16T00:00Z, a Monday
DAY_AHEAD = PublicationSettings(at="13:00", zone="Europe/Berlin")


def machines(name: str = "a", count: int = 20, merit: float = 1.0, **more: Any) -> GroupSettings:
    """A group; at a hashprice of 45 its steps break even at 93.75 and 56.25 times its merit."""
    modes = (
        ModeSettings(name="eco", power_w=1_500.0, hashrate_ths=75.0 * merit),
        ModeSettings(name="high", power_w=3_000.0, hashrate_ths=120.0 * merit),
    )
    more = {"residual_w": 10.0, "wake_s": 0.0} | more
    return GroupSettings(name=name, count=count, modes=modes, **more)


def waves(intervals: int, seed: int = 0, *, hourly: bool = True) -> npt.NDArray[np.float64]:
    """Prices around 75 with two waves a day and noise, hour by hour or quarter by quarter."""
    per = 4 if hourly else 1
    random = np.random.default_rng(seed)
    blocks = -(-intervals // per)
    noise = random.normal(0, 20, blocks)
    wave = 30 * np.sin(np.arange(blocks) * per / 96 * 4 * np.pi)
    return np.repeat(np.round(75 + wave + noise, 2), per)[:intervals]


def scenario(
    price: Sequence[float] | npt.NDArray[np.float64],
    *,
    groups: Sequence[GroupSettings] = (),
    publication: PublicationSettings = DAY_AHEAD,
    local_kw: npt.NDArray[np.float64] | None = None,
    hashprice: float = 45.0,
    **more: Any,
) -> Scenario:
    """A scenario of quarter hours."""
    values = np.asarray(price, dtype=np.float64)
    grid = uniform_grid(START_S, 900.0, len(values))
    one = SeriesSettings(file="invented", column="price", publication=publication)
    settings = BacktestSettings(
        price=one,
        groups=tuple(groups) or (machines(),),
        local=None if local_kw is None else SeriesSettings(file="invented", column="sun"),
        **more,
    )
    series = {
        "price": Published("price", values, publication_times(grid, publication)),
        "hashprice": Published("hashprice", np.full(len(values), hashprice), grid.starts_s.copy()),
    }
    if local_kw is not None:
        series["local"] = Published("sun", local_kw, grid.starts_s.copy())
    if settings.carbon is not None:
        constant = np.full(len(values), settings.carbon.g_per_kwh or 0.0)
        series["carbon"] = Published("carbon", constant, grid.starts_s.copy())
    return Scenario(
        name="invented",
        settings=settings,
        grid=grid,
        groups=tuple(group.group() for group in settings.groups),
        history=History(grid, series),
        missing=~np.isfinite(values),
        assumptions=(),
    )
