"""Who is taken when power must go down: the plan of a batch, machine by machine, with the reason of whoever is left out.

Every machine has steps down from where it runs: to a lower mode, at last to sleep. A step saves watts and costs hashes, and
the steps that save the most watts for each hash come first, whichever machines they belong to: the least efficient watts go,
not the least efficient machines. On the lower convex hull of a machine's points its own steps come in the right order by
themselves, so taking them greedily is optimal up to the last step.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from hashwerk.fleet.commands import Command, SetMode, Sleep
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.measure import Basis, Believed
from hashwerk.fleet.modes import ModePoint, PointSource, lower_hull, point_of
from hashwerk.fleet.place import Place

#: What a sleeping machine draws where nothing is known: between LuxOS (25 W) and the one sample of an Avalon Q (146 W).
IDLE_W: Final = 60.0


class ReduceTo(msgspec.Struct, frozen=True, tag="to"):
    """Draw no more than so much altogether."""

    power_w: float


class ReduceBy(msgspec.Struct, frozen=True, tag="by"):
    """Draw so much less than now."""

    power_w: float


class ReduceAll(msgspec.Struct, frozen=True, tag="all"):
    """Put every machine to sleep."""


Goal = ReduceTo | ReduceBy | ReduceAll


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A machine as the plan sees it."""

    key: MachineKey
    place: Place
    power: Believed
    mode: str | None
    points: tuple[ModePoint, ...]
    can_change_mode: bool = False
    idle_w: float | None = None
    skip: str | None = None  # why it is not to be told anything


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine is to be told, and what that is expected to save."""

    key: MachineKey
    command: Command
    before_w: float | None
    after_w: float | None
    place: Place = Place()
    marginal_j_per_th: float | None = None  # what each terahash given up would have cost
    mode_before: str | None = None  # to come back to

    @property
    def saves_w(self) -> float | None:
        """Return what the step saves; None where the machine's power is not known."""
        return None if self.before_w is None or self.after_w is None else self.before_w - self.after_w


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that is left out, and why."""

    key: MachineKey
    reason: str


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told what, who is not and why, and what is expected of it."""

    goal: Goal
    steps: tuple[Step, ...]  # the least efficient first
    skips: tuple[Skip, ...]
    total_w: float  # now
    total_basis: Basis  # METER: the site's; REPORTED: the sum of what is believed of the machines
    unknown: int  # machines whose power nobody knows
    wanted_w: float | None  # to be saved; None: everything
    expected_w: float  # to be saved by the steps

    @property
    def short_w(self) -> float:
        """Return how much of what is wanted the plan cannot give; 0 when it gives all."""
        return 0.0 if self.wanted_w is None else max(0.0, self.wanted_w - self.expected_w)


def plan_reduction(
    goal: Goal, candidates: Sequence[Candidate], *, total_w: float | None = None, partial: bool = True
) -> Plan:
    """Return the plan that reaches a goal with the least hash rate lost.

    Args:
        goal: What is wanted.
        candidates: Every machine concerned, those that cannot be told anything with the reason.
        total_w: What the site's meter shows; None: the sum over the machines counts.
        partial: Whether machines may be run in a lower mode rather than put to sleep.
    """
    known = sum(c.power.power_w for c in candidates if c.power.power_w is not None)
    unknown = sum(1 for c in candidates if c.power.power_w is None)
    now_w = known if total_w is None else total_w
    match goal:
        case ReduceTo(power_w):
            wanted_w: float | None = max(0.0, now_w - power_w)
        case ReduceBy(power_w):
            wanted_w = max(0.0, power_w)
        case ReduceAll():
            wanted_w = None
    skips = [Skip(key=c.key, reason=c.skip) for c in candidates if c.skip is not None]
    able = [c for c in candidates if c.skip is None]
    if wanted_w is None:
        steps = [_to_sleep(c) for c in able]
        steps.sort(key=_worst_first)
    else:
        skips += [
            Skip(key=c.key, reason="nobody knows what it draws") for c in able if c.power.power_w is None
        ]
        able = [c for c in able if c.power.power_w is not None]
        steps = _choose(able, wanted_w, partial=partial)
        chosen = {step.key for step in steps}
        skips += [Skip(key=c.key, reason="not needed") for c in able if c.key not in chosen]
    return Plan(
        goal=goal,
        steps=tuple(steps),
        skips=tuple(skips),
        total_w=now_w,
        total_basis=Basis.REPORTED if total_w is None else Basis.METER,
        unknown=unknown,
        wanted_w=wanted_w,
        expected_w=sum(step.saves_w or 0.0 for step in steps),
    )


