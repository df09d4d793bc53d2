"""The Stratum server over real sockets: a machine's life, every answer it can get, and what a bad peer gets."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from hashwerk.chain.block import Block
from hashwerk.errors import NodeUnavailableError, StoreFullError
from hashwerk.pool.attribution import Row
from hashwerk.pool.server import StratumServer
from hashwerk.stratum.ports import SubmitOutcome
from hashwerk.stratum.v1.limits import SessionLimits
from hashwerk.work.share import Verdict
from support.stratum import (
    EASY_BLOCK,
    FakeNode,
    MemoryLedger,
    Peer,
    make_template,
    serving,
    until,
)


class Setup:
    """A server with one template, and the means to make peers."""

    def __init__(self, server: StratumServer, node: FakeNode, ledger: MemoryLedger) -> None:
        self.server, self.node, self.ledger = server, node, ledger
        self.peers: list[Peer] = []

    async def peer(self, user: str | None = "acc.m1", *subscribe: Any, password: str = "x") -> Peer:
        peer = await Peer.connect(self.server.urls["stratum"])
        self.peers.append(peer)
        if user is not None:
            await peer.begin(user, *subscribe, password=password)
        return peer

    def verdicts(self) -> list[int]:
        return [int(v) for shares in self.ledger.shares for v in shares["verdict"]]


@pytest.fixture
async def setup(request: pytest.FixtureRequest) -> AsyncIterator[Setup]:
    """A running server; ``settings`` by indirect parametrisation."""
    options: dict[str, Any] = dict(getattr(request, "param", {}))
    node, ledger = FakeNode(), MemoryLedger()
    node.give(make_template(now=time.time(), nbits=options.pop("nbits", 0x1D00FFFF)))
    async with serving(node, ledger, **options) as server:
        setup = Setup(server, node, ledger)
        yield setup
        for peer in setup.peers:
            await peer.close()


def with_settings(**settings: Any) -> pytest.MarkDecorator:
    """Run the server with these settings."""
    return pytest.mark.parametrize("setup", [settings], indirect=True)


# --- a machine's life ----------------------------------------------------------------------------------------------


async def test_a_machine_gets_work_and_its_shares_are_stored(setup: Setup) -> None:
    peer = await setup.peer("alice.rig-1")
    assert peer.extranonce1 == "00000001"
    assert peer.difficulty == 2.0**-32
    assert peer.job is not None
    assert peer.job.clean
    assert [await peer.submit(nonce) for nonce in range(5)] == [True] * 5
    shares = setup.ledger.shares
    assert setup.ledger.stored == 5
    assert {int(row["worker"]) for rows in shares for row in rows} == {1}
    assert [int(row["nonce"]) for rows in shares for row in rows] == list(range(5))
    assert setup.ledger.sessions[peer.token].worker_id == 1


async def test_a_share_is_answered_only_once_it_is_stored(setup: Setup) -> None:
    peer = await setup.peer()
    setup.ledger.held = []
    request = peer.send("mining.submit", *peer.share(1))
    await until(lambda: setup.ledger.held)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await peer.read()
    setup.ledger.release()
    assert (await peer.answer(request))["result"] is True


async def test_each_wrong_share_gets_its_error(setup: Setup) -> None:
    peer = await setup.peer()
    assert await peer.submit(1) is True
    assert await peer.submit(1) == -22  # duplicate
    assert await peer.submit(1, ntime=f"{int(time.time()) - 10_000:08x}") == -20  # too old
    assert await peer.submit(1, ntime=f"{int(time.time()) + 8_000:08x}") == -20  # too new
    assert await peer.submit(2, job="ffff") == -21  # never sent
    assert await peer.submit(2, user="other.m") == -24  # not authorised
    assert await peer.submit(2, version="00002000") == -20  # version rolling was never negotiated
    assert await peer.submit(2, extranonce2="00") == -20  # not eight bytes
    assert await peer.submit(2) is True
    assert setup.server.statistics.accepted == 2
    assert setup.server.statistics.rejected == {
        "duplicate": 1, "time_too_old": 1, "time_too_new": 1, "unknown_job": 1, "unauthorized": 1,
        "bad_version": 1, "malformed": 1,
    }  # fmt: skip


async def test_submits_before_their_time_are_refused(setup: Setup) -> None:
    peer = await setup.peer(None)
    assert await peer.call("mining.submit", "acc.m", "1", "00" * 8, "00000000", "00000000") == -25
    await peer.call("mining.subscribe", "peer/1")
    assert await peer.call("mining.submit", "acc.m", "1", "00" * 8, "00000000", "00000000") == -24


@with_settings(start_difficulty=1.0)
async def test_a_hash_above_the_target_is_low_difficulty(setup: Setup) -> None:
    peer = await setup.peer()
    assert peer.difficulty == 1
    assert await peer.submit(1) == -23


async def test_a_new_block_makes_old_work_stale(setup: Setup) -> None:
    peer = await setup.peer()
    old = peer.job
    assert old is not None
    setup.node.give(make_template(2, now=time.time()))
    new = await peer.next_job()
    assert new.clean
    assert new.prev_hash != old.prev_hash
    assert await peer.submit(1, job=old.job_id) == -21
    assert await peer.submit(1) is True
    assert setup.verdicts() == [Verdict.STALE, Verdict.ACCEPTED]


async def test_a_refreshed_template_leaves_old_work_valid(setup: Setup) -> None:
    peer = await setup.peer()
    old = peer.job
    assert old is not None
    setup.node.give(make_template(now=time.time()))
    new = await peer.next_job()
    assert not new.clean
    assert new.job_id != old.job_id
    assert await peer.submit(1, job=old.job_id) is True
    assert await peer.submit(1) is True  # the same nonce on other work


@with_settings(job_refresh_s=0.3)
async def test_without_a_new_template_work_is_made_anew(setup: Setup) -> None:
    peer = await setup.peer()
    old = peer.job
    assert old is not None
    new = await peer.next_job()
    assert not new.clean
    assert (new.prev_hash, new.job_id != old.job_id) == (old.prev_hash, True)


async def test_a_machine_that_comes_before_the_first_template_waits_for_it() -> None:
    node, ledger = FakeNode(), MemoryLedger()
    async with serving(node, ledger) as server:
        peer = await Peer.connect(server.urls["stratum"])
        await peer.call("mining.subscribe")
        assert await peer.call("mining.authorize", "acc", "x") is True
        node.give(make_template(now=time.time()))
        assert (await peer.next_job()).clean
        peer.user = "acc"
        assert await peer.submit(0) is True
        await peer.close()


async def test_version_rolling_as_negotiated(setup: Setup) -> None:
    peer = await setup.peer(None)
    mask = {"version-rolling.mask": "ffffffff", "version-rolling.min-bit-count": 2}
    result = await peer.call("mining.configure", ["version-rolling", "unknown"], mask)
    assert result == {"version-rolling": True, "version-rolling.mask": "1fffe000", "unknown": False}
    await peer.begin()
    assert peer.job is not None
    assert peer.job.version & 0x1FFFE000 == 0
    assert await peer.submit(1, version="00002000") is True
    assert await peer.submit(1, version="00004000") is True
    assert await peer.submit(1, version="00001000") == -20
    assert [hex(row["version"]) for rows in setup.ledger.shares for row in rows][:2] == [
        "0x20002000",
        "0x20004000",
    ]


async def test_several_machines_of_one_account_on_one_connection(setup: Setup) -> None:
    peer = await setup.peer("acc.m1")
    assert await peer.call("mining.authorize", "acc.m2", "x") is True
    assert await peer.call("mining.authorize", "other.m1", "x") == -24
    assert await peer.submit(1, user="acc.m2") is True
    assert await peer.submit(2, user="acc.m1") is True
    assert [int(row["worker"]) for rows in setup.ledger.shares for row in rows] == [2, 1]


@pytest.mark.parametrize(
    ("password", "suggested", "expected"), [("x,d=4", None, 4), ("x", 0.5, 0.5), ("d=1000", None, 512)]
)
async def test_a_machine_may_ask_for_its_difficulty(
    setup: Setup, password: str, suggested: float | None, expected: float
) -> None:
    peer = await setup.peer(None)
    if suggested is not None:
        assert await peer.call("mining.suggest_difficulty", suggested) is True
    await peer.begin(password=password)
    assert peer.difficulty == expected


async def test_a_wish_while_working_brings_a_new_job(setup: Setup) -> None:
    peer = await setup.peer()
    old = peer.job
    assert old is not None
    assert await peer.call("mining.suggest_difficulty", 8) is True
    new = await peer.next_job()
    assert (peer.difficulty, new.clean, new.job_id != old.job_id) == (8, True, True)
    assert await peer.submit(1, job=old.job_id) is True  # what was under way keeps its own target
    assert await peer.submit(1) == -23


@with_settings(vardiff=True, start_difficulty=2.0**-30, min_difficulty=2.0**-32)
async def test_vardiff_raises_the_target_of_a_fast_machine(setup: Setup) -> None:
    peer = await setup.peer()
    before = peer.difficulty
    assert before is not None
    for start in range(0, 400, 40):
        for nonce in range(start, start + 40):
            peer.send("mining.submit", *peer.share(nonce))
    while peer.difficulty == before:
        await peer.read()
    assert peer.difficulty is not None
    assert peer.difficulty > before
    assert await peer.next_job()
    await until(lambda: setup.ledger.sessions[peer.token].work_log2 != 2)


# --- sessions ------------------------------------------------------------------------------------------------------


async def test_a_session_is_resumed_with_its_token(setup: Setup) -> None:
    first = await setup.peer()
    await first.call("mining.suggest_difficulty", 2**-30)
    await first.next_job()
    await first.close()
    await until(lambda: setup.ledger.sessions[first.token].ended_at is not None)
    second = await setup.peer("acc.m1", "peer/1", first.token)
    assert (second.token, second.extranonce1) == (first.token, first.extranonce1)
    assert second.difficulty == 2**-30
    assert first.job is not None
    assert await second.submit(1, job=first.job.job_id) in (
        True,
        -23,
    )  # known, and one hash in four is a share


async def test_a_machine_that_comes_back_early_replaces_its_dead_connection(setup: Setup) -> None:
    first = await setup.peer()
    second = await setup.peer("acc.m1", "peer/1", first.token)
    assert second.extranonce1 == first.extranonce1
    assert b"another connection" in await first.closed()
    await until(lambda: setup.server.sessions == 1)
    assert setup.ledger.sessions[second.token].ended_at is None


async def test_an_extranonce_declared_for_an_account_is_no_other_accounts(setup: Setup) -> None:
    first = await setup.peer("acc.m1")
    ((prefix, account),) = setup.server.admission.prefixes()
    assert prefix == b"\x04" + bytes.fromhex(first.extranonce1)
    setup.server.admission.hold_declared([Row(prefix, account)])
    await first.close()
    await until(lambda: setup.ledger.sessions[first.token].ended_at is not None)
    # The machine comes back for the same account, and then with the same token for another.
    again = await setup.peer("acc.m1", "peer/1", first.token)
    assert again.extranonce1 == first.extranonce1
    await again.close()
    await until(lambda: setup.ledger.sessions[first.token].ended_at is not None)
    other = await Peer.connect(setup.server.urls["stratum"])
    await other.call("mining.subscribe", "peer/1", first.token)
    other.send("mining.authorize", "other.m1", "x")
    assert b"another account" in await other.closed()
    await other.close()
    last = await setup.peer("other.m1", "peer/1", first.token)
    assert last.extranonce1 != first.extranonce1
    # What is declared while somebody else works with it sends him away.
    setup.server.admission.hold_declared([Row(b"\x04" + bytes.fromhex(last.extranonce1), account)])
    assert b"another account" in await last.closed()


async def test_an_unknown_token_gets_a_new_session(setup: Setup) -> None:
    first = await setup.peer()
    second = await setup.peer("acc.m1", "peer/1", "00" * 16)
    assert second.extranonce1 != first.extranonce1


# --- blocks --------------------------------------------------------------------------------------------------------


@with_settings(nbits=EASY_BLOCK)
async def test_a_block_goes_to_the_node_whole(setup: Setup) -> None:
    peer = await setup.peer()
    for nonce in range(20):
        assert await peer.submit(nonce) is True
    blocks = [Block.parse(data) for data in setup.node.blocks]
    assert 2 < len(blocks) < 20
    assert [block.state for block in setup.ledger.blocks] == ["accepted"] * len(blocks)
    assert all(block.worker_id == 1 for block in setup.ledger.blocks)
    assert len({block.hash for block in setup.ledger.blocks}) == len(blocks)


@with_settings(nbits=EASY_BLOCK)
async def test_a_block_is_handed_in_before_anything_is_asked_of_it(setup: Setup) -> None:
    peer = await setup.peer()
    old = peer.job
    assert old is not None
    setup.node.give(make_template(2, now=time.time(), nbits=EASY_BLOCK))
    await peer.next_job()
    setup.ledger.held = []  # the disk hangs
    for nonce in range(20):
        peer.send("mining.submit", *peer.share(nonce, job=old.job_id))  # stale
        peer.send("mining.submit", *peer.share(nonce, user="nobody.m"))
    await until(lambda: len(setup.node.blocks) >= 10)
    setup.ledger.release()


@with_settings(nbits=EASY_BLOCK)
async def test_a_refused_block_is_recorded_with_its_reason(setup: Setup) -> None:
    setup.node.outcome = SubmitOutcome(accepted=False, reason="bad-cb-height")
    peer = await setup.peer()
    while not setup.ledger.blocks:
        await peer.submit(len(setup.ledger.shares))
    assert (setup.ledger.blocks[0].state, setup.ledger.blocks[0].reason) == ("rejected", "bad-cb-height")


@with_settings(nbits=EASY_BLOCK)
async def test_a_node_that_is_gone_costs_no_share(setup: Setup) -> None:
    setup.node.failure = NodeUnavailableError("the node does not answer")
    peer = await setup.peer()
    assert [await peer.submit(nonce) for nonce in range(10)] == [True] * 10
    await until(lambda: setup.ledger.blocks)
    assert setup.ledger.blocks[0].reason == "the node does not answer"


# --- when things go wrong ------------------------------------------------------------------------------------------


async def test_a_full_disk_is_told_and_recovers(setup: Setup) -> None:
    peer = await setup.peer()
    setup.ledger.error = StoreFullError("no space left")
    assert await peer.submit(1) == -20
    assert setup.ledger.stored == 0
    setup.ledger.error = None
    assert await peer.submit(1) is True  # not a duplicate: it was never credited
    assert setup.server.statistics.rejected == {"not_stored": 1}


@pytest.mark.parametrize(
    "line",
    [
        b"\x00\xff\xfe garbage\n", b"{}\n", b"[]\n", b"null\n", b'{"id":1}\n', b'{"id":1,"method":5}\n',
        b'{"id":1,"method":"mining.submit","params":{}}\n', b'{"id":[],"method":"mining.submit"}\n',
        b'{"id":1,"method":"mining.unknown","params":[]}\n', b'{"id":1,"method":"mining.submit","params":[1]}\n',
        b'{"id":1,"method":"mining.authorize","params":[null]}\n', b"[" * 5000 + b"\n",
    ],
)  # fmt: skip
async def test_garbage_is_answered_and_the_session_goes_on(setup: Setup, line: bytes) -> None:
    peer = await setup.peer()
    peer.write(line + line)
    assert await peer.submit(1) is True
    assert all(message.get("error") for message in peer.others if "method" not in message)


async def test_a_user_without_an_account_is_refused(setup: Setup) -> None:
    peer = await setup.peer(None)
    await peer.call("mining.subscribe")
    for user in ("", ".rig", "   ", "a" * 64):
        assert await peer.call("mining.authorize", user, "x") == -24


async def test_a_megabyte_line_ends_the_connection(setup: Setup) -> None:
    peer, other = await setup.peer(), await setup.peer("acc.m2")
    peer.write(b'{"id":1,"method":"' + b"x" * (1 << 20))
    await peer.closed()
    assert setup.server.statistics.sessions_dropped == {"Line too long": 1}
    assert await other.submit(1) is True


@with_settings(limits=SessionLimits(soft_cost=100, hard_cost=400))
async def test_a_flood_ends_the_connection_and_nobody_elses(setup: Setup) -> None:
    flood, other = await setup.peer(), await setup.peer("acc.m2")
    flood.write(b'{"id":1,"method":"mining.nonsense","params":[]}\n' * 200)
    assert b"Too many requests" in await flood.closed()
    assert await other.submit(1) is True


@with_settings(limits=SessionLimits(soft_cost=100, hard_cost=400))
@pytest.mark.parametrize("subscribed", [False, True])
async def test_a_flood_of_worthless_shares_ends_the_connection(setup: Setup, subscribed: bool) -> None:
    flood, other = await setup.peer("acc.m1" if subscribed else None), await setup.peer("acc.m2")
    submit = b'{"id":1,"method":"mining.submit","params":["acc.m1","dead","0000000000000000","00000000","00000000"]}\n'
    flood.write(submit * 300)
    assert b"Too many requests" in await flood.closed()
    assert await other.submit(1) is True


@with_settings(limits=SessionLimits(soft_cost=100, hard_cost=4000))
async def test_a_session_that_costs_too_much_is_read_slowly(setup: Setup) -> None:
    peer, other = await setup.peer(), await setup.peer("acc.m2")
    for nonce in range(40):
        peer.send("mining.submit", *peer.share(nonce, job="dead"))
    await until(lambda: any(connection.is_throttled for connection in setup.server.connections))
    assert await other.submit(1) is True
    assert await peer.submit(99) is True  # read again once it has paid


@with_settings(write_limit_bytes=65_536)
async def test_a_machine_that_never_reads_is_closed(setup: Setup) -> None:
    peer, other = await setup.peer(), await setup.peer("acc.m2")
    peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
    ping = b'{"id":1,"method":"mining.ping","params":[]}\n'
    line = json.dumps({"id": 1, "method": "mining.submit", "params": peer.share(1)}).encode() + b"\n"
    with pytest.raises((ConnectionError, TimeoutError)):
        async with asyncio.timeout(30):
            while True:
                peer.write(line * 2000 + ping)
                await peer.writer.drain()
    await until(lambda: setup.server.sessions == 1)
    assert await other.submit(1) is True
    peer.writer.transport.abort()  # type: ignore[attr-defined]


@with_settings(limits=SessionLimits(authorize_timeout_s=0.2))
async def test_a_connection_that_says_nothing_is_closed(setup: Setup) -> None:
    peer, other = await setup.peer(None), await setup.peer()
    assert b"Not authorized in time" in await peer.closed()
    assert await other.submit(1) is True


@with_settings(max_sessions=2)
async def test_a_full_server_says_so(setup: Setup) -> None:
    await setup.peer()
    await setup.peer("acc.m2")
    third = await setup.peer(None)
    assert b"Server is full" in await third.closed()


async def test_many_machines_come_and_go_and_nothing_is_left(setup: Setup) -> None:
    for _ in range(3):
        peers = await asyncio.gather(*(setup.peer(f"acc.m{number}") for number in range(100)))
        assert all(await asyncio.gather(*(peer.submit(1) for peer in peers)))
        await asyncio.gather(*(peer.close() for peer in peers))
        await until(lambda: setup.server.sessions == 0)
        assert len(setup.server.seats) == 0
    assert setup.server.statistics.accepted == 300


async def test_lines_in_pieces_and_in_heaps_are_the_same(setup: Setup) -> None:
    peer = await setup.peer()
    lines = b"".join(
        json.dumps({"id": 100 + nonce, "method": "mining.submit", "params": peer.share(nonce)}).encode()
        + b"\n"
        for nonce in range(30)
    )
    for at in range(0, 700, 7):
        peer.write(lines[at : at + 7])
        await asyncio.sleep(0)
    peer.write(lines[700:])
    assert sorted([(await peer.read())["id"] for _ in range(30)]) == list(range(100, 130))
    assert setup.server.statistics.accepted == 30


async def test_closing_answers_what_was_read() -> None:
    node, ledger = FakeNode(), MemoryLedger()
    node.give(make_template(now=time.time()))
    async with serving(node, ledger) as server:
        peer = await Peer.connect(server.urls["stratum"])
        await peer.begin()
        ledger.held = []
        request = peer.send("mining.submit", *peer.share(1))
        await until(lambda: ledger.held)
        asyncio.get_running_loop().call_later(0.1, ledger.release)
    assert (await peer.answer(request))["result"] is True
    assert await peer.closed() == b""
    await peer.close()


@pytest.mark.parametrize("reads", [True, False])
async def test_when_it_is_closed_every_session_has_ended(reads: bool) -> None:
    node, ledger = FakeNode(), MemoryLedger()
    node.give(make_template(now=time.time()))
    async with serving(node, ledger, write_limit_bytes=1 << 24) as server:
        peer = await Peer.connect(server.urls["stratum"])
        await peer.begin()
        if not reads:  # more than the system's buffers hold waits for a machine that does not read
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for connection in server.connections:
                connection.write(b"\n" * (1 << 23))
    assert server.sessions == 0
    assert ledger.sessions[peer.token].ended_at is not None
    await peer.close()
