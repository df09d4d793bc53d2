"""The machines that the contract of drivers is tried on, each named by its firmware version."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from hashwerk.devices.asic_rs import AsicRsDriver
from hashwerk.devices.avalon import AvalonDriver
from hashwerk.fleet.machine import WorkState
from hashwerk.fleet.ports import Address, Driver
from support import asic_replies, avalon_replies, cgminer_machine
from support.cgminer_machine import CgminerMachine


@dataclass(frozen=True)
class Served:
    """A machine that answers now."""

    driver: Driver
    address: Address
    asked: Callable[[], list[str]]


@dataclass(frozen=True)
class Case:
    """A firmware, and what a reading of it must say."""

    name: str
    serve: Callable[[], AbstractAsyncContextManager[Served]]
    state: WorkState
    hashrate_ths: float | None
    power_w: float | None
    mac: str
    make: str
    uses_usual_ports: bool = False


def _avalon(make: Callable[[], CgminerMachine]) -> Callable[[], AbstractAsyncContextManager[Served]]:
    @contextlib.asynccontextmanager
    async def serve() -> AsyncIterator[Served]:
        machine = make()
        async with cgminer_machine.serving(machine) as port:
            address = Address(host="127.0.0.1", port=port)
            yield Served(AvalonDriver(), address, lambda: list(machine.asked))
        assert machine.overlaps == 0, "two connections at once to a controller with one thread"

    return serve


def _other(
    make: Callable[[], asic_replies.Machine], host: str
) -> Callable[[], AbstractAsyncContextManager[Served]]:
    @contextlib.asynccontextmanager
    async def serve() -> AsyncIterator[Served]:
        machine = make()
        async with asic_replies.serving(machine, host):
            yield Served(AsicRsDriver(), Address(host=host), machine.asked)

    return serve


HASHING, ASLEEP = WorkState.HASHING, WorkState.ASLEEP
CASES = (
    Case("A1246-21072802", _avalon(avalon_replies.a1246), HASHING, 81.07268, 3504, "b4:a2:eb:11:22:33", "avalon"),
    Case("A1246-asleep", _avalon(avalon_replies.a1246_asleep), ASLEEP, 0, None, "b4:a2:eb:11:22:33", "avalon"),
    Case("A1366-23030901", _avalon(avalon_replies.a1366), HASHING, 130.1204, 3250, "b4:a2:eb:44:55:66", "avalon"),
    Case("A1566-24102401", _avalon(avalon_replies.a1566), HASHING, 185.19924, 3420, "b4:a2:eb:77:88:99", "avalon"),
    Case("Q-25052801", _avalon(avalon_replies.q_running), HASHING, 90.0124, 1674, "aa:bb:cc:dd:ee:01", "avalon"),
    Case("Q-25052801-standby", _avalon(avalon_replies.q_standby), ASLEEP, 0, None, "aa:bb:cc:dd:ee:01", "avalon"),
    Case("Nano3s-25021401", _avalon(avalon_replies.nano_3s), HASHING, 6.59884, 133, "e0:e1:a9:11:22:33", "avalon"),
    Case("Mini3-25021401", _avalon(avalon_replies.mini_3), HASHING, 37.4801, 812, "e0:e1:a9:44:55:66", "avalon"),
    Case("bitaxe-2.4.5", _other(asic_replies.bitaxe, "127.9.10.1"), HASHING, 0.6405, 14.9, "02:aa:10:00:00:01", "bitaxe", True),
    Case("luxos-2025.4.8", _other(asic_replies.luxos, "127.9.10.2"), HASHING, 54.7, 1080, "02:aa:20:00:00:02", "antminer", True),
    Case("luxos-2025.4.8-asleep", _other(lambda: asic_replies.luxos(asleep=True), "127.9.10.3"), ASLEEP, 0, 25,
         "02:aa:20:00:00:02", "antminer", True),
    Case("vnish-1.2.6", _other(asic_replies.vnish, "127.9.10.4"), HASHING, 100, 2970, "02:aa:30:00:00:03", "antminer", True),
    Case("vnish-1.2.6-stopped", _other(lambda: asic_replies.vnish(state="stopped"), "127.9.10.5"), ASLEEP, 0, None,
         "02:aa:30:00:00:03", "antminer", True),
    Case("epic-1.15.2", _other(asic_replies.epic, "127.9.10.6"), HASHING, 100, 2200, "02:aa:40:00:00:04", "antminer", True),
    Case("whatsminer-20230803", _other(asic_replies.whatsminer, "127.9.10.7"), HASHING, 118, 3306, "02:aa:50:00:00:05",
         "whatsminer", True),
    Case("antminer-2022-12", _other(asic_replies.antminer, "127.9.10.8"), HASHING, 110.49999, None, "02:aa:60:00:00:06",
         "antminer", True),
    Case("antminer-2022-12-asleep", _other(lambda: asic_replies.antminer(work_mode="1"), "127.9.10.9"), ASLEEP, 0, None,
         "02:aa:60:00:00:06", "antminer", True),
)  # fmt: skip
