"""What an operator may set about feeds. One struct a kind; ``kind`` says which."""

from __future__ import annotations

from datetime import time
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

SignalName = Literal[
    "price",
    "carbon average",
    "carbon marginal",
    "clean share",
    "load",
    "generation",
    "battery charge",
    "temperature",
    "coin price",
    "difficulty",
    "fee share",
    "hashprice",
]


class WatchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is done about a feed that is late, repeats itself or says what cannot be."""

    every_s: Annotated[float, Meta(description="Seconds between two requests.", gt=0)] = 300.0
    max_age_s: Annotated[
        float, Meta(description="A value published longer ago than this is stale.", gt=0)
    ] = 93_600.0
    ahead_s: Annotated[int, Meta(description="How far ahead values are asked for, in seconds.", ge=0)] = (
        129_600
    )
    behind_s: Annotated[int, Meta(description="How far back values are asked for, in seconds.", ge=0)] = (
        86_400
    )
    lowest: Annotated[
        float | None, Meta(description="Values below this are not believed; none: the signal's own bound.")
    ] = None
    highest: Annotated[
        float | None, Meta(description="Values above this are not believed; none: the signal's own bound.")
    ] = None
    when_stale: Annotated[
        Literal["nothing", "last", "typical"],
        Meta(
            description="What plans get in place of stale values: nothing, the last known ones of the same hour a day or a"
            " week before, or the typical day."
        ),
    ] = "nothing"


class FeedBase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What all feeds have."""

    name: Annotated[str, Meta(description="Shown on pages and in messages.", min_length=1, max_length=64)]
    watch: Annotated[WatchSettings, Meta(description="What is done when it fails.")] = WatchSettings()


class ColumnSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A column of a file, or a field of an answer, that becomes a signal."""

    column: Annotated[str, Meta(description="Its heading, or the path of the field.")]
    signal: Annotated[SignalName, Meta(description="What it tells.")]
    unit: Annotated[str, Meta(description="Its unit after scaling: EUR/MWh, g/kWh, W.")]
    scale: Annotated[float, Meta(description="Values are multiplied by this.")] = 1.0
    currency: Annotated[str | None, Meta(description="For prices: EUR, USD, CNY.")] = None


class FileFeed(FeedBase, frozen=True, kw_only=True, tag="file"):
    """Series from a CSV or Parquet file, read again whenever it changes."""

    path: Annotated[str, Meta(description="The file; .csv or .parquet.")]
    columns: Annotated[tuple[ColumnSettings, ...], Meta(description="Which columns are what.", min_length=1)]
    resolution_s: Annotated[int, Meta(description="Length of the intervals.", ge=1)]
    time_column: Annotated[str, Meta(description="Beginning of the intervals.")] = "time"
    time_format: Annotated[
        str | None,
        Meta(description="strptime format of local times, in `zone`; none: ISO 8601, or Unix seconds."),
    ] = None
    zone: Annotated[str | None, Meta(description="Zone of times without an offset; none: UTC.")] = None
    published_column: Annotated[str | None, Meta(description="When each row was published.")] = None
    published: Annotated[
        Literal["day ahead", "lag"],
        Meta(description="Without that column: the day before at a local time, or after the interval."),
    ] = "lag"
    published_at: Annotated[time, Meta(description="For 'day ahead': local time.")] = time(13, 0)
    lag_s: Annotated[int, Meta(description="For 'lag': seconds after the interval's end.", ge=0)] = 0
    select: Annotated[dict[str, str], Meta(description="Only rows whose columns have these values.")] = {}
    source: Annotated[str, Meta(description="Attribution that the data's licence asks for.")] = "file"


class HttpFeed(FeedBase, frozen=True, kw_only=True, tag="http"):
    """Any HTTP API that answers JSON, by a mapping."""

    url: Annotated[
        str,
        Meta(
            description="With {start} and {stop} where it wants times, written as `url_time` says.",
            pattern=r"^https?://",
        ),
    ]
    fields: Annotated[tuple[ColumnSettings, ...], Meta(description="Which fields are what.", min_length=1)]
    resolution_s: Annotated[int, Meta(description="Length of the intervals.", ge=1)]
    rows: Annotated[
        str, Meta(description="Path of the list of rows: data.prices; empty: the answer itself.")
    ] = ""
    layout: Annotated[
        Literal["rows", "columns"],
        Meta(description="Rows: a list of objects or arrays. Columns: arrays side by side."),
    ] = "rows"
    time_field: Annotated[str, Meta(description="Path of the time in a row, or of the array of times.")] = (
        "time"
    )
    time_unit: Annotated[
        Literal["iso", "s", "ms"], Meta(description="How times are written in the answer.")
    ] = "iso"
    url_time: Annotated[Literal["iso", "s", "ms"], Meta(description="How times are written in the URL.")] = (
        "iso"
    )
    header: Annotated[str | None, Meta(description="Name of the header that carries the key.")] = None
    key_file: Annotated[str | None, Meta(description="File with the key.")] = None
    source: Annotated[str, Meta(description="Attribution that the data's licence asks for.")] = "HTTP"


class MqttFeed(FeedBase, frozen=True, kw_only=True, tag="mqtt"):
    """The latest value of a topic: now, and nothing ahead."""

    host: Annotated[str, Meta(description="The broker.")]
    topic: Annotated[str, Meta(description="The topic.")]
    field: Annotated[ColumnSettings, Meta(description="Path in the JSON payload; empty: the payload itself.")]
    port: Annotated[int, Meta(ge=1, le=65_535, description="Its port.")] = 1883
    resolution_s: Annotated[int, Meta(description="How long a value stands for.", ge=1)] = 300
    user: Annotated[str | None, Meta(description="The user, where it asks for one.")] = None
    password_file: Annotated[str | None, Meta(description="File with the password.")] = None

    def __repr__(self) -> str:
        """Leave the user out."""
        return f"MqttFeed({self.name!r}, {self.host!r}, {self.topic!r})"


class SmardFeed(FeedBase, frozen=True, kw_only=True, tag="smard"):
    """SMARD of the Bundesnetzagentur: open, no key, CC BY 4.0."""

    region: Annotated[str, Meta(description="DE-LU, AT, FR, NL …")] = "DE-LU"
    series: Annotated[int | None, Meta(description="Number of another series; none: the region's price.")] = (
        None
    )
    quarters: Annotated[bool, Meta(description="Quarters of an hour instead of hours.")] = False
    base_url: Annotated[str, Meta(description="Another server with the same API.")] = "https://www.smard.de"


class EnergyChartsFeed(FeedBase, frozen=True, kw_only=True, tag="energy-charts"):
    """Energy-Charts of Fraunhofer ISE: open, no key; prices of European zones, CC BY 4.0 where the answer says so."""

    zone: Annotated[str, Meta(description="DE-LU, FR, SE2 …")] = "DE-LU"
    base_url: Annotated[str, Meta(description="Another server with the same API.")] = (
        "https://api.energy-charts.info"
    )


class EnergyChartsCarbonFeed(FeedBase, frozen=True, kw_only=True, tag="energy-charts-carbon"):
    """Energy-Charts: average carbon intensity of a European country, measured and forecast. Open, no key."""

    country: Annotated[str, Meta(description="In small letters: de, fr, se …")] = "de"
    base_url: Annotated[str, Meta(description="Another server with the same API.")] = (
        "https://api.energy-charts.info"
    )


class ElectricityMapsFeed(FeedBase, frozen=True, kw_only=True, tag="electricity-maps"):
    """Electricity Maps: average carbon intensity, flow-traced. Needs a key; the forecast is part of paid plans."""

    zone: Annotated[str, Meta(description="DE, US-TEX-ERCO …")]
    key_file: Annotated[str, Meta(description="File with the key.")]
    forecast: Annotated[bool, Meta(description="Ask for the forecast as well.")] = False
    base_url: Annotated[str, Meta(description="Another server with the same API.")] = (
        "https://api.electricitymaps.com"
    )


class WattTimeFeed(FeedBase, frozen=True, kw_only=True, tag="watttime"):
    """WattTime: marginal emissions. Needs an account; a free one has CAISO_NORTH only."""

    region: Annotated[str, Meta(description="CAISO_NORTH, ERCOT_…")]
    user: Annotated[str, Meta(description="The account.")]
    password_file: Annotated[str, Meta(description="File with its password.")]
    base_url: Annotated[str, Meta(description="Another server with the same API.")] = (
        "https://api.watttime.org"
    )

    def __repr__(self) -> str:
        """Leave the account out."""
        return f"WattTimeFeed({self.name!r}, {self.region!r})"


class ExchangeFeed(FeedBase, frozen=True, kw_only=True, tag="exchange"):
    """The coin's price at an exchange, for a hashprice computed here."""

    exchange: Annotated[Literal["kraken", "bitstamp", "coinbase"], Meta(description="Where.")] = "kraken"
    currency: Annotated[Literal["USD", "EUR"], Meta(description="In which currency.")] = "USD"
    base_url: Annotated[
        str | None, Meta(description="Another server with the same API; none: the exchange's.")
    ] = None


