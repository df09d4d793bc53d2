"""Replies of the cgminer API: whole, joined, as text, and with each of the defects seen in the field."""

from __future__ import annotations

import json
import time

import pytest

from hashwerk.devices.cgminer_reply import decode_reply, integer_of, number_of, text_of
from hashwerk.errors import DecodeError
from support import avalon_replies

WHOLE = b'{"STATUS":[{"STATUS":"S","When":1753432244,"Code":22,"Msg":"CGMiner versions"}],"VERSION":[{"API":"3.7"}],"id":1}'


def test_a_json_reply_has_a_status_and_sections() -> None:
    reply = decode_reply(WHOLE + b"\x00")
    assert reply.status is not None
    assert (reply.status.letter, reply.status.code, reply.status.message) == ("S", 22, "CGMiner versions")
    assert reply.status.clock_s == 1_753_432_244
    assert reply.first("VERSION") == {"API": "3.7"}
    assert reply.first("STATS") == {}


def test_a_joined_reply_has_one_reply_for_each_command() -> None:
    part = WHOLE.decode()
    reply = decode_reply(
        f'{{"version":[{part}],"pools":[{{"STATUS":[{{"STATUS":"E","Code":14}}]}}],"id":1}}\x00'.encode()
    )
    assert reply.status is None
    assert reply.joined["version"].first("VERSION") == {"API": "3.7"}
    refused = reply.joined["pools"].status
    assert refused is not None
    assert not refused.is_ok


@pytest.mark.parametrize(
    ("letter", "is_ok"), [("S", True), ("I", True), ("W", False), ("E", False), ("F", False)]
)
def test_success_and_information_are_both_success(letter: str, is_ok: bool) -> None:
    status = decode_reply(f"STATUS={letter},When=1,Code=118,Msg=x|".encode()).status
    assert status is not None
    assert status.is_ok is is_ok


def test_a_clock_that_counts_from_boot_is_none() -> None:
    status = decode_reply(b"STATUS=S,When=24701,Code=70,Msg=CGMiner stats|").status
    assert status is not None
    assert status.clock_s is None


def test_text_keeps_commas_within_brackets_and_bars_within_messages() -> None:
    stats = decode_reply(
        b"STATUS=S,When=6397,Code=70,Msg=CGMiner stats,Description=cgminer 4.11.1|STATS=0,ID=AVA100,"
        b"MM ID0=Ver[1066] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] PS[0 1217 1279],MM Count=1,Nonce Mask=25 |\x00"
    ).first("STATS")
    assert stats["MM ID0"] == "Ver[1066] SYSTEMSTATU[Work: In Work, Hash Board: 3 ] PS[0 1217 1279]"
    assert stats["MM Count"] == "1"
    told = decode_reply(
        b"STATUS=I,When=1,Code=118,Msg=ASC 0 set info: help|voltage|softoff|,Description=cgminer 4.11.1|"
    ).status
    assert told is not None
    assert told.message.startswith("ASC 0 set info: help|voltage|softoff")
    version = decode_reply(b"STATUS=S,When=1,Code=22,Msg=v|VERSION,CGMiner=4.11.1,API=3.7|").first("VERSION")
    assert version["API"] == "3.7"


DEFECTS = {
    "a trailing NUL": WHOLE + b"\x00",
    "several NULs and a newline": WHOLE + b"\x00\x00\n",
    "a comma before a brace": WHOLE.replace(b"}]", b",}]"),
    "newlines within a string": WHOLE.replace(b"CGMiner", b"CG\nMiner"),
    "a missing comma between objects": WHOLE.replace(b'[{"API":"3.7"}]', b'[{"API":"3.7"}{"API":"3.8"}]'),
    "a missing comma after a list": WHOLE.replace(b"}],", b"}]"),
    "a missing comma after a string": WHOLE.replace(b'"CGMiner versions"', b'"CGMiner versions""temp0":1'),
    "a comma after an opening bracket": WHOLE.replace(b"[{", b"[,{"),
    "bare inf": WHOLE.replace(b'"API":"3.7"', b'"x":inf,"y":-inf,"API":"3.7"'),
    "bare nan": WHOLE.replace(b'"API":"3.7"', b'"x":nan,"API":"3.7"'),
    "quoted inf": WHOLE.replace(b'"API":"3.7"', b'"x":"inf","API":"3.7"'),
    "a truncated tail": WHOLE[:-9],
    "a wrong encoding": WHOLE.replace(b'"API":"3.7"', b'"x":"\xb0C \xff","API":"3.7"'),
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + WHOLE,
    "a leading comma": b"," + WHOLE[1:],
    "a second object behind": WHOLE + b'{"id":2}',
}


@pytest.mark.parametrize("data", DEFECTS.values(), ids=DEFECTS)
def test_each_known_defect_is_survived(data: bytes) -> None:
    assert decode_reply(data).first("VERSION")["API"] == "3.7"


def test_a_reply_truncated_within_the_fields_keeps_those_that_came() -> None:
    machine = avalon_replies.q_running()
    data = machine.reply(b'{"command":"litestats"}')
    assert data is not None
    cut = data[: data.index(b"WORKMODE")]
    (text,) = [v for k, v in decode_reply(cut).first("STATS").items() if k.startswith("MM ID0")]
    assert "GHSspd[90012.40]" in str(text)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"{}", b"[]", b"garbage", b"<html>", b'"x"', b"{" * 100_000, json.dumps([1]).encode()],
)
def test_what_is_no_reply_is_a_decode_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_reply(data)


def test_numbers_and_texts_are_told_from_everything_else() -> None:
    assert [number_of(v) for v in ("1.5", 2, 2.5, "inf", "nan", "x", None, True, [], "1e999")] == [
        1.5, 2.0, 2.5, None, None, None, None, None, None, None,
    ]  # fmt: skip
    assert integer_of("12.9") == 12
    assert [text_of(v) for v in (" a ", "", "  ", 1, None)] == ["a", None, None, None, None]


def test_text_of_many_sections_costs_no_more_than_its_length() -> None:
    # A quarter of the largest reply took two seconds of the loop when each section copied those before it.
    sections = 20_000
    started = time.process_time()
    reply = decode_reply(b"STATUS=S,Msg=ok|" + b"A=1|" * sections)
    assert len(reply.sections["A"]) == sections
    assert time.process_time() - started < 1.0
    with pytest.raises(DecodeError, match="bytes"):
        decode_reply(b"STATUS=S|" + b"A=1|" * 120_000)


def test_half_a_megabyte_is_not_repaired() -> None:
    with pytest.raises(DecodeError, match="too many to repair"):
        decode_reply(b"{" + b"," * 500_000)


def test_numbers_that_no_machine_counts_to_are_none() -> None:
    assert integer_of("1e300") is None
    assert integer_of(2**63) is None
    assert integer_of(2**53) == 2**53
    assert decode_reply(b'{"STATUS":[{"STATUS":"S","When":1e300}]}').status.clock_s is None  # type: ignore[union-attr]


def test_a_text_is_one_short_line_whatever_was_sent() -> None:
    assert text_of("Avalon\x00 Q\x1b[31m\n") == "Avalon  Q [31m"
    assert len(text_of("x" * 400_000) or "") == 512
