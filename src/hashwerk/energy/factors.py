"""Emission factors as named, dated sets, and what a mix of sources emits by one of them.

A factor set is data with a name and a vintage: the same mix differs by a tenth between two respected sets, so every figure
says which was used. Factors are grams of CO2 equivalent per kWh.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, Literal

import msgspec

from hashwerk.errors import ConfigError


class Fuel(enum.StrEnum):
    """Where energy comes from."""

    HYDRO = "hydro"
    WIND = "wind"
    SOLAR = "solar"
    NUCLEAR = "nuclear"
    GEOTHERMAL = "geothermal"
    BIOMASS = "biomass"
    GAS = "gas"
    FLARED_GAS = "flared gas"
    COAL = "coal"
    OIL = "oil"
    OTHER = "other"
    UNKNOWN = "unknown"  # energy without evidence of source: the residual mix


#: What counts as carbon-free in 24/7 carbon-free energy.
CARBON_FREE: Final = frozenset({Fuel.HYDRO, Fuel.WIND, Fuel.SOLAR, Fuel.NUCLEAR, Fuel.GEOTHERMAL})


class FactorSet(msgspec.Struct, frozen=True, kw_only=True):
    """The factors of one publication."""

    name: str
    vintage: str  # year or date of publication
    scope: Literal["life cycle", "direct"]
    source: str
    g_per_kwh: Mapping[Fuel, Decimal]

    @property
    def label(self) -> str:
        """Name, vintage and scope, as every figure computed with the set carries it."""
        return f"{self.name} {self.vintage}, {self.scope}"

    def factor(self, fuel: Fuel) -> Decimal:
        """Return the factor of a fuel.

        Raises:
            ConfigError: If the set has none; another set's factor is never taken for it.
        """
        found = self.g_per_kwh.get(fuel)
        if found is None:
            raise ConfigError(f"the emission factors {self.label} have none for {fuel.value}")
        return found

    def mix_g_per_kwh(self, mix: Mapping[Fuel, Decimal | int]) -> Decimal:
        """Return the intensity of a mix, given as amounts in any one unit.

        Raises:
            ConfigError: If a fuel has no factor.
            ValueError: If the mix is empty or an amount is negative.
        """
        if any(amount < 0 for amount in mix.values()) or not sum(mix.values()):
            raise ValueError(f"a mix has amounts that are not negative, and one at least: {dict(mix)}")
        total = sum((self.factor(fuel) * amount for fuel, amount in mix.items() if amount), Decimal(0))
        return total / sum(mix.values())


class RegionFactor(msgspec.Struct, frozen=True, kw_only=True):
    """The intensity of a grid as somebody published it for a year."""

    region: str  # ISO 3166-2 or the name of a market zone
    year: int
    g_per_kwh: Decimal
    source: str


def _fuels(**factors: str) -> dict[Fuel, Decimal]:
    return {Fuel[name.upper()]: Decimal(value) for name, value in factors.items()}


#: As the Cambridge Centre for Alternative Finance uses them (CBECI and the 2025 report): life cycle.
CCAF: Final = FactorSet(
    name="CCAF",
    vintage="2025",
    scope="life cycle",
    source="Cambridge Centre for Alternative Finance, Digital Mining Industry Report 2025",
    g_per_kwh=_fuels(
        coal="1001",
        gas="486",
        oil="840",
        hydro="21",
        wind="13",
        nuclear="13",
        solar="35.5",
        other="32.3",
    ),
)

#: Medians of IPCC AR5 WG III annex III, table A.III.2; oil is not in it.
IPCC_2014: Final = FactorSet(
    name="IPCC",
    vintage="2014",
    scope="life cycle",
    source="IPCC AR5 WG III, annex III, medians; oil: UK POST 2014",
    g_per_kwh=_fuels(
        coal="820",
        gas="490",
        oil="650",
        biomass="230",
        solar="45",
        geothermal="38",
        hydro="24",
        nuclear="12",
        wind="11",
        unknown="700",
    ),
)

IPCC_2014_DIRECT: Final = FactorSet(
    name="IPCC",
    vintage="2014",
    scope="direct",
    source="IPCC AR5 WG III, annex III, medians; oil: EIA 2020 and BEIS 2021; biomass: BEIS 2021",
    g_per_kwh=_fuels(
        coal="760",
        gas="370",
        oil="406",
        biomass="0",
        solar="0",
        geothermal="0",
        hydro="0",
        nuclear="0",
        wind="0",
        unknown="575",
    ),
)

FACTOR_SETS: Final = {"ccaf-2025": CCAF, "ipcc-2014": IPCC_2014, "ipcc-2014-direct": IPCC_2014_DIRECT}

_MEE = (
    "Ministry of Ecology and Environment and National Bureau of Statistics of China, announcement 2025 No. 47"
)

#: Official average factors of Chinese provinces where mining was at home.
REGION_FACTORS: Final = tuple(
    RegionFactor(region=region, year=2023, g_per_kwh=Decimal(value), source=_MEE)
    for region, value in (
        ("CN-SC", "156.4"),
        ("CN-YN", "133.3"),
        ("CN-NM", "647.9"),
        ("CN-XJ", "602.1"),
    )
)


def factor_set(key: str) -> FactorSet:
    """Return a set by its key.

    Raises:
        ConfigError: If there is none of this name.
    """
    found = FACTOR_SETS.get(key)
    if found is None:
        raise ConfigError(f"no emission factors {key!r}; there are {', '.join(sorted(FACTOR_SETS))}")
    return found


def region_factor(region: str, year: int | None = None) -> RegionFactor:
    """Return the published intensity of a grid, the latest one where no year is named.

    Raises:
        ConfigError: If there is none.
    """
    found = [one for one in REGION_FACTORS if one.region == region and year in (None, one.year)]
    if not found:
        raise ConfigError(f"no published intensity of {region}" + (f" in {year}" if year else ""))
    return max(found, key=lambda one: one.year)
