"""Who works for which pool: by priority, and among equals by hash rate, measured in accepted work. Pure arithmetic.

A ratio of machines is not a ratio of hash rate. Here the work that was really accepted is what is split: each pool has a
debt, what it should have had of the last hour's work less what it had, and machines are moved so that debts are paid within
a minute. Moving a machine costs it a new job and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

MEMORY_S: Final = 3_600.0  # the ratio is held over this time
HORIZON_S: Final = 60.0  # in which a debt is to be paid
_LEAST_GAIN: Final = 0.25  # of a machine's rate: a smaller improvement is not worth a move


class Seated(NamedTuple):
    """A machine as the split sees it."""

    number: int  # the caller's
    pool: int
    rate_hs: float


class Move(NamedTuple):
    """A machine that is to work for another pool."""

    number: int
    pool: int


@dataclass(slots=True)
class Split:
    """The ledger of work between pools of equal priority, by their weights."""

    weights: dict[int, float]
    work: dict[int, float] = field(default_factory=dict)

    def add(self, pool: int, work: float) -> None:
        """Count accepted work, in hashes."""
        self.work[pool] = self.work.get(pool, 0.0) + work

    def age(self, seconds: float) -> None:
        """Let work fade, so that the ratio is one of the last hour."""
        keep = math.exp(-seconds / MEMORY_S)
        for pool in self.work:
            self.work[pool] *= keep

    def parts(self, pools: Sequence[int]) -> dict[int, float]:
        """Return the part of the hash rate each of these pools should have."""
        whole = sum(self.weights[pool] for pool in pools)
        return {pool: self.weights[pool] / whole for pool in pools}

    def debts(self, pools: Sequence[int]) -> dict[int, float]:
        """Return how much work each of these pools is owed, in hashes; the sum is zero."""
        whole = sum(self.work.get(pool, 0.0) for pool in pools)
        return {pool: part * whole - self.work.get(pool, 0.0) for pool, part in self.parts(pools).items()}

    def next_pool(self, pools: Sequence[int], rates: Mapping[int, float], rate_hs: float) -> int:
        """Return the pool a newcomer of this rate should work for, given the rates already there."""
        wanted = self._wanted(pools, sum(rates.get(pool, 0.0) for pool in pools) + rate_hs)
        return max(pools, key=lambda pool: (wanted[pool] - rates.get(pool, 0.0), -pool))

    def moves(self, pools: Sequence[int], machines: Sequence[Seated]) -> list[Move]:
        """Return who is to move, the fewest first: each move takes from the pool that has most too much.

        Args:
            pools: Those that may be used now.
            machines: All machines of these pools.
        """
        rates = dict.fromkeys(pools, 0.0)
        for machine in machines:
            rates[machine.pool] = rates.get(machine.pool, 0.0) + machine.rate_hs
        wanted = self._wanted(pools, sum(rates.values()))
        seated: dict[int, list[Seated]] = {pool: [] for pool in pools}
        for machine in sorted(machines, key=lambda each: each.rate_hs):
            seated[machine.pool].append(machine)
        found: list[Move] = []
        for _ in range(len(machines)):
            over = max(pools, key=lambda pool: rates[pool] - wanted[pool])
            under = max(pools, key=lambda pool: wanted[pool] - rates[pool])
            excess, lack = rates[over] - wanted[over], wanted[under] - rates[under]
            best = min(
                seated[over],
                key=lambda each: abs(excess - each.rate_hs) + abs(lack - each.rate_hs),
                default=None,
            )
            if best is None:
                break
            gain = excess + lack - abs(excess - best.rate_hs) - abs(lack - best.rate_hs)
            if gain <= _LEAST_GAIN * best.rate_hs or gain <= 0:
                break
            seated[over].remove(best)
            rates[over] -= best.rate_hs
            rates[under] += best.rate_hs
            found.append(Move(best.number, under))
        return found

    def _wanted(self, pools: Sequence[int], rate_hs: float) -> dict[int, float]:
        """Return the hash rate each pool should have now, so that its debt is paid within the horizon."""
        parts, debts = self.parts(pools), self.debts(pools)
        raw = {pool: max(0.0, parts[pool] * rate_hs + debts[pool] / HORIZON_S) for pool in pools}
        whole = sum(raw.values())
        if whole <= 0:
            return {pool: parts[pool] * rate_hs for pool in pools}
        return {pool: rate_hs * value / whole for pool, value in raw.items()}
