"""Pools of every shape, and pools that are wrong from the beginning, each before a server of its own in this process."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import numpy as np
import pytest

from hashwerk.work.fate import Fate
from support.hall import EASY, hall, works_for
from support.machine import Machine
from support.stratum import until
from support.upstream import Chain, scripted_pool


@pytest.mark.parametrize("size", [3, 4, 5, 6, 7, 8, 12, 16])
async def test_any_size_of_extranonce2_can_be_divided(size: int) -> None:
    async with scripted_pool(extranonce2_size=size, difficulty=EASY) as pool, hall(pool) as here:
        await here.ready()
        async with AsyncExitStack() as stack:
            machines = [await Machine.begin(here.address, f"acc.m{number}") for number in range(3)]
            for machine in machines:
                stack.callback(machine.close)
                assert 2 <= machine.extranonce2_size <= 8
                for _ in range(20):
                    assert await machine.answer(machine.find()) == 0
            assert len({machine.extranonce1 for machine in machines}) == 3
        await pool.until(lambda pool: pool.taken.total() >= 55)  # of 60; its target is a little below ours
        await until(lambda: len(here.fates) == len(pool.shares))
        assert set(here.fates) == {Fate.ACCEPTED}
        assert pool.violations == []


@pytest.mark.parametrize("size", [1, 2])
async def test_a_pool_without_room_is_named_and_left(size: int) -> None:
    chain = Chain()
    async with (
        scripted_pool(name="narrow", extranonce2_size=size, difficulty=EASY, chain=chain) as narrow,
        scripted_pool(name="wide", difficulty=EASY, chain=chain) as wide,
        hall(narrow, wide) as here,
    ):
        await here.ready()
        machine = await Machine.begin(here.address)
        assert works_for(machine, wide)
        assert await machine.answer(machine.find()) == 0
        await until(lambda: here.said(f"narrow failed: gives {size} bytes of extranonce2, too few"))
        machine.close()


@pytest.mark.parametrize("follows", [True, False])
async def test_a_pool_that_takes_room_away(follows: bool) -> None:
    async with scripted_pool(extranonce2_size=8, difficulty=EASY) as pool, hall(pool) as here:
        await here.ready()
        machine = await Machine.begin(here.address, follows=follows)
        assert await machine.answer(machine.find()) == 0
        old = machine.find()
        late, before, jobs = machine.line(old), machine.extranonce2_size, machine.jobs
        pool.set_extranonce(6, with_job=False)
        pool.send_job()
        if follows:
            # It gets a shorter extranonce2 and goes on; what it had under way still counts.
            await machine.until(lambda: machine.extranonce2_size < before and machine.jobs > jobs)
            machine.write(late)
            await machine.until(lambda: old in machine.accepted or old in machine.refused)
            assert old in machine.accepted, machine.refused
        else:
            await machine.lost()  # it cannot be told, so it has to come back
            machine = await Machine.begin(here.address)
        assert machine.extranonce2_size == 2
        for _ in range(20):
            assert await machine.answer(machine.find()) == 0
        await until(lambda: len(here.fates) == len(pool.shares) and len(pool.shares) > 10)
        assert set(here.fates) == {Fate.ACCEPTED}
        assert pool.violations == []
        machine.close()


async def test_a_pool_that_says_nothing_from_the_beginning() -> None:
    async with (
        scripted_pool(name="mute", difficulty=EASY) as mute,
        scripted_pool(name="other", difficulty=EASY) as other,
    ):
        mute.silent = True
        async with hall(mute, other) as here:
            await here.ready()
            machine = await Machine.begin(here.address)
            assert works_for(machine, other)
            await until(lambda: here.said("mute failed: no job within 1 s"))
            mute.silent = False
            await machine.until(lambda: works_for(machine, mute))
            assert await machine.answer(machine.find()) == 0
            machine.close()


async def test_a_pool_that_does_not_know_us() -> None:
    async with (
        scripted_pool(name="stranger", account="somebody") as stranger,
        scripted_pool(name="other", difficulty=EASY) as other,
        hall(stranger, other) as here,
    ):
        await until(lambda: here.said("stranger failed: user not authorized: unauthorized worker"))
        machine = await Machine.begin(here.address)
        assert works_for(machine, other)
        machine.close()


async def test_a_pool_that_comes_and_goes_is_left_alone() -> None:
    chain = Chain()
    async with (
        scripted_pool(name="flapping", difficulty=EASY, chain=chain) as flapping,
        scripted_pool(name="steady", difficulty=EASY, chain=chain) as steady,
        hall(flapping, steady) as here,
    ):
        await here.ready(2)
        machine = await Machine.begin(here.address)
        moves = 0
        for _ in range(8):
            await flapping.until(lambda pool: any(session.jobs for session in pool.sessions))
            moves += works_for(machine, flapping)
            flapping.close_all()
            await machine.until(lambda: works_for(machine, steady))
            assert await machine.answer(machine.find()) == 0
        assert moves <= 2
        assert not machine.is_lost
        machine.close()


async def test_the_last_work_is_kept_and_what_it_finds_is_on_record() -> None:
    async with scripted_pool(difficulty=EASY) as pool, hall(pool, when_upstreams_fail="last") as here:
        await here.ready()
        machine = await Machine.begin(here.address)
        assert await machine.answer(machine.find()) == 0
        await until(lambda: here.fates == [Fate.ACCEPTED] or not pool.shares)
        await pool.refuse()
        await until(lambda: here.said("no upstream pool is left: machines keep their last work"))
        before = len(here.fates)
        for _ in range(10):
            assert await machine.answer(machine.find()) == 0
        await until(lambda: len(here.fates) > before)
        met = np.concatenate(here.ledger.shares)
        met = met[met["flags"] & 1 != 0]
        await until(lambda: len(here.fates) == len(met))
        assert set(here.fates[before:]) == {Fate.LOST}
        rows = np.concatenate(here.ledger.fates)
        assert (rows["sent_us"][before:] == 0).all()  # they could not even be handed in
        await pool.listen()
        jobs = machine.jobs
        await machine.until(lambda: machine.jobs > jobs)
        while Fate.ACCEPTED not in here.fates[len(met) :]:
            assert await machine.answer(machine.find()) == 0
            await asyncio.sleep(0.01)
        assert pool.violations == []
        machine.close()
