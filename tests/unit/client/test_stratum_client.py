"""The Stratum client against servers that behave well, badly, or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from hashwerk.client.events import (
    ClientEvent,
    Connected,
    ConnectFailed,
    Disconnected,
    ServerMessage,
    ShareAccepted,
    ShareRejected,
    Submission,
    Work,
    WorkReceived,
)
from hashwerk.client.settings import ClientSettings, ServerUrl
from hashwerk.client.stratum_client import EventQueue, StratumClient
from hashwerk.errors import ClientError
from hashwerk.stratum.v1.client import ClientJob

DEADLINE_S = 10.0
NewServer = Callable[[], Awaitable[Any]]
E = TypeVar("E")


class Running:
    """A client that runs, and its events."""

    def __init__(self, client: StratumClient) -> None:
        self.client = client

    async def event(self, kind: type[E]) -> E:
        """Return the next event of a kind; others before it are left out."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                event: ClientEvent = await self.client.next_event()
                if isinstance(event, kind):
                    return event

    async def submit(self, work: Work, nonce: int = 7) -> bool:
        """Hand in a share."""
        share = Submission(work, extranonce2=bytes(8), ntime=work.job.ntime, nonce=nonce, version_bits=0x2000)
        async with asyncio.timeout(DEADLINE_S):
            return await self.client.submit(share)


@asynccontextmanager
async def running(*servers: Any, **settings: Any) -> AsyncIterator[Running]:
    """Run a client against some servers, with short times."""
    defaults: dict[str, Any] = {"retry_min_s": 0.01, "retry_max_s": 0.05, "close_timeout_s": 0.1}
    client = StratumClient(
        ClientSettings(
            servers=tuple(ServerUrl.parse(server.url) for server in servers),
            user="me.rig",
            **defaults | settings,
        ),
        rng=random.Random(1),
    )
    task = asyncio.create_task(client.run())
    try:
        yield Running(client)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_the_handshake_leads_to_a_job_with_everything_a_header_needs(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server) as client:
        peer = await server.peer()
        await peer.greet(job_id="a1", difficulty=0.5, extranonce1="0000002a")
        assert (await client.event(Connected)).server.port == server.port
        job = (await client.event(WorkReceived)).work.job
        assert job.job_id == "a1"
        assert job.extranonce1 == bytes.fromhex("0000002a")
        assert job.extranonce2_size == 8
        assert job.version_mask == 0x1FFFE000
        assert job.difficulty == 0.5


async def test_a_share_is_sent_in_the_protocols_form_and_its_answer_comes_back(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server) as client:
        peer = await server.peer()
        await peer.greet(job_id="a1")
        work = (await client.event(WorkReceived)).work
        assert await client.submit(work, nonce=0x0000ABCD)
        message = await peer.receive_method("mining.submit")
        assert message["params"] == ["me.rig", "a1", "00" * 8, "65000000", "0000abcd", "00002000"]
        assert client.client.in_flight == 1
        peer.send({"id": message["id"], "result": True, "error": None})
        accepted = await client.event(ShareAccepted)
        assert accepted.share.nonce == 0xABCD
        assert accepted.latency_s > 0
        await client.client.settled()
        assert client.client.in_flight == 0


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ({"result": None, "error": [23, "Low difficulty share", None]}, 23, "low difficulty"),
        ({"result": False, "error": None, "reject-reason": "Above target"}, None, "above target"),
        ({"result": False, "error": "Stale"}, None, "stale"),
    ],
)
async def test_a_refusal_keeps_its_reason_in_every_form_servers_use(
    new_server: NewServer, answer: dict[str, Any], code: int | None, said: str
) -> None:
    server = await new_server()
    async with running(server) as client:
        peer = await server.peer()
        await peer.greet()
        work = (await client.event(WorkReceived)).work
        assert await client.submit(work)
        message = await peer.receive_method("mining.submit")
        peer.send({"id": message["id"], **answer})
        rejected = await client.event(ShareRejected)
        assert rejected.code == code
        assert said in rejected.reason.lower()


async def test_shares_unanswered_at_the_end_of_a_connection_are_unknown(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server) as client:
        peer = await server.peer()
        await peer.greet(job_id="a1")
        work = (await client.event(WorkReceived)).work
        assert await client.submit(work, nonce=1)
        assert await client.submit(work, nonce=2)
        await peer.receive_method("mining.submit")
        await peer.receive_method("mining.submit")
        peer.abort()
        gone = await client.event(Disconnected)
        assert [share.nonce for share in gone.unknown] == [1, 2]
        assert not await client.submit(work, nonce=3)
        # and the same server is tried again
        again = await server.peer()
        await again.greet(job_id="a2")
        assert (await client.event(WorkReceived)).work.job.job_id == "a2"


async def test_a_session_is_resumed_with_the_servers_token(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server) as client:
        peer = await server.peer()
        await peer.greet(token="cafe01")
        await client.event(WorkReceived)
        assert len(peer.subscribed_with) == 1
        peer.close()
        again = await server.peer()
        await again.greet()
        assert again.subscribed_with[1] == "cafe01"


