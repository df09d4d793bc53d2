"""Safety without solver, feed or plan: heat, feeders, meters that fall silent, and a solver that is too slow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from hashwerk.clock import VirtualClock
from hashwerk.fleet.commands import Sleep
from hashwerk.fleet.measure import MeterReading
from hashwerk.site.energy import EnergyParts, EnergyService
from support.virtual_hall import VirtualDay, VirtualHall, open_service

START_S = 1_751_932_800.0
HASHPRICE = {"per_ph_day": 45.0, "pool_fee": 0.0, "reject_share": 0.0}
#: There is no hashprice, and so there is never a plan.
PLANLESS: dict[str, Any] = {"policy": "optimiser", "hashprice": {}}


class Feeder(VirtualHall):
    """A hall on one feeder whose meter is read ten seconds later than its machines."""

    def meter(self, scope: str) -> MeterReading | None:
        now = self.clock.time()
        if scope != "feeder:F1":
            return super().meter(scope)
        seen: list[tuple[float, float]] = self.__dict__.setdefault("seen", [])
        if not seen or seen[-1][0] < now:
            seen.append((now, self.power_w()))
        power_w = next((w for at, w in reversed(seen) if at <= now - 10.0), seen[0][1])
        return MeterReading(at=now, power_w=power_w, scope=scope)


def begin(
    folder: Path, machines: int = 6, **dispatch: Any
) -> tuple[VirtualClock, Feeder, EnergyService, VirtualDay]:
    clock = VirtualClock(START_S)
    hall = Feeder(clock, "antminer-s19jpro", machines=machines)
    for machine in hall.all:
        machine.feeder = "F1"
    parts = msgspec.convert({"dispatch": {"controls": True} | PLANLESS | dispatch}, EnergyParts)
    service = open_service(hall, clock, folder, parts)
    return clock, hall, service, VirtualDay(service, clock, step_s=5.0)


def slept(hall: VirtualHall) -> set[str]:
    return {key for _, command, keys, _, _ in hall.told for key in keys if command == Sleep()}


async def test_a_hot_machine_sleeps_without_a_plan(tmp_path: Path) -> None:
    _, hall, service, day = begin(tmp_path)
    hall.all[3].chip_c = 104.0
    await day.drive(60)
    assert service.plan is None
    assert slept(hall) == {"mac:0003"}
    assert hall.told[0][4] is True, "before minimum times and starts"
    await service.close()


async def test_a_feeder_is_brought_below_its_limit_and_nobody_sleeps_in_vain(tmp_path: Path) -> None:
    """Six machines of 3,050 W on 13 kW: two have to go, and a meter that is behind takes no third."""
    _, hall, service, day = begin(tmp_path, limits={"feeders_kw": {"F1": 13.0}})
    await day.drive(120)
    assert service.plan is None
    assert hall.power_w() <= 13_000
    assert len(slept(hall)) == 2
    await service.close()


async def test_a_machine_on_a_feeder_that_does_not_sleep_is_made_up_for(tmp_path: Path) -> None:
    _, hall, service, day = begin(tmp_path, limits={"feeders_kw": {"F1": 13.0}})
    hall.all[0].is_deaf = True
    await day.drive(300)
    assert hall.power_w() <= 13_000
    assert len(slept(hall)) == 3
    await service.close()


async def test_a_silent_meter_means_what_was_declared_without_a_plan(tmp_path: Path) -> None:
    _, hall, service, day = begin(tmp_path, when_meter_stale="curtail", meter_max_age_s=30.0)
    await day.drive(60)
    assert slept(hall) == set()
    hall.is_metered = False
    await day.drive(120)
    assert hall.on() == 0
    view = service.view()
    assert view.stance == "curtail"
    assert "meter" in " ".join(view.reasons)
    await service.close()


async def test_a_solver_that_is_too_slow_leaves_the_merit_order_and_says_so(tmp_path: Path) -> None:
    _, hall, service, day = begin(tmp_path, hashprice=HASHPRICE, time_limit_s=1e-6)
    await day.drive(60)
    plan = service.view().plan
    assert plan is not None
    assert plan.origin == "ladder"
    assert any("merit order" in remark for remark in plan.remarks), plan.remarks
    assert hall.on() == 6
    await service.close()
