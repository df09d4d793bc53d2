"""What is no order by any way, and what stands after it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.dispatch.orders import Cancel, Order, OrderKind
from hashwerk.grid_orders.file import File
from hashwerk.grid_orders.intake import Heard, Intake
from hashwerk.grid_orders.modbus_frame import RegisterError
from hashwerk.grid_orders.modbus_map import ModbusMap
from hashwerk.grid_orders.notice import Notice, NoticeError, read_notice
from hashwerk.grid_orders.settings import FileOrders, ModbusMapOrders, OpenAdrOrders

NOW_S = 1_774_744_200.0
ORDER: dict[str, Any] = {"id": "1", "kind": "reduce to", "amount_kw": 500}


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_kw": -1},
        {"amount_kw": float("nan")},
        {"amount_kw": float("inf")},
        {"amount_kw": 1e12},
        {"amount_kw": "500"},
        {"amount_kw": None},
        {"kind": "all"},
        {"kind": "increase"},
        {"id": ""},
        {"id": "x" * 65},
        {"id": 5},
        {"minutes": 0},
        {"minutes": -5},
        {"minutes": float("nan")},
        {"minutes": 5, "stop": NOW_S + 60},
        {"start": float("nan")},
        {"start": 1e30},
        {"start": "2026-03-29T02:30:00"},  # without a zone
        {"start": NOW_S + 100, "stop": NOW_S + 50},
        {"stop": NOW_S - 1},
        {"restore_s": -1},
        {"restore_s": float("inf")},
        {"amount_w": 5},
    ],
    ids=str,
)
def test_what_is_no_order_changes_nothing(changes: dict[str, Any]) -> None:
    intake = Intake("mqtt", "grid", VirtualClock(NOW_S), None)
    heard: list[Order | Cancel] = []
    good = read_notice(ORDER)
    assert isinstance(good, Notice)
    assert intake.take(heard.append, good) is Heard.TAKEN
    with pytest.raises(NoticeError):
        said = read_notice(ORDER | changes)
        assert isinstance(said, Notice)
        intake.take(heard.append, said)
    assert [order.amount_w for order in intake.standing()] == [500_000.0]
    assert len(heard) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_w": float("nan")},
        {"amount_w": float("inf")},
        {"amount_w": -1.0},
        {"start_s": float("nan")},
        {"stop_s": 1e300},
        {"restore_s": float("nan")},
    ],
    ids=str,
)
def test_an_order_has_figures_that_can_be_reckoned_with(changes: dict[str, float]) -> None:
    good = {"id": "1", "source": "api:x", "kind": OrderKind.REDUCE_TO, "received_s": NOW_S, "start_s": NOW_S}
    with pytest.raises(ValueError, match="order 1"):
        Order(**good | {"amount_w": 5.0} | changes)  # type: ignore[arg-type]


def test_a_refused_activation_leaves_the_registers_of_the_order_that_stands() -> None:
    server = ModbusMap(ModbusMapOrders(name="rtu"), VirtualClock(NOW_S), None)
    heard: list[Order | Cancel] = []
    server._receive = heard.append
    server.write(100, [0, 500, 1, 30, 1, 1])
    with pytest.raises(RegisterError):
        server.write(100, [0xFFFF, 0xFFFF, 1, 30, 2, 1])  # minus one
    assert list(server.read(100, 6)) == [0, 500, 1, 30, 2, 1], "and the heartbeat was heard"
    assert list(server.read(8, 1)) == [5]
    assert len(heard) == 1


def test_a_masters_silence_outlives_the_process(tmp_path: Path) -> None:
    settings = ModbusMapOrders(name="rtu", on_silence="reduce", silent_kw=20.0, silent_after_s=60.0)
    clock = VirtualClock(NOW_S)
    heard: list[Order | Cancel] = []
    first = ModbusMap(settings, clock, tmp_path / "memory.json")
    clock.advance(61.0)
    first._watch(heard.append)
    assert [type(one) for one in heard] == [Order]
    second = ModbusMap(settings, clock, tmp_path / "memory.json")
    second._receive = heard.append
    second._watch(heard.append)
    assert second.trouble is not None
    assert len(heard) == 1, "no heartbeat has come since"
    second.write(104, [9])
    assert [type(one) for one in heard] == [Order, Cancel]
    assert second.trouble is None


async def _taken(source: File, heard: list[Order | Cancel], number: int) -> None:
    async with asyncio.timeout(20):
        while len(heard) < number:  # noqa: ASYNC110 - the file is looked at by the source
            await asyncio.sleep(0.01)


async def test_a_folder_that_is_gone_ends_no_order(tmp_path: Path) -> None:
    folder = tmp_path / "share"
    folder.mkdir()
    path = folder / "orders.json"
    path.write_text(json.dumps(ORDER))
    source = File(FileOrders(name="desk", path=str(path), every_s=0.01), VirtualClock(NOW_S), None)
    heard: list[Order | Cancel] = []
    task = asyncio.create_task(source.listen(heard.append))
    await _taken(source, heard, 1)
    folder.rename(tmp_path / "unmounted")
    async with asyncio.timeout(20):
        while source.trouble is None:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.01)
    assert "folder" in source.trouble
    assert len(heard) == 1
    (tmp_path / "unmounted").rename(folder)
    path.unlink()
    await _taken(source, heard, 2)
    assert isinstance(heard[1], Cancel)
    assert source.trouble is None
    task.cancel()
    await asyncio.wait([task])


def test_settings_that_cannot_be_meant_are_refused() -> None:
    for bad in ({"levels_kw": {"4": 1.0}}, {"levels_kw": {"1": -1.0}}, {"site_kw": -1.0}, {"key": "x"}):
        words = {"kind": "openadr", "name": "u", "url": "https://vtn.example", "ven_name": "m"}
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(words | bad, OpenAdrOrders)
