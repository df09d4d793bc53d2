"""Lines that are not what they should be, said to a real server: each gets its error or ends the connection."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.strangers import HostileMine, code_of, stranger

pytestmark = pytest.mark.asyncio(loop_scope="module")

OTHER, JOB_NOT_FOUND, UNAUTHORIZED, NOT_SUBSCRIBED = 20, 21, 24, 25
DEEP = b"[" * 5_000 + b"]" * 5_000
HUGE = b"1" + b"0" * 400


def submit(*params: Any, id_: Any = 9) -> bytes:
    return json.dumps({"id": id_, "method": "mining.submit", "params": params}).encode() + b"\n"


GOOD_FORM = ("stranger.m1", "dead", "00" * 8, "00000000", "00000000")

#: What a machine that may work can say wrong, and the code it is told.
WRONG: dict[str, tuple[bytes, int]] = {
    "bytes": (b"\x00\x01\x02\xfe\xff\n", OTHER),
    "text": (b"GET / HTTP/1.1\n", OTHER),
    "invalid UTF-8": (b'{"id":1,"method":"mining.\xff\xfe","params":[]}\n', OTHER),
    "lone surrogate": (b'{"id":1,"method":"mining.\\ud800","params":[]}\n', OTHER),
    "NUL": (b'{"id":1,"method":"mining.subscribe\x00","params":[]}\n', OTHER),
    "byte order mark": (b"\xef\xbb\xbf{}\n", OTHER),
    "half an object": (b'{"id":1,"method":"mining.submit","params":["\n', OTHER),
    "two objects": (b'{"id":1}{"id":2}\n', OTHER),
    "an empty object": (b"{}\n", OTHER),
    "a list": (b'[{"id":1,"method":"mining.ping","params":[]}]\n', OTHER),
    "a number": (b"17\n", OTHER),
    "null": (b"null\n", OTHER),
    "NaN": (b"NaN\n", OTHER),
    "an id of NaN": (b'{"id":NaN,"method":"mining.ping","params":[]}\n', OTHER),
    "an id of Infinity": (b'{"id":-Infinity,"method":"mining.ping","params":[]}\n', OTHER),
    "an id that is a list": (b'{"id":[1],"method":"mining.ping","params":[]}\n', OTHER),
    "an id that is an object": (b'{"id":{},"method":"mining.ping","params":[]}\n', OTHER),
    "an id that is true": (b'{"id":true,"method":"mining.ping","params":[]}\n', OTHER),
    "an id of a kilobyte": (b'{"id":"' + b"x" * 1_024 + b'","method":"mining.ping","params":[]}\n', OTHER),
    "a deep list": (DEEP + b"\n", OTHER),
    "a deep parameter": (b'{"id":1,"method":"mining.submit","params":' + DEEP + b"}\n", OTHER),
    "a deep id": (b'{"id":' + DEEP + b',"method":"mining.ping"}\n', OTHER),
    "a method that is a number": (b'{"id":1,"method":5,"params":[]}\n', OTHER),
    "a method nobody knows": (b'{"id":1,"method":"mining.nonsense","params":[]}\n', OTHER),
    "an empty method": (b'{"id":1,"method":"","params":[]}\n', OTHER),
    "parameters that are an object": (b'{"id":1,"method":"mining.submit","params":{}}\n', OTHER),
    "parameters that are a text": (b'{"id":1,"method":"mining.submit","params":"all"}\n', OTHER),
    "a share without parameters": (submit(), OTHER),
    "a share of numbers": (submit(1, 2, 3, 4, 5), OTHER),
    "a share of nothing": (submit(None, None, None, None, None), OTHER),
    "a share too many parameters": (submit(*GOOD_FORM, "00000000", "more", "and more"), OTHER),
    "a share with a huge job": (submit("stranger.m1", "f" * 64, "00" * 8, "00000000", "00000000"), JOB_NOT_FOUND),
    "a share with a negative job": (submit("stranger.m1", "-1", "00" * 8, "00000000", "00000000"), JOB_NOT_FOUND),
    "a share with a long nonce": (submit("stranger.m1", "dead", "00" * 8, "00000000", "0" * 9), OTHER),
    "a share with a spaced nonce": (submit("stranger.m1", "dead", "00" * 8, "00000000", " 0000000"), OTHER),
    "a share with full-width digits": (submit("stranger.m1", "dead", "00" * 8, "00000000", "０" * 8), OTHER),
    "a share of a job never sent": (submit(*GOOD_FORM), JOB_NOT_FOUND),
    "a share of somebody else": (submit("other.m1", *GOOD_FORM[1:]), UNAUTHORIZED),
    "a share of no job, short extranonce": (submit("stranger.m1", "dead", "00", "0" * 8, "0" * 8), JOB_NOT_FOUND),
    "an account too long": (
        b'{"id":1,"method":"mining.authorize","params":["' + b"a" * 500 + b'","x"]}\n',
        UNAUTHORIZED,
    ),
    "a second account": (b'{"id":1,"method":"mining.authorize","params":["other.m1","x"]}\n', UNAUTHORIZED),
    "a user that is a list": (b'{"id":1,"method":"mining.authorize","params":[[],[]]}\n', UNAUTHORIZED),
    "a difficulty of NaN": (b'{"id":1,"method":"mining.suggest_difficulty","params":[NaN]}\n', OTHER),
    "a difficulty of text": (b'{"id":1,"method":"mining.suggest_difficulty","params":["nan"]}\n', OTHER),
    "a difficulty below nothing": (b'{"id":1,"method":"mining.suggest_difficulty","params":[-1]}\n', OTHER),
    "a difficulty of nothing": (b'{"id":1,"method":"mining.suggest_difficulty","params":[0]}\n', OTHER),
    "a difficulty without end": (b'{"id":1,"method":"mining.suggest_difficulty","params":[1e999]}\n', OTHER),
    "an extension that is a number": (b'{"id":1,"method":"mining.configure","params":[5,5]}\n', OTHER),
}  # fmt: skip

#: Requests of every legal id, all answered under it.
IDS = [0, -1, 7, 2**31, 2**53 + 1, 2**63, 2**64 - 1, 1.5, "", "seven", "\u00e9\u20ac\U0001f600", '"\\\n']


@pytest.mark.parametrize("name", WRONG)
async def test_each_wrong_line_gets_its_error(hostile: HostileMine, name: str) -> None:
    data, expected = WRONG[name]
    async with stranger(hostile.server) as peer:
        await peer.begin()
        codes = [code_of(answer) for answer in await peer.answers(data)]
        assert codes == [expected]
        # It may go on: a mistake ends nobody's work.
        assert await peer.answers(b"", 0) == []


@pytest.mark.parametrize(
    "line", [b"\n", b"  \r\n", b'{"id":1,"params":[]}\n', b'{"id":1,"result":true,"error":null}\n']
)
async def test_what_asks_nothing_is_not_answered(hostile: HostileMine, line: bytes) -> None:
    async with stranger(hostile.server) as peer:
        await peer.begin()
        assert await peer.answers(line * 3, 0) == []


async def test_an_id_of_every_kind_comes_back(hostile: HostileMine) -> None:
    async with stranger(hostile.server) as peer:
        job = (await peer.begin())["params"]
        for id_ in IDS:
            for method, params in (
                ("mining.ping", []),
                ("mining.submit", ["stranger.m1", "dead", "00" * 8, job[7], "0" * 8]),
            ):
                line = json.dumps({"id": id_, "method": method, "params": params}).encode() + b"\n"
                (answer,) = await peer.answers(line)
                assert answer["id"] == id_, method
                assert type(answer["id"]) is type(id_)


@pytest.mark.parametrize("number", [HUGE, b"-" + HUGE, b"1e400", b"18446744073709551616"])
async def test_a_number_without_measure_hurts_nobody(hostile: HostileMine, number: bytes) -> None:
    async with stranger(hostile.server) as peer:
        await peer.begin()
        for line in (
            b'{"id":%b,"method":"mining.ping","params":[]}\n',
            b'{"id":1,"method":"mining.ping","params":[%b]}\n',
            b'{"id":%b,"method":"mining.submit","params":["stranger.m1","dead","0000000000000000","00000000","00000000"]}\n',
            b'{"id":1,"method":"mining.suggest_difficulty","params":[%b]}\n',
            b'{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":%b}]}\n',
        ):
            assert len(await peer.answers(line % number)) == 1


async def test_before_their_time_shares_are_refused(hostile: HostileMine) -> None:
    async with stranger(hostile.server) as peer:
        assert [code_of(answer) for answer in await peer.answers(submit(*GOOD_FORM) * 3, 3)] == [
            NOT_SUBSCRIBED
        ] * 3
        await peer.answers(b'{"id":1,"method":"mining.subscribe","params":[]}\n')
        assert [code_of(answer) for answer in await peer.answers(submit(*GOOD_FORM) * 3, 3)] == [
            UNAUTHORIZED
        ] * 3


async def test_a_megabyte_line_ends_the_connection(hostile: HostileMine) -> None:
    for start in (b"", b"{", b'{"id":1,"method":"mining.submit","params":["', b"[" * 100, b" " * 100):
        async with stranger(hostile.server) as peer:
            peer.writer.write(start + b"x" * (1 << 20))
            words = await peer.last_words()
            assert words == "" or "too long" in words.lower(), words


async def test_half_a_line_is_waited_for_and_forgotten(hostile: HostileMine) -> None:
    # A whole line in single bytes is a line.
    async with stranger(hostile.server) as peer:
        for byte in b'{"id":5,"method":"mining.subscribe","params":[]}':
            peer.writer.write(bytes([byte]))
            await peer.writer.drain()
        (answer,) = await peer.answers(b"\n")
        assert answer["id"] == 5
    # Half a line and then the end of the connection is nothing.
    async with hostile.unharmed("half lines"):
        for cut in (1, 5, 20, 40):
            for reset in (False, True):
                async with stranger(hostile.server) as peer:
                    peer.writer.write(b'{"id":5,"method":"mining.subscribe","params":[]}'[:cut])
                    await peer.writer.drain()
                    if reset:
                        peer.writer.transport.abort()
        while len(hostile.good.accepted) < 50:
            await hostile.good.until(lambda: len(hostile.good.accepted) >= 50)


async def test_after_all_that_nothing_is_left(hostile: HostileMine) -> None:
    async with hostile.unharmed("after all lines"):
        await hostile.good.until(lambda: len(hostile.good.accepted) >= 50)
    assert "Traceback" not in hostile.mine.log.read_text()