class EntsoeFeed(FeedBase, frozen=True, kw_only=True, tag="entsoe"):
    """ENTSO-E's transparency platform through entsoe-py (an extra). Needs a key."""

    area: Annotated[str, Meta(description="DE_LU, SE_2, FR …")]
    key_file: Annotated[str, Meta(description="File with the key.")]


class GridstatusFeed(FeedBase, frozen=True, kw_only=True, tag="gridstatus"):
    """Day-ahead or real-time prices of North American grids through gridstatus (an extra)."""

    grid: Annotated[Literal["ERCOT", "PJM", "CAISO", "MISO", "NYISO", "ISONE"], Meta(description="Which.")]
    location: Annotated[str, Meta(description="Settlement point, hub or zone: HB_HUBAVG.")]
    market: Annotated[
        str, Meta(description="As gridstatus calls it: DAY_AHEAD_HOURLY, REAL_TIME_15_MIN, REAL_TIME_5_MIN.")
    ] = "DAY_AHEAD_HOURLY"
    key_file: Annotated[
        str | None, Meta(description="File with the key, where the grid asks for one (PJM).")
    ] = None


class TypicalFeed(FeedBase, frozen=True, kw_only=True, tag="typical"):
    """The typical day of the month, from the table that comes with Hashwerk: offline, and said to be typical."""

    zone: Annotated[str, Meta(description="A zone of the table: DE-LU, FR, NO2 …")] = "DE-LU"


FeedSettings = (
    FileFeed
    | HttpFeed
    | MqttFeed
    | SmardFeed
    | EnergyChartsFeed
    | EnergyChartsCarbonFeed
    | ElectricityMapsFeed
    | WattTimeFeed
    | ExchangeFeed
    | EntsoeFeed
    | GridstatusFeed
    | TypicalFeed
)


class PoolAccountSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account at a pool."""

    upstream: Annotated[str, Meta(min_length=1, description="The name of the [[upstream]] it belongs to.")]
    pool: Annotated[Literal["braiins", "luxor", "f2pool", "ocean"], Meta(description="Whose books are read.")]
    account: Annotated[
        str, Meta(description="Account, subaccount or payout address; Braiins' key names it by itself.")
    ] = ""
    key_file: Annotated[
        str | None, Meta(description="File with the API's read-only key; OCEAN asks for none.")
    ] = None
    files: Annotated[
        tuple[str, ...],
        Meta(description="Exports of the account (CSV), in place of its API; read again each time."),
    ] = ()
    scheme: Annotated[
        Literal["PPS", "FPPS", "PPLNS", "TIDES", "solo"] | None,
        Meta(description="The payout scheme, where it is not the pool's usual one."),
    ] = None
    fee_percent: Annotated[
        Annotated[float, Meta(ge=0, lt=100)] | None,
        Meta(description="The pool's fee as agreed; needed for `chain_file`."),
    ] = None
    chain_file: Annotated[
        str | None,
        Meta(description="The network's days, from `hashwerk pools chain`; without it pay is not judged."),
    ] = None
    day_start: Annotated[time, Meta(description="When the pool's day begins, UTC.")] = time(0, 0)
    days: Annotated[int, Meta(ge=1, le=31, description="How many past days are compared.")] = 7
    url: Annotated[
        Annotated[str, Meta(pattern=r"^(https://|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]+)?(/|$))")]
        | None,
        Meta(description="A mirror or gateway of the pool's API; https, or http on this computer."),
    ] = None

    def __post_init__(self) -> None:
        """Check what types cannot say.

        Raises:
            ValueError: If the books could not be read, or pay not judged, with these settings.
        """
        if not self.files and self.pool != "ocean" and self.key_file is None:
            raise ValueError(f"key_file: {self.pool} asks for a key; or name its exports in files")
        if not self.files and self.pool != "braiins" and not self.account:
            raise ValueError(f"account: says whose books {self.pool} is asked for")
        if self.chain_file is not None and self.fee_percent is None:
            raise ValueError("fee_percent: what is owed depends on it; chain_file needs it")

    @property
    def day_start_s(self) -> int:
        """Seconds after midnight, UTC."""
        return self.day_start.hour * 3_600 + self.day_start.minute * 60 + self.day_start.second
