"""The cgminer wire format: requests in two forms, joined commands, replies that end with NUL."""

from __future__ import annotations

import json

import pytest

from hashwerk.twin.cgminer import Answer, BadRequest, Bare, Request, Silence, encode_reply, parse_request


def _answer(command: str, parameter: str) -> Answer | Silence | Bare:
    if command == "quiet":
        return Silence()
    if command == "restart":
        return Bare(b"RESTART")
    if command == "pools":
        return Answer("S", 7, "1 Pool(s)", "POOLS", [{"POOL": 0, "URL": "stratum+tcp://x:1", "Alive": True}])
    return Answer("S", 11, f"{command} {parameter}", "SUMMARY", [{"Elapsed": 5, "MHS av": 1.5}])


def _reply(data: bytes) -> bytes:
    request = parse_request(data)
    assert request is not None
    return encode_reply(request, _answer, when=1234, description="cgminer 4.11.1")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"summary", Request(("summary",), "", is_json=False)),
        (b"ascset|0,softoff", Request(("ascset",), "0,softoff", is_json=False)),
        (b"version+summary|\n", Request(("version", "summary"), "", is_json=False)),
        (b'{"command":"summary"}', Request(("summary",), "", is_json=True)),
        (
            b'{"command": "ascset", "parameter": "0,led,1-1"}\n',
            Request(("ascset",), "0,led,1-1", is_json=True),
        ),
        (b'{"command":"stats","parameter":null}', Request(("stats",), "", is_json=True)),
        (b'{"command":"switchpool","parameter":1}\0', Request(("switchpool",), "1", is_json=True)),
        (b'{"command":', None),
        (b"", None),
        (b"{}", BadRequest(is_json=True)),
        (b'{"command":}', BadRequest(is_json=True)),
        (b'{"command":5}', BadRequest(is_json=True)),
    ],
)
def test_requests(data: bytes, expected: Request | BadRequest | None) -> None:
    assert parse_request(data) == expected


def test_a_json_reply_has_status_section_and_id_and_ends_with_nul() -> None:
    reply = _reply(b'{"command":"summary"}')
    assert reply.endswith(b"\0")
    found = json.loads(reply[:-1])
    assert found["STATUS"] == [
        {"STATUS": "S", "When": 1234, "Code": 11, "Msg": "summary ", "Description": "cgminer 4.11.1"}
    ]
    assert found["SUMMARY"] == [{"Elapsed": 5, "MHS av": 1.5}]
    assert found["id"] == 1


def test_joined_commands_give_a_list_each() -> None:
    found = json.loads(_reply(b'{"command":"summary+pools"}')[:-1])
    assert set(found) == {"summary", "pools", "id"}
    assert found["pools"][0]["POOLS"][0]["POOL"] == 0
    assert found["summary"][0]["STATUS"][0]["Code"] == 11


def test_text_replies_name_sections_but_not_numbered_rows() -> None:
    assert _reply(b"summary") == (
        b"STATUS=S,When=1234,Code=11,Msg=summary ,Description=cgminer 4.11.1|SUMMARY,Elapsed=5,MHS av=1.50|\0"
    )
    joined = _reply(b"summary+pools")
    assert joined.startswith(b"CMD=summary|STATUS=S")
    assert b"|CMD=pools|STATUS=S" in joined
    assert b"|POOL=0,URL=stratum+tcp://x:1,Alive=true|" in joined


def test_silence_bad_json_and_bare_answers() -> None:
    assert _reply(b'{"command":"quiet"}') == b""
    assert _reply(b"restart") == b"RESTART"
    found = json.loads(_reply(b'{"command":}')[:-1])
    assert (found["STATUS"][0]["STATUS"], found["STATUS"][0]["Code"]) == ("E", 23)
