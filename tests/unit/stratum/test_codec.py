from __future__ import annotations

import json

import pytest

from hashwerk.stratum.v1 import codec
from hashwerk.stratum.v1.codec import LineBuffer, LineTooLong, ProtocolError, Reply, Request
from hashwerk.work.share import Verdict


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"id":1,"method":"m","params":[1,"a",null]}', Request(1, "m", [1, "a", None])),
        (b'{"method":"m"}', Request(None, "m", [])),
        (b'{"id":null,"method":"m","params":null}', Request(None, "m", [])),
        (b'{"id":"abc","method":"m","params":[]}', Request("abc", "m", [])),
        (b'{"id":-1.5,"method":"m","jsonrpc":"2.0","worker":"tolerated"}', Request(-1.5, "m", [])),
        (b'{"id":18446744073709551616,"method":"m"}', Request(2**64, "m", [])),
        (b'\t{"id":0,"method":"m"} \r', Request(0, "m", [])),
        (
            b'{"id":1,"method":"mining.suggest_difficulty(1024)","params":[]}',
            Request(1, "mining.suggest_difficulty", [1024.0]),
        ),
        (b'{"id":1,"method":"m","params":{"a":1}}', ProtocolError(1, "Params must be a list")),
        (b'{"id":1,"method":7}', ProtocolError(1, "Invalid method")),
        (b'{"id":[1],"method":"m"}', ProtocolError(None, "Invalid id")),
        (b'{"id":true,"method":"m"}', ProtocolError(None, "Invalid id")),
        (b'{"id":"' + b"a" * 129 + b'","method":"m"}', ProtocolError(None, "Invalid id")),
        (b'{"params":[]}', ProtocolError(None, "Method missing")),
        (b'{"id":5,"result":true,"error":null}', Reply(5, True, None)),
        (
            b'{"id":5,"result":false,"reject-reason":"Above target"}',
            Reply(5, False, None, "Above target"),
        ),
    ],
)
def test_reads_what_peers_write(line: bytes, expected: object) -> None:
    assert codec.decode_message(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"7",
        b'"text"',
        b"GET / HTTP/1.1",
        b"\x16\x03\x01\x02\x00",  # a TLS hello on the plain port
        b'{"id":1,"method":"m"',
        b'{"id":1,"method":"m"} trailing',
        b'{"id":1,"method":"\xff"}',
        b'{"id":1,"method":"\\ud800"}',
        b'{"id":1e999,"method":"m"}',
        b'{"id":' + b"9" * 5000 + b',"method":"m"}',
        b'{"id":1,"params":' + b"[" * 16_000,
        b'{"id":1,"method":"m","params":' + b"[" * 8_000 + b"]" * 8_000 + b"}",
    ],
)
def test_garbage_is_a_value(line: bytes) -> None:
    assert codec.decode_message(line) == ProtocolError(None, "Not a JSON object")


def test_the_call_form_keeps_what_is_no_number() -> None:
    line = b'{"id":1,"method":"mining.suggest_difficulty(1e)"}'
    assert codec.decode_message(line) == Request(1, "mining.suggest_difficulty", ["1e"])


def test_writes_the_lines_of_the_protocol() -> None:
    assert codec.encode_reply(4, True) == b'{"id":4,"result":true,"error":null}\n'
    assert (
        codec.encode_error("a", 21, "Job not found")
        == b'{"id":"a","result":null,"error":[21,"Job not found",null]}\n'
    )
    assert codec.encode_notification("m", [1]) == b'{"id":null,"method":"m","params":[1]}\n'


def test_every_verdict_has_an_answer_with_a_standard_code() -> None:
    codes = {}
    for verdict in Verdict:
        answer = json.loads(codec.encode_verdict(1, verdict))
        assert answer["id"] == 1
        if verdict is Verdict.ACCEPTED:
            assert answer["result"] is True
            assert answer["error"] is None
        else:
            codes[verdict.name] = answer["error"][0]
            assert answer["result"] is None
            assert answer["error"][1]
    assert codes == {
        "STALE": 21,
        "UNKNOWN_JOB": 21,
        "DUPLICATE": 22,
        "LOW_DIFFICULTY": 23,
        "TIME_TOO_OLD": 20,
        "TIME_TOO_NEW": 20,
        "BAD_VERSION": 20,
        "UNAUTHORIZED": 24,
        "NOT_SUBSCRIBED": 25,
        "MALFORMED": 20,
        "NOT_STORED": 20,
    }


def test_lines_end_in_lf_or_crlf() -> None:
    buffer = LineBuffer()
    assert buffer.feed(b"a\r\nb\n\nc") == [b"a", b"b", b""]
    assert buffer.held == b"c"
    assert buffer.feed(b"\r") == []
    assert buffer.feed(b"\nd") == [b"c"]
    assert buffer.take() == b"d"
    assert buffer.feed(b"e\n") == [b"e"]


@pytest.mark.parametrize("tail", [b"", b"\n", b"\nmore\n"])
def test_a_line_too_long_is_the_last_thing_said(tail: bytes) -> None:
    buffer = LineBuffer(1024)
    assert buffer.feed(b"ok\n" + b"x" * 1025 + tail) == [b"ok", LineTooLong(1024)]
    assert buffer.feed(b"again\n") == []


def test_a_line_of_exactly_the_limit_is_read() -> None:
    assert LineBuffer(1024).feed(b"x" * 1024 + b"\n") == [b"x" * 1024]


def test_a_limit_below_a_canonical_line_is_misuse() -> None:
    with pytest.raises(ValueError, match="at least 1024"):
        LineBuffer(1023)
