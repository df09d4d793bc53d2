"""Whose energy it was, by the rule declared beforehand: one record a source and settlement interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hashwerk.energy.factors import Fuel
from hashwerk.energy.settings import EnergySettings
from hashwerk.energy.sources import GRID, Attribution, Declaration, Flows
from hashwerk.evidence.records import AttributionRule, Source, SourceInterval
from hashwerk.site.logbook.words import plain

_SECOND_US: Final = 1_000_000
_SOURCES: Final[Mapping[Fuel, Source]] = {
    Fuel.HYDRO: Source.HYDRO,
    Fuel.WIND: Source.WIND,
    Fuel.SOLAR: Source.SOLAR,
    Fuel.NUCLEAR: Source.NUCLEAR,
    Fuel.GEOTHERMAL: Source.GEOTHERMAL,
    Fuel.BIOMASS: Source.BIOMASS,
    Fuel.GAS: Source.GAS,
    Fuel.FLARED_GAS: Source.FLARED_GAS,
    Fuel.COAL: Source.COAL,
    Fuel.OIL: Source.OIL,
}


def rule_record(energy: EnergySettings) -> AttributionRule:
    """Return the rule as it is declared: its name, and everything else it depends on."""
    attribution = energy.attribution
    sources = ", ".join(f"{source.name} ({source.kind}, {source.fuel})" for source in energy.sources)
    parameters = f"sources: {sources or 'the grid alone'}; factors: {attribution.factors}"
    if attribution.order:
        parameters += f"; order: {', '.join(attribution.order)}"
    return AttributionRule(rule=attribution.rule, parameters=plain(parameters))


def source_records(
    energy: EnergySettings,
    start_s: int,
    stop_s: int,
    *,
    import_wh: int,
    export_wh: int,
    own_wh: Mapping[str, int],
    meters: Mapping[str, str],
) -> list[SourceInterval]:
    """Return where the load of an interval came from.

    Args:
        energy: Sources and rule.
        start_s: Begin.
        stop_s: End, at most an hour later.
        import_wh: Drawn from the grid.
        export_wh: Fed into it.
        own_wh: What own plants gave, by source.
        meters: The meter of each source, as it is logged.
    """
    fuels = {source.name: source.source().fuel for source in energy.sources}
    declared = Declaration(
        rule=energy.attribution.rule,
        start_s=start_s,
        stop_s=stop_s,
        declared_s=start_s,
        order=energy.attribution.order,
    )
    load_wh = max(0, import_wh - export_wh + sum(own_wh.values()))
    flows = Flows(start_s=start_s, stop_s=stop_s, load_wh=load_wh, own_wh=own_wh, export_wh=export_wh)
    done = Attribution(declared, [source.source() for source in energy.sources]).attribute(flows)
    return [
        SourceInterval(
            name=plain(name),
            source=int(Source.UNKNOWN if name == GRID else _SOURCES.get(fuels[name], Source.UNKNOWN)),
            start_us=start_s * _SECOND_US,
            end_us=stop_s * _SECOND_US,
            wh=wh,
            certificate="",
            meter=meters.get(name, ""),
        )
        for name, wh in sorted(done.by_source.items())
        if wh
    ]


def aligned(start_s: int, stop_s: int, step_s: int) -> Sequence[tuple[int, int]]:
    """Return the whole steps, on multiples since 1970, between two times."""
    first = -(-start_s // step_s) * step_s
    return [(at_s, at_s + step_s) for at_s in range(first, stop_s - step_s + 1, step_s)]
