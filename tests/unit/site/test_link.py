"""The local link: newest snapshot to every subscriber, whoever comes and goes."""

import asyncio
from pathlib import Path

from hashwerk.site.link import LinkServer, snapshots
from hashwerk.site.messages import NodeView, Snapshot


def snapshot(at: float) -> Snapshot:
    node = NodeView(kind="kernel", network="regtest", height=1, tip="00", healthy=True, private=True)
    return Snapshot(
        at=at, started_at=0.0, version="0", node=node, template=None, serving=True, hashrate={"1m": None}, accepted=3,
        rejected={"stale": 1}, accepted_work=str(2**90), blocks={}, recent_blocks=[], sessions=0, workers=[], workers_total=0,
        accounts=[], accounts_total=0,
        submit_ms_p50=None, submit_ms_p99=None, commit_ms_p99=None, jobs=0, stratum_url="", simulation=False, warnings=[],
    )  # fmt: skip


async def take(path: Path, wanted: float) -> Snapshot:
    async with asyncio.timeout(5):
        async for got in snapshots(path):
            if got.at >= wanted:
                return got
    raise AssertionError("the stream ended")


async def test_every_subscriber_gets_the_newest(tmp_path: Path) -> None:
    server = LinkServer(tmp_path / "s")
    await server.start()
    try:
        await server.publish(snapshot(1))
        await server.publish(snapshot(2))
        got = await asyncio.gather(take(tmp_path / "s", 2), take(tmp_path / "s", 2))
        assert got == [snapshot(2), snapshot(2)]
    finally:
        await server.close()


async def test_a_subscriber_outlives_the_server(tmp_path: Path) -> None:
    lost = asyncio.Event()
    seen: list[float] = []
    one, both = asyncio.Event(), asyncio.Event()

    async def listen() -> None:
        async for got in snapshots(tmp_path / "s", on_lost=lost.set):
            seen.append(got.at)
            (both if got.at == 2 else one).set()

    first = LinkServer(tmp_path / "s")
    await first.start()
    await first.publish(snapshot(1))
    task = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(5):
            await one.wait()
            await first.close()
            await lost.wait()
        second = LinkServer(tmp_path / "s")
        await second.start()
        await second.publish(snapshot(2))
        async with asyncio.timeout(5):
            await both.wait()
        await second.close()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert seen[0] == 1
    assert seen[-1] == 2


async def test_a_subscriber_that_never_reads_delays_nobody(tmp_path: Path) -> None:
    server = LinkServer(tmp_path / "s")
    await server.start()
    _reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
    try:
        async with asyncio.timeout(5):
            for at in range(2000):
                await server.publish(snapshot(float(at)))
                await asyncio.sleep(0)  # let the subscribers' tasks run
            assert (await take(tmp_path / "s", 1999)).at == 1999
    finally:
        writer.close()
        await server.close()
