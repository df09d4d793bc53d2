"""Small sites for tests of dispatch, with round numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from hashwerk.dispatch.compose import make_problem
from hashwerk.dispatch.grid import Grid, uniform_grid
from hashwerk.dispatch.modes import Mode
from hashwerk.dispatch.problem import Group, GroupHistory, Problem

MIDNIGHT_S = 1_750_032_000.0  # 2025-06-16T00:00Z
HASHPRICE = 45.0


def modes(*pairs: tuple[float, float]) -> tuple[Mode, ...]:
    """Modes of so many watts and terahashes a second."""
    return tuple(
        Mode(name=f"m{number}", power_w=power_w, hashrate_hs=ths * 1e12)
        for number, (power_w, ths) in enumerate(pairs)
    )


def group(
    name: str = "a",
    count: int = 10,
    pairs: Sequence[tuple[float, float]] = ((1_500, 75), (3_000, 120)),
    **more: Any,
) -> Group:
    """A group of machines: at a hashprice of 45 the default's steps break even at 93.75 and 56.25."""
    return Group(name=name, count=count, modes=modes(*pairs), **more)


def problem(
    groups: Sequence[Group],
    buy: Sequence[float] | npt.NDArray[np.float64] | float,
    *,
    intervals: int | None = None,
    interval_s: float = 3_600.0,
    start_s: float = MIDNIGHT_S,
    grid: Grid | None = None,
    running: Sequence[int] | None = None,
    **more: Any,
) -> Problem:
    """A problem over equal intervals, from a list of prices."""
    if grid is None:
        count = intervals if intervals is not None else len(np.atleast_1d(np.asarray(buy)))
        grid = uniform_grid(start_s, interval_s, count)
    more.setdefault("hashprice_per_ph_day", HASHPRICE)
    if running is not None:
        more["histories"] = [GroupHistory.settled(g, on) for g, on in zip(groups, running, strict=True)]
    return make_problem(grid, groups, buy_per_mwh=np.asarray(buy, dtype=np.float64), **more)
