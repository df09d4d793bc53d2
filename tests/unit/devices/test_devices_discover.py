"""Scanning: only within the ranges, bounded, twice for the silent, streamed as machines are found."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from hashwerk.devices import Found, addresses_of, discover, scan
from hashwerk.devices.avalon import AvalonDriver
from hashwerk.errors import FleetError
from hashwerk.fleet.commands import Command
from hashwerk.fleet.machine import Outcome, Reading
from hashwerk.fleet.ports import Address, Credentials
from support import avalon_replies
from support.asic_replies import may_listen
from support.cgminer_machine import CgminerMachine, serving

RANGE = "127.9.20.0/27"


pytestmark = pytest.mark.skipif(
    not may_listen("127.9.20.1", 0), reason="this system has no loopback addresses but 127.0.0.1: add aliases"
)


class Recorder:
    """A driver that keeps whom it was asked about, and speaks to Avalons."""

    name = "recorder"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self._inner = AvalonDriver()

    async def identify(self, address: Address, *, timeout_s: float) -> Reading | None:
        self.asked.append(address.host)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._inner.identify(address, timeout_s=timeout_s)
        finally:
            self.at_once -= 1

    async def read(
        self, address: Address, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Reading:
        return await self._inner.read(address, timeout_s=timeout_s)

    async def execute(
        self, address: Address, command: Command, *, timeout_s: float, credentials: Credentials | None = None
    ) -> Outcome:
        raise AssertionError("a scan commands nothing")


@contextlib.asynccontextmanager
async def hall(hosts: list[str]) -> AsyncIterator[int]:
    """Serve an Avalon Q at each of these addresses, all on one port."""
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(serving(avalon_replies.q_running(), hosts[0]))
        for host in hosts[1:]:
            await stack.enter_async_context(serving(avalon_replies.q_running(), host, port))
        yield port


async def collect(driver: Recorder, port: int, networks: list[str], **options: object) -> list[Found]:
    """Return all that a scan finds."""
    found: list[Found] = []
    search = scan(networks, [driver], timeout_s=2.0, port=port, **options)  # type: ignore[arg-type]
    async with contextlib.aclosing(search) as machines:
        found.extend([machine async for machine in machines])
    return found


async def test_machines_are_found_and_every_address_is_counted() -> None:
    hosts = [f"127.9.20.{number}" for number in (3, 9, 27)]
    progress: list[tuple[int, int]] = []
    async with hall(hosts) as port:
        driver = Recorder()
        found = await collect(
            driver, port, [RANGE], on_progress=lambda done, total: progress.append((done, total))
        )
    assert sorted(machine.address.host for machine in found) == sorted(hosts)
    assert all(
        machine.driver == "recorder" and machine.reading.identity.model == "Avalon Q" for machine in found
    )
    assert sorted(driver.asked) == sorted(hosts)  # those that refuse are not asked who they are
    assert progress[-1] == (30, 30)
    assert [done for done, _ in progress] == list(range(1, 31))


async def test_nothing_is_sent_outside_the_ranges() -> None:
    outside = "127.9.21.5"
    async with hall(["127.9.20.5", outside]) as port:
        driver = Recorder()
        found = await collect(driver, port, ["127.9.20.0/28"])
    assert [machine.address.host for machine in found] == ["127.9.20.5"]
    assert outside not in driver.asked


async def test_no_more_are_asked_at_once_than_allowed() -> None:
    hosts = [f"127.9.20.{number}" for number in range(1, 15)]
    async with hall(hosts) as port:
        driver = Recorder()
        found = await collect(driver, port, ["127.9.20.0/28"], concurrency=3)
    assert len(found) == len(hosts)
    assert driver.most_at_once <= 3


async def test_a_machine_that_is_silent_at_first_is_found_at_the_second_try(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cold = {"127.9.20.2"}
    knocks: list[str] = []
    real_knock = discover.knock

    async def knock(host: str, ports: object, *, timeout_s: float) -> bool | None:
        knocks.append(host)
        if host in cold:  # as while the system asks for its hardware address: the first packet is lost
            cold.discard(host)
            return None
        return await real_knock(host, ports, timeout_s=timeout_s)  # type: ignore[arg-type]

    monkeypatch.setattr(discover, "knock", knock)
    async with hall(["127.9.20.1", "127.9.20.2"]) as port:
        found = await collect(Recorder(), port, ["127.9.20.0/29"])
    assert {machine.address.host for machine in found} == {"127.9.20.1", "127.9.20.2"}
    assert knocks.count("127.9.20.2") == 2
    assert knocks.count("127.9.20.1") == 1
    assert knocks.count("127.9.20.3") == 1  # it refused: it is not silent


async def test_a_scan_that_is_given_up_ends_its_connections() -> None:
    hosts = [f"127.9.20.{number}" for number in range(1, 15)]
    before = len(asyncio.all_tasks())
    async with hall(hosts) as port:
        search = scan(["127.9.20.0/28"], [Recorder()], timeout_s=2.0, concurrency=2, port=port)
        async with contextlib.aclosing(search) as machines:
            async for _ in machines:
                break
        assert len(asyncio.all_tasks()) == before


async def test_a_machine_that_hangs_delays_no_other() -> None:
    class Hung(CgminerMachine):
        async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()  # all that is ever sent, until the other side gives up
            writer.close()

    async with (
        serving(Hung({}), "127.9.20.1") as port,
        serving(avalon_replies.q_running(), "127.9.20.2", port),
    ):
        search = scan(["127.9.20.0/30"], [Recorder()], timeout_s=0.4, concurrency=2, port=port)
        async with contextlib.aclosing(search) as machines:
            found = [machine async for machine in machines]
    assert [machine.address.host for machine in found] == ["127.9.20.2"]


@pytest.mark.parametrize(
    ("ranges", "addresses"),
    [
        (["10.0.0.7"], ["10.0.0.7"]),
        (["10.0.0.0/30"], ["10.0.0.1", "10.0.0.2"]),
        (["10.0.0.3/30"], ["10.0.0.1", "10.0.0.2"]),
        (["10.0.0.4-10.0.0.6"], ["10.0.0.4", "10.0.0.5", "10.0.0.6"]),
        (["10.0.0.7", "10.0.0.6-10.0.0.7"], ["10.0.0.7", "10.0.0.6"]),
        (["fd00::/126"], ["fd00::1", "fd00::2", "fd00::3"]),
        ([], []),
    ],
)
def test_ranges_are_read_as_people_write_them(ranges: list[str], addresses: list[str]) -> None:
    assert addresses_of(ranges) == addresses


@pytest.mark.parametrize(
    "text",
    [
        "",
        "miner7",
        "10.0.0.0/33",
        "10.0.0.9-10.0.0.1",
        "10.0.0.1-fd00::1",
        "10.0.0.1-",
        "10.0.0.0/8",
        "fd00::/64",
    ],
)
async def test_a_range_that_cannot_be_meant_is_an_error_and_nothing_is_sent(text: str) -> None:
    with pytest.raises(FleetError):
        addresses_of([text])
