"""A plan: how many machines of each group run in each mode, and what the site then draws, gives, earns and pays."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np

from hashwerk.dispatch.grid import FloatArray, Grid, IntArray
from hashwerk.dispatch.modes import HOURS_PER_DAY, HS_PER_PHS, hull_steps
from hashwerk.dispatch.problem import Group, Problem


class Origin(enum.Enum):
    """Who made a plan."""

    OPTIMISER = "optimiser"
    LADDER = "ladder"  # the merit order without a solver: what is left when the optimiser fails
    POLICY = "policy"
    SAFETY = "safety"


class Hold(enum.IntEnum):
    """Why a group is not as its policy would have it. The last one that had a say is kept."""

    NOTHING = 0
    UNAVAILABLE = 1  # machines that cannot be told to run
    MIN_ON = 2  # on for longer than wanted
    MIN_OFF = 3
    STARTS = 4  # no start left today
    SITE = 5  # a limit of the site's import
    FEEDER = 6
    RAMP = 7


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Schedule:
    """What a policy decided.

    Args:
        running: Machines in each mode, shape (G, M, T); groups with fewer modes have zeros above them. Whole numbers after
            rounding; the linear plan has fractions.
        starts: Machines woken at the beginning of each interval, shape (G, T).
        import_w, export_w, local_w, charge_w, discharge_w: Means over the intervals.
        stored_wh: In the battery at the end of each interval.
        cost: The program's objective, currency, negative where money is earned; None where no program was solved.
        site_price_per_mwh: The dual of the balance: what a MWh is worth on the site; None where no program was solved.
        held: Why fewer machines (or more) than wanted are on, `Hold` as a number, shape (G, T); None where it is not known.
        turns_own_down: Whether own generation is turned down where importing is paid for.
        remarks: What people should know: limits that gave way, a solver that failed.
    """

    grid: Grid
    origin: Origin
    running: FloatArray
    starts: FloatArray
    import_w: FloatArray
    export_w: FloatArray
    local_w: FloatArray
    charge_w: FloatArray
    discharge_w: FloatArray
    stored_wh: FloatArray
    cost: float | None = None
    site_price_per_mwh: FloatArray | None = None
    held: IntArray | None = None
    turns_own_down: bool = False
    remarks: tuple[str, ...] = field(default=())

    @property
    def on(self) -> FloatArray:
        """Machines that hash, shape (G, T)."""
        return np.asarray(self.running.sum(axis=1))


def machine_power_w(problem: Problem, running: FloatArray) -> FloatArray:
    """Return what the machines of each group draw, sleeping ones included, shape (G, T)."""
    power_w = np.zeros((len(problem.groups), running.shape[2]))
    for g, group in enumerate(problem.groups):
        modes_w = np.array([mode.power_w - group.residual_w for mode in group.modes])
        power_w[g] = group.residual_w * group.count + modes_w @ running[g, : len(group.modes)]
    return power_w


def hashrate_hs(problem: Problem, running: FloatArray) -> FloatArray:
    """Return the hash rate of each group, shape (G, T), wake-up losses not yet taken off."""
    rate = np.zeros((len(problem.groups), running.shape[2]))
    for g, group in enumerate(problem.groups):
        rate[g] = np.array([mode.hashrate_hs for mode in group.modes]) @ running[g, : len(group.modes)]
    return rate


def load_w(problem: Problem, running: FloatArray) -> FloatArray:
    """Return what the site draws: machines, their cooling, and the house, shape (T,)."""
    machines_w = machine_power_w(problem, running).sum(axis=0)
    return np.asarray(machines_w * (1 + problem.cooling_share) + problem.auxiliary_w)


def waking_hashrate_hs(group: Group) -> float:
    """Return the hash rate that a machine lacks while it wakes: that of the lowest mode on its convex hull."""
    return hull_steps(group.modes, group.residual_w)[0].extra_hashrate_hs


def revenue(problem: Problem, running: FloatArray, starts: FloatArray) -> FloatArray:
    """Return what the hash earns, less what is lost while machines wake, currency, shape (T,)."""
    per_hs_hour = problem.hashprice_per_ph_day / HS_PER_PHS / HOURS_PER_DAY
    earned = hashrate_hs(problem, running).sum(axis=0) * problem.grid.hours
    for g, group in enumerate(problem.groups):
        earned = earned - starts[g] * waking_hashrate_hs(group) * group.wake_s / 3_600.0
    return np.asarray(earned * per_hs_hour)
