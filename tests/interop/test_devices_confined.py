"""Nothing is sent outside the configured ranges, also where a machine's page redirects elsewhere; with the real library."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator

import pytest

from hashwerk.devices import Confinement
from hashwerk.devices.asic_rs import AsicRsDriver
from hashwerk.errors import DeviceError, FleetError
from hashwerk.fleet.ports import Address
from hashwerk.twin import Hall, HallSettings

if "HASHWERK_ALONE" not in os.environ:
    pytest.skip("run in a process of its own by test_alone.py (HASHWERK_ALONE=1)", allow_module_level=True)

MACHINE, ELSEWHERE = "127.79.0.1", "127.79.9.9"
RANGE = "127.79.0.1-127.79.0.12"
#: Makes that the library reaches over HTTP, and one of whose pages it asks at every reading.
MODELS = ("bitaxe-gamma", "nerdqaxe", "antminer-s19jpro", "vnish-s19jpro")


class Redirecting:
    """A hostile machine's web page: whatever it is asked, the answer is somewhere else."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.asked = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            self.asked += 1
            path = request.split(b" ", 2)[1].decode()
            writer.write(
                f"HTTP/1.1 307 Temporary Redirect\r\nLocation: {self.target}{path}\r\n"
                "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(handle: object, host: str) -> AsyncIterator[None]:
    server = await asyncio.start_server(handle, host, 80)  # type: ignore[arg-type]
    try:
        yield
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
def confined() -> Iterator[None]:
    confinement = Confinement([RANGE])
    yield
    confinement.release()


async def sent_elsewhere(model: str) -> tuple[int, int]:
    """Let a known machine's page redirect elsewhere; return how often it was asked, and how much came to the other address."""
    hall = Hall(HallSettings(machines=1, models=(model,), base=MACHINE, haste=80.0))
    driver, address, arrived = AsicRsDriver(), Address(host=MACHINE), 0

    async def elsewhere(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        arrived += 1
        writer.close()
        await writer.wait_closed()

    try:
        await hall.start()
    except (OSError, DeviceError) as error:
        pytest.skip(f"port 80 of the twin cannot be had: {error}")
    try:
        if not hall.machines[0].http_port:
            pytest.skip("port 80 of the twin cannot be had")
        await driver.read(address, timeout_s=15)
    finally:
        await hall.stop()
    page = Redirecting(f"http://{ELSEWHERE}")
    async with listening(page.handle, MACHINE), listening(elsewhere, ELSEWHERE):
        with contextlib.suppress(DeviceError):
            await driver.read(address, timeout_s=5)
    return page.asked, arrived


@pytest.mark.usefixtures("confined")
@pytest.mark.parametrize("model", MODELS)
async def test_a_redirect_out_of_the_ranges_leads_nowhere(model: str) -> None:
    asked, arrived = await sent_elsewhere(model)
    assert asked > 0
    assert arrived == 0


async def test_without_it_the_library_would_go_there() -> None:
    """Otherwise the test above would show nothing."""
    asked, arrived = await sent_elsewhere("bitaxe-gamma")
    assert asked > 0
    assert arrived > 0


def test_python_itself_sees_no_proxy() -> None:
    before = dict(os.environ)
    first, second = Confinement(["10.0.0.0/22"]), Confinement(["10.9.0.5-10.9.0.6", "fd00::/64"])
    assert first.networks == ("10.0.0.0/22",)
    assert second.networks == ("10.9.0.5/32", "10.9.0.6/32", "fd00::/64")
    assert dict(os.environ) == before
    first.release()
    second.release()
    second.release()
    with pytest.raises(FleetError, match="not an address range"):
        Confinement(["10.0.0.0/99"])
