"""Any bytes, split anyhow, read by the scanner or by the session: the same events and the same answers."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.stratum.v1.client import ClientSession
from hashwerk.stratum.v1.codec import ProtocolError, decode_message, encode_verdict
from hashwerk.stratum.v1.events import (
    AuthorizeRequested,
    Event,
    SubmitReceived,
    SubscribeRequested,
    Throttled,
)
from hashwerk.stratum.v1.results import encode_results
from hashwerk.stratum.v1.server import Extranonce, ServerSession, SessionState
from hashwerk.work.share import Verdict
from support.stratum_sessions import active_session, lines, make_job, new_session, receive_scanned

HEX = "0123456789abcdefABCDEF"
space = st.sampled_from(["", "", "", " ", "\t", "  "])
usual_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
any_text = st.text(max_size=12)


def hexadecimal(low: int, high: int) -> st.SearchStrategy[str]:
    return st.text(st.sampled_from(HEX), min_size=low, max_size=high)


@st.composite
def submit_lines(draw: st.DrawFn) -> bytes:
    """A mining.submit as some miner might write it, mostly well."""
    gap = draw(space)
    exact8 = hexadecimal(8, 8)
    params: list[Any] = [
        draw(st.one_of(usual_text, any_text)),
        draw(hexadecimal(1, 8) | st.sampled_from(["", "123456789", "x"])),
        draw(hexadecimal(1, 8).map(lambda half: half + half) | hexadecimal(0, 18)),
        draw(exact8 | hexadecimal(7, 9)),
        draw(exact8),
        *draw(st.sampled_from([[], [], [None]]) | exact8.map(lambda bits: [bits])),
    ]
    ascii_only = draw(st.booleans())
    fields = {
        "id": json.dumps(draw(st.integers(0, 2**64) | st.none() | usual_text)),
        "method": '"mining.submit"',
        "params": "["
        + f"{gap},{gap}".join(json.dumps(param, ensure_ascii=ascii_only) for param in params)
        + "]",
    }
    if draw(st.booleans()):
        fields["jsonrpc"] = '"2.0"'
    names = draw(st.permutations(list(fields)))
    body = f"{gap},{gap}".join(f'"{name}"{gap}:{gap}{fields[name]}' for name in names)
    return f"{gap}{{{gap}{body}{gap}}}{gap}".encode("utf-8", "replace")


@st.composite
def damaged(draw: st.DrawFn, source: st.SearchStrategy[bytes]) -> bytes:
    """A line with one byte changed, put in or taken away."""
    line = draw(source)
    at = draw(st.integers(0, len(line)))
    new = draw(st.binary(max_size=1))
    return line[:at] + new + line[at + draw(st.integers(0, 1)) :]


METHODS = [
    "subscribe",
    "authorize",
    "configure",
    "suggest_difficulty",
    "extranonce.subscribe",
    "ping",
    "other",
]
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=6,
)
requests = st.fixed_dictionaries(
    {"method": st.sampled_from(METHODS).map("mining.".__add__)},
    optional={
        "id": values,
        "params": st.lists(values, max_size=3) | values,
        "result": values,
        "error": values,
    },
).map(lambda request: json.dumps(request).encode("utf-8", "replace"))
any_line = st.one_of(
    submit_lines(), submit_lines(), damaged(submit_lines()), requests, st.binary(max_size=60)
)
streams = st.lists(st.tuples(any_line, st.sampled_from([b"\n", b"\n", b"\r\n"])), max_size=8).map(
    lambda parts: b"".join(line + end for line, end in parts)
)
#: Nothing here is about cost: sessions that are never held back.
FREE = {"soft_cost": 1e9, "hard_cost": 1e9}


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(at)]


@settings(max_examples=150, deadline=None)
@given(streams, st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_gives_the_same_events_on_both_paths(data: bytes, cuts: list[int]) -> None:
    whole, pieces, scanned = (active_session(**FREE) for _ in range(3))
    expected = whole.receive_data(data, 1.0)
    assert [event for part in split(data, cuts) for event in pieces.receive_data(part, 1.0)] == expected
    assert [
        event for part in split(data, cuts) for event in receive_scanned(scanned, part, 1.0)[0]
    ] == expected
    answers = whole.data_to_send()
    assert pieces.data_to_send() == scanned.data_to_send() == answers
    lines(answers)  # every answer is JSON
    assert scanned.export(1.0) == pieces.export(1.0) == whole.export(1.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(submit_lines(), min_size=1, max_size=5))
def test_usual_shares_are_scanned(parts: list[bytes]) -> None:
    """Not only refused: whatever a row could hold is a row."""
    data = b"".join(line + b"\n" for line in parts)
    events, scanned = receive_scanned(active_session(**FREE), data, 1.0)
    usual = [
        event
        for event in events
        if isinstance(event, SubmitReceived)
        and isinstance(event.id, int)
        and event.id < 10**19
        and event.user.isascii()
        and event.user.isprintable()
        and not set(event.user) & set('"\\')
    ]
    assert scanned == len(usual)


def drive(session: ServerSession, events: list[Event]) -> None:
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
        session.send_job(make_job(), True, 1.0)


@settings(max_examples=150, deadline=None)
@given(st.lists(any_line, max_size=12))
def test_nothing_a_peer_says_raises_and_a_copy_goes_on_alike(parts: list[bytes]) -> None:
    session = new_session()
    copy = new_session()
    for part in parts:
        line = part.replace(b"\n", b"")
        for one in (session, copy):
            drive(one, one.receive_line(line, 1.0))
        saved = msgspec.msgpack.encode(copy.export(1.0))
        copy = ServerSession.from_state(msgspec.msgpack.decode(saved, type=SessionState), copy.limits)
    assert copy.export(1.0) == session.export(1.0)
    lines(session.data_to_send())


@settings(max_examples=150, deadline=None)
@given(st.lists(any_line, max_size=12))
def test_every_request_with_an_id_has_exactly_one_answer(parts: list[bytes]) -> None:
    session = active_session(**FREE)
    for number, part in enumerate(parts, 1000):
        try:
            request = json.loads(part)
        except ValueError:
            continue
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            continue
        request["id"] = number
        line = json.dumps(request).encode()
        if decode_message(line) == ProtocolError(None, "Not a JSON object"):  # half a surrogate pair
            continue
        events = session.receive_line(line, 1.0)
        assert not any(isinstance(event, Throttled) for event in events)
        drive(session, events)
        answers = [line["id"] for line in lines(session.data_to_send()) if line["id"] is not None]
        assert answers == [number]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        any_line | requests.map(lambda line: line.replace(b"mining.other", b"mining.notify")), max_size=8
    )
)
def test_no_server_makes_a_client_raise(parts: list[bytes]) -> None:
    data = b'{"id":2,"result":[[],"0a",4],"error":null}\n' + b"".join(part + b"\n" for part in parts)
    whole, pieces = ClientSession(user="u"), ClientSession(user="u")
    expected = whole.receive_data(data, 0.0)
    assert [
        event for i in range(len(data)) for event in pieces.receive_data(data[i : i + 1], 0.0)
    ] == expected
    assert pieces.data_to_send() == whole.data_to_send()


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.sampled_from(Verdict)), max_size=30))
def test_answers_written_in_bulk_are_those_written_singly(answers: list[tuple[int, Verdict]]) -> None:
    ids = np.array([request_id for request_id, _ in answers], np.uint64)
    verdicts = np.array([verdict for _, verdict in answers], np.uint8)
    assert encode_results(ids, verdicts) == b"".join(encode_verdict(i, verdict) for i, verdict in answers)
