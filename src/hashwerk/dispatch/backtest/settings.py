"""The `[backtest]` part of a site file: what is replayed, with which machines, under which contract."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hashwerk.dispatch.modes import Mode
from hashwerk.dispatch.problem import Group
from hashwerk.energy.settings import TariffSettings
from hashwerk.policy.settings import PlaceSettings

PolicyName = Literal[
    "always on", "one strike", "marginal strike", "optimiser", "clean only", "carbon budget", "surplus only"
]


class PublicationSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When the values of a series become known."""

    kind: Annotated[
        Literal["day ahead", "after"],
        Meta(
            description="day ahead: a local day's values the day before, at a time. after: each with a lag after its end."
        ),
    ] = "day ahead"
    at: Annotated[
        str, Meta(description="Local time of day of a day-ahead publication.", pattern=r"^\d\d:\d\d$")
    ] = "13:00"
    zone: Annotated[str, Meta(description="Time zone of the market, as in the IANA data base.")] = "UTC"
    lag_min: Annotated[float, Meta(description="For `after`: minutes after the interval's end.", ge=0)] = 0.0


class SeriesSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A series in a CSV or Parquet file."""

    file: Annotated[str, Meta(description="The file, under the data folder.")]
    column: Annotated[str, Meta(description="The column with the values.")]
    time: Annotated[str, Meta(description="The column with the beginnings of the intervals, UTC.")] = (
        "time_utc"
    )
    where: Annotated[dict[str, str], Meta(description="Rows to keep: column = value.")] = {}
    scale: Annotated[float, Meta(description="Factor on the values.")] = 1.0
    name: Annotated[str, Meta(description="What the values are and are not: shown with every figure.")] = ""
    publication: Annotated[PublicationSettings, Meta(description="When the values become known.")] = (
        PublicationSettings()
    )


class MoneySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a hash earns: computed from difficulty, subsidy and the coin's price, or one number."""

    per_ph_day: Annotated[
        float | None, Meta(description="Hashprice in the site's currency, constant; none: computed.")
    ] = None
    price_file: Annotated[
        str, Meta(description="CSV with the coin's price in USD at 00:00 UTC: date, price.")
    ] = "btc_usd_daily_2012_2026.csv"
    difficulty_file: Annotated[
        str, Meta(description="CSV with height, timestamp and difficulty of each period.")
    ] = "btc_difficulty_epochs.csv"
    fx_file: Annotated[
        str | None,
        Meta(description="CSV with ECB reference rates per EUR; needed where the currency is not USD."),
    ] = None
    fee_share: Annotated[
        float, Meta(description="Transaction fees as a share of the reward: an assumption.", ge=0, lt=1)
    ] = 0.02
    pool_fee: Annotated[float, Meta(description="What the pool keeps, as a share.", ge=0, lt=1)] = 0.01
    reject_share: Annotated[float, Meta(description="Shares that count for nothing.", ge=0, lt=1)] = 0.002


class ModeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mode of a machine."""

    name: Annotated[str, Meta(description="Its name.")]
    power_w: Annotated[float, Meta(description="At the wall.", gt=0)]
    hashrate_ths: Annotated[float, Meta(description="In TH/s.", gt=0)]


class GroupSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Machines that are alike."""

    name: Annotated[str, Meta(description="Shown wherever the group is.")]
    count: Annotated[int, Meta(description="How many.", ge=0)]
    modes: Annotated[tuple[ModeSettings, ...], Meta(description="Rising in power.", min_length=1)]
    residual_w: Annotated[float, Meta(description="One sleeping machine.", ge=0)] = 15.0
    wake_s: Annotated[float, Meta(description="From the command to full hash rate.", ge=0)] = 240.0
    wear_per_start: Annotated[float, Meta(description="Currency.", ge=0)] = 0.0
    min_on_s: Annotated[float, Meta(description="Least time on.", ge=0)] = 0.0
    min_off_s: Annotated[float, Meta(description="Least time asleep.", ge=0)] = 0.0
    starts_per_day: Annotated[int | None, Meta(description="Of one machine.")] = None
    feeder: Annotated[str | None, Meta(description="The feeder it hangs on.")] = None

    def group(self) -> Group:
        """Return the group as dispatch knows it."""
        modes = tuple(
            Mode(name=mode.name, power_w=mode.power_w, hashrate_hs=mode.hashrate_ths * 1e12)
            for mode in self.modes
        )
        return Group(
            name=self.name, count=self.count, modes=modes, residual_w=self.residual_w, wake_s=self.wake_s,
            wear_per_start=self.wear_per_start, min_on_s=self.min_on_s, min_off_s=self.min_off_s,
            starts_per_day=self.starts_per_day, feeder=self.feeder,
        )  # fmt: skip


class DemandSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A charge on the month's highest mean import."""

    price_per_kw_month: Annotated[float, Meta(description="Currency per kW of the month's peak.", ge=0)]
    interval_s: Annotated[float, Meta(description="The tariff's interval.", gt=0)] = 900.0


class CoincidentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A charge on the import while the whole grid has its peak."""

    name: Annotated[str, Meta(description="Shown with the assumptions.", min_length=1)]
    price_per_kw: Annotated[
        float, Meta(description="Currency per kW of import in the interval of each peak.", ge=0)
    ]
    happened: Annotated[
        SeriesSettings,
        Meta(description="How many peaks fell into each interval; none where it has no value."),
    ]
    expected: Annotated[
        SeriesSettings | None,
        Meta(description="How many were expected, when it was published; none: nobody saw them coming."),
    ] = None


class BatterySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A battery behind the meter; only the optimiser uses it."""

    capacity_kwh: Annotated[float, Meta(description="Usable energy.", gt=0)]
    power_kw: Annotated[float, Meta(description="Charging and discharging.", gt=0)]
    efficiency: Annotated[float, Meta(description="Of a full cycle.", gt=0, le=1)] = 0.9
    wear_per_mwh: Annotated[float, Meta(description="Currency per MWh discharged.", ge=0)] = 0.0


class CarbonSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The emission of what is imported."""

    g_per_kwh: Annotated[float | None, Meta(description="A constant factor; none: from the series.")] = None
    series: Annotated[SeriesSettings | None, Meta(description="Hourly factors, g/kWh.")] = None
    factor_set: Annotated[str, Meta(description="Name and vintage of the factors.")] = ""
    price_per_t: Annotated[float, Meta(description="Price of carbon, in the currency.", ge=0)] = 0.0
    budget_t_per_month: Annotated[float | None, Meta(description="For the carbon budget policy.")] = None


class PlanningSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the optimiser rolls through history."""

    step_s: Annotated[float, Meta(description="Length of its intervals.", gt=0)] = 3_600.0
    horizon_h: Annotated[float, Meta(description="How far it looks ahead.", gt=0)] = 48.0
    replan_h: Annotated[
        float, Meta(description="How often it plans anew; at each publication in any case.", gt=0)
    ] = 12.0


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit that changes: orders of a grid operator, outages of a line, heat. Hours without a value have no limit."""

    name: Annotated[str, Meta(description="Shown where it binds.", min_length=1)]
    series: Annotated[
        SeriesSettings,
        Meta(description="The limit in kW; known when it begins, or at its publication if sooner."),
    ]
    feeder: Annotated[str | None, Meta(description="A feeder; none: the import of the site.")] = None


class BacktestSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A site as a backtest replays it."""

    groups: Annotated[tuple[GroupSettings, ...], Meta(description="The machines.", min_length=1)]
    price: Annotated[
        SeriesSettings | None,
        Meta(description="Price of a MWh of energy; none: the tariff alone says it."),
    ] = None
    tariff: Annotated[TariffSettings, Meta(description="The contract, in place of `fees_per_mwh`.")] = (
        TariffSettings()
    )
    currency: Annotated[str, Meta(description="Of all prices.")] = "EUR"
    interval_s: Annotated[float, Meta(description="Length of the replay's intervals.", gt=0)] = 900.0
    fees_per_mwh: Annotated[
        float, Meta(description="Grid fees, taxes and levies on each imported MWh: an assumption.")
    ] = 0.0
    sell_discount_per_mwh: Annotated[
        float, Meta(description="What selling brings less than the price.", ge=0)
    ] = 0.0
    export_limit_kw: Annotated[float, Meta(description="What can be fed in.", ge=0)] = 0.0
    breaker_kw: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="Limit of the import.")] = (
        None
    )
    feeders_kw: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]], Meta(description="Limits of feeders, by name.")
    ] = {}
    limits: Annotated[
        tuple[LimitSettings, ...], Meta(description="Limits that change, in sections [[backtest.limits]].")
    ] = ()
    up_kw_per_minute: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="How fast the import may rise; none: as fast as it likes."),
    ] = None
    down_kw_per_minute: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="How fast it may fall; hard limits do not wait."),
    ] = None
    place: Annotated[
        PlaceSettings, Meta(description="Where the site stands: its rules bind as they did at the time.")
    ] = PlaceSettings()
    fuels: Annotated[
        tuple[str, ...], Meta(description="What its power is made of, where a rule asks for it.")
    ] = ()
    auxiliary_kw: Annotated[float, Meta(description="House, network, pumps.", ge=0)] = 0.0
    cooling_share: Annotated[float, Meta(description="Watts of cooling for each watt of machine.", ge=0)] = (
        0.0
    )
    hashprice: Annotated[MoneySettings, Meta(description="What a hash earns.")] = MoneySettings()
    local: Annotated[SeriesSettings | None, Meta(description="Own generation behind the meter, kW.")] = None
    demand: Annotated[DemandSettings | None, Meta(description="A demand charge.")] = None
    coincident: Annotated[
        tuple[CoincidentSettings, ...],
        Meta(description="Charges on peaks of the whole grid, in sections [[backtest.coincident]]."),
    ] = ()
    battery: Annotated[BatterySettings | None, Meta(description="A battery.")] = None
    carbon: Annotated[CarbonSettings | None, Meta(description="Emissions of imports.")] = None
    clean_kw: Annotated[
        SeriesSettings | None, Meta(description="Contracted clean generation, kW, for `clean only`.")
    ] = None
    policies: Annotated[
        tuple[PolicyName, ...], Meta(description="Which policies to compare; always on is always among them.")
    ] = (
        "one strike",
        "marginal strike",
        "optimiser",
    )
    strike_per_mwh: Annotated[
        float | None, Meta(description="Of the one-strike policy; none: the fleet's own break-even.")
    ] = None
    debounce_s: Annotated[float, Meta(description="Of the one-strike policy.", ge=0)] = 900.0
    planning: Annotated[PlanningSettings, Meta(description="The optimiser's horizon.")] = PlanningSettings()
    assumptions: Annotated[
        tuple[str, ...], Meta(description="What is not known and was assumed; printed with every result.")
    ] = ()