def _choose(able: Iterable[Candidate], wanted_w: float, *, partial: bool) -> list[Step]:
    """Take the step that saves most watts a hash, again and again, until enough is saved; then drop what is too much."""
    ladders = {c.key: _ladder(c, partial=partial) for c in able}
    heap = [(-steps[0][1], key) for key, steps in ladders.items() if steps]
    heapq.heapify(heap)
    reached: dict[MachineKey, int] = {}  # how far down its ladder each machine is
    order: list[MachineKey] = []
    saved_w = 0.0
    while heap and saved_w < wanted_w:
        _, key = heapq.heappop(heap)
        at = reached.get(key, -1) + 1
        before_w = ladders[key][at - 1][0].saves_w or 0.0 if at else 0.0
        saved_w += (ladders[key][at][0].saves_w or 0.0) - before_w
        reached[key] = at
        if at == 0:
            order.append(key)
        if at + 1 < len(ladders[key]):
            heapq.heappush(heap, (-ladders[key][at + 1][1], key))
    # The last step may have overshot: whatever is not needed after all is given back, the most efficient first.
    for key in reversed(order):
        while (at := reached.get(key, -1)) >= 0:
            kept_w = ladders[key][at - 1][0].saves_w or 0.0 if at else 0.0
            spare_w = (ladders[key][at][0].saves_w or 0.0) - kept_w
            if saved_w - spare_w < wanted_w:
                break
            saved_w -= spare_w
            if at:
                reached[key] = at - 1
            else:
                del reached[key]
    return [ladders[key][reached[key]][0] for key in order if key in reached]


def _ladder(candidate: Candidate, *, partial: bool) -> list[tuple[Step, float]]:
    """Return the steps down from where a machine runs, each with the watts a hash it saves over the one before."""
    power_w = candidate.power.power_w
    assert power_w is not None
    idle_w = min(IDLE_W if candidate.idle_w is None else candidate.idle_w, power_w)
    now = point_of(candidate.points, candidate.mode)
    here = ModePoint(
        mode=candidate.mode,
        power_w=power_w,
        hashrate_hs=now.hashrate_hs if now else power_w / 20e-12,  # 20 J/TH where no curve is known
        source=now.source if now else PointSource.NAMEPLATE,
    )
    asleep = ModePoint(mode=None, power_w=idle_w, hashrate_hs=0.0, source=here.source)
    lower = (
        []
        if now is None or not (partial and candidate.can_change_mode)
        else [
            point
            for point in candidate.points
            if point.mode and point.power_w < 0.95 * power_w and 0 < point.hashrate_hs < here.hashrate_hs
        ]
    )
    hull = lower_hull([asleep, *lower, here])
    ladder: list[tuple[Step, float]] = []
    for upper, point in zip(reversed(hull), reversed(hull[:-1]), strict=False):
        marginal = (upper.power_w - point.power_w) / (upper.hashrate_hs - point.hashrate_hs)
        is_sleep = point is asleep
        step = Step(
            key=candidate.key,
            command=Sleep() if is_sleep else SetMode(point.mode or ""),
            before_w=power_w,
            after_w=point.power_w,
            place=candidate.place,
            marginal_j_per_th=marginal * 1e12,
            mode_before=candidate.mode,
        )
        ladder.append((step, marginal))
    return ladder


def _to_sleep(candidate: Candidate) -> Step:
    power_w = candidate.power.power_w
    now = point_of(candidate.points, candidate.mode)
    idle_w = IDLE_W if candidate.idle_w is None else candidate.idle_w
    return Step(
        key=candidate.key,
        command=Sleep(),
        before_w=power_w,
        after_w=None if power_w is None else min(idle_w, power_w),
        place=candidate.place,
        marginal_j_per_th=None if power_w is None or now is None else power_w / now.hashrate_hs * 1e12,
        mode_before=candidate.mode,
    )


def _worst_first(step: Step) -> tuple[float, float]:
    return (-(step.marginal_j_per_th or 0.0), -(step.before_w or 0.0))
