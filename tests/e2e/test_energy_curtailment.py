"""A mine that follows recorded prices and a grid operator's order, with its process killed in the middle.

The hall is simulated and in a hurry; everything else is real: drivers, verified commands, record, API. The truth is asked of the
hall itself, which the fleet knows only through its meter. An hour of the recorded prices lasts ten seconds here.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet
import pytest

from hashwerk.errors import ConfigError
from hashwerk.twin import Hall, HallSettings
from hashwerk.twin.control import ControlServer

MACHINES = 12
TELL = "HASHWERK_TELL" in os.environ  # prints how it goes
HASTE = 60.0
INTERVAL_S = 10
PROCESS = Path(__file__).parents[1] / "support" / "energy_process.py"
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
#: What an Avalon Q's last watts earn at 45 €/PH/day lies near 64 €/MWh, its first ones at 145.
LOW, HIGH = (0.0, 45.0), (190.0, 1_000.0)


def recorded_prices() -> list[float]:
    path = DATA / "smard_prices_2025.parquet"
    if not path.exists():
        pytest.skip(f"{path.name} is not there")
    column = pyarrow.parquet.read_table(path).column("price_de_lu_eur_mwh").to_pylist()
    return [float(price) for price in column if price is not None]


class Prices:
    """The file that the feed reads: recorded hours of one kind, replayed from a moment on."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "prices.csv"
        self._record = recorded_prices()

    def write(self, between: tuple[float, float]) -> None:
        chosen = [price for price in self._record if between[0] <= price <= between[1]][:200]
        assert len(chosen) > 20, "the record has such hours"
        now = int(time.time())
        first = (now // INTERVAL_S - 30) * INTERVAL_S
        fresh = self.path.with_suffix(".new")
        with fresh.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["time", "published", "price"])
            for number in range(400):
                price = chosen[number % len(chosen)]
                writer.writerow([first + number * INTERVAL_S, now, price])
        fresh.replace(self.path)


class Mine:
    """Fleet and energy in their process, and their API."""

    def __init__(self, orders: dict[str, Any]) -> None:
        self._orders = orders
        self._process: asyncio.subprocess.Process | None = None
        self.api: httpx.AsyncClient | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, str(PROCESS), json.dumps(self._orders), stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        ready = json.loads(await asyncio.wait_for(self._process.stdout.readline(), 60))
        self.api = httpx.AsyncClient(
            base_url=f"{ready['url']}api/v1",
            headers={"authorization": f"Bearer {ready['token']}"},
            timeout=30,
        )

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self.api is not None:
            await self.api.aclose()

    async def get(self, path: str, **parameters: Any) -> Any:
        assert self.api is not None
        answer = await self.api.get(path, params=parameters)
        assert answer.is_success, answer.text
        return answer.json()

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, within_s: float = 60.0) -> Any:
        try:
            async with asyncio.timeout(within_s):
                while not (found := await condition()):  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(0.25)
        except TimeoutError:
            view = await self.get("/energy")
            raise AssertionError(
                f"not within {within_s} s: {what}; {view['sentence']} {view['groups']}"
            ) from None
        if TELL:
            print(f"{time.time():.1f} {what}")
        return found


def orders_of(folder: Path, hall: Hall, control_port: int, prices: Path) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "control_port": control_port,
        "fleet": {
            "ranges": [f"{hall.machines[0].host}-{hall.machines[-1].host}"],
            "control": True,
            "poll_s": 0.5,
            "timeout_s": 2.0,
            "pace": 1 / HASTE,
            "silences": 3,
            "limits": {
                "min_on_s": 0,
                "min_off_s": 0,
                "starts_a_day": 50,
                "verify_s": 1.0,
                "settle_s": 0.5,
                "first_retry_s": 0.5,
            },
        },
        "parts": {
            "dispatch": {
                "controls": True,
                "interval_s": INTERVAL_S,
                "every_s": 3.0,
                "follow_every_s": 0.5,
                "record_every_s": 1,
                "hashprice": {"per_ph_day": 45.0, "pool_fee": 0.0, "reject_share": 0.0},
                "follower": {"dead_band_w": 100.0},
            },
            "feeds": [
                {
                    "kind": "file",
                    "name": "recorded prices",
                    "path": str(prices),
                    "resolution_s": INTERVAL_S,
                    "published_column": "published",
                    "columns": [{"column": "price", "signal": "price", "unit": "EUR/MWh", "currency": "EUR"}],
                    "watch": {"every_s": 0.5},
                }
            ],
        },
    }


