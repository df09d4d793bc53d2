"""Whatever a machine sends, the parsers return or raise `DecodeError`, quickly."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.devices.avalon.fields import Fields
from hashwerk.devices.cgminer_reply import Reply, decode_reply
from hashwerk.errors import DecodeError

#: What machines' replies are made of, so that random sequences come near to real ones.
_PIECES = st.sampled_from(
    [
        '{"STATUS":[', '{"STATUS":"S","When":1,', '"Code":70,', '"Msg":"CGMiner stats"}]', ',"STATS":[{"MM ID0":"', "Ver[Q-1]",
        " PS[0 1221 4 0 0 2245 146]", "GHSspd[0.00]", '"}]', ',"id":1}', "\x00", ",", "}", "{", "[", "]", '"', "\\", "inf", "nan",
        ":", '"version":[', "STATUS=S,When=1,", "Msg=OK|", "|", "=", "\n", "é", "[,{", "}{", '""temp0":1',
    ]
)  # fmt: skip

_WHOLE = {
    "STATUS": [{"STATUS": "S", "When": 1_753_431_749, "Code": 70, "Msg": "CGMiner stats"}],
    "STATS": [{"STATS": 0, "MM ID0": "SYSTEMSTATU[Work: In Idle, Hash Board: 1] GHSspd[0.00] PS[0 1 2]"}],
    "id": 1,
}


def _decode(data: bytes) -> Reply | None:
    try:
        return decode_reply(data)
    except DecodeError:
        return None


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_reply_or_a_decode_error(data: bytes) -> None:
    reply = _decode(data)
    assert reply is None or isinstance(reply, Reply)


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECES, max_size=40))
def test_pieces_of_replies_give_a_reply_or_a_decode_error(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    reply = _decode(data)
    assert reply is None or isinstance(reply, Reply)


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=0, max_value=len(json.dumps(_WHOLE))))
def test_a_reply_cut_anywhere_keeps_what_came_whole(cut: int) -> None:
    reply = _decode(json.dumps(_WHOLE).encode()[:cut])
    if reply is None:
        return
    assert reply.status is None or reply.status.letter == "S" or not reply.sections
    for entry in reply.sections.get("STATS", ()):
        assert set(entry) <= {"STATS", "MM ID0"}


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gives_fields(text: str) -> None:
    fields = Fields(text)
    assert fields.number("PS") is None or isinstance(fields.number("PS"), float)
    assert isinstance(fields.numbers("PS"), tuple)


_HOSTILE = 400_000
HOSTILE = {
    "letters": b"{" + b"a" * _HOSTILE,
    "quotes": b'{"' + b'\\"' * (_HOSTILE // 2),
    "opened": b"{" + b'"a":[' * (_HOSTILE // 5),
    "commas": b"," * _HOSTILE,
    "blanks": b'{"a":' + b" " * _HOSTILE + b"nan",
    "colons": b"{" + b": " * (_HOSTILE // 2),
    "text brackets": b"STATUS=S," + b"[" * _HOSTILE,
    "text commas": b"STATUS=S," + b"a=1,\\," * (_HOSTILE // 6),
    "text bars": b"STATUS=S|" + b"a|" * (_HOSTILE // 2),
    "string after string": b"{" + b'"a" ' * (_HOSTILE // 4),
    "strings without commas": b'{"a":1' + b'"b":2' * (_HOSTILE // 5),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_the_worst_of_replies_cost_less_than_a_second(data: bytes) -> None:
    started = time.process_time()
    _decode(data)
    Fields(data.decode())
    assert time.process_time() - started < 1.0
