"""What an operator may set about his tariff, his sources and how energy is attributed to them."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hashwerk.energy.factors import FactorSet, Fuel, factor_set
from hashwerk.energy.hours import StandingRule
from hashwerk.energy.scores import HOUR_S, TakeOrPay
from hashwerk.energy.series import Gap
from hashwerk.energy.sources import Source, SourceKind
from hashwerk.energy.tariff import Tariff, TariffError, load_tariff
from hashwerk.energy.usage import BillingFacts

_QUARTER_S: Final = 900

FuelName = Literal[
    "hydro",
    "wind",
    "solar",
    "nuclear",
    "geothermal",
    "biomass",
    "gas",
    "flared gas",
    "coal",
    "oil",
    "other",
    "unknown",
]


class TariffSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contract with whoever delivers the energy."""

    name: Annotated[
        str | None,
        Meta(
            description="A tariff that comes with Hashwerk, or a TOML file; none: the market's price alone."
        ),
    ] = None
    authorised_w: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Power of the contract; none: no bound.")
    ] = None
    peak_12_months_w: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="Highest mean power of the last 12 months, to begin with."),
    ] = None
    circumstances: Annotated[
        tuple[str, ...], Meta(description="What a tax asks for: 'own power', 'own renewables', 'no meter'.")
    ] = ()
    account_from: Annotated[
        date | None, Meta(description="First day of a surcharge on the account; none: there is none.")
    ] = None
    coincident_peaks: Annotated[
        tuple[datetime, ...],
        Meta(
            description="Quarters of an hour in which the whole grid had its peaks, as told afterwards, with time zone."
        ),
    ] = ()
    price_paid_per_kwh: Annotated[
        Decimal | None, Meta(description="Mean price expected, where a tax depends on it.")
    ] = None

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If a peak has no time zone or begins within a quarter of an hour; the decoder adds the line.
        """
        for peak in self.coincident_peaks:
            if peak.tzinfo is None:
                raise ValueError(f"coincident_peaks: {peak} has no time zone: write Z or +01:00 after it")
            if peak.timestamp() % _QUARTER_S:
                raise ValueError(f"coincident_peaks: {peak} is not the beginning of a quarter of an hour")

    def load(self) -> Tariff | None:
        """Return the tariff.

        Raises:
            TariffError: If it cannot be read, has a hole, or knows nothing of a circumstance.
        """
        if self.name is None:
            return None
        tariff = load_tariff(self.name)
        for circumstance in self.circumstances:
            if circumstance not in tariff.circumstances:
                known = ", ".join(sorted(tariff.circumstances)) or "none"
                raise TariffError(
                    f"the tariff {tariff.name} knows no circumstance {circumstance!r}; it knows: {known}"
                )
        return tariff

    def facts(self) -> BillingFacts:
        """Return what a bill needs to know besides the meter's readings, as far as it is set here."""
        return BillingFacts(
            authorised_w=self.authorised_w,
            peak_12_months_w=self.peak_12_months_w,
            circumstances=frozenset(self.circumstances),
            account_from=self.account_from,
            coincident_peaks=tuple(
                Gap(int(peak.timestamp()), int(peak.timestamp()) + _QUARTER_S)
                for peak in self.coincident_peaks
            ),
            price_paid_per_kwh=self.price_paid_per_kwh,
        )


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plant behind the meter, or a contract with one elsewhere."""

    name: Annotated[
        str, Meta(description="Its name; a meter measures it with the scope source:<name>.", min_length=1)
    ]
    kind: Annotated[Literal["own", "contract"], Meta(description="Behind the meter, or brought by the grid.")]
    fuel: Annotated[FuelName, Meta(description="What it runs on.")]
    price_per_mwh: Annotated[Decimal, Meta(description="For contracts: what its energy costs.")] = Decimal(0)
    power_kw: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(
            description="For contracts: what can be taken at any time; plans are made with the first that says it."
        ),
    ] = None
    resold: Annotated[
        bool, Meta(description="For contracts: what is not used is sold at the market's price.")
    ] = False
    min_take_mwh: Annotated[
        Decimal, Meta(description="For contracts: least quantity per settlement period, the local month.")
    ] = Decimal(0)
    shortfall_per_mwh: Annotated[
        Decimal, Meta(description="For contracts: what each MWh that was not taken costs.")
    ] = Decimal(0)

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If a quantity is negative; the decoder adds the line.
        """
        if min(self.min_take_mwh, self.shortfall_per_mwh) < 0:
            raise ValueError(
                f"{self.name}: a quantity to be taken, and what is paid otherwise, are not negative"
            )

    def source(self) -> Source:
        """Return the source."""
        return Source(name=self.name, kind=SourceKind(self.kind), fuel=Fuel(self.fuel))

    def take_or_pay(self, currency: str) -> TakeOrPay | None:
        """Return the contract's terms; None for a plant of one's own."""
        if self.kind == "own":
            return None
        return TakeOrPay(
            name=self.name,
            price_per_mwh=self.price_per_mwh,
            min_take_wh=int(self.min_take_mwh * 1_000_000),
            shortfall_per_mwh=self.shortfall_per_mwh,
            currency=currency,
        )


class GridSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the grid's energy is counted as, where no feed tells of it."""

    g_per_kwh: Annotated[Decimal | None, Meta(description="Its intensity; none: from `mix`.")] = None
    residual_g_per_kwh: Annotated[
        Decimal | None,
        Meta(description="Intensity of its residual mix; none: that of the grid."),
    ] = None
    mix: Annotated[dict[FuelName, Decimal], Meta(description="Its mix, in any one unit.")] = {}

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If an intensity or a part of the mix is negative; the decoder adds the line.
        """
        given = [self.g_per_kwh, self.residual_g_per_kwh, *self.mix.values()]
        if any(value is not None and value < 0 for value in given):
            raise ValueError("an intensity and the parts of a mix are not negative")

    def intensity_g_per_kwh(self, factors: FactorSet) -> Decimal | None:
        """Return the grid's intensity: as set, else of its mix by a set of factors; None where neither is set.

        Raises:
            ConfigError: If a fuel of the mix has no factor.
        """
        if self.g_per_kwh is not None or not self.mix:
            return self.g_per_kwh
        return factors.mix_g_per_kwh({Fuel(fuel): amount for fuel, amount in self.mix.items()})


class AttributionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which rule energy is attributed to sources. It holds from the first full hour after a start with it."""

    rule: Annotated[
        Literal["own-first/1", "pro-rata/1", "contracts-first/1"],
        Meta(description="Which rule, with its version."),
    ] = "own-first/1"
    order: Annotated[tuple[str, ...], Meta(description="Names of sources: who serves the load first.")] = ()
    factors: Annotated[
        Literal["ccaf-2025", "ipcc-2014", "ipcc-2014-direct"],
        Meta(description="Emission factors: a published set with its year."),
    ] = "ipcc-2014"
    battery_efficiency: Annotated[
        float, Meta(description="What comes back of what is put into the battery.", gt=0, le=1)
    ] = 0.9

    def factor_set(self) -> FactorSet:
        """Return the emission factors."""
        return factor_set(self.factors)


class EnergySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The site's energy: contract, sources, grid, attribution."""

    tariff: Annotated[TariffSettings, Meta(description="The contract with whoever delivers the energy.")] = (
        TariffSettings()
    )
    sources: Annotated[
        tuple[SourceSettings, ...],
        Meta(description="Plants and contracts, in sections [[energy.sources]]."),
    ] = ()
    grid: Annotated[GridSettings, Meta(description="What the grid's energy is counted as.")] = GridSettings()
    attribution: Annotated[
        AttributionSettings, Meta(description="By which rule energy is attributed to sources.")
    ] = AttributionSettings()

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If two sources have one name, or the order names an unknown one; the decoder adds the line.
        """
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names) or "grid" in names:
            raise ValueError("sources: two have one name, or one is called 'grid'")
        unknown = set(self.attribution.order) - set(names)
        if unknown:
            raise ValueError(f"attribution.order: no source {sorted(unknown)[0]!r}")

    def declare(self, now_s: float) -> StandingRule:
        """Return the rule of attribution as it is declared now: it holds from the next full hour on."""
        return StandingRule(
            start_s=(int(now_s) // HOUR_S + 1) * HOUR_S,
            declared_s=int(now_s),
            rule=self.attribution.rule,
            order=self.attribution.order,
            sources=tuple(source.source() for source in self.sources),
            factors=self.attribution.factor_set(),
        )
