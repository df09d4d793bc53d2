"""One command, one connection, one deadline: the client against every way in which a machine can behave badly."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hashwerk.devices.cgminer import (
    NoReplyError,
    UnreachableError,
    ask,
    exchange,
    joined_request,
    json_request,
    text_request,
)
from hashwerk.fleet.ports import Address

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REPLY = b"STATUS=S,When=1,Code=11,Msg=Summary|\x00"


@contextlib.asynccontextmanager
async def machine(handler: Handler) -> AsyncIterator[Address]:
    """Serve ``handler`` on a port of its own."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await handler(reader, writer)
        writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield Address(host="127.0.0.1", port=server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


def test_requests_are_written_as_the_api_has_them() -> None:
    assert json_request("summary") == b'{"command":"summary"}'
    assert json_request("ascset", "0,softoff") == b'{"command":"ascset","parameter":"0,softoff"}'
    assert joined_request(("version", "summary", "estats")) == b'{"command":"version+summary+estats"}'
    assert text_request("ascset", "0,softoff") == b"ascset|0,softoff"
    assert text_request("version") == b"version"


async def test_a_reply_ends_with_its_nul_even_if_the_machine_does_not_close() -> None:
    async def stays_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(REPLY)
        await reader.read()  # until we close

    async with machine(stays_open) as address:
        started = time.monotonic()
        assert await exchange(address, b"summary", timeout_s=10) == REPLY
        assert time.monotonic() - started < 5


async def test_a_reply_in_pieces_is_put_together() -> None:
    async def dribbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        for at in range(len(REPLY)):
            writer.write(REPLY[at : at + 1])
            await writer.drain()

    async with machine(dribbles) as address:
        reply = await ask(address, b"summary", timeout_s=5)
        assert reply.status is not None
        assert reply.status.message == "Summary"


async def test_what_came_before_the_deadline_is_a_reply_even_without_an_end() -> None:
    async def never_ends(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(REPLY.rstrip(b"\x00"))
        await reader.read()

    async with machine(never_ends) as address:
        assert await exchange(address, b"summary", timeout_s=0.2) == REPLY.rstrip(b"\x00")


async def test_silence_is_no_reply_and_ends_with_the_deadline() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with machine(silent) as address:
        started = time.monotonic()
        with pytest.raises(NoReplyError, match="silent"):
            await exchange(address, b"summary", timeout_s=0.1)
        assert time.monotonic() - started < 1.5


async def test_closing_without_a_word_is_no_reply() -> None:
    async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)

    async with machine(closes) as address:
        with pytest.raises(NoReplyError, match="without a reply"):
            await exchange(address, b"ascset|0,reboot,0", timeout_s=5)


async def test_a_reset_is_no_reply() -> None:
    async def resets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.transport.abort()

    async with machine(resets) as address:
        with pytest.raises(NoReplyError):
            await exchange(address, b"summary", timeout_s=5)


async def test_an_endless_reply_is_cut_off() -> None:
    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with machine(floods) as address:
        with pytest.raises(NoReplyError, match="more than 1000 bytes"):
            await exchange(address, b"summary", timeout_s=5, max_bytes=1000)


async def test_what_cannot_be_read_is_no_reply() -> None:
    async def mumbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\xff\xfe\x80 mumble")

    async with machine(mumbles) as address:
        with pytest.raises(NoReplyError, match="nothing that can be read"):
            await ask(address, b"summary", timeout_s=5)


async def test_where_nobody_listens_nothing_was_sent() -> None:
    async with machine(_hears) as address:
        pass
    with pytest.raises(UnreachableError):
        await exchange(address, b"summary", timeout_s=2)


@pytest.mark.parametrize("host", ["localhost", "miner7.test", "", "10.0.0.0/24", "127.0.0.1;"])
async def test_no_name_is_ever_looked_up(host: str) -> None:
    with pytest.raises(UnreachableError, match="not an IP address"):
        await exchange(Address(host=host), b"summary", timeout_s=2)


async def test_a_cancelled_exchange_closes_its_connection() -> None:
    closed = asyncio.Event()
    asked = asyncio.Event()

    async def waits(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        closed.set()

    async with machine(waits) as address:
        task = asyncio.create_task(exchange(address, b"summary", timeout_s=30))
        await asyncio.wait_for(asked.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(closed.wait(), 5)


async def _hears(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
