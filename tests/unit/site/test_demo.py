"""What the demonstration is made of, and that two of them never fight for addresses."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import httpx
import msgspec
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.config.check import check_site
from hashwerk.config.demo import BASES, demo_hall, demo_places, demo_site
from hashwerk.config.site import NodeSettings, SiteConfig
from hashwerk.energy.registers import Direction, EventKind, MeterInterval, RegisterEvent
from hashwerk.energy.series import Quality
from hashwerk.errors import ConfigError, StoreError
from hashwerk.fleet.place import read_places
from hashwerk.site.child import Failed, Ready
from hashwerk.site.demo import wants_demo, with_demo
from hashwerk.site.energy.readings import Readings
from hashwerk.site.hall import hall_meters, run_hall
from hashwerk.site.orders import Orders
from hashwerk.site.supervisor import Child, Supervisor
from hashwerk.twin import Hall, HallSettings
from hashwerk.twin.addresses import reserve
from hashwerk.twin.listener import why_not


def test_the_demonstration_is_a_valid_site_that_a_process_can_be_told() -> None:
    config = demo_site(SiteConfig(), demo_hall(), None)
    assert check_site(config) == []
    orders = Orders(config=config, data_dir="d", link="l", handover="")
    assert msgspec.json.decode(msgspec.json.encode(orders), type=Orders) == orders
    assert {meter.scope for meter in config.meter} == {"site", "feeder:F1", "feeder:F2"}
    assert config.fleet.ranges == ("127.80.0.1-127.80.0.24",)


@pytest.mark.parametrize(
    ("node", "wanted"),
    [
        (NodeSettings(), True),
        (NodeSettings(network="regtest"), False),
        (NodeSettings(kind="core", network="testnet4"), False),
    ],
)
def test_who_has_a_demonstration(node: NodeSettings, wanted: bool) -> None:
    config = SiteConfig(node=node)
    assert wants_demo(config) is wanted
    still = msgspec.structs.replace(config.miner, enabled=False)
    assert not wants_demo(msgspec.structs.replace(config, miner=still))


def test_two_mines_have_two_blocks(tmp_path: Path) -> None:
    try:
        first, one = with_demo(SiteConfig(), tmp_path)
    except ConfigError as error:
        pytest.skip(f"NO ADDRESSES for a hall: {error}")
    second, other = with_demo(SiteConfig(), tmp_path)
    try:
        assert first.twin is not None
        assert second.twin is not None
        assert first.twin.base != second.twin.base
        assert first.meter[0] != second.meter[0]
    finally:
        one.close()
        other.close()


def test_no_free_block_says_why() -> None:
    hall = demo_hall()
    try:
        held = reserve(hall, BASES[-1:])
    except ConfigError as error:
        pytest.skip(f"NO ADDRESSES for a hall: {error}")
    try:
        with pytest.raises(ConfigError, match=r"is taken, perhaps by another hall"):
            reserve(hall, BASES[-1:])
    finally:
        held.close()
    reserve(hall, BASES[-1:]).close()


def test_a_computer_without_these_addresses_is_told_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    words = why_not("127.80.0.1", 4028, OSError(errno.EADDRNOTAVAIL, "no"))
    assert "sudo ifconfig lo0 alias 127.80.0.1 up" in words


def test_places_name_every_machine_of_the_hall() -> None:
    placements = read_places(demo_places(demo_hall()))
    hall = Hall(demo_hall(), clock=VirtualClock())
    assert {one.mac for one in placements} == {
        ":".join(machine.identity.mac[at : at + 2] for at in range(0, 12, 2)) for machine in hall.machines
    }
    feeders = {one.place.feeder for one in placements}
    assert feeders == {machine.identity.feeder for machine in hall.machines}


def test_meters_of_feeders_add_up_to_the_halls() -> None:
    hall = Hall(demo_hall(), clock=VirtualClock())
    site, *feeders = hall_meters(hall)
    assert [meter.port for meter in (site, *feeders)] == [5020, 5021, 5022]
    assert sum(meter.power_w() for meter in feeders) == pytest.approx(site.power_w())
    assert hall_meters(Hall(msgspec.structs.replace(demo_hall(), meter_port=None))) == []


async def test_readings_are_kept(tmp_path: Path) -> None:
    interval = MeterInterval(
        meter="m",
        serial="7",
        direction=Direction.IMPORT,
        start_s=900,
        stop_s=1_800,
        start_wh=10,
        end_wh=30,
        wh=20,
        quality=Quality.MEASURED,
    )
    event = RegisterEvent(
        meter="m",
        direction=Direction.IMPORT,
        kind=EventKind.GAP,
        from_s=900.5,
        to_s=1_200.0,
        before_wh=10,
        after_wh=20,
        text="silent",
    )
    readings = Readings(tmp_path / "meters.sqlite")
    readings.open()
    writing = asyncio.create_task(readings.run())
    readings.record([interval], [event])
    async with asyncio.timeout(20):
        while not await readings.intervals("m", 0, 1_000):  # noqa: ASYNC110 - written by a thread
            await asyncio.sleep(0.01)
    readings.record([msgspec.structs.replace(interval, start_s=1_800, stop_s=2_700)], [])
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await readings.close()  # what was not written yet is written now
    with pytest.raises(StoreError, match="not open"):
        await readings.intervals("m", 0, 9_000)
    again = Readings(tmp_path / "meters.sqlite")
    again.open()
    assert [one.start_s for one in await again.intervals("m", 0, 9_000)] == [900, 1_800]
    assert await again.intervals("m", 0, 1_000) == [interval]
    assert await again.events("m", 0, 1_000) == [event]
    await again.close()


async def test_the_others_go_on_without_an_optional_process() -> None:
    """A hall that cannot have its addresses is told of once, and is not started again and again."""
    log: list[str] = []
    news: list[Failed] = []
    told = asyncio.Event()

    def on_log(_name: str, line: str) -> None:
        log.append(line)
        if "goes on without" in line:
            told.set()

    failure = msgspec.json.encode(Failed("127.80.0.1 does not exist on this machine", False, 2)).decode()
    hall = Child(
        "hall",
        ["sh", "-c", f"read x; echo '{failure}'; exit 2"],
        lambda: Failed("", False, 0),
        is_optional=True,
    )
    supervisor = Supervisor(
        [hall],
        on_log=on_log,
        on_news=lambda _name, one: news.append(one) if isinstance(one, Failed) else None,
    )
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop))
    async with asyncio.timeout(20):
        await told.wait()
    stop.set()
    await running
    assert hall.starts == 1
    assert log == ["the mine goes on without its hall: 127.80.0.1 does not exist on this machine"]
    assert [one.exit_code for one in news] == [2]


async def test_faults_are_injected_where_the_site_file_says(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = HallSettings(machines=1, base="127.62.15.1", control_port=0)
    config = msgspec.structs.replace(SiteConfig(), twin=settings)
    orders = Orders(
        config=config, data_dir="d", link="l", handover="", stratum_url="stratum+tcp://127.0.0.1:1"
    )
    said: asyncio.Queue[Ready] = asyncio.Queue()
    monkeypatch.setattr("hashwerk.site.hall.tell", said.put_nowait)
    monkeypatch.setattr("hashwerk.site.hall.lower_priority", lambda niceness: None)
    stop = asyncio.Event()
    running = asyncio.create_task(run_hall(orders, stop))
    try:
        ready = asyncio.create_task(said.get())
        await asyncio.wait((running, ready), timeout=20, return_when=asyncio.FIRST_COMPLETED)
        assert ready.done(), running
        async with httpx.AsyncClient() as client:
            hall = (await client.get(f"{ready.result().urls['control']}hall")).json()
        assert hall["machines"] == 1
    finally:
        stop.set()
        await running