async def test_a_mine_follows_prices_and_an_order_outlives_its_process(tmp_path: Path) -> None:
    prices = Prices(tmp_path)
    prices.write(LOW)
    hall = Hall(HallSettings(machines=MACHINES, models=("avalon-q",), base="127.63.0.1", haste=HASTE))
    try:
        await hall.start()
    except ConfigError as error:
        pytest.skip(f"the twin's addresses cannot be had: {error}")
    control = ControlServer(hall)
    await control.start(0)
    mine = Mine(orders_of(tmp_path, hall, control.port, prices.path))
    try:
        await mine.start()
        await _follow(mine, hall, prices)
    finally:
        await mine.kill()
        await control.stop()
        await hall.stop()


async def _follow(mine: Mine, hall: Hall, prices: Prices) -> None:
    idle_w = MACHINES * 146.0

    async def draws(low_w: float, high_w: float) -> bool:
        return low_w <= hall.power_w() <= high_w

    # cheap: all of them in the mode whose last watts earn their price
    await mine.until(lambda: draws(MACHINES * 1_550, MACHINES * 1_900), "all run at their best")
    view = await mine.get("/energy")
    assert view["controls"] is True
    assert [group["action"] for group in view["groups"]] == ["runs"]
    assert view["plan"]["origin"] == "optimiser"

    # the grid orders: reduce to a third
    target_w = MACHINES * 1_674.0 / 3
    assert mine.api is not None
    body = {"kind": "reduce to", "amount_kw": target_w / 1e3, "id": "event-1", "who": "grid", "restore_s": 1}
    given = await mine.api.post("/energy/orders", json=body)
    assert given.status_code == 202, given.text
    await mine.until(lambda: draws(0, 1.03 * target_w), "reduced")

    # and the process dies; the next one goes on with the order, and nobody wakes
    await mine.kill()
    await mine.start()
    began_s = time.time()

    async def measured() -> Any:
        history = await mine.get("/energy/history", start=began_s, stop=time.time() + 1, step=1)
        low = [
            power_w for power_w in history["measured_w"] if power_w is not None and power_w <= 1.03 * target_w
        ]
        return low if len(low) >= 4 else None

    await mine.until(measured, "the order is taken up again and measured")
    order = await mine.get("/energy/orders/event-1")
    assert (order["state"], order["source"]) == ("active", "api:grid")
    assert order["reached_s"] - order["start_s"] < 60
    assert hall.power_w() <= 1.03 * target_w

    # it ends in an hour that is dear: now all sleep, as the meter shows, and the fleet has verified it
    prices.write(HIGH)
    assert mine.api is not None
    ended = await mine.api.delete("/energy/orders/event-1")
    assert ended.is_success, ended.text
    await mine.until(lambda: draws(0, 1.1 * idle_w), "all sleep")

    async def told() -> Any:
        records = (await mine.get("/fleet/commands", limit=500))["commands"]
        asleep = {r["key"]: r for r in records if r["command"] == "sleep" and r["verdict"] is not None}
        return asleep if len(asleep) >= MACHINES // 2 else None  # others were under way when the process died

    asleep = await mine.until(told, "sleep is verified")
    assert {record["who"] for record in asleep.values()} == {"dispatcher"}
    orders = (await mine.get("/fleet/orders"))["orders"]
    assert len(orders) <= 12, "machines are told together, and nothing when nothing changes"

    async def settled() -> Any:
        return (await mine.get("/energy/orders/event-1"))["settlement"]

    settlement = await mine.until(settled, "settled")
    assert float(settlement["delivered"].split()[0].replace(",", "")) > 0
    assert settlement["at the target"] != "never"

    # cheap again
    prices.write(LOW)
    await mine.until(lambda: draws(MACHINES * 1_550, MACHINES * 1_900), "all run again")
    history = await mine.get("/energy/history", start=time.time() - 600, stop=time.time(), step=1)
    known = [power_w for power_w in history["measured_w"] if power_w is not None]
    assert min(known) <= 1.1 * idle_w
    assert max(known) >= MACHINES * 1_400
    await _answers(mine.api)


async def _answers(api: httpx.AsyncClient) -> None:
    refused = await api.post("/energy/orders", json={"kind": "all", "amount_kw": 5})
    assert refused.status_code == 422
    async with httpx.AsyncClient(base_url=api.base_url) as stranger:
        assert (await stranger.post("/energy/orders", json={"kind": "all"})).status_code == 401
        metrics = await stranger.get(str(api.base_url).replace("/api/v1/", "/metrics"))
        assert "hashwerk_energy_measured_watts" in metrics.text
