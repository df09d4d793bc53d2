"""The energy of the built-in demonstration: today's open prices where the machine is online, typical ones where it is not.

The hall is dispatched for real, on the economics of full-size machines; what is assumed is shown with every plan.
"""

from __future__ import annotations

from typing import Final

from hashwerk.dispatch.settings import DispatchSettings, HashpriceSettings
from hashwerk.feeds.settings import (
    EnergyChartsCarbonFeed,
    EnergyChartsFeed,
    ExchangeFeed,
    FeedSettings,
    WatchSettings,
)

#: The market of the demonstration: France, day ahead. Its nights and middays are cheap enough for old machines, and its
#: evenings too dear for them, in most months: so there is a schedule to be seen, and somebody runs at any hour.
ZONE: Final = "FR"
#: Assumed while no exchange is reached: 22 August 2026, 78,294 USD, at the ECB's rate of the day before.
COIN_PRICE_EUR: Final = 66_900.0
#: Assumed always: the difficulty of the main network from 14 June 2026 on. The demonstration's own chain earns nothing.
DIFFICULTY: Final = 1.2493e14


def demo_feeds() -> tuple[FeedSettings, ...]:
    """Return the feeds of the demonstration; none needs a key."""
    return (
        EnergyChartsFeed(
            name=f"day-ahead price {ZONE}",
            zone=ZONE,
            watch=WatchSettings(every_s=900.0, max_age_s=93_600.0, when_stale="typical"),
        ),
        EnergyChartsCarbonFeed(
            name="carbon of the French grid",
            country="fr",
            watch=WatchSettings(every_s=900.0, max_age_s=21_600.0),
        ),
        ExchangeFeed(
            name="coin price at Kraken",
            exchange="kraken",
            currency="EUR",
            watch=WatchSettings(every_s=600.0, max_age_s=7_200.0),
        ),
    )


def demo_dispatch() -> DispatchSettings:
    """Return how the demonstration is dispatched: by the optimiser, and carried out, because it is a simulation."""
    return DispatchSettings(
        controls=True,
        policy="optimiser",
        currency="EUR",
        hashprice=HashpriceSettings(coin_price=COIN_PRICE_EUR, difficulty=DIFFICULTY),
    )
