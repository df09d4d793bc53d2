"""Twins mine for a real server: shares in proportion to what each does, none asleep, the scale in their name."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from hashwerk.stratum.vardiff import VardiffSettings
from hashwerk.twin import Fault, FaultKind, Hall, HallSettings
from hashwerk.twin.machine import Slot
from hashwerk.twin.mining import user_agent
from support.pool import RunningPool, running_pool

_DEADLINE_S = 20.0
_BASE = "127.81.1.1"


def _settings(pool: RunningPool, **changes: object) -> HallSettings:
    defaults = {
        "base": _BASE,
        "port": 0,
        "http_port": 0,
        "pool": pool.url,
        "haste": 1000.0,
        "share_interval_s": 0.1,
    }
    return HallSettings(**(defaults | changes))  # type: ignore[arg-type]


async def _until(condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(_DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - shares are counted, not announced
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {_DEADLINE_S} s: {what}") from None


async def test_shares_are_in_proportion_and_accounted(tmp_path: Path) -> None:
    async with running_pool(tmp_path, vardiff=False) as pool:
        hall = Hall(_settings(pool, machines=4, models=("avalon-q", "avalon-nano3s"), scale=2e8))
        await hall.start()
        try:
            await _until(lambda: hall.view().sessions == 4, "every machine has a job")
            await _until(lambda: hall.view().accepted >= 40, "forty shares")
            view = hall.view()
            assert view.rejected == 0
            assert view.shortfall == 0
            work = [slot.accepted_difficulty * 2**32 for machine in hall.machines for slot in machine.slots]
            # An Avalon Q does thirteen times the work of a Nano 3S.
            assert work[0] + work[2] > 4 * (work[1] + work[3])
            assert all(machine.best_difficulty > 0 for machine in hall.machines[::2])
        finally:
            await hall.stop()
        assert pool.accepted >= 40
        await pool.until(lambda pool: pool.server.sessions == 0)
    with sqlite3.connect(tmp_path / "ledger.sqlite") as ledger:
        tables = [row[0] for row in ledger.execute("select name from sqlite_master where type = 'table'")]
        seen = " ".join(str(row) for table in tables for row in ledger.execute(f"select * from {table}"))
    assert user_agent(2e8) in seen


async def test_asleep_nothing_is_hashed_and_the_connection_stays(tmp_path: Path) -> None:
    async with running_pool(tmp_path, vardiff=False) as pool:
        hall = Hall(_settings(pool, machines=2, scale=2e8))
        await hall.start()
        try:
            await _until(lambda: hall.view().accepted >= 5, "shares")
            now = hall.clock.time()
            for machine in hall.machines:
                machine.fall_asleep(now)
            await _until(lambda: hall.view().phases == {"asleep": 2}, "everybody asleep")
            await _until(lambda: hall.view().hashrate_hs == 0, "no hash rate")
            # What was owed when they fell asleep may still be hashed; then there is nothing more.
            await _until(lambda: hall.clock.time() > now + 1.5, "a second and a half")
            hashed = hall.view().hashed
            await _until(lambda: hall.clock.time() > now + 3, "three seconds")
            view = hall.view()
            assert view.hashed == hashed
            assert view.sessions == 2
        finally:
            await hall.stop()


async def test_mains_off_ends_the_connection_and_a_hung_controller_its_shares(tmp_path: Path) -> None:
    async with running_pool(tmp_path, vardiff=False) as pool:
        hall = Hall(_settings(pool, machines=3, scale=2e8, per_breaker=1))
        await hall.start()
        try:
            await pool.until(lambda pool: pool.server.sessions == 3)
            await hall.inject("twin-0001", Fault(kind=FaultKind.HANG, controller=True))
            hall.switch_mains(on=False, breaker="B2")
            await pool.until(lambda pool: pool.server.sessions == 2)
            await _until(lambda: hall.machines[2].slots[0].accepted >= 5, "shares of the third machine")
            assert hall.power_w(breaker="B1") > 1000
            hall.switch_mains(on=True, breaker="B2")
            await pool.until(lambda pool: pool.server.sessions == 3)
        finally:
            await hall.stop()


async def test_a_machine_goes_to_its_next_pool_but_never_out_of_the_house(tmp_path: Path) -> None:
    async with running_pool(tmp_path, vardiff=False) as pool:
        hall = Hall(_settings(pool, machines=1, scale=2e8))
        machine = hall.machines[0]
        foreign = Slot("stratum+tcp://192.0.2.1:3333", "thief.one")
        closed = Slot("stratum+tcp://127.0.0.1:9", "me.two")
        machine.slots = [foreign, closed, machine.slots[0]]
        await hall.start()
        try:
            await _until(lambda: machine.slots[2].accepted >= 3, "shares at the third pool")
            assert not foreign.connected
            assert not closed.connected
        finally:
            await hall.stop()


@pytest.mark.parametrize(
    ("scale", "expected"), [(1e8, "scale=1e8"), (2.5e10, "scale=2.5e10"), (5000, "scale=5000")]
)
def test_the_scale_is_in_the_name(scale: float, expected: str) -> None:
    assert user_agent(scale).startswith("hashwerk-twin/")
    assert user_agent(scale).endswith(expected)


def test_the_interval_asked_for_is_the_servers_own_default() -> None:
    assert HallSettings().share_interval_s == pytest.approx(60 / VardiffSettings().shares_per_minute, abs=5)
