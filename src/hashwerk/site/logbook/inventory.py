"""The machines as they are declared: groups by make and model, with what makers say and what was learned on site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hashwerk.evidence.records import Inventory
from hashwerk.fleet.learning import LearnedMode
from hashwerk.fleet.machine import Identity
from hashwerk.fleet.modes import ModePoint, published_points
from hashwerk.fleet.states import State
from hashwerk.site.fleet.roster import Unit
from hashwerk.site.logbook.words import plain
from hashwerk.work.poisson import poisson_interval

#: Published figures hold for 25 °C inlet air and the middle of a batch; colder and better ones need so much less.
_BEST_OF_BATCH: Final = 0.97
#: No machine that can be bought in 2026 needs less: declared where nothing is published or said.
_BEST_MJ_PER_TH: Final = 9_500
#: What machines tell of themselves varies: so much less than the least is declared, in whole half joules.
_LEAST_TOLD: Final = 0.85
_ROUND: Final = 500
_WHOLE_HS: Final = 10**11
#: Learned figures are declared anew when they move by more than this.
_NEWS: Final = 0.01


def inventory_records(
    units: Iterable[Unit], now: float, before: Mapping[str, Inventory] | None = None
) -> list[Inventory]:
    """Return the groups of a fleet, by name.

    Args:
        units: The machines.
        now: The time, for what was learned.
        before: The groups as last declared.
    """
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(_name(unit.member.identity), []).append(unit)
    return [_group(name, groups[name], now, (before or {}).get(name)) for name in sorted(groups)]


def is_news(record: Inventory, before: Inventory | None) -> bool:
    """Say whether a group must be declared anew."""
    if before is None:
        return True
    learned = ("learned_mj_per_th", "learned_low_mj_per_th", "learned_high_mj_per_th")
    fixed = ("make", "model", "machines", "nominal_hs", "declared_mj_per_th")
    if any(getattr(record, name) != getattr(before, name) for name in fixed):
        return True
    pairs = [(getattr(record, name), getattr(before, name)) for name in learned]
    return any(
        (new is None) != (old is None) or (new is not None and abs(new - old) > _NEWS * old)
        for new, old in pairs
    )


def _name(identity: Identity) -> str:
    make, model = identity.make, identity.model
    return plain(model if model.casefold().startswith(make.casefold()) else f"{make} {model}")


def _group(name: str, units: Sequence[Unit], now: float, before: Inventory | None) -> Inventory:
    identity = units[0].member.identity
    points = published_points(identity)
    best = _best(points)
    declared = _told(units, before) if best is None else max(1, int(best * _BEST_OF_BATCH))
    learned = [
        bounds
        for unit in units
        for mode in unit.learned.values()
        if (bounds := _learned(mode, now)) is not None
    ]
    middle = sorted(bounds[1] for bounds in learned)
    # A mode that was not learned may be better than those that were: the lower end never lies above what is declared.
    return Inventory(
        group=name,
        make=plain(identity.make),
        model=plain(identity.model),
        machines=len(units),
        nominal_hs=_nominal_hs(points, units),
        declared_mj_per_th=declared,
        learned_mj_per_th=middle[len(middle) // 2] if middle else None,
        learned_low_mj_per_th=min(declared, *(bounds[0] for bounds in learned)) if learned else None,
        learned_high_mj_per_th=max(bounds[2] for bounds in learned) if learned else None,
    )


def _best(points: Iterable[ModePoint]) -> float | None:
    """Return the least millijoules a terahash of some modes."""
    found = [point.efficiency_j_per_th for point in points]
    return min((1_000 * value for value in found if value), default=None)


def _told(units: Iterable[Unit], before: Inventory | None) -> int:
    """Return the least that machines without published figures have told, with room below; it never rises again."""
    ratios = [
        1e15 * unit.reading.power_w / unit.reading.hashrate_hs
        for unit in units
        if unit.reading is not None
        and unit.condition.state is State.HASHING
        and unit.reading.power_w
        and unit.reading.hashrate_hs
    ]
    least = [int(min(ratios) * _LEAST_TOLD) // _ROUND * _ROUND] if ratios else []
    if before is not None and before.declared_mj_per_th > _BEST_MJ_PER_TH:
        least.append(before.declared_mj_per_th)
    return max(min(least, default=_BEST_MJ_PER_TH), _BEST_MJ_PER_TH)


def _nominal_hs(points: Iterable[ModePoint], units: Iterable[Unit]) -> int:
    told = [
        unit.reading.nominal_hashrate_hs
        for unit in units
        if unit.reading is not None and unit.reading.nominal_hashrate_hs
    ]
    published = [point.hashrate_hs for point in points]
    return int(max(published or told, default=0)) // _WHOLE_HS * _WHOLE_HS


def _learned(mode: LearnedMode, now: float) -> tuple[int, int, int] | None:
    """Return lower end, value and upper end in millijoules a terahash, once it has earned its place."""
    power = mode.power()
    if mode.missing(now) is not None or power is None:
        return None
    power_w, _, half_w = power
    low, high = (bound / mode.shares for bound in poisson_interval(int(mode.shares)))
    rate_hs = mode.work / mode.duration_s
    value = power_w / rate_hs * 1e15
    return (
        int((power_w - half_w) / (rate_hs * high) * 1e15),
        round(value),
        int((power_w + half_w) / (rate_hs * low) * 1e15) + 1,
    )
