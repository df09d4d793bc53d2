"""Solar at home: a Nano (twin, cgminer API) follows the surplus that a Shelly (served, its HTTP RPC) shows, the house first.

The roof is a recorded one where ../shared/data has it: the German solar generation of a June day, as 4 kWp. Elsewhere it is a
clear-sky day by Haurwitz (1945): GHI = 1098 cos z exp(−0.059 / cos z) W/m², at 50° N on 21 June.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hashwerk.clock import SystemClock
from hashwerk.config.site import SiteConfig, load_site
from hashwerk.errors import ConfigError
from hashwerk.fleet.settings import FleetSettings
from hashwerk.fleet.states import State
from hashwerk.meters.settings import ShellyMeter
from hashwerk.site.energy.process import running_energy
from hashwerk.site.fleet.process import running_fleet
from hashwerk.twin import Hall, HallSettings
from support.shelly import running_shelly

ROOT = Path(__file__).parents[4]
RECORDED = ROOT.parent / "shared" / "data" / "smard_de_generation_2025.parquet"
HASTE = 60.0
PEAK_W = 4_000.0
BASE = "127.63.7.1"


def recorded_roof() -> Callable[[float], float]:
    """Return power by the hour of a recorded day."""
    if not RECORDED.is_file():
        return clear_sky
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(RECORDED, columns=["time_utc", "solar_mw"]).to_pylist()
    day = [
        row["solar_mw"] for row in table if row["time_utc"].date() == datetime(2025, 6, 21, tzinfo=UTC).date()
    ]
    most = max(row["solar_mw"] for row in table)
    return lambda hour: PEAK_W * day[int(hour)] / most


def clear_sky(hour: float) -> float:
    """Return the power of the roof on a clear day, from its global horizontal irradiance."""
    latitude, declination = math.radians(50), math.radians(23.44)
    angle = math.radians(15 * (hour - 12))
    cosine = math.sin(latitude) * math.sin(declination) + math.cos(latitude) * math.cos(
        declination
    ) * math.cos(angle)
    return 0.0 if cosine <= 0 else PEAK_W * 1.098 * cosine * math.exp(-0.059 / cosine)


class Home:
    """A house, its roof and the hour; the Nano's true power comes on top."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.roof = recorded_roof()
        self.hour = 0.0
        self.house_w = 300.0

    def import_w(self) -> float:
        """Return what the house takes from the grid."""
        return self.house_w + self.hall.power_w() - self.roof(self.hour)


def site(hall: Hall, shelly: str) -> SiteConfig:
    """Return the example's site with this hall and this Shelly, in a hurry."""
    config = load_site(ROOT / "examples" / "solar_at_home.toml")
    meter = config.meter[0]
    assert isinstance(meter, ShellyMeter)
    fleet: dict[str, Any] = {
        "ranges": [f"{BASE}-{hall.machines[-1].host}"],
        "control": True,
        "poll_s": 0.3,
        "pace": 1 / HASTE,
        "limits": {"min_on_s": 0, "min_off_s": 0, "verify_s": 0.5, "settle_s": 0.2, "wave_s": 0.2},
    }
    follower = msgspec.structs.replace(config.dispatch.follower, up_wait_s=0.5, sleep_wait_s=0.5)
    return msgspec.structs.replace(
        config,
        fleet=msgspec.convert(fleet, FleetSettings),
        meter=(msgspec.structs.replace(meter, host=shelly),),
        dispatch=msgspec.structs.replace(config.dispatch, follow_every_s=0.2, every_s=5.0, follower=follower),
    )


@pytest.mark.slow
async def test_a_nano_follows_the_roof_and_the_house_comes_first(tmp_path: Path) -> None:
    hall = Hall(HallSettings(machines=1, models=("avalon-nano3s",), base=BASE, http_port=0, haste=HASTE))
    try:
        await hall.start()
    except ConfigError as error:
        pytest.skip(f"NO ADDRESS for the Nano's twin: {error}")
    home, clock = Home(hall), SystemClock()
    try:
        async with running_shelly(home.import_w) as shelly:
            config = site(hall, shelly.host)
            async with (
                running_fleet(config, tmp_path, clock, None) as fleet,
                running_energy(config, fleet, tmp_path, clock) as energy,
            ):
                assert fleet is not None
                assert energy is not None

                async def becomes(state: State, why: str) -> None:
                    try:
                        async with asyncio.timeout(40):
                            while [u.condition.state for u in fleet.roster.units.values()] != [state]:  # noqa: ASYNC110 - many loops bring it about
                                await asyncio.sleep(0.05)
                    except TimeoutError:
                        raise AssertionError(f"{why}: {fleet.view()} {energy.view().sentence}") from None

                # Night: whoever was found hashing sleeps, and nothing is bought for it.
                await becomes(State.ASLEEP, "no sun")
                async with asyncio.timeout(20):
                    while hall.power_w() >= 20:  # noqa: ASYNC110 - it cools down in its own time
                        await asyncio.sleep(0.05)
                # Noon: the roof makes more than the house needs.
                home.hour = 12.0
                assert home.import_w() < -1_000
                await becomes(State.HASHING, "a surplus")
                assert energy.view().policy == "surplus only"
                # The stove: the house comes first.
                home.house_w = 5_000.0
                await becomes(State.ASLEEP, "the house needs it")
                reading = fleet.meters.get("site")
                assert reading is not None
                assert reading.power_w > 1_000, "what the meter shows now is bought for the house"
                told = await fleet.commands()
                assert {record.who for record in told} == {"dispatcher"}
        assert shelly.import_wh > 1_000.0
        assert shelly.export_wh > 500.0
    finally:
        await hall.stop()


def test_the_clear_sky_day_is_one() -> None:
    powers = [clear_sky(hour) for hour in range(24)]
    assert powers[0] == powers[23] == 0
    assert max(powers) == powers[12]
    assert 0.8 * PEAK_W < powers[12] < PEAK_W
