"""Settings of dispatch: the section ``[dispatch]`` of a site file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hashwerk.dispatch.follower import FollowerSettings
from hashwerk.dispatch.safety import SafetySettings

PolicyName = Literal[
    "always on", "strike", "marginal strike", "optimiser", "clean only", "carbon budget", "surplus only"
]


class HashpriceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a hash earns: from feeds where they tell it, else from these assumptions, which are shown with every plan."""

    per_ph_day: Annotated[
        Annotated[float, Meta(ge=0)] | None,
        Meta(description="Fixed, in the site's currency per PH/s and day; none: computed."),
    ] = None
    coin_price: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="The coin's price in the site's currency, while no feed tells it; none: unknown."),
    ] = None
    difficulty: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="The network's difficulty, while no feed tells it; none: unknown."),
    ] = None
    fee_share: Annotated[
        float,
        Meta(description="Transaction fees as a share of the reward, while no feed tells it.", ge=0, lt=1),
    ] = 0.02
    subsidy_btc: Annotated[float, Meta(description="New coins a block; 3.125 until 2028.", gt=0)] = 3.125
    pool_fee: Annotated[float, Meta(description="What the pool keeps, as a share.", ge=0, lt=1)] = 0.01
    reject_share: Annotated[float, Meta(description="Shares that count for nothing.", ge=0, lt=1)] = 0.002


class SiteLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What wires and contracts bear, and what the site draws besides machines."""

    site_kw: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="Limit of the import; none: no limit.")
    ] = None
    feeders_kw: Annotated[
        dict[str, float], Meta(description="Limits of feeders, by the names in the list of places.")
    ] = {}
    up_kw_per_minute: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="How fast the import may rise; none: as fast as it likes."),
    ] = None
    down_kw_per_minute: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="How fast it may fall; orders do not wait.")
    ] = None
    auxiliary_kw: Annotated[
        float,
        Meta(description="House, network, pumps; with a meter of the site it is measured instead.", ge=0),
    ] = 0.0
    cooling_share: Annotated[
        float, Meta(description="Watts of cooling for each watt of machine, where no meter shows them.", ge=0)
    ] = 0.0
    export_kw: Annotated[float, Meta(description="What can be fed in.", ge=0)] = 0.0

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If a feeder's limit is not above 0; the decoder adds the line.
        """
        if any(limit_kw <= 0 for limit_kw in self.feeders_kw.values()):
            raise ValueError("feeders_kw: a limit is above 0")


class BatterySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A battery behind the meter. A feed with the signal `battery charge` tells how full it is."""

    capacity_kwh: Annotated[float, Meta(description="What it stores.", gt=0)]
    power_kw: Annotated[float, Meta(description="How fast it charges and discharges, at most.", gt=0)]
    efficiency: Annotated[float, Meta(description="Of a full cycle.", gt=0, le=1)] = 0.92
    wear_per_mwh: Annotated[float, Meta(description="What a MWh discharged costs in wear.", ge=0)] = 0.0
    reserve_share: Annotated[
        float, Meta(description="Part of the capacity that stays for emergencies.", ge=0, lt=1)
    ] = 0.1


class ReserveSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Power sold to the grid as reserve: plans keep that much on, in machines that can be turned off in time."""

    name: Annotated[str, Meta(description="Shown with every plan.", min_length=1)]
    sold_kw: Annotated[float, Meta(description="How much.", gt=0)]
    response_s: Annotated[float, Meta(description="How fast it must be gone.", gt=0)] = 60.0
    from_hour: Annotated[int, Meta(description="From this local hour on, every day.", ge=0, le=23)] = 0
    to_hour: Annotated[
        int, Meta(description="Until this local hour; not above `from_hour`: over midnight.", ge=0, le=24)
    ] = 24


class DispatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which machines run when: the policy, what it may do, and how it is carried out."""

    enabled: Annotated[bool, Meta(description="Make plans; they need a fleet.")] = True
    controls: Annotated[
        bool,
        Meta(
            description="Carry plans and orders out. Otherwise they are shown and nothing is commanded; needs control in"
            " [fleet] as well."
        ),
    ] = False
    policy: Annotated[PolicyName, Meta(description="How it is decided who runs.")] = "optimiser"
    fallback: Annotated[
        Literal["always on", "strike", "marginal strike"],
        Meta(description="The policy while a signal is silent that is to fall back."),
    ] = "marginal strike"
    currency: Annotated[str, Meta(description="Of all prices and accounts.", pattern=r"^[A-Z]{3}$")] = "EUR"
    strike_per_mwh: Annotated[
        float | None, Meta(description="For `strike`; none: the break-even of all machines together.")
    ] = None
    debounce_s: Annotated[
        float, Meta(description="How long the price must be on the other side of the strike.", ge=0)
    ] = 0.0
    fees_per_mwh: Annotated[
        float, Meta(description="Grid fees, taxes and levies on each MWh, where there is no tariff.")
    ] = 0.0
    carbon_price_per_t: Annotated[
        float, Meta(description="A price on the emission of imports, beside the money paid.", ge=0)
    ] = 0.0
    carbon_budget_t_per_day: Annotated[
        Annotated[float, Meta(gt=0)] | None, Meta(description="For `carbon budget`.")
    ] = None
    contracted_clean_kw: Annotated[
        float, Meta(description="For `clean only`: clean power that contracts deliver in every hour.", ge=0)
    ] = 0.0
    every_s: Annotated[float, Meta(description="Seconds between two plans.", gt=0)] = 300.0
    interval_s: Annotated[
        int, Meta(description="The plan's finest intervals; coarser ones follow in proportion.", ge=1)
    ] = 300
    horizon_h: Annotated[float, Meta(description="How far plans look ahead.", gt=0, le=168)] = 48.0
    time_limit_s: Annotated[
        float, Meta(description="After which a plan is given up and the merit order is used.", gt=0)
    ] = 10.0
    follow_every_s: Annotated[float, Meta(description="Seconds between two looks at the meter.", gt=0)] = 5.0
    record_every_s: Annotated[int, Meta(description="Seconds between two moments of the history.", ge=1)] = 10
    meter_max_age_s: Annotated[
        float, Meta(description="Power of the site that is older is not known.", gt=0)
    ] = 60.0
    when_price_stale: Annotated[
        Literal["keep", "curtail", "fall back"],
        Meta(description="What machines do without a believable price."),
    ] = "fall back"
    when_meter_stale: Annotated[
        Literal["keep", "curtail", "fall back"],
        Meta(description="What machines do without a believable meter of the site, once there was one."),
    ] = "keep"
    battery: Annotated[
        BatterySettings | None, Meta(description="A battery behind the meter; none: there is none.")
    ] = None
    reserves: Annotated[
        tuple[ReserveSettings, ...],
        Meta(description="Power sold as reserve, in sections [[dispatch.reserves]]."),
    ] = ()
    hashprice: Annotated[HashpriceSettings, Meta(description="What a hash earns.")] = HashpriceSettings()
    limits: Annotated[SiteLimits, Meta(description="What wires and contracts bear.")] = SiteLimits()
    follower: Annotated[
        FollowerSettings, Meta(description="How hard measured power is kept at the set-point.")
    ] = FollowerSettings()
    safety: Annotated[SafetySettings, Meta(description="Thresholds of the guard.")] = SafetySettings()

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If a policy lacks what it needs; the decoder adds the line.
        """
        if self.policy == "carbon budget" and self.carbon_budget_t_per_day is None:
            raise ValueError("carbon_budget_t_per_day: the policy 'carbon budget' needs it")
