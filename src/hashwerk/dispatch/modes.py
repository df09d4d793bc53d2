"""Modes of a machine as steps: what the next watts earn, which is what decides, and never the average.

A machine that sleeps draws its residual power; each step leads from one mode to the next and has its own extra power and
hash rate. On the **convex hull** the steps become less efficient one after another, so that whoever takes the next best
step never has to take back one: there a linear plan is exact up to the rounding of counts. Modes below the hull are of
use only to a whole-number plan, where a limit falls between two better modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

HS_PER_PHS: Final = 1e15
HOURS_PER_DAY: Final = 24.0


class Mode(msgspec.Struct, frozen=True, kw_only=True):
    """A working mode of one machine, as measured or from its nameplate."""

    name: str
    power_w: float
    hashrate_hs: float


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The way from one mode to the next higher one, per machine."""

    mode: int  # the mode reached, as a place in the group's modes
    extra_power_w: float
    extra_hashrate_hs: float

    def break_even_per_mwh(self, hashprice_per_ph_day: float) -> float:
        """Return the power price at which the step's extra hash earns just its extra power: hashprice · ΔH / ΔW."""
        return break_even_per_mwh(hashprice_per_ph_day, self.extra_power_w, self.extra_hashrate_hs)


def break_even_per_mwh(hashprice_per_ph_day: float, power_w: float, hashrate_hs: float) -> float:
    """Return hashprice · H / W in currency per MWh (facts of economics: 1 / (0.024 · J/TH)); no power gives infinity."""
    if power_w <= 0:
        return float("inf")
    return hashprice_per_ph_day * hashrate_hs / HS_PER_PHS / HOURS_PER_DAY / (power_w / 1e6)


def check_modes(modes: Sequence[Mode], residual_w: float) -> None:
    """Raise ValueError unless modes rise in power above the residual, and in hash rate above nothing."""
    if not modes:
        raise ValueError("a machine needs a mode to work in")
    power_w, hashrate_hs = residual_w, 0.0
    for mode in modes:
        if mode.power_w <= power_w or mode.hashrate_hs <= hashrate_hs:
            raise ValueError(
                f"modes must rise in power and hash rate: {mode.name!r} has {mode.power_w:g} W and"
                f" {mode.hashrate_hs / 1e12:g} TH/s, the one below {power_w:g} W and {hashrate_hs / 1e12:g} TH/s"
            )
        power_w, hashrate_hs = mode.power_w, mode.hashrate_hs


def all_steps(modes: Sequence[Mode], residual_w: float) -> tuple[Step, ...]:
    """Return the steps through every mode, whether or not it lies on the hull."""
    return _steps(modes, residual_w, range(len(modes)))


def hull_steps(modes: Sequence[Mode], residual_w: float) -> tuple[Step, ...]:
    """Return the steps along the convex hull of (power, hash rate), from sleep upwards: each less efficient than the last.

    Modes on a straight line between two others stay out: a mixture of machines gives the same.
    """
    corners: list[int] = []
    for number in range(len(modes)):
        while corners and not _lies_above(modes, residual_w, corners, number):
            corners.pop()
        corners.append(number)
    return _steps(modes, residual_w, corners)


def _lies_above(modes: Sequence[Mode], residual_w: float, corners: Sequence[int], new: int) -> bool:
    """Tell whether the last corner lies above the line from the one before it to the new mode."""
    last = modes[corners[-1]]
    base_w, base_hs = residual_w, 0.0
    if len(corners) > 1:
        base_w, base_hs = modes[corners[-2]].power_w, modes[corners[-2]].hashrate_hs
    to_last = (last.hashrate_hs - base_hs) * (modes[new].power_w - base_w)
    to_new = (modes[new].hashrate_hs - base_hs) * (last.power_w - base_w)
    return to_last > to_new * (1 + 1e-12)


def _steps(modes: Sequence[Mode], residual_w: float, corners: Sequence[int]) -> tuple[Step, ...]:
    steps: list[Step] = []
    power_w, hashrate_hs = residual_w, 0.0
    for corner in corners:
        mode = modes[corner]
        steps.append(
            Step(
                mode=corner,
                extra_power_w=mode.power_w - power_w,
                extra_hashrate_hs=mode.hashrate_hs - hashrate_hs,
            )
        )
        power_w, hashrate_hs = mode.power_w, mode.hashrate_hs
    return tuple(steps)
