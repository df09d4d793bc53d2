"""Where the energy of each interval came from, by a rule declared before the period. All energy is whole Wh.

Own plants count what their own meters show, never more; a battery gives back what filled it, less its losses; what nobody
can show a source for is the grid's residual mix.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from hashwerk.energy.apportion import apportion
from hashwerk.energy.factors import CARBON_FREE, Fuel
from hashwerk.errors import ConfigError

#: The name under which energy from the grid stands.
GRID: Final = "grid"


class AttributionError(ConfigError):
    """Energy cannot be attributed as declared: the rule came too late, or the figures contradict each other."""


class SourceKind(enum.StrEnum):
    """How energy reaches the site."""

    OWN = "own"  # a plant behind the meter
    CONTRACT = "contract"  # bought elsewhere, brought by the grid


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A plant or a contract."""

    name: str
    kind: SourceKind
    fuel: Fuel


class Declaration(msgspec.Struct, frozen=True, kw_only=True):
    """Which rule holds for which period, and when that was said."""

    rule: str  # a key of RULES: name and version
    start_s: int
    stop_s: int
    declared_s: int
    order: tuple[str, ...] = ()  # names of sources: who serves the load first

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise AttributionError(f"no rule {self.rule!r}; there are {', '.join(sorted(RULES))}")
        if self.declared_s > self.start_s:
            raise AttributionError(
                f"the rule {self.rule} was declared {self.declared_s - self.start_s} s after its period began"
            )
        if len(set(self.order)) < len(self.order):
            raise AttributionError(f"a source is named twice in the order: {', '.join(self.order)}")


class Flows(msgspec.Struct, frozen=True, kw_only=True):
    """What the meters showed over one interval, in Wh. Own plants by name; contracts by what they delivered."""

    start_s: int
    stop_s: int
    load_wh: int
    own_wh: Mapping[str, int] = {}
    contract_wh: Mapping[str, int] = {}
    export_wh: int = 0
    charge_wh: int = 0
    discharge_wh: int = 0

    def __post_init__(self) -> None:
        amounts = [self.load_wh, self.export_wh, self.charge_wh, self.discharge_wh]
        if min([*amounts, *self.own_wh.values(), *self.contract_wh.values()]) < 0:
            raise ValueError(
                f"energy from {self.start_s} on is negative: export and charge have their own fields"
            )
        if self.stop_s <= self.start_s:
            raise ValueError(f"an interval ends after it begins: {self.start_s}, {self.stop_s}")


class Attributed(msgspec.Struct, frozen=True, kw_only=True):
    """Whose energy the load of one interval was. The amounts sum up to the load, to the Wh."""

    start_s: int
    stop_s: int
    load_wh: int
    by_source: Mapping[str, int]  # own plants, contracts, battery content by what filled it, grid
    surplus_wh: Mapping[
        str, int
    ]  # own energy fed into the grid, and what contracts delivered beyond the load
    rule: str

    def clean_wh(self, fuels: Mapping[str, Fuel]) -> int:
        """Return the carbon-free energy of the load; what came from the grid without a contract is none of it."""
        return sum(wh for name, wh in self.by_source.items() if fuels.get(name) in CARBON_FREE)


