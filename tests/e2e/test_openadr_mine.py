"""A utility's order by OpenADR is carried out by a hall, measured by its meter, told back, and settled.

The utility is openleadr's own server; the hall is simulated and in a hurry; fleet, energy and the way by which orders arrive
run as the site's file says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hashwerk.clock import SystemClock
from hashwerk.config.site import SiteConfig, parse_site
from hashwerk.errors import ConfigError
from hashwerk.site.energy.process import running_energy
from hashwerk.site.energy.service import EnergyService
from hashwerk.site.energy.view import OrderView
from hashwerk.site.fleet.process import running_fleet
from hashwerk.twin import Hall, HallSettings
from hashwerk.twin.control import ControlServer
from support.fleet_process import TwinMeter
from support.grid_operators import VtnOperator, vtn

MACHINES = 6
HASTE = 60.0
WITHIN_S = 60.0
#: An Avalon Q at its best draws 1,674 W.
TARGET_W = MACHINES * 1_674.0 / 3


def site(hall: Hall, vtn_url: str) -> SiteConfig:
    return parse_site(f"""
[fleet]
ranges = ["{hall.machines[0].host}-{hall.machines[-1].host}"]
control = true
poll_s = 0.5
timeout_s = 2.0
pace = {1 / HASTE}
[fleet.limits]
min_on_s = 0
min_off_s = 0
starts_a_day = 50
verify_s = 1.0
settle_s = 0.5
first_retry_s = 0.5
[dispatch]
controls = true
policy = "always on"
every_s = 3.0
follow_every_s = 0.5
record_every_s = 1
[dispatch.hashprice]
per_ph_day = 45.0
[dispatch.follower]
dead_band_w = 100.0
[[grid_order]]
kind = "openadr"
name = "utility"
operator = "grid"
url = "{vtn_url}"
ven_name = "mine"
poll_s = 0.2
""")


async def until(what: str, condition: Callable[[], Any]) -> Any:
    try:
        async with asyncio.timeout(WITHIN_S):
            while not (found := condition()):  # noqa: ASYNC110 - the hall and the utility have no event in common
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not within {WITHIN_S} s: {what}") from None
    return found


@pytest.mark.filterwarnings("ignore::aiohttp.web_exceptions.NotAppKeyWarning")
async def test_an_order_by_openadr_is_delivered_measured_told_and_settled(tmp_path: Path) -> None:
    hall = Hall(HallSettings(machines=MACHINES, models=("avalon-q",), base="127.64.0.1", haste=HASTE))
    try:
        await hall.start()
    except ConfigError as error:
        pytest.skip(f"the twin's addresses cannot be had: {error}")
    control = ControlServer(hall)
    await control.start(0)
    clock = SystemClock()
    try:
        async with vtn(tmp_path) as utility:
            settings = utility.source()._settings
            config = site(hall, settings.url)
            async with (
                running_fleet(config, tmp_path, clock, None, [TwinMeter(control.port)]) as fleet,
                running_energy(config, fleet, tmp_path, clock) as energy,
            ):
                assert energy is not None
                await _carried_out(hall, utility, energy)
    finally:
        await control.stop()
        await hall.stop()


async def _carried_out(hall: Hall, utility: VtnOperator, energy: EnergyService) -> None:
    await until("all run", lambda: hall.power_w() > MACHINES * 1_500)
    before_w = await until("the meter is read", lambda: energy.import_w)
    await until("the utility sees the power before", lambda: any(w > 0.8 * before_w for w in utility.reports))

    event = utility.add("LOAD_DISPATCH", "setpoint", TARGET_W / 1e3, minutes=60)

    def order() -> OrderView | None:
        return next((one for one in energy.orders() if one.id == event), None)

    await until("it is opted in to", lambda: (event, "optIn") in utility.answers)
    given = await until("it is known", order)
    assert (given.source, given.kind, given.amount_w) == ("utility:grid", "reduce to", TARGET_W)
    await until("it is delivered", lambda: hall.power_w() <= 1.03 * TARGET_W)
    reached = await until("it is measured", lambda: (one := order()) and one.reached_s and one)
    assert reached.baseline_w is not None
    assert reached.baseline_w > 0.8 * before_w
    await until("the utility sees it", lambda: sum(w <= 1.03 * TARGET_W for w in utility.reports) >= 5)

    await utility.cancel()
    settled = await until("it is settled", lambda: (one := order()) and one.settlement and one)
    assert float(settled.settlement["delivered"].split()[0].replace(",", "")) > 0
    assert settled.settlement["at the target"] != "never"