async def test_a_server_nobody_listens_at_gives_way_to_the_next(new_server: NewServer) -> None:
    gone, server = await new_server(), await new_server()
    await gone.close()
    async with running(gone, server) as client:
        peer = await server.peer()
        failed = await client.event(ConnectFailed)
        assert failed.server.port == gone.port
        assert "nobody listens" in failed.reason
        await peer.greet()
        assert (await client.event(Connected)).server.port == server.port


async def test_a_server_that_never_gives_a_job_is_left(new_server: NewServer) -> None:
    silent, server = await new_server(), await new_server()
    async with running(silent, server, handshake_timeout_s=0.1) as client:
        await silent.peer()
        failed = await client.event(ConnectFailed)
        assert "no job" in failed.reason
        await (await server.peer()).greet()
        assert (await client.event(Connected)).server.port == server.port


async def test_a_live_connection_that_sends_no_more_jobs_is_left(new_server: NewServer) -> None:
    stuck, server = await new_server(), await new_server()
    async with running(stuck, server, silence_timeout_s=0.15, retry_min_s=5, retry_max_s=5) as client:
        peer = await stuck.peer()
        await peer.greet()
        await client.event(WorkReceived)
        gone = await client.event(Disconnected)
        assert "no new job" in gone.reason
        await (await server.peer()).greet()
        assert (await client.event(Connected)).server.port == server.port


async def test_jobs_keep_a_connection_alive(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server, silence_timeout_s=0.3) as client:
        peer = await server.peer()
        await peer.greet(job_id="0")
        await client.event(WorkReceived)
        started_at = asyncio.get_running_loop().time()
        number = 0
        while asyncio.get_running_loop().time() < started_at + 0.6:
            number += 1
            peer.notify(f"{number:x}")
            assert (await client.event(WorkReceived)).work.job.job_id == f"{number:x}"
        assert server.peers.empty()


async def test_a_share_that_is_never_answered_ends_the_connection(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server, reply_timeout_s=0.1) as client:
        await (await server.peer()).greet()
        work = (await client.event(WorkReceived)).work
        assert await client.submit(work)
        gone = await client.event(Disconnected)
        assert "not answered" in gone.reason
        assert len(gone.unknown) == 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe not json\n",
        b"[1,2,3]\n" * 50,
        b'{"id":null,"method":"mining.notify","params":["1","zz"]}\n',
        b"x" * 70_000,
        b'{"id":2,"result":"no","error":null}\n{"id":1,"result":7,"error":null}\n',
    ],
    ids=["bytes", "wrong shape", "broken job", "endless line", "wrong answers"],
)
async def test_garbage_never_stops_the_client(new_server: NewServer, garbage: bytes) -> None:
    bad, good = await new_server(), await new_server()
    async with running(
        bad, good, handshake_timeout_s=0.3, max_line_bytes=65_536, retry_min_s=5, retry_max_s=5
    ) as client:
        (await bad.peer()).send_raw(garbage)
        await (await good.peer()).greet()
        assert (await client.event(Connected)).server.port == good.port


async def test_the_client_goes_back_to_the_preferred_server_when_it_has_proven_itself(
    new_server: NewServer,
) -> None:
    preferred, standin = await new_server(), await new_server()
    port = preferred.port
    await preferred.close()
    async with running(preferred, standin, return_check_s=0.05, return_proof_s=0.2) as client:
        second = await standin.peer()
        await second.greet(job_id="b1")
        work = (await client.event(WorkReceived)).work
        assert await client.submit(work, nonce=1)
        message = await second.receive_method("mining.submit")
        await preferred.listen()
        assert preferred.port == port
        first = await preferred.peer()
        await first.greet(job_id="a1", extranonce1="00000001")
        # While it is under proof, the stand-in goes on giving work.
        second.notify("b2")
        assert (await client.event(WorkReceived)).work.job.job_id == "b2"
        assert (await client.event(Connected)).server.port == port
        assert (await client.event(WorkReceived)).work.job.job_id == "a1"
        # The stand-in may still answer what it was sent, but gets no more.
        assert not await client.submit(work, nonce=2)
        second.send({"id": message["id"], "result": True, "error": None})
        assert (await client.event(ShareAccepted)).share.nonce == 1
        gone = await client.event(Disconnected)
        assert gone.server.port == standin.port
        assert gone.unknown == ()


async def test_a_preferred_server_that_fails_its_proof_costs_nothing(new_server: NewServer) -> None:
    preferred, standin = await new_server(), await new_server()
    await preferred.close()
    async with running(preferred, standin, return_check_s=0.05, return_proof_s=30) as client:
        second = await standin.peer()
        await second.greet(job_id="b1")
        await client.event(WorkReceived)
        await preferred.listen()
        first = await preferred.peer()
        await first.greet(job_id="a1")
        first.abort()
        assert (await client.event(ConnectFailed)).server.port == preferred.port
        second.notify("b2")
        event = await client.event(WorkReceived)
        assert event.work.job.job_id == "b2"
        assert await client.submit(event.work)


