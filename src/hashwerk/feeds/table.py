"""All feeds: one row a kind. A new one is a module, a struct in `settings` and a row here."""

from __future__ import annotations

from typing import Final, assert_never

from hashwerk.clock import Clock
from hashwerk.energy.ports import Feed
from hashwerk.feeds.electricity_maps import ElectricityMaps
from hashwerk.feeds.energy_charts import EnergyCharts, EnergyChartsCarbon
from hashwerk.feeds.entsoe import Entsoe
from hashwerk.feeds.exchange import Exchange
from hashwerk.feeds.files import File
from hashwerk.feeds.gridstatus import Gridstatus
from hashwerk.feeds.http_json import HttpJson
from hashwerk.feeds.mqtt import Mqtt
from hashwerk.feeds.settings import (
    ElectricityMapsFeed,
    EnergyChartsCarbonFeed,
    EnergyChartsFeed,
    EntsoeFeed,
    ExchangeFeed,
    FeedSettings,
    FileFeed,
    GridstatusFeed,
    HttpFeed,
    MqttFeed,
    SmardFeed,
    TypicalFeed,
    WattTimeFeed,
)
from hashwerk.feeds.smard import Smard
from hashwerk.feeds.typical import Typical
from hashwerk.feeds.watttime import WattTime


def open_feed(settings: FeedSettings, clock: Clock) -> Feed:
    """Return the feed that settings describe. One that listens (`Mqtt`) has a method `run` besides.

    Raises:
        ConfigError: If a key, a library, or a zone is missing.
    """
    match settings:
        case FileFeed():
            return File(settings)
        case HttpFeed():
            return HttpJson(settings)
        case MqttFeed():
            return Mqtt(settings, clock)
        case SmardFeed():
            return Smard(settings)
        case EnergyChartsFeed():
            return EnergyCharts(settings)
        case EnergyChartsCarbonFeed():
            return EnergyChartsCarbon(settings)
        case ElectricityMapsFeed():
            return ElectricityMaps(settings)
        case WattTimeFeed():
            return WattTime(settings)
        case ExchangeFeed():
            return Exchange(settings)
        case EntsoeFeed():
            return Entsoe(settings)
        case GridstatusFeed():
            return Gridstatus(settings)
        case TypicalFeed():
            return Typical(settings)
        case _:
            assert_never(settings)


#: Which libraries are extras, and what they are installed as.
EXTRAS: Final[dict[str, str]] = {"entsoe": "entsoe-py", "gridstatus": "gridstatus"}
