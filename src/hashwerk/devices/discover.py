"""Finding machines in address ranges. Nothing is ever sent to an address outside them."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from hashwerk.errors import FleetError
from hashwerk.fleet.machine import Reading
from hashwerk.fleet.ports import Address, Driver

#: A larger range is a slip of the pen: scanning it would take hours.
MAX_ADDRESSES: Final = 1 << 18
#: The cgminer API and the web page: every make answers on one of them at least.
KNOCK_PORTS: Final = (4028, 80)

Progress = Callable[[int, int], None]
"""Called with how many addresses are done, and of how many."""


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that was found, who it is, and who speaks to it."""

    address: Address
    driver: str
    reading: Reading


async def identify(
    address: Address, drivers: Sequence[Driver], *, timeout_s: float
) -> tuple[Driver, Reading] | None:
    """Return the driver that speaks to what answers there, and its first reading; None if none does.

    The drivers ask one after another, each with its own ``timeout_s``: controllers have one thread.
    """
    for driver in drivers:
        reading = await driver.identify(address, timeout_s=timeout_s)
        if reading is not None:
            return driver, reading
    return None


def addresses_of(ranges: Iterable[str]) -> list[str]:
    """Return the distinct IP addresses of ranges like ``10.0.0.0/22``, ``10.0.0.7`` or ``10.0.0.5-10.0.0.90``, in order.

    Raises:
        FleetError: If one cannot be read, or if all together are too many.
    """
    found: dict[str, None] = {}
    for text in ranges:
        count, hosts = _hosts(text)
        if len(found) + count > MAX_ADDRESSES:
            raise FleetError(f"more than {MAX_ADDRESSES} addresses to scan; at {text!r}")
        found |= dict.fromkeys(hosts)
    return list(found)


async def scan(
    networks: Iterable[str],
    drivers: Sequence[Driver],
    *,
    timeout_s: float = 3.0,
    concurrency: int = 256,
    on_progress: Progress | None = None,
    port: int | None = None,
) -> AsyncIterator[Found]:
    """Yield machines as they are found.

    Each address is knocked at first; what stays silent is tried a second time at the end, because the first packet to a
    machine not heard of for a while is lost while the system asks for its hardware address; so is what was there and did not
    say who it is.

    Args:
        networks: The ranges, as for `addresses_of`. Nothing is sent anywhere else.
        drivers: Who may speak to what is found, in this order.
        timeout_s: For each knock, and for each driver's question.
        concurrency: How many addresses are asked at the same time.
        on_progress: Called after each address.
        port: Where their first API is, and where to knock; None: the usual ports of all makes.

    *Cancellation*: closing the iterator ends every connection.

    Raises:
        FleetError: If a range cannot be read.
    """
    hosts = addresses_of(networks)
    search = _Search(drivers, timeout_s, port, on_progress, total=len(hosts))
    runner = asyncio.create_task(search.run(hosts, concurrency))
    try:
        while (found := await search.found.get()) is not None:
            yield found
        await runner
    finally:
        runner.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await runner


class _Search:
    """One scan: its workers, what they found, and how far they are."""

    def __init__(
        self,
        drivers: Sequence[Driver],
        timeout_s: float,
        port: int | None,
        on_progress: Progress | None,
        *,
        total: int,
    ) -> None:
        # Room for one machine at each address and for the end: never full, so a scan that is given up never waits.
        self.found: asyncio.Queue[Found | None] = asyncio.Queue(maxsize=total + 1)
        self._drivers = drivers
        self._timeout_s = timeout_s
        self._port = port
        self._knock_ports = KNOCK_PORTS if port is None else (port,)
        self._on_progress = on_progress
        self._total = total
        self._done = 0

    async def run(self, hosts: Sequence[str], concurrency: int) -> None:
        try:
            silent = await self._pass(hosts, concurrency, is_last=False)
            await self._pass(silent, concurrency, is_last=True)
        finally:
            self.found.put_nowait(None)

    async def _pass(self, hosts: Sequence[str], concurrency: int, *, is_last: bool) -> list[str]:
        """Try these hosts and return those that stayed silent."""
        waiting, silent = iter(hosts), list[str]()
        async with asyncio.TaskGroup() as workers:
            for _ in range(min(concurrency, len(hosts))):
                workers.create_task(self._work(waiting, silent, is_last=is_last))
        return silent

    async def _work(self, waiting: Iterator[str], silent: list[str], *, is_last: bool) -> None:
        for host in waiting:
            answers = await knock(host, self._knock_ports, timeout_s=self._timeout_s)
            if answers is None and not is_last:
                silent.append(host)
                continue
            if answers and not await self._ask(host) and not is_last:
                silent.append(host)  # something is there and says not who: it may only have been busy
                continue
            self._done += 1
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)

    async def _ask(self, host: str) -> bool:
        """Ask who it is; say whether that is known now."""
        address = Address(host=host, port=self._port)
        identified = await identify(address, self._drivers, timeout_s=self._timeout_s)
        if identified is not None:
            driver, reading = identified
            self.found.put_nowait(Found(address=address, driver=driver.name, reading=reading))
        return identified is not None


async def knock(host: str, ports: Sequence[int], *, timeout_s: float) -> bool | None:
    """Return whether a port is open, False if all refuse, None if nobody answers at all."""
    answers = await asyncio.gather(*(_knock(host, port, timeout_s) for port in ports))
    if any(answers):
        return True
    return None if all(answer is None for answer in answers) else False


async def _knock(host: str, port: int, timeout_s: float) -> bool | None:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
    except ConnectionRefusedError:
        return False
    except (TimeoutError, OSError):
        return None
    transport.abort()
    return True


def _hosts(text: str) -> tuple[int, Iterator[str]]:
    """Return how many addresses a range has at most, and these addresses."""
    first, is_pair, last = (part.strip() for part in text.partition("-"))
    try:
        if is_pair:
            return _between(first, last)
        network = ipaddress.ip_network(first, strict=False)
    except ValueError as error:
        raise FleetError(f"not an address range: {text!r} ({error})") from None
    return network.num_addresses, (str(host) for host in network.hosts())


def _between(first: str, last: str) -> tuple[int, Iterator[str]]:
    start, end = ipaddress.ip_address(first), ipaddress.ip_address(last)
    if start.version != end.version or int(start) > int(end):
        raise ValueError("its end lies before its start")
    count = int(end) - int(start) + 1
    return count, (str(start + offset) for offset in range(count))
