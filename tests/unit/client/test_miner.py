"""The miner as a whole against a scripted server, with the real kernel."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hashwerk.chain.header import double_sha256
from hashwerk.chain.merkle import root_from_branch
from hashwerk.client.miner import Miner, run_miner
from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.client.statistics import Latencies, MinerStats, MovingRate
from hashwerk.client.stratum_client import StratumClient
from hashwerk.client.work import target_from_difficulty
from hashwerk.errors import ClientError
from hashwerk.work.kernel import Scanner

DEADLINE_S = 20.0
DIFFICULTY = 2**-16  # about 65,000 hashes a share
NewServer = Callable[[], Awaitable[Any]]


class Mining:
    """A miner under way."""

    def __init__(self, *servers: Any, threads: int = 2, **settings: Any) -> None:
        self.stop = asyncio.Event()
        defaults: dict[str, Any] = {"retry_min_s": 0.01, "retry_max_s": 0.05}
        client = StratumClient(
            ClientSettings(
                servers=tuple(ServerUrl.parse(server.url) for server in servers),
                user="me.rig",
                **defaults | settings,
            ),
            rng=random.Random(1),
        )
        self.miner = Miner(client, Scanner(), threads=threads, niceness=None)
        self.task = asyncio.create_task(self.miner.run(self.stop, interval_s=0.05))

    async def until(self, condition: Callable[[MinerStats], bool]) -> MinerStats:
        """Wait until the statistics meet a condition."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition(stats := self.miner.stats()):
                assert not self.task.done(), self.task.exception()
                await asyncio.sleep(0.005)
        return stats

    async def end(self) -> MinerStats:
        """Stop the miner and return its last statistics."""
        self.stop.set()
        async with asyncio.timeout(DEADLINE_S):
            return await self.task


def share_hash(job_params: list[Any], extranonce1: str, submit: list[Any]) -> int:
    """Return the hash a server computes for a share, written here a second time on purpose."""
    _, prev_hash, coinbase1, coinbase2, branch, version, nbits, _, _ = job_params
    coinbase = bytes.fromhex(coinbase1 + extranonce1 + submit[2] + coinbase2)
    root = root_from_branch(double_sha256(coinbase), [bytes.fromhex(node) for node in branch])
    rolled = int(version, 16) & ~0x1FFFE000 | int(submit[5], 16)
    header = (
        rolled.to_bytes(4, "little")
        + b"".join(bytes.fromhex(prev_hash[i : i + 8])[::-1] for i in range(0, 64, 8))
        + root
        + bytes.fromhex(submit[3])[::-1]
        + bytes.fromhex(nbits)[::-1]
        + bytes.fromhex(submit[4])[::-1]
    )
    return int.from_bytes(double_sha256(header), "little")


async def answer_all(peer: Any, seen: list[list[Any]], result: Any = True, error: Any = None) -> None:
    """Answer every share the same way until the client leaves."""
    while (message := await peer.receive()) is not None:
        if message["method"] == "mining.submit":
            seen.append(message["params"])
            peer.send({"id": message["id"], "result": result, "error": error})


async def test_shares_are_what_the_server_computes_and_none_comes_twice(new_server: NewServer) -> None:
    server = await new_server()
    mining = Mining(server)
    peer = await server.peer()
    await peer.greet(difficulty=DIFFICULTY, extranonce1="0000002a")
    seen: list[list[Any]] = []
    answering = asyncio.create_task(answer_all(peer, seen))
    await mining.until(lambda stats: stats.accepted >= 100)
    stats = await mining.end()
    await answering
    job = ["1", "11" * 32, "01" * 40, "02" * 40, ["33" * 32], "20000000", "1d00ffff", "65000000", True]
    target = target_from_difficulty(DIFFICULTY)
    assert all(share_hash(job, "0000002a", params) <= target for params in seen)
    assert len({tuple(params) for params in seen}) == len(seen)
    assert stats.accepted + stats.unknown + stats.stale + stats.pending == stats.found
    assert stats.pending == 0
    assert stats.faulty == 0
    assert stats.rejected_total == 0
    assert stats.latency_ms_p50 is not None and stats.latency_ms_p99 is not None
    assert stats.latency_ms_p50 <= stats.latency_ms_p99
    assert stats.best_difficulty is not None and stats.best_difficulty >= DIFFICULTY * 0.99


async def test_the_counted_hashes_agree_with_the_shares(new_server: NewServer) -> None:
    server = await new_server()
    mining = Mining(server)
    peer = await server.peer()
    await peer.greet(difficulty=DIFFICULTY)
    seen: list[list[Any]] = []
    answering = asyncio.create_task(answer_all(peer, seen))
    await mining.until(lambda stats: stats.accepted >= 400)
    stats = await mining.end()
    await answering
    # 400 shares have a standard error of 5 %; seven of them are never seen by chance.
    assert stats.found * DIFFICULTY * 2**32 == pytest.approx(stats.hashes, rel=0.35)
    assert stats.hashrate_hs is not None
    assert sum(thread.hashes for thread in stats.threads) == stats.hashes


async def test_refusals_are_counted_by_reason(new_server: NewServer) -> None:
    server = await new_server()
    mining = Mining(server, threads=1)
    peer = await server.peer()
    await peer.greet(difficulty=DIFFICULTY)
    answering = asyncio.create_task(answer_all(peer, [], None, [23, "Low difficulty share", None]))
    await mining.until(lambda stats: stats.rejected_total >= 3)
    stats = await mining.end()
    await answering
    assert stats.accepted == 0
    assert list(stats.rejected) == ["Low difficulty share"]


