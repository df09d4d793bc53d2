"""The pool that tests of the upstream proxy are run against: a decent one, and all the ways in which it can be none."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from hashwerk.client.events import ShareAccepted, Submission, WorkReceived
from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.client.stratum_client import StratumClient
from support.stratum import Peer
from support.upstream import Chain, PoolJob, ScriptedPool, find_nonce, scripted_pool

EASY = 2.0**-30


async def connect(pool: ScriptedPool, user: str = "acct.m1", mask: str | None = None) -> Peer:
    peer = await Peer.connect(pool.url)
    if mask is not None:
        await peer.call("mining.configure", ["version-rolling"], {"version-rolling.mask": mask})
    await peer.begin(user)
    return peer


def job_of(pool: ScriptedPool, peer: Peer) -> PoolJob:
    assert peer.job is not None
    return pool.sessions[-1].jobs[peer.job.job_id]


async def hand_in(pool: ScriptedPool, peer: Peer, number: int = 0, **changes: object) -> object:
    job = job_of(pool, peer)
    extranonce2 = number.to_bytes(job.extranonce2_size, "big")
    nonce = find_nonce(job, extranonce2)
    return await peer.submit(nonce, **{"extranonce2": extranonce2.hex(), **changes})


async def test_a_share_is_checked_completely_and_kept() -> None:
    async with scripted_pool(difficulty=EASY) as pool:
        peer = await connect(pool)
        assert await hand_in(pool, peer) is True
        assert await hand_in(pool, peer) == -22
        assert await hand_in(pool, peer, 1, extranonce2="00" * 7) == -20
        assert await hand_in(pool, peer, 2, user="acct.m2") == -24
        assert await hand_in(pool, peer, 3, job="dead") == -21
        assert await hand_in(pool, peer, 4, ntime="00000001") == -20
        nonce = find_nonce(job_of(pool, peer), bytes(8), meets=False)
        assert await peer.submit(nonce) == -23
        assert await peer.call("mining.submit", *peer.share(0), "00000000") == -20  # no bits were negotiated
        assert [share.refused is None for share in pool.shares] == [True] + [False] * 7
        assert (len(pool.accepted), len(pool.rejected)) == (1, 7)
        assert len(pool.violations) == 7
        share = pool.accepted[0]
        assert (share.user, share.difficulty, share.answered) == ("acct.m1", EASY, True)
        assert int.from_bytes(share.hash, "little") <= (0xFFFF << 208) * 2**30
        assert pool.passwords == {"x"}
        await peer.close()


async def test_our_own_client_mines_for_it() -> None:
    async with scripted_pool(difficulty=EASY) as pool:
        settings = ClientSettings(servers=(ServerUrl.parse(pool.url),), user="acct.m1")
        client = StratumClient(settings, rng=random.Random(1))
        run = asyncio.create_task(client.run())
        try:
            async with asyncio.timeout(10):
                while not isinstance(event := await client.next_event(), WorkReceived):
                    continue
                work = event.work
                for number in range(3):
                    extranonce2 = number.to_bytes(8, "big")
                    bits = number << 13
                    job = pool.sessions[0].jobs[work.job.job_id]
                    nonce = find_nonce(job, extranonce2, bits)
                    assert await client.submit(Submission(work, extranonce2, work.job.ntime, nonce, bits))
                    while not isinstance(event := await client.next_event(), ShareAccepted):
                        continue
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        assert len(pool.accepted) == 3
        assert pool.violations == []


async def test_version_bits_must_be_of_the_mask_and_a_change_has_a_grace() -> None:
    async with scripted_pool(difficulty=EASY) as pool:
        peer = await connect(pool, mask="1fffe000")
        job = job_of(pool, peer)

        async def rolled(bits: int, number: int) -> object:
            extranonce2 = number.to_bytes(8, "big")
            nonce = find_nonce(job, extranonce2, bits)
            return await peer.call(
                "mining.submit", *peer.share(nonce, extranonce2=extranonce2.hex()), f"{bits:08x}"
            )

        assert await rolled(0x2000, 1) is True
        assert await rolled(0x1000, 2) == -23
        pool.set_version_mask(0x0000E000)
        assert (await peer.read())["params"] == ["0000e000"]
        assert await rolled(0x10000000, 3) is True
        pool.sessions[0].masks[-1] = (0.0, 0xE000)
        assert await rolled(0x10000000, 4) == -23
        await peer.close()


async def test_old_work_is_stale_and_a_new_difficulty_counts_from_the_next_job() -> None:
    chain = Chain()
    async with scripted_pool(difficulty=EASY, chain=chain) as pool, scripted_pool(chain=chain) as other:
        peer, elsewhere = await connect(pool), await connect(other)
        old = peer.job
        pool.set_difficulty(2.0**-24, with_job=False)
        assert await hand_in(pool, peer) is True  # the job was sent for less
        chain.advance()
        assert (await peer.next_job()).prev_hash == (await elsewhere.next_job()).prev_hash
        assert peer.difficulty == 2.0**-24
        assert job_of(pool, peer).difficulty == 2.0**-24
        peer.job = old
        assert await hand_in(pool, peer, 1) == -21
        assert pool.violations == []
        pool.stuck = True
        chain.advance()
        assert (await elsewhere.next_job()).clean
        pool.send_job()
        assert (await peer.next_job()).prev_hash != elsewhere.job.prev_hash  # type: ignore[union-attr]
        await peer.close()
        await elsewhere.close()


async def test_an_extranonce_changes_for_the_jobs_that_follow() -> None:
    async with scripted_pool(difficulty=EASY) as pool:
        peer = await connect(pool)
        first = peer.job
        pool.set_extranonce(4)
        job = await peer.next_job()
        assert peer.extranonce1 == "00000001"
        assert pool.sessions[0].extranonce1 == b"\0\0\0\2"
        assert await hand_in(pool, peer) is True
        assert pool.sessions[0].jobs[job.job_id].extranonce2_size == 4
        peer.job = first
        assert await hand_in(pool, peer, 1) is True
        await peer.close()


async def test_it_misbehaves_as_told() -> None:
    async with scripted_pool(difficulty=EASY, string_errors=True, second_names=False) as pool:
        peer = await connect(pool)
        assert (await peer.answer(peer.send("mining.authorize", "acct.m2", "x")))["reject-reason"]
        pool.refusal = (20, "we are closed")
        answer = await peer.answer(
            peer.send("mining.submit", *peer.share(find_nonce(job_of(pool, peer), bytes(8))))
        )
        assert (answer["result"], answer["reject-reason"]) == (False, "we are closed")
        pool.refusal = None
        pool.silent = True
        peer.send("mining.submit", *peer.share(find_nonce(job_of(pool, peer), bytes(8), first=10_000)))
        await pool.until(lambda pool: len(pool.shares) == 2)
        assert not pool.shares[1].answered
        pool.silent = False
        pool.huge = True
        pool.send_job()
        huge = await peer.next_job()
        assert len(huge.branch) == 16
        assert len(huge.coinbase2) > 12_000
        assert await hand_in(pool, peer) is True
        pool.send_half_a_job()
        pool.tell_all("client.show_message", "in between")
        pool.send_the_rest()
        assert (await peer.next_job()).job_id != huge.job_id
        assert (await peer.read())["params"] == ["in between"]
        pool.answer_after_s = 0.05
        assert await hand_in(pool, peer, 5) is True
        pool.tell_all("client.show_message", "hello")
        assert (await peer.read())["params"] == ["hello"]
        pool.send_raw(b"\xff\x00 garbage\n")
        with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
            await peer.read()
        await pool.refuse()
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", pool.port)
        await peer.close()
        await pool.listen()
        again = await connect(pool)
        pool.close_all()
        assert await again.closed() == b""
        await again.close()


async def test_an_old_user_of_another_account_is_refused() -> None:
    async with scripted_pool() as pool:
        peer = await Peer.connect(pool.url)
        await peer.call("mining.subscribe", "peer/1")
        assert await peer.call("mining.authorize", "other.m1", "secret") == -24
        assert pool.passwords == {"secret"}
        with pytest.raises(AssertionError, match="not within"):
            await pool.until(lambda pool: pool.shares, within_s=0.05)
        await peer.close()