async def test_reconnect_is_obeyed_at_the_configured_server_only(new_server: NewServer) -> None:
    server, elsewhere = await new_server(), await new_server()
    async with running(server) as client:
        peer = await server.peer()
        await peer.greet()
        await client.event(Connected)
        peer.send({"id": None, "method": "client.reconnect", "params": ["127.0.0.1", elsewhere.port, 0]})
        assert "reconnect" in (await client.event(Disconnected)).reason
        await (await server.peer()).greet()
        await client.event(Connected)
        assert elsewhere.peers.empty()


async def test_a_message_to_people_is_passed_on(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server) as client:
        peer = await server.peer()
        await peer.greet()
        peer.send({"id": None, "method": "client.show_message", "params": ["hello miners"]})
        assert (await client.event(ServerMessage)).text == "hello miners"


async def test_more_shares_than_may_be_in_flight_wait_for_answers(new_server: NewServer) -> None:
    server = await new_server()
    async with running(server, max_in_flight=2) as client:
        peer = await server.peer()
        await peer.greet()
        work = (await client.event(WorkReceived)).work
        assert await client.submit(work, nonce=1)
        assert await client.submit(work, nonce=2)
        third = asyncio.create_task(client.submit(work, nonce=3))
        messages = [await peer.receive_method("mining.submit") for _ in range(2)]
        assert client.client.in_flight == 2
        assert not third.done()
        peer.send({"id": messages[0]["id"], "result": True, "error": None})
        assert await third
        assert (await peer.receive_method("mining.submit"))["params"][4] == "00000003"


async def test_without_retry_the_client_gives_up_when_every_server_has_failed(new_server: NewServer) -> None:
    servers = [await new_server(), await new_server()]
    for server in servers:
        await server.close()
    settings = ClientSettings(
        servers=tuple(ServerUrl.parse(server.url) for server in servers), user="me", retry=False
    )
    client = StratumClient(settings, rng=random.Random(1))
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ClientError) as caught:
            await client.run()
    for server in servers:
        assert str(server.port) in str(caught.value)


def _job(job_id: str, *, connection: int = 1, clean: bool) -> WorkReceived:
    job = ClientJob(
        job_id=job_id,
        prev_hash=bytes(32),
        coinbase1=b"",
        coinbase2=b"",
        branch=(),
        version=0x20000000,
        nbits=0x1D00FFFF,
        ntime=0,
        clean=clean,
        extranonce1=b"",
        extranonce2_size=8,
        version_mask=0,
        difficulty=1,
    )
    return WorkReceived(Work(connection, job), clean=clean)


async def test_of_jobs_nobody_took_only_the_last_is_kept() -> None:
    queue = EventQueue(10)
    other = _job("0", connection=2, clean=False)
    for event in (
        other,
        _job("1", clean=False),
        _job("2", clean=True),
        ServerMessage("hi"),
        _job("3", clean=False),
    ):
        await queue.put(event)
    assert await queue.get() == other
    assert await queue.get() == ServerMessage("hi")
    last = await queue.get()
    assert isinstance(last, WorkReceived)
    assert last.work.job.job_id == "3"
    assert last.clean  # what job 2 said stays true


async def test_a_full_queue_makes_the_sender_wait() -> None:
    queue = EventQueue(1)
    await queue.put(ServerMessage("1"))
    second = asyncio.create_task(queue.put(ServerMessage("2")))
    await asyncio.sleep(0)
    assert not second.done()
    assert await queue.get() == ServerMessage("1")
    await second
    assert await queue.get() == ServerMessage("2")


async def test_a_candidate_under_proof_takes_over_at_once_when_the_stand_in_is_lost(
    new_server: NewServer,
) -> None:
    preferred, standin = await new_server(), await new_server()
    await preferred.close()
    async with running(preferred, standin, return_check_s=0.05, return_proof_s=30) as client:
        second = await standin.peer()
        await second.greet(job_id="b1")
        await client.event(WorkReceived)
        await preferred.listen()
        first = await preferred.peer()
        await first.greet(job_id="a1")
        # Once it has answered this, the client has read the job that came before.
        first.send({"id": "here", "method": "client.get_version", "params": []})
        while (message := await first.receive()) is not None and message["id"] != "here":
            first.answer_handshake(message)
        second.abort()
        assert (await client.event(Connected)).server.port == preferred.port
        assert (await client.event(WorkReceived)).work.job.job_id == "a1"
        assert preferred.peers.empty()  # on the very connection that was under proof


async def test_a_candidate_without_a_job_does_not_hold_up_the_stand_ins_return(new_server: NewServer) -> None:
    preferred, standin = await new_server(), await new_server()
    await preferred.close()
    async with running(preferred, standin, return_check_s=0.05, handshake_timeout_s=5) as client:
        second = await standin.peer()
        await second.greet(job_id="b1")
        await client.event(WorkReceived)
        await preferred.listen()
        await preferred.peer()  # listens, and says nothing
        second.abort()
        await preferred.close()
        await (await standin.peer()).greet(job_id="b2")
        assert (await client.event(WorkReceived)).work.job.job_id == "b2"