async def test_a_new_job_makes_old_shares_stale_and_they_are_not_sent(new_server: NewServer) -> None:
    server = await new_server()
    mining = Mining(server, threads=2, max_in_flight=4)
    peer = await server.peer()
    await peer.greet(job_id="old", difficulty=2**-24)
    # Nothing is answered, so finds pile up until every thread waits.
    await mining.until(lambda stats: stats.found >= 5)
    peer.set_difficulty(DIFFICULTY)
    peer.notify("new", prev_hash="44" * 32)
    await mining.until(lambda stats: stats.job == "new")
    submits: list[list[Any]] = []
    answering = asyncio.create_task(answer_all(peer, submits))
    await mining.until(lambda stats: stats.accepted >= 30)
    stats = await mining.end()
    await answering
    jobs = [params[1] for params in submits]
    assert jobs.count("old") <= 5  # those in flight, and the one that waited for room
    assert "old" not in jobs[6:]
    assert stats.stale > 0


async def test_a_lost_connection_leaves_its_shares_unknown_and_mining_goes_on(new_server: NewServer) -> None:
    server = await new_server()
    mining = Mining(server, threads=1, max_in_flight=3)
    peer = await server.peer()
    await peer.greet(difficulty=DIFFICULTY)
    await peer.receive_method("mining.submit")
    peer.abort()
    again = await server.peer()
    await again.greet(job_id="2", difficulty=DIFFICULTY)
    answering = asyncio.create_task(answer_all(again, []))
    stats = await mining.until(lambda stats: stats.accepted >= 3)
    assert 1 <= stats.unknown <= 3
    assert stats.connections == 2
    await mining.end()
    await answering


async def test_the_end_takes_less_than_a_second_even_with_a_server_that_is_silent(
    new_server: NewServer,
) -> None:
    server = await new_server()
    mining = Mining(server)
    peer = await server.peer()
    await peer.greet(difficulty=DIFFICULTY)
    await mining.until(lambda stats: stats.pending > 0)
    started_at = asyncio.get_running_loop().time()
    stats = await mining.end()
    # One second is promised; the tests' machines may be slower.
    assert asyncio.get_running_loop().time() - started_at < 2
    assert stats.unknown > 0
    assert stats.pending == 0


async def test_an_error_in_the_kernel_ends_the_miner(new_server: NewServer) -> None:
    class Broken:
        def scan(self, *_: Any, **__: Any) -> list[int]:
            raise ZeroDivisionError("the kernel broke")

    server = await new_server()
    client = StratumClient(
        ClientSettings(servers=(ServerUrl.parse(server.url),), user="me"), rng=random.Random(1)
    )
    miner = Miner(client, Broken(), threads=1, niceness=None)
    task = asyncio.create_task(miner.run(asyncio.Event()))
    await (await server.peer()).greet()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ZeroDivisionError):
            await task


async def test_a_find_that_is_none_is_never_sent(new_server: NewServer) -> None:
    lied, loop = asyncio.Event(), asyncio.get_running_loop()

    class Liar:
        def scan(
            self, header76: bytes, start_nonce: int, count: int, target: int, limit: int = 1
        ) -> list[int]:
            if start_nonce > 1 << 20:
                loop.call_soon_threadsafe(lied.set)
            return [start_nonce]

    server = await new_server()
    client = StratumClient(
        ClientSettings(servers=(ServerUrl.parse(server.url),), user="me"), rng=random.Random(1)
    )
    miner = Miner(client, Liar(), threads=1, niceness=None)
    stop = asyncio.Event()
    task = asyncio.create_task(miner.run(stop))
    await (await server.peer()).greet(difficulty=1e6)
    async with asyncio.timeout(DEADLINE_S):
        await lied.wait()
        stop.set()
        stats = await task
    assert stats.faulty >= 2
    assert stats.found == 0


async def test_run_miner_gives_up_when_told_not_to_try_again(new_server: NewServer) -> None:
    server = await new_server()
    await server.close()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ClientError, match="nobody listens"):
            await run_miner(
                [server.url], "me", threads=1, scanner=Scanner(), stop=asyncio.Event(), retry=False
            )


async def test_run_miner_reports_and_sleeps_as_its_duty_says(new_server: NewServer) -> None:
    server = await new_server()
    reports: list[MinerStats] = []
    stop = asyncio.Event()

    def take(stats: MinerStats) -> None:
        reports.append(stats)
        if len(reports) == 20:
            stop.set()

    task = asyncio.create_task(
        run_miner(
            [server.url],
            "me",
            threads=1,
            scanner=Scanner(),
            duty=0.1,
            stop=stop,
            on_stats=take,
            interval_s=0.05,
        )
    )
    await (await server.peer()).greet(difficulty=1e9)
    async with asyncio.timeout(DEADLINE_S):
        last = await task
    assert reports[-1] == last
    assert last.duty == 0.1
    assert last.hashes > 0


def test_a_moving_rate_starts_at_the_first_rate_and_follows() -> None:
    rate = MovingRate(time_constant_s=10.0)
    assert rate.value is None
    rate.update(0.0, 0)
    assert rate.value is None
    rate.update(1.0, 100)
    assert rate.value == pytest.approx(100)
    for second in range(2, 200):
        rate.update(second, 100 + 300 * (second - 1))
    assert rate.value == pytest.approx(300, rel=1e-6)


def test_quantiles_are_of_the_values_seen() -> None:
    latencies = Latencies()
    assert latencies.quantile_ms(0.99) is None
    for number in range(1, 101):
        latencies.add(number / 1000)
    assert latencies.quantile_ms(0.50) == pytest.approx(50)
    assert latencies.quantile_ms(0.99) == pytest.approx(99)
    assert latencies.quantile_ms(1.0) == pytest.approx(100)
