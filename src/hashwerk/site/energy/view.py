"""What pages and API are told of the site's energy. Plain data: JSON of it is the API's answer.

Powers are watts, positive for consumption; energies are watt-hours; money is a decimal text with its currency beside it;
times are Unix seconds. What is not known is None.
"""

from __future__ import annotations

import msgspec


class SeriesView(msgspec.Struct, frozen=True, kw_only=True):
    """A signal over time, for a plot. ``values[i]`` holds from ``starts_s[i]`` for ``resolution_s``."""

    name: str
    unit: str
    source: str  # with the attribution its licence asks for
    resolution_s: int
    starts_s: tuple[int, ...]
    values: tuple[float | None, ...]
    is_typical: bool = False  # the typical day of the month, not today's
    is_stale: bool = False
    forecast_from_s: float | None = None  # values from here on are a forecast


class FeedView(msgspec.Struct, frozen=True, kw_only=True):
    """How a feed or a meter is doing."""

    name: str
    state: str  # `FeedState`, or "good" and "silent" of a meter
    text: str
    since_s: float | None = None
    instead: str = ""  # what plans get in its place


class GroupView(msgspec.Struct, frozen=True, kw_only=True):
    """A group of like machines now, and why."""

    name: str
    machines: int
    running: int  # as planned for this interval
    power_w: float | None  # measured or reported, see `FleetView`
    wanted_w: float  # as planned
    strike_per_mwh: float | None  # above this price of energy the group sleeps
    action: str  # "runs", "sleeps", "runs in part", "not ours"
    sentence: str


class GroupPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A group over the plan's intervals: machines on, and power."""

    name: str
    running: tuple[float, ...]
    power_w: tuple[float, ...]


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """The plan. Interval ``i`` is [starts_s[i], ends_s[i])."""

    made_s: float
    origin: str  # "optimiser", "ladder", "policy", "safety"
    policy: str
    took_s: float
    starts_s: tuple[float, ...]
    ends_s: tuple[float, ...]
    load_w: tuple[float, ...]
    import_w: tuple[float, ...]
    price_per_mwh: tuple[float, ...]  # what a MWh more costs at the meter, taxes and fees included
    #: What the battery draws, negative where it gives; None: none is planned with.
    battery_w: tuple[float, ...] | None = None
    groups: tuple[GroupPlan, ...]
    margin: str  # expected over the plan
    remarks: tuple[str, ...] = ()  # limits that gave way, a solver that failed, assumptions


class OrderView(msgspec.Struct, frozen=True, kw_only=True):
    """An order of a grid operator and what became of it."""

    id: str
    source: str
    kind: str  # "reduce to", "reduce by", "all"
    received_s: float
    start_s: float
    stop_s: float | None
    amount_w: float | None
    baseline: str
    baseline_w: float | None
    target_w: float | None
    import_w: float | None  # measured now
    delivered_w: float | None  # baseline less import
    state: str  # "ahead", "active", "restoring", "over", "cancelled"
    reached_s: float | None = None  # when import came to within 5 % of the target
    laggards: tuple[str, ...] = ()  # who does not sleep, with what to do
    settlement: dict[str, str] | None = None  # once it is over


class SourcePower(msgspec.Struct, frozen=True, kw_only=True):
    """A source's part of the power now."""

    name: str
    fuel: str
    is_clean: bool | None  # None: not known
    power_w: float


class BillLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the bill so far."""

    text: str
    quantity: str
    amount: str


class BillView(msgspec.Struct, frozen=True, kw_only=True):
    """The month's bill so far, as the tariff has it."""

    tariff: str
    currency: str
    since_s: float
    until_s: float
    import_wh: int
    peak_w: float | None  # the demand charge's month-to-date mean
    lines: tuple[BillLine, ...]
    total: str
    missing: tuple[str, ...] = ()  # intervals without a reading, assumptions


class RuleView(msgspec.Struct, frozen=True, kw_only=True):
    """A rule by which energy is attributed to sources, and since when it holds."""

    rule: str  # name and version
    words: str  # what it says
    order: tuple[str, ...]
    sources: tuple[str, ...]  # with kind and fuel
    factors: str  # name, vintage and scope of the emission factors
    factors_source: str
    declared_s: float
    since_s: float
    until_s: float | None  # None: until another one is declared


class HourView(msgspec.Struct, frozen=True, kw_only=True):
    """An hour that is over, and whose energy it was."""

    start_s: float
    covered_s: float
    load_wh: int
    by_source: dict[str, int]
    rule: str
    g_per_kwh: float | None  # by location; own plants by the rule's factors
    remark: str = ""


class CleanView(msgspec.Struct, frozen=True, kw_only=True):
    """How clean the energy of the month was, of the hours that are over. Shares are 0 to 1."""

    since_s: float
    until_s: float
    rule: str  # that holds now, or will from the next full hour on
    is_declared_before: bool
    hourly_matched: float | None
    carbon_free: float | None
    g_per_kwh: float | None
    rules: tuple[RuleView, ...] = ()  # of these hours, and one that is yet to come
    hours: tuple[HourView, ...] = ()  # the newest, newest first


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """History as columns, one entry a moment; None where nothing was known."""

    at_s: tuple[float, ...]
    measured_w: tuple[float | None, ...]
    setpoint_w: tuple[float | None, ...]
    price_per_mwh: tuple[float | None, ...]
    hashrate_hs: tuple[float | None, ...]
    sources: dict[str, tuple[float | None, ...]]  # by name, W


class EnergyView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about the site's energy now."""

    at_s: float
    is_simulation: bool
    sentence: str  # what is happening and why, first thing people read
    policy: str
    controls: bool  # False: the plan is shown and nothing is commanded
    stance: str  # "free", "keep", "fall back", "curtail", "stop"
    reasons: tuple[str, ...]  # of the stance
    currency: str
    price_per_mwh: float | None
    hashprice_per_ph_day: float | None
    hashprice_from: str  # how it was computed, with its assumptions
    setpoint_w: float | None
    measured_w: float | None  # of the machines, by meter where there is one
    measured_by: str  # "meter NAME", "machines' own reports"
    revenue_per_h: str | None
    cost_per_h: str | None
    margin_per_h: str | None
    price: SeriesView | None
    carbon: SeriesView | None
    sources: tuple[SourcePower, ...]
    groups: tuple[GroupView, ...]
    plan: PlanView | None
    orders: tuple[OrderView, ...]
    bill: BillView | None
    clean: CleanView | None
    feeds: tuple[FeedView, ...]
    meters: tuple[FeedView, ...]
    assumptions: tuple[str, ...] = ()
