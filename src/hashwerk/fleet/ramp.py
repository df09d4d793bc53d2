"""When each step of a batch is taken: in waves that no breaker, no feeder and no grid connection feels as a blow.

A wave takes at most so many machines of one breaker and of one feeder, and the waves together no more than so many watts
a minute. Going down the least efficient go first; coming back the order is the reverse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from hashwerk.fleet.batch import Step

#: Where nothing is known of what a step saves: a large machine.
UNKNOWN_W: Final = 3_500.0


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """How fast power may change."""

    wave_s: float = 5.0
    max_w_per_minute: float | None = None  # None: as fast as waves allow
    per_breaker: int | None = 4  # machines of one breaker in a wave
    per_feeder: int | None = 32
    per_wave: int = 200


class Wave(msgspec.Struct, frozen=True, kw_only=True):
    """What is done at one moment of a batch."""

    after_s: float  # since the batch began
    steps: tuple[Step, ...]

    @property
    def power_w(self) -> float:
        """Return by how much this wave changes the power."""
        return sum(size_of(step) for step in self.steps)


def waves(steps: Sequence[Step], ramp: Ramp) -> list[Wave]:
    """Return the waves of a batch; their steps are ``steps``, each once, in this order as far as the limits allow.

    A single step larger than the limit of watts a minute gets a wave of its own and waits its due time.
    """
    left = list(steps)
    found: list[Wave] = []
    at_s = 0.0
    while left:
        wave, left = next_wave(left, ramp)
        found.append(Wave(after_s=at_s, steps=tuple(wave)))
        at_s += rest_s(wave, ramp)
    return found


def next_wave(steps: Sequence[Step], ramp: Ramp) -> tuple[list[Step], list[Step]]:
    """Return the steps that may be taken together now, and those that come later."""
    wave: list[Step] = []
    later: list[Step] = []
    breakers: dict[str, int] = {}
    feeders: dict[str, int] = {}
    power_w = 0.0
    room_w = float("inf") if ramp.max_w_per_minute is None else ramp.max_w_per_minute * ramp.wave_s / 60.0
    for step in steps:
        size_w = size_of(step)
        fits = (
            len(wave) < ramp.per_wave
            and (not wave or power_w + size_w <= room_w)
            and _has_room(breakers, step.place.breaker, ramp.per_breaker)
            and _has_room(feeders, step.place.feeder, ramp.per_feeder)
        )
        if not fits:
            later.append(step)
            continue
        wave.append(step)
        power_w += size_w
        _count(breakers, step.place.breaker)
        _count(feeders, step.place.feeder)
    return wave, later


def rest_s(wave: Sequence[Step], ramp: Ramp) -> float:
    """Return how long to wait after a wave before the next one."""
    if ramp.max_w_per_minute is None:
        return ramp.wave_s
    return max(ramp.wave_s, sum(size_of(step) for step in wave) / ramp.max_w_per_minute * 60.0)


def _has_room(counts: dict[str, int], name: str | None, most: int | None) -> bool:
    return name is None or most is None or counts.get(name, 0) < most


def _count(counts: dict[str, int], name: str | None) -> None:
    if name is not None:
        counts[name] = counts.get(name, 0) + 1


def size_of(step: Step) -> float:
    """Return by how much a step changes the power."""
    return UNKNOWN_W if step.saves_w is None else abs(step.saves_w)
