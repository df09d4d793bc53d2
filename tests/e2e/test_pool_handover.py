"""An upgrade: sessions and sockets go to a second server, and no machine notices."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hashwerk.clock import SystemClock
from hashwerk.errors import PoolError
from hashwerk.pool.handover import (
    Handover,
    HandoverListener,
    export_sessions,
    import_sessions,
    request_handover,
)
from hashwerk.pool.payees import Payees
from hashwerk.pool.server import StratumServer
from hashwerk.work.share import SHARE_DTYPE
from support.stratum import FakeNode, MemoryLedger, Peer, make_template, serving, until


async def _hand_over(old: StratumServer, new: StratumServer, path: Path) -> int:
    """Do what `serve` does on both sides, in one process."""
    listener = HandoverListener(path)
    listener.start()
    asking = asyncio.create_task(request_handover(path))
    await listener.requested()
    handover, files = await export_sessions(old)
    sending = asyncio.create_task(listener.send(handover, files))
    received = await asking
    await sending
    listener.close()
    await old.close()

    new.book.restore(old.book.live_jobs(), np.empty(0, SHARE_DTYPE))
    await new.start(received.listeners)
    return await import_sessions(new, received)


@pytest.mark.parametrize("size", [4, 2])  # bytes of extranonce1: counted for ever, or given out again
async def test_no_machine_is_disconnected(tmp_path: Path, size: int) -> None:
    node, next_node, ledger = FakeNode(), FakeNode(), MemoryLedger()
    node.give(make_template(now=time.time()))
    async with serving(node, ledger, vardiff=True, min_difficulty=2.0**-32, extranonce1_size=size) as old:
        peers = [await Peer.connect(old.urls["stratum"]) for _ in range(30)]
        await asyncio.gather(*(peer.begin(f"acc.m{number}") for number, peer in enumerate(peers)))
        assert all(await asyncio.gather(*(peer.submit(1) for peer in peers)))
        half = b'{"id":77,"method":"mining.submit","params":["acc.m0",'
        peers[0].write(half)  # a line that is cut by the upgrade
        await until(lambda: any(connection.incoming for connection in old.connections))
        new = StratumServer(
            old.settings, ledger, next_node, SystemClock(), site_key=bytes(32), payees=Payees(b"\x51"),
            private_chain=True,
        )  # fmt: skip
        # Shares that come while nobody reads wait in the system.
        requests = [(peer, peer.send("mining.submit", *peer.share(2))) for peer in peers[1:]]
        assert await _hand_over(old, new, tmp_path / "handover.sock") == 30
        run = asyncio.create_task(new.run())
        assert new.urls == old.urls
        for peer, request in requests:
            assert (await peer.answer(request))["result"] is True
        job = peers[0].job
        assert job is not None
        peers[0].write(f'"{job.job_id}","0000000000000000","{job.ntime:08x}","00000009"]}}\n'.encode())
        assert (await peers[0].answer(77))["result"] is True
        # They get new work, newcomers find the old address, and every extranonce stays its machine's own.
        next_node.give(make_template(2, now=time.time()))
        assert all([(await peer.next_job()).clean for peer in peers])
        late = await Peer.connect(old.urls["stratum"])
        await late.begin("acc.late")
        assert len({peer.extranonce1 for peer in (*peers, late)}) == 31
        assert all(await asyncio.gather(*(peer.submit(3) for peer in (*peers, late))))
        assert new.sessions == 31
        assert ledger.stored == 30 + 30 + 31
        assert all(session.ended_at is None for session in ledger.sessions.values())
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        await new.close()
        for peer in (*peers, late):
            await peer.close()


async def test_a_successor_that_goes_away_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "handover.sock"
    listener = HandoverListener(path)
    listener.start()
    successor = socket.socket(socket.AF_UNIX)
    successor.connect(str(path))
    successor.send(b"R")
    await listener.requested()
    successor.close()
    with pytest.raises(PoolError, match="went away"):
        await listener.send(Handover(version=1, listeners=0, sessions=[]), [])
    listener.close()
    assert not path.exists()


async def test_a_stranger_on_the_socket_is_no_successor(tmp_path: Path) -> None:
    path = tmp_path / "handover.sock"
    listener = HandoverListener(path)
    listener.start()
    for word in (b"X", b""):
        stranger = socket.socket(socket.AF_UNIX)
        stranger.connect(str(path))
        stranger.send(word)
        stranger.close()
    asking = asyncio.create_task(request_handover(path))
    await listener.requested()
    sending = asyncio.create_task(listener.send(Handover(version=1, listeners=0, sessions=[]), []))
    assert (await asking).handover.sessions == []  # it was the third that was heard
    await sending
    listener.close()


async def test_no_predecessor_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PoolError, match="nothing over"):
        await request_handover(tmp_path / "nobody.sock")


@pytest.mark.parametrize("version", [0, 2])
async def test_another_version_is_refused_and_nothing_leaks(tmp_path: Path, version: int) -> None:
    path = tmp_path / "handover.sock"
    listener = HandoverListener(path)
    listener.start()
    asking = asyncio.create_task(request_handover(path))
    await listener.requested()
    ours, theirs = socket.socketpair()
    sending = asyncio.create_task(
        listener.send(Handover(version=version, listeners=0, sessions=[]), [os.dup(theirs.fileno())])
    )
    with pytest.raises(PoolError, match=f"version {version}"):
        await asking
    await sending
    theirs.close()
    assert ours.recv(1) == b""  # the end: nobody holds the other side
    ours.close()
    listener.close()


def test_a_handover_survives_its_encoding() -> None:
    handover = Handover(version=1, listeners=2, sessions=[])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(handover), type=Handover) == handover
