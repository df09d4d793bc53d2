"""A machine whose connection breaks gets its session back from our server, and its work goes on."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import TypeVar

from hashwerk.client.events import Disconnected, ShareAccepted, Submission, WorkReceived
from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.client.stratum_client import StratumClient
from hashwerk.client.work import ExtranonceCounter, JobWork
from hashwerk.work.kernel import Scanner
from support.pool import running_pool

DEADLINE_S = 30.0
E = TypeVar("E")


async def next_event(client: StratumClient, kind: type[E]) -> E:
    """Return the client's next event of a kind."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            event = await client.next_event()
            if isinstance(event, kind):
                return event


def find_share(received: WorkReceived, extranonces: ExtranonceCounter) -> Submission:
    """Return a share of this work."""
    source = JobWork(received.work.job, extranonces, received_at=0.0)
    scanner, stream = Scanner(), source.stream()
    while header := stream.next(0.0):
        if nonces := scanner.scan(header.header76, 0, 1 << 24, source.target, 1):
            return Submission(received.work, header.extranonce2, header.ntime, nonces[0], header.version_bits)
    raise AssertionError("the job has no share")


async def test_a_broken_connection_is_resumed_with_its_extranonce(tmp_path: Path) -> None:
    async with running_pool(tmp_path, start_difficulty=2.0**-16) as pool:
        settings = ClientSettings(servers=(ServerUrl.parse(pool.url),), user="me.rig", retry_min_s=0.05)
        client = StratumClient(settings, rng=random.Random(1))
        extranonces = ExtranonceCounter()
        run = asyncio.create_task(client.run())
        try:
            first = await next_event(client, WorkReceived)
            assert await client.submit(find_share(first, extranonces))
            await next_event(client, ShareAccepted)
            # The line is cut.
            for connection in list(pool.server.connections):
                connection.abort()
            await next_event(client, Disconnected)
            # The session is the same: same extranonce, another connection.
            again = await next_event(client, WorkReceived)
            assert again.work.job.extranonce1 == first.work.job.extranonce1
            assert again.work.connection != first.work.connection
            assert await client.submit(find_share(again, extranonces))
            await next_event(client, ShareAccepted)
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        assert pool.accepted == 2
        assert pool.rejected == {}
