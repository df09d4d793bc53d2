"""What the energy of a site needs from outside: feeds and meters. Adapters fill these ports, `feeds` and `meters`."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Protocol

import msgspec

from hashwerk.energy.published import PublishedSeries


class Signal(enum.StrEnum):
    """What a series tells. The name stands for the quantity; the unit is the series' own."""

    PRICE = "price"  # of energy, per MWh
    CARBON_AVERAGE = "carbon average"  # g/kWh of what is consumed
    CARBON_MARGINAL = (
        "carbon marginal"  # g/kWh of the next kWh; another question, never mixed with the average
    )
    CLEAN_SHARE = "clean share"  # carbon-free part, 0 to 1
    LOAD = "load"  # W, of a grid or a house
    GENERATION = "generation"  # W
    BATTERY_CHARGE = "battery charge"  # stored part of the capacity, 0 to 1
    TEMPERATURE = "temperature"  # °C
    COIN_PRICE = "coin price"  # currency per BTC
    DIFFICULTY = "difficulty"
    FEE_SHARE = "fee share"  # fees / (subsidy + fees)
    HASHPRICE = "hashprice"  # currency per PH/s and day


class Feed(Protocol):
    """Somebody who publishes series."""

    name: str

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return what is published for [start_s, stop_s), stamped with the moment we learned it.

        Args:
            start_s: Unix seconds.
            stop_s: May lie ahead: tomorrow's prices are known today.
            now_s: The moment of asking: nothing is stamped earlier than it was received, or later.

        Raises:
            FeedError: If the feed is silent, refuses, or answers something else, or with nothing.
        """
        ...


class RegisterReading(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter shows at a moment. Registers are cumulative and never negative; power is positive for consumption."""

    meter: str
    at_s: float
    import_wh: int | None = None
    export_wh: int | None = None
    power_w: float | None = None
    serial: str | None = None  # None: the meter does not tell
    multiplier_ppm: int = 1_000_000  # of current transformers, already in the values above
    doubts: tuple[
        str, ...
    ] = ()  # why it is not to be believed in full: what it refused, what it says is wrong with it


class Meter(Protocol):
    """A meter that can be read."""

    name: str

    async def read(self, now_s: float) -> RegisterReading:
        """Return what it shows now.

        Raises:
            DeviceError: If it does not answer, or with nothing that can be read.
        """
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...
