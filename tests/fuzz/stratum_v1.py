"""What must hold for any bytes a Stratum peer may send. The fuzzer looks for bytes for which it does not.

Input: the first byte says how the rest is cut into pieces; the rest is the stream.
"""

from __future__ import annotations

import msgspec

from hashwerk.stratum.v1.client import ClientSession
from hashwerk.stratum.v1.codec import decode_message
from hashwerk.stratum.v1.events import (
    AuthorizeRequested,
    Closed,
    Event,
    SubmitReceived,
    SubscribeRequested,
)
from hashwerk.stratum.v1.limits import SessionLimits
from hashwerk.stratum.v1.server import Extranonce, ServerSession, SessionState, State
from support.stratum_sessions import active_session, lines, make_job, new_session, receive_scanned

#: Sessions that are never held back: where cost is in play, how lines come in one read matters.
_FREE = {"soft_cost": 1e9, "hard_cost": 1e9}


def check(data: bytes) -> None:
    """Raise if a server or client session does with these bytes what it must not."""
    if not data:
        return
    step, stream = data[0] % 64 + 1, data[1:]
    pieces = [stream[at : at + step] for at in range(0, len(stream), step)]
    for line in stream.split(b"\n"):
        decode_message(line)
    check_paths(stream, pieces)
    check_server(pieces)
    check_client(stream, pieces)


def check_paths(stream: bytes, pieces: list[bytes]) -> None:
    """Read whole, in pieces, or by the scanner: the same events and answers."""
    whole, split, scanned = (active_session(**_FREE) for _ in range(3))
    expected = whole.receive_data(stream, 1.0)
    assert [event for piece in pieces for event in split.receive_data(piece, 1.0)] == expected
    assert [event for piece in pieces for event in receive_scanned(scanned, piece, 1.0)[0]] == expected
    sent = whole.data_to_send()
    assert split.data_to_send() == sent
    assert scanned.data_to_send() == sent
    assert whole.export(1.0) == split.export(1.0) == scanned.export(1.0)


def check_server(pieces: list[bytes]) -> None:
    """Under real limits, with a driver that answers: every line sent is JSON, and a copy goes on alike."""
    session = new_session()
    for number, piece in enumerate(pieces):
        now = number / 10
        events = session.receive_data(piece, now)
        _answer(session, events, now)
        closed = any(isinstance(event, Closed) for event in events)
        assert closed == (session.state is State.CLOSED) or session.state is State.CLOSED
        lines(session.data_to_send())
        saved = msgspec.msgpack.decode(msgspec.msgpack.encode(session.export(now)), type=SessionState)
        copy = ServerSession.from_state(saved, SessionLimits())
        assert copy.export(now) == session.export(now)


def _answer(session: ServerSession, events: list[Event], now: float) -> None:
    for event in events:
        match event:
            case SubscribeRequested(id=request_id):
                session.accept_subscribe(request_id, Extranonce(7), "t")
            case AuthorizeRequested(id=request_id, user=user):
                session.accept_authorize(request_id, user, 1)
            case SubmitReceived(id=request_id):
                session.accept_share(request_id)
            case _:
                pass
    if session.is_active and session.sent_work_log2 is None:
        session.send_job(make_job(), True, now)


def check_client(stream: bytes, pieces: list[bytes]) -> None:
    """The same bytes from a server: the same events however they are cut, and requests that are JSON."""
    hello = b'{"id":2,"result":[[["mining.notify","t"]],"0a",4],"error":null}\n'
    whole, split = (ClientSession(user="u", host="stratum.pool.example") for _ in range(2))
    expected = whole.receive_data(hello + stream, 0.0)
    assert [event for piece in [hello, *pieces] for event in split.receive_data(piece, 0.0)] == expected
    sent = whole.data_to_send()
    assert split.data_to_send() == sent
    lines(sent)
