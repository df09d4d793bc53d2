"""What every driver keeps to, whatever machine it speaks to: the docstrings of `hashwerk.fleet.ports.Driver`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator

import pytest

from hashwerk.devices import identify, open_drivers
from hashwerk.errors import DeviceError
from hashwerk.fleet.commands import (
    NEEDS,
    Command,
    Locate,
    PoolTarget,
    Reboot,
    SetFan,
    SetMode,
    SetPools,
    SetPowerLimit,
    Sleep,
    Wake,
)
from hashwerk.fleet.machine import OutcomeKind
from hashwerk.fleet.ports import Address, Credentials
from support.device_cases import Case, Served

if "HASHWERK_ALONE" not in os.environ:
    pytest.skip(
        "run in a process of its own by tests/interop/test_alone.py (HASHWERK_ALONE=1)",
        allow_module_level=True,
    )

TIMEOUT_S = 5.0
SECRET = "the-password-of-the-site"
COMMANDS: tuple[Command, ...] = (
    Sleep(),
    Wake(),
    SetMode(mode="no such mode"),
    SetPowerLimit(power_limit_w=1000),
    Reboot(),
    Locate(on=True),
    SetPools(pools=()),
    SetFan(percent=80),
)


async def test_a_machine_is_identified_by_its_own_driver_and_no_other(case: Case, served: Served) -> None:
    identified = await identify(served.address, open_drivers(), timeout_s=TIMEOUT_S)
    assert identified is not None
    driver, reading = identified
    assert driver.name == served.driver.name
    assert reading.identity.make == case.make
    assert reading.identity.mac == case.mac
    assert reading.identity.model
    assert reading.identity.firmware_version


async def test_a_reading_says_what_the_machine_does_and_not_more(case: Case, served: Served) -> None:
    reading = await served.driver.read(served.address, timeout_s=TIMEOUT_S)
    assert reading.state is case.state
    if case.hashrate_ths is None:
        assert reading.hashrate_hs is None
    else:
        assert reading.hashrate_hs == pytest.approx(case.hashrate_ths * 1e12, rel=1e-6)
    assert reading.power_w == case.power_w
    assert abs(reading.at - time.time()) < 60
    assert reading.clock_s is None or reading.clock_s > 1e9
    assert all(slot.url.startswith("stratum") for slot in reading.pools)


async def test_what_an_asleep_machine_says_is_doubted_where_it_cannot_be(case: Case, served: Served) -> None:
    reading = await served.driver.read(served.address, timeout_s=TIMEOUT_S)
    if case.name in ("Q-25052801-standby", "A1246-asleep", "vnish-1.2.6-stopped"):
        assert any(doubt.startswith("power") for doubt in reading.doubts)
    assert all(": " in doubt for doubt in reading.doubts)  # which field, and why


async def test_no_password_is_in_a_reading(case: Case, served: Served) -> None:
    credentials = Credentials(user="root", password=SECRET)
    reading = await served.driver.read(served.address, timeout_s=TIMEOUT_S, credentials=credentials)
    assert "secret-of-the-pool" not in repr(reading)
    assert SECRET not in repr(reading)


async def test_what_is_unsupported_is_told_without_sending_anything_that_changes(
    case: Case, served: Served
) -> None:
    reading = await served.driver.read(served.address, timeout_s=TIMEOUT_S)
    for command in COMMANDS:
        if NEEDS[type(command)] in reading.capabilities and not isinstance(command, (SetMode, SetPools)):
            continue
        before = len(served.asked())
        outcome = await served.driver.execute(served.address, command, timeout_s=TIMEOUT_S)
        assert outcome.kind is OutcomeKind.UNSUPPORTED, command
        assert outcome.message
        assert not any(_changes(request) for request in served.asked()[before:])


async def test_sleep_and_wake_have_an_outcome_that_claims_no_more_than_is_known(
    case: Case, served: Served
) -> None:
    reading = await served.driver.read(served.address, timeout_s=TIMEOUT_S)
    for command in (Sleep(), Wake()):
        outcome = await served.driver.execute(served.address, command, timeout_s=TIMEOUT_S)
        if NEEDS[Sleep] not in reading.capabilities:
            assert outcome.kind is OutcomeKind.UNSUPPORTED
        elif case.make == "whatsminer":  # it takes everything without a word, and we have no token
            assert outcome.kind is OutcomeKind.UNANSWERED
        else:
            assert outcome.kind is OutcomeKind.ACCEPTED, outcome


async def test_a_machine_that_is_gone_is_an_error_and_no_reading(case: Case) -> None:
    async with case.serve() as served:
        await served.driver.read(served.address, timeout_s=TIMEOUT_S)  # it is known, perhaps remembered
    with pytest.raises(DeviceError):
        await served.driver.read(served.address, timeout_s=1.0)
    with pytest.raises(DeviceError):
        await served.driver.execute(served.address, Sleep(), timeout_s=1.0)
    assert await served.driver.identify(served.address, timeout_s=1.0) is None


async def test_a_machine_that_hangs_costs_its_deadline_and_no_more(case: Case) -> None:
    async with case.serve() as served:
        await served.driver.read(served.address, timeout_s=TIMEOUT_S)
    async with _hanging(served.address):
        started = time.monotonic()
        with pytest.raises(DeviceError):
            await served.driver.read(served.address, timeout_s=0.1)
        with pytest.raises(DeviceError):
            await served.driver.execute(served.address, Sleep(), timeout_s=0.1)
        assert await served.driver.identify(served.address, timeout_s=0.1) is None
        assert time.monotonic() - started < 2.0


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00",
        b"\xff\xfe\x00\x80" * 300,
        b'{"STATUS":[{"STATUS":"S"',
        b"{" * 5000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}}",
        b"[" + b"1," * 400_000,
    ],
    ids=["nul", "binary", "truncated", "nested", "http", "huge"],
)
async def test_garbage_costs_that_machines_reading_and_nothing_else(garbage: bytes) -> None:
    async with _answering("127.0.0.1", 0, garbage) as port:
        for driver in open_drivers():
            address = Address(host="127.0.0.1", port=port)
            assert await driver.identify(address, timeout_s=1.0) is None
            with pytest.raises(DeviceError):
                await driver.read(address, timeout_s=1.0)


async def test_pools_never_show_their_password_in_an_outcome(case: Case, served: Served) -> None:
    pools = (PoolTarget(url="stratum+tcp://one.test:3333", user="acct.rig7", password=SECRET),)
    outcome = (
        await served.driver.execute(served.address, SetPools(pools=pools), timeout_s=2.0)
        if not ("asleep" in case.name or _needs_a_page(case))
        else None
    )
    assert outcome is None or SECRET not in repr(outcome)


def _needs_a_page(case: Case) -> bool:
    return case.name.startswith(("Q-", "Nano", "Mini"))  # their page is tried in test_devices_avalon_web


def _changes(request: str) -> bool:
    """Whether a request could change anything: an ascset that is no question, or anything that is posted."""
    is_question = any(word in request for word in (",get", ",help", "workmode,255", "hashpower"))
    return ("ascset" in request and not is_question) or request.startswith("POST") or "curtail" in request


@contextlib.asynccontextmanager
async def _answering(host: str, port: int, data: bytes) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read(4096)
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, host, port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@contextlib.asynccontextmanager
async def _hanging(address: Address) -> AsyncIterator[None]:
    """Accept on the ports of a machine and never say a word."""
    over = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    ports = (address.port,) if address.port is not None else (80, 4028)
    servers = [await asyncio.start_server(hang, address.host, port) for port in ports]
    try:
        yield
    finally:
        over.set()
        for server in servers:
            server.close()
            await server.wait_closed()
