"""Whatever a pool writes, it costs that pool its place at most: machines at another pool are answered all the while."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from support.hall import EASY, Hall, hall, works_for
from support.machine import Machine
from support.stratum import until
from support.upstream import Chain, ScriptedPool, scripted_pool


def job(pool: ScriptedPool, changes: dict[str, Any]) -> bytes:
    """Return a job of a pool with some of its parameters changed, as it goes on the wire."""
    names = ("id", "prev", "coinbase1", "coinbase2", "branch", "version", "nbits", "ntime", "clean")
    session = pool.sessions[-1]
    params = dict(zip(names, pool.make_job(session, clean=True), strict=True)) | changes
    return (
        json.dumps({"id": None, "method": "mining.notify", "params": list(params.values())}).encode() + b"\n"
    )


JOBS: dict[str, dict[str, Any]] = {
    "easiest nbits": {"nbits": "207fffff"},
    "version of ones": {"version": "ffffffff"},
    "time of the beginning": {"ntime": "00000000"},
    "time of the end": {"ntime": "ffffffff"},
    "no coinbase": {"coinbase1": "", "coinbase2": ""},
    "odd coinbase": {"coinbase1": "01000000010000", "coinbase2": "zz"},
    "height of four bytes": {
        "coinbase1": "02000000" + "01" + "00" * 32 + "ffffffff" + "20" + "04" + "ffffffff" + "00" * 20
    },
    "no branch": {"branch": []},
    "too many branches": {"branch": ["00" * 32] * 33},
    "branch of numbers": {"branch": [1, 2, 3]},
    "id of a lone surrogate": {"id": "\ud800"},
    "id of quotes and controls": {"id": '"\\\n\x00\x1b[31m'},
    "no id": {"id": ""},
    "endless id": {"id": "a" * 5_000},
    "id of a number": {"id": 7},
    "clean of a text": {"clean": "false"},
}

LINES: dict[str, bytes] = {
    "difficulty nan": b'{"id":null,"method":"mining.set_difficulty","params":[NaN]}\n',
    "difficulty zero": b'{"id":null,"method":"mining.set_difficulty","params":[0]}\n',
    "difficulty of a text": b'{"id":null,"method":"mining.set_difficulty","params":["x"]}\n',
    "tiny difficulty": b'{"id":null,"method":"mining.set_difficulty","params":[1e-300]}\n',
    "huge difficulty": b'{"id":null,"method":"mining.set_difficulty","params":[1e300]}\n',
    "huge whole difficulty": b'{"id":null,"method":"mining.set_difficulty","params":[' + b"9" * 290 + b"]}\n",
    "no difficulty": b'{"id":null,"method":"mining.set_difficulty","params":[]}\n',
    "extranonce of nothing": b'{"id":null,"method":"mining.set_extranonce","params":["",8]}\n',
    "negative extranonce": b'{"id":null,"method":"mining.set_extranonce","params":["00",-1]}\n',
    "extranonce of a megabyte": b'{"id":null,"method":"mining.set_extranonce","params":["00",1000000]}\n',
    "mask of a text": b'{"id":null,"method":"mining.set_version_mask","params":["zz"]}\n',
    "mask of all": b'{"id":null,"method":"mining.set_version_mask","params":["ffffffff"]}\n',
    "answers nobody asked for": b'{"id":99,"result":true,"error":null}\n' * 50,
    "an answer without an id": b'{"id":null,"result":null,"error":[20,"go away",null]}\n',
    "a reconnect to nowhere": b'{"id":null,"method":"client.reconnect","params":[null,"x",{}]}\n',
    "a reconnect after ages": b'{"id":null,"method":"client.reconnect","params":["",0,1e300]}\n',
    "a message of no text": b'{"id":null,"method":"client.show_message","params":[{"a":1}]}\n',
    "an unknown method": b'{"id":5,"method":"mining.launch_missiles","params":[]}\n',
    "deep nesting": b"[" * 100_000 + b"\n",
    "blank lines": b"\r\n \n\n" * 1_000,
}


async def lives(bad: ScriptedPool, here: Hall, first: Machine, second: Machine, data: bytes) -> None:
    """Send bytes of the bad pool; machines of both pools must be answered all the while, and work once it is well."""
    bad.send_raw(data)
    for _ in range(15):
        assert await second.answer(second.find()) == 0
        await first.answer(first.find())
    await bad.until(lambda pool: any(session.jobs for session in pool.sessions))
    jobs = first.jobs
    bad.send_job(clean=True)
    await first.until(lambda: first.jobs > jobs)
    assert await first.answer(first.find()) == 0
    assert not first.is_lost
    assert not second.is_lost
    assert here.server.upstreams is not None
    assert len(here.server.upstreams.views()) == 2


async def survivors(odd: dict[str, Callable[[ScriptedPool], bytes]]) -> dict[str, BaseException]:
    """Send everything odd, one after the other, and return what did not go well."""
    chain, failures = Chain(), {}
    async with (
        scripted_pool(name="bad", difficulty=EASY, chain=chain) as bad,
        scripted_pool(name="good", difficulty=EASY, chain=chain) as good,
        hall(bad, good, accounts={"bad": ("one",), "good": ("two",)}) as here,
    ):
        await here.ready(2)
        first = await Machine.begin(here.address, "one.m1", rolls=True)
        second = await Machine.begin(here.address, "two.m1")
        assert works_for(first, bad)
        assert works_for(second, good)
        for name, data in odd.items():
            try:
                # Whatever it said last may have cost it its connection just now.
                await bad.until(lambda pool: bool(pool.sessions))
                await lives(bad, here, first, second, data(bad))
            except (AssertionError, TimeoutError, ConnectionError) as error:
                failures[name] = error
        # Whatever was said in between: what was accepted here and met the pool's target has its fate.
        await until(lambda: len(here.fates) == here.met)
        first.close()
        second.close()
    return failures


async def test_odd_jobs() -> None:
    assert await survivors({name: partial(job, changes=changes) for name, changes in JOBS.items()}) == {}


async def test_odd_lines() -> None:
    assert await survivors({name: lambda _, line=line: line for name, line in LINES.items()}) == {}


#: Targets of zero, below it, and beyond 256 bits.
NBITS = ("00000000", "04923456", "ff123456", "217fffff")


@pytest.mark.parametrize("nbits", NBITS)
async def test_a_job_that_cannot_be_served_is_a_failure_of_its_pool(nbits: str) -> None:
    chain = Chain()
    async with (
        scripted_pool(name="bad", difficulty=EASY, chain=chain) as bad,
        scripted_pool(name="good", difficulty=EASY, chain=chain) as good,
        hall(bad, good) as here,
    ):
        await here.ready(2)
        machine = await Machine.begin(here.address)
        assert works_for(machine, bad)
        bad.send_raw(job(bad, {"nbits": nbits}))
        await machine.until(lambda: works_for(machine, good), 1.0)
        assert await machine.answer(machine.find()) == 0
        assert here.said("bad failed")
        # It cost the pool its place, and no more.
        await machine.until(lambda: works_for(machine, bad))
        assert await machine.answer(machine.find()) == 0
        machine.close()


async def test_a_flood_of_jobs_and_messages() -> None:
    chain = Chain()
    async with (
        scripted_pool(name="bad", difficulty=EASY, chain=chain) as bad,
        scripted_pool(name="good", difficulty=EASY, chain=chain) as good,
        hall(bad, good, accounts={"bad": ("one",), "good": ("two",)}) as here,
    ):
        await here.ready(2)
        first, second = (
            await Machine.begin(here.address, "one.m1"),
            await Machine.begin(here.address, "two.m1"),
        )
        for _ in range(5):
            for number in range(400):
                bad.send_job(clean=number % 2 == 0)
                bad.tell_all("client.show_message", f"message {number}")
            began_at = time.monotonic()
            assert await second.answer(second.find()) == 0
            assert time.monotonic() - began_at < 1
        assert not first.is_lost
        # What people are told of it stays readable.
        assert len(here.ledger.events) < 200
        first.close()
        second.close()


async def test_a_reason_of_its_own_for_every_share() -> None:
    async with scripted_pool(difficulty=EASY) as pool, hall(pool) as here:
        await here.ready()
        machine = await Machine.begin(here.address)
        for number in range(600):
            # Every other share, so that it is no storm.
            pool.refusal = (20, f"reason {number}: " + "x" * 200) if number % 2 else None
            assert await machine.answer(machine.find()) == 0
            await until(lambda number=number: len(pool.shares) >= number * 0.8)
        await until(lambda: len(here.fates) == len(pool.shares))
        assert here.server.upstreams is not None
        (view,) = here.server.upstreams.views()
        assert sum(view.rejected.values()) == len(pool.rejected) > 200
        assert len(view.rejected) <= 100
        machine.close()