@dataclass(slots=True)
class BatteryContent:
    """What a battery holds, by what filled it. Losses are taken when it is charged. Owned by one task."""

    efficiency_ppm: int = 900_000
    held_wh: dict[str, int] = field(default_factory=dict)

    def charge(self, by_source: Mapping[str, int]) -> None:
        """Put energy in; what is lost on the way through leaves at once."""
        total = sum(by_source.values())
        kept = apportion(total * self.efficiency_ppm // 1_000_000, by_source) if total else {}
        for name, wh in kept.items():
            self.held_wh[name] = self.held_wh.get(name, 0) + wh

    def discharge(self, wh: int) -> dict[str, int]:
        """Take energy out in proportion to what is held; what was never put in before our eyes is the grid's."""
        shown = min(wh, sum(self.held_wh.values()))
        taken = apportion(shown, self.held_wh)
        for name, amount in taken.items():
            self.held_wh[name] -= amount
        if wh > shown:
            taken[GRID] = taken.get(GRID, 0) + wh - shown
        return {name: amount for name, amount in taken.items() if amount}


#: The rules, each with its version: a changed rule is a new one.
RULES: Final[Mapping[str, str]] = {
    "own-first/1": "Own plants serve the load first, in the declared order, then charge the battery, then feed in;"
    " then the battery, then contracts in the declared order, then the grid.",
    "pro-rata/1": "Load, battery and feed-in get every source behind the meter in proportion to what it gave; what is left"
    " of the load is served by contracts in the declared order, then by the grid.",
    "contracts-first/1": "Contracts serve the load first, in the declared order, then own plants, the battery, the grid;"
    " what own plants do not serve charges the battery and is fed in.",
}


class Attribution:
    """Attributes a period interval by interval, in order of time: a battery remembers what filled it.

    Args:
        declaration: The rule; it must have been declared before its period.
        sources: Plants and contracts; the grid is always there.
        battery: What it holds at the beginning.
    """

    def __init__(
        self, declaration: Declaration, sources: Sequence[Source], battery: BatteryContent | None = None
    ) -> None:
        self._declaration = declaration
        self._kinds = {source.name: source.kind for source in sources}
        self._battery = battery or BatteryContent()
        self._until_s = declaration.start_s
        if GRID in self._kinds or len(self._kinds) < len(sources):
            raise AttributionError("two sources have the same name, or one is called 'grid'")
        for name in declaration.order:
            if name not in self._kinds:
                raise AttributionError(f"the declared order names {name!r}, which is no source")
        self.fuels = {source.name: source.fuel for source in sources}

    def attribute(self, flows: Flows) -> Attributed:
        """Return whose energy the load was.

        Raises:
            AttributionError: If the interval lies outside the declared period, comes out of order, or has an unknown source.
        """
        self._check(flows)
        self._until_s = flows.stop_s
        own = self._ordered(flows.own_wh)
        contracts = self._ordered(flows.contract_wh)
        if self._declaration.rule == "pro-rata/1":
            return self._pro_rata(flows, own, contracts)
        first, second = (contracts, {}) if self._declaration.rule == "contracts-first/1" else ({}, contracts)
        served: dict[str, int] = {}
        surplus: dict[str, int] = {}
        left = _draw(flows.load_wh, first, served)
        left = _draw(left, own, served)
        self._keep(flows, own, surplus)
        left = self._from_battery(flows, left, served, surplus)
        left = _draw(left, second, served)
        return self._result(flows, served, left, surplus, {**first, **second})

    def _pro_rata(self, flows: Flows, own: dict[str, int], contracts: dict[str, int]) -> Attributed:
        served: dict[str, int] = {}
        surplus: dict[str, int] = {}
        total = sum(own.values())
        to_load = max(0, min(total - flows.charge_wh - flows.export_wh, flows.load_wh))
        for name, wh in apportion(to_load, own).items():
            own[name] -= wh
            _add(served, name, wh)
        self._keep(flows, own, surplus)
        left = self._from_battery(flows, flows.load_wh - to_load, served, surplus)
        left = _draw(left, contracts, served)
        return self._result(flows, served, left, surplus, contracts)

    def _keep(self, flows: Flows, own: dict[str, int], surplus: dict[str, int]) -> None:
        """What own plants gave and the load did not take: into the battery in proportion, the rest into the grid."""
        into_battery = apportion(min(flows.charge_wh, sum(own.values())), own)
        for name, wh in into_battery.items():
            own[name] -= wh
        from_grid = flows.charge_wh - sum(into_battery.values())
        self._battery.charge({**into_battery, **({GRID: from_grid} if from_grid else {})})
        for name, wh in own.items():
            _add(surplus, name, wh)

    def _from_battery(self, flows: Flows, left: int, served: dict[str, int], surplus: dict[str, int]) -> int:
        """What the battery gave: to the load as far as it needs it; a battery may be sold out into the grid as well."""
        given = self._battery.discharge(flows.discharge_wh)
        to_load = apportion(min(left, sum(given.values())), given)
        for name, wh in to_load.items():
            _add(served, name, wh)
            _add(surplus, name, given[name] - wh)
        return left - sum(to_load.values())

    def _result(
        self,
        flows: Flows,
        served: dict[str, int],
        left: int,
        surplus: dict[str, int],
        contracts: Mapping[str, int],
    ) -> Attributed:
        _add(served, GRID, left)
        for name, wh in contracts.items():
            _add(surplus, name, wh)
        return Attributed(
            start_s=flows.start_s,
            stop_s=flows.stop_s,
            load_wh=flows.load_wh,
            by_source=served,
            surplus_wh=surplus,
            rule=self._declaration.rule,
        )

    def _ordered(self, amounts: Mapping[str, int]) -> dict[str, int]:
        order = {name: number for number, name in enumerate(self._declaration.order)}
        return dict(sorted(amounts.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))

    def _check(self, flows: Flows) -> None:
        declared = self._declaration
        if flows.start_s < self._until_s or flows.stop_s > declared.stop_s:
            raise AttributionError(
                f"the interval from {flows.start_s} to {flows.stop_s} lies outside the declared period or comes twice"
            )
        kinds: tuple[tuple[Mapping[str, int], Literal[SourceKind.OWN, SourceKind.CONTRACT]], ...] = (
            (flows.own_wh, SourceKind.OWN),
            (flows.contract_wh, SourceKind.CONTRACT),
        )
        for amounts, kind in kinds:
            for name in amounts:
                if self._kinds.get(name) is not kind:
                    raise AttributionError(f"{name!r} is no source of the kind {kind.value!r}")


def _draw(wanted: int, supply: dict[str, int], served: dict[str, int]) -> int:
    """Serve what is wanted from the supplies in their order; return what is still wanted."""
    for name, available in list(supply.items()):
        taken = min(wanted, available)
        supply[name] = available - taken
        _add(served, name, taken)
        wanted -= taken
    return wanted


def _add(amounts: dict[str, int], name: str, wh: int) -> None:
    if wh:
        amounts[name] = amounts.get(name, 0) + wh
