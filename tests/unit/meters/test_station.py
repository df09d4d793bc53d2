"""A meter at work, end to end: a hall's power → a real Modbus meter → intervals and events, and the fleet's power source."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.energy.registers import EventKind
from hashwerk.energy.series import Quality
from hashwerk.errors import DeviceError
from hashwerk.meters.register_map import load_map
from hashwerk.meters.settings import ModbusTcpMeter
from hashwerk.meters.station import Station
from hashwerk.meters.table import open_meters
from hashwerk.meters.twin import MeterTwin, Trouble

START = 1_773_144_000.0


class Hall:
    """A hall whose power a test sets, its twin of a meter, and what the station recorded."""

    def __init__(self, model: str, **settings: object) -> None:
        self.clock = VirtualClock(START)
        self.power_w = 60_000.0
        self.twin = MeterTwin(load_map(model), lambda: self.power_w, self.clock)
        self.model, self.settings = model, settings
        self.intervals, self.events = [], []

    async def __aenter__(self) -> Hall:
        await self.twin.start()
        settings = ModbusTcpMeter(
            name="site meter",
            max_power_w=200_000,
            host="127.0.0.1",
            port=self.twin.port,
            map=self.model,
            timeout_s=0.5,
            **self.settings,
        )
        meter = open_meters([settings], self.clock)[0]
        self.station = Station(meter, settings, self.clock, self.record)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.station.meter.close()
        await self.twin.stop()

    def record(self, intervals: object, events: object) -> None:
        self.intervals += intervals
        self.events += events

    async def run(self, minutes: int) -> None:
        for _ in range(minutes):
            await self.station.read()
            self.clock.advance(60)


@pytest.mark.parametrize("model", ["eastron-sdm630", "carlo-gavazzi-em24", "janitza-umg96rm"])
async def test_an_hour_of_a_hall_in_quarters(model):
    async with Hall(model) as hall:
        await hall.run(30)
        hall.power_w = 12_000.0
        await hall.run(31)
        shown = [one.wh for one in hall.intervals if one.direction.value == "import"]
        assert hall.events == []
        # The EM24 counts in steps of 100 Wh; sums are right to its step all the same.
        for measured, true_wh in zip(shown, (15_000, 15_000, 3_000, 3_000), strict=True):
            assert abs(measured - true_wh) <= 100
        assert abs(sum(shown) - 36_000) <= 100


async def test_power_is_told_to_the_fleet_with_its_scope():
    async with Hall("eastron-sdm630", scope="feeder:F1") as hall:
        readings = await hall.station.read()
    assert [(one.scope, one.power_w, one.at) for one in readings] == [("feeder:F1", 60_000.0, START)]


async def test_a_swapped_meter_and_a_gap_are_recorded():
    async with Hall("eastron-sdm630") as hall:
        await hall.run(5)
        hall.twin.state.trouble = Trouble.BUSY
        for _ in range(10):
            with pytest.raises(DeviceError):
                await hall.station.read()
            hall.clock.advance(60)
        hall.twin.state.trouble = None
        await hall.run(5)
        hall.twin.state.serial = 2_000_002
        hall.twin.state.import_wh = Decimal(5)
        await hall.run(26)
    kinds = [event.kind for event in hall.events]
    assert kinds.count(EventKind.GAP) == 2  # both registers
    assert kinds.count(EventKind.SWAP) == 2
    quarters = [one for one in hall.intervals if one.direction.value == "import"]
    assert [one.quality for one in quarters] == [Quality.ESTIMATED, Quality.MISSING, Quality.MEASURED]
    assert quarters[0].wh == 15_000
    assert quarters[1].wh is None


async def test_a_register_that_wraps_is_followed():
    async with Hall("eastron-sdm630", wraps_at_wh=10_000) as hall:
        hall.twin.state.import_wh = Decimal(9_500)

        for _ in range(16):
            await hall.station.read()
            hall.clock.advance(60)
            hall.twin.count()
            hall.twin.state.import_wh %= 10_000
        wraps = [event for event in hall.events if event.kind is EventKind.WRAP]
        assert len(wraps) == 2
        assert hall.intervals[0].wh == 15_000
