"""A chain of two servers: machines at the lower one, which works for the upper one as a proxy."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from hashwerk.chain.header import double_sha256
from hashwerk.pool.server import StratumServer
from hashwerk.pool.upstream.settings import UpstreamSettings
from hashwerk.work.check import check_share
from hashwerk.work.fate import Fate
from hashwerk.work.share import FLAG_BLOCK, Verdict
from support.stratum import FakeNode, MemoryLedger, Peer, make_template, serving, until
from support.tls import make_certificate


@asynccontextmanager
async def pool(
    height: int = 1, **settings: object
) -> AsyncIterator[tuple[StratumServer, MemoryLedger, FakeNode]]:
    """An upper server with work."""
    node, ledger = FakeNode(), MemoryLedger()
    node.give(make_template(height, now=time.time()))
    async with serving(node, ledger, **settings) as server:
        yield server, ledger, node


def upstream(server: StratumServer, name: str = "up", **settings: object) -> UpstreamSettings:
    return UpstreamSettings(
        **{"name": name, "url": server.urls["stratum"], "user": "acct", "retry_min_s": 0.05} | settings
    )


def fates(ledger: MemoryLedger) -> list[int]:
    return np.concatenate(ledger.fates)["fate"].tolist() if ledger.fates else []


async def vanish(server: StratumServer) -> None:
    """Let a server refuse connections and drop those it has."""
    await server.stop_listening()
    for listener in server.listeners:
        listener.close()
    for connection in server.connections:
        connection.abort()


async def test_a_share_goes_all_the_way() -> None:
    async with pool() as (upper, upper_ledger, _):
        node, ledger = FakeNode(), MemoryLedger()
        async with serving(node, ledger, upstreams=(upstream(upper),)) as lower:
            peer = await Peer.connect(lower.urls["stratum"])
            await until(lambda: lower.upstreams and lower.upstreams.pools[0].open_links)
            await peer.begin("hall.m1")
            # The machine's share counts here and, being of the same work, up there, in the name of the same machine.
            assert await peer.submit(1) is True
            await until(lambda: len(fates(ledger)) == 1)
            (row,) = np.concatenate(ledger.shares)
            (above,) = np.concatenate(upper_ledger.shares)
            assert row["hash_key"].tobytes() == above["hash_key"].tobytes()
            assert above["verdict"] == Verdict.ACCEPTED
            assert fates(ledger) == [Fate.ACCEPTED]
            fate = ledger.fates[0][0]
            assert fate["hash_key"].tobytes() == row["hash_key"].tobytes()
            assert fate["job"] == row["job"]
            assert 0 < fate["sent_us"] <= fate["known_us"]
            assert row["flags"] & FLAG_BLOCK
            job = ledger.jobs[int(row["job"])]
            assert job.upstream is not None
            assert job.tag == b""  # unbound work
            (name,) = (each.name for each in upper_ledger._accounts.values())
            assert name == "acct"
            # It is the header the pool would compute.
            share = check_share(
                job,
                int(row["extranonce1"]),
                int(row["extranonce2"]),
                int(row["ntime"]),
                int(row["nonce"]),
                int(row["version"]),
            )
            assert double_sha256(share.header)[:16] == above["hash_key"].tobytes()
            # The same share again is known here, and is not handed on.
            assert (await peer.submit(1)) == -22
            assert len(fates(ledger)) == 1
            await peer.close()


async def test_machines_names_reach_the_pool() -> None:
    async with (
        pool() as (upper, upper_ledger, _),
        serving(FakeNode(), ledger := MemoryLedger(), upstreams=(upstream(upper),)) as lower,
    ):
        assert lower.upstreams is not None
        await until(lambda: lower.upstreams.pools[0].open_links)
        peers = [await Peer.connect(lower.urls["stratum"]) for _ in range(3)]
        for number, peer in enumerate(peers):
            await peer.begin(f"hall.m{number}")
        # The first share asks for the name and goes in under the account's own; the next has it.
        for nonce in range(3):
            for peer in peers:
                assert await peer.submit(nonce) is True
        await until(lambda: fates(ledger) == [Fate.ACCEPTED] * 9)
        names = {machine for _, machine in upper_ledger._workers}
        assert {"m0", "m1", "m2"} <= names
        for peer in peers:
            await peer.close()


async def test_all_machines_move_when_a_pool_goes() -> None:
    async with pool(1) as (first, _, _), pool(1) as (second, second_ledger, _):
        upstreams = (upstream(first, "first"), upstream(second, "second", priority=2))
        async with serving(FakeNode(), ledger := MemoryLedger(), upstreams=upstreams) as lower:
            assert lower.upstreams is not None
            pools = lower.upstreams.pools
            await until(lambda: all(each.open_links for each in pools))
            peer = await Peer.connect(lower.urls["stratum"])
            await peer.begin("hall.m1")
            assert await peer.submit(1) is True
            await until(lambda: pools[0].record.accepted == 1)
            # The first pool drops us: within a second the machine has a job of the second, on the same connection.
            began_at = time.monotonic()
            for connection in first.connections:
                connection.abort()
            await peer.next_job()
            assert time.monotonic() - began_at < 1
            assert await peer.submit(2) is True
            await until(lambda: pools[1].record.accepted == 1)
            assert second_ledger.stored == 1
            # The first is back at once, and must prove itself before it is used again.
            await until(lambda: pools[0].open_links)
            view = next(view for view in lower.upstreams.views() if view.name == "first")
            assert view.state == "proving"
            assert view.usable_in_s is not None
            assert view.usable_in_s > 50
            await until(lambda: fates(ledger) == [Fate.ACCEPTED] * 2)
            assert any("failed" in message for _, message in ledger.events)
            await peer.close()


async def test_accounts_may_work_for_different_pools_and_for_ourselves() -> None:
    async with pool(1) as (first, first_ledger, _), pool(7) as (second, second_ledger, _):
        upstreams = (
            upstream(first, "first", accounts=("alice",)),
            upstream(second, "second", accounts=("bob",)),
        )
        node, ledger = FakeNode(), MemoryLedger()
        node.give(make_template(3, now=time.time()))
        async with serving(node, ledger, upstreams=upstreams) as lower:
            assert lower.upstreams is not None
            await until(lambda: all(each.open_links for each in lower.upstreams.pools))
            for user in ("alice.m1", "bob.m1", "carol.m1"):
                peer = await Peer.connect(lower.urls["stratum"])
                await peer.begin(user)
                assert await peer.submit(1) is True
                await peer.close()
            await until(lambda: len(fates(ledger)) == 2)
            assert (first_ledger.stored, second_ledger.stored, ledger.stored) == (1, 1, 3)
            heights = sorted(job.template.height for job in ledger.jobs.values())
            assert heights == [1, 3, 7]


async def test_a_new_block_and_another_target_reach_the_machines() -> None:
    async with (
        pool(1) as (upper, _, upper_node),
        serving(FakeNode(), MemoryLedger(), upstreams=(upstream(upper),)) as lower,
    ):
        assert lower.upstreams is not None
        await until(lambda: lower.upstreams.pools[0].open_links)
        peer = await Peer.connect(lower.urls["stratum"])
        await peer.begin("hall.m1")
        before = peer.job
        upper_node.give(make_template(2, now=time.time()))
        job = await peer.next_job()
        assert job.clean
        assert job.prev_hash != before.prev_hash
        assert await peer.submit(1, job=before.job_id) == -21
        assert await peer.submit(2) is True
        await peer.close()


async def test_when_all_pools_are_gone_own_work_goes_on() -> None:
    async with pool(1) as (upper, _, _):
        node, ledger = FakeNode(), MemoryLedger()
        node.give(make_template(5, now=time.time()))
        async with serving(node, ledger, upstreams=(upstream(upper),), when_upstreams_fail="own") as lower:
            assert lower.upstreams is not None
            await until(lambda: lower.upstreams.pools[0].open_links)
            peer = await Peer.connect(lower.urls["stratum"])
            await peer.begin("hall.m1")
            await vanish(upper)
            await peer.next_job()
            assert await peer.submit(1) is True
            assert next(reversed(ledger.jobs.values())).template.height == 5
            assert any("own templates" in message for _, message in ledger.events)
            await peer.close()


async def test_when_all_pools_are_gone_machines_may_be_sent_away() -> None:
    async with (
        pool(1) as (upper, _, _),
        serving(
            FakeNode(), MemoryLedger(), upstreams=(upstream(upper),), when_upstreams_fail="idle"
        ) as lower,
    ):
        assert lower.upstreams is not None
        await until(lambda: lower.upstreams.pools[0].open_links)
        peer = await Peer.connect(lower.urls["stratum"])
        await peer.begin("hall.m1")
        await vanish(upper)
        assert b"standby" in await peer.closed()
        await peer.close()


async def test_small_extranonces_take_more_connections() -> None:
    # One byte for the machine's number leaves room for 256 machines on a connection.
    async with (
        pool(1, extranonce1_size=4, extranonce2_size=3) as (upper, _, _),
        serving(FakeNode(), ledger := MemoryLedger(), upstreams=(upstream(upper),)) as lower,
    ):
        assert lower.upstreams is not None
        (only,) = lower.upstreams.pools
        await until(lambda: only.open_links)
        peers = []
        for number in range(260):
            peer = await Peer.connect(lower.urls["stratum"])
            peers.append(peer)
            if number == 256:
                await peer.call("mining.subscribe", "test")
                await until(lambda: len(only.open_links) == 2)
            await peer.begin(f"hall.m{number}")
        for peer in (peers[0], peers[255], peers[259]):
            assert await peer.submit(1) is True
        await until(lambda: fates(ledger) == [Fate.ACCEPTED] * 3)
        assert any("more connections" in message for _, message in ledger.events)
        for peer in peers:
            await peer.close()


async def test_machines_wait_for_the_first_work_of_a_pool() -> None:
    async with pool(1) as (upper, _, _):
        url = upper.urls["stratum"]
        await vanish(upper)
    settings = UpstreamSettings(name="late", url=url, user="acct", retry_min_s=0.05, retry_max_s=0.1)
    node, ledger = FakeNode(), MemoryLedger()
    node.give(make_template(9, now=time.time()))
    async with serving(node, ledger, upstreams=(settings,)) as lower:
        await until(lambda: lower.book.template is not None)
        peer = await Peer.connect(lower.urls["stratum"])
        await peer.call("mining.subscribe", "test")
        assert await peer.call("mining.authorize", "hall.m1", "x") is True
        assert await peer.call("mining.ping") == "pong"
        # It is not given work of our own, which nobody asked it to do.
        assert peer.job is None
        assert ledger.jobs == {}
        async with pool(4, port=int(url.rpartition(":")[2])):
            assert (await peer.next_job()).job_id
            assert next(iter(ledger.jobs.values())).template.height == 4
        await peer.close()


async def test_a_pool_over_tls(tmp_path: Path) -> None:
    certificate, key = map(str, make_certificate(tmp_path))
    async with pool(1, tls_port=0, tls_certificate=certificate, tls_key=key) as (upper, _, _):
        url = upper.urls["stratum_tls"].replace("127.0.0.1", "localhost")
        trusted = upstream(upper, "trusted", url=url, tls_ca_file=certificate)
        strange = upstream(upper, "strange", url=url, priority=2)
        async with serving(FakeNode(), ledger := MemoryLedger(), upstreams=(trusted, strange)) as lower:
            assert lower.upstreams is not None
            first, second = lower.upstreams.pools
            await until(lambda: first.open_links and second.failed_because)
            assert "certificate" in (second.failed_because or "")
            peer = await Peer.connect(lower.urls["stratum"])
            await peer.begin("hall.m1")
            assert await peer.submit(1) is True
            await until(lambda: fates(ledger) == [Fate.ACCEPTED])
            await peer.close()
