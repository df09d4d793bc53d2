from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from hashwerk.stratum.v1.codec import encode_verdict
from hashwerk.stratum.v1.events import SubmitReceived
from hashwerk.stratum.v1.results import encode_batch, encode_results
from hashwerk.stratum.v1.submits import (
    SHORTEST_LINE_BYTES,
    SUBMIT_DTYPE,
    Stop,
    most_submits,
    scan_batch,
    scan_submits,
)
from hashwerk.stratum.v1.user_hash import user_hash
from hashwerk.work.share import Verdict
from support.stratum_sessions import event_of

PARAMS = b'["alice.s19", "1A2b", "00000000000000ff", "6927b489", "deadbeef"]'
EXPECTED = SubmitReceived(4, "alice.s19", 0x1A2B, 0xFF, 8, 0x6927B489, 0xDEADBEEF, None)
CGMINER = b'{"params": %b, "id": 4, "method": "mining.submit"}\n' % PARAMS
CPUMINER = b'{"method": "mining.submit", "params": %b, "id":4}\n' % PARAMS
ESP_MINER = b'{"id": 4, "method": "mining.submit", "params": %b}\n' % PARAMS.replace(b'"]', b'", "1fffe000"]')


def scan(data: bytes, rows: int = 10) -> tuple[list[SubmitReceived], int, Stop]:
    found = np.zeros(rows, SUBMIT_DTYPE)
    count, consumed, stop = scan_submits(np.frombuffer(data, np.uint8), 0, len(data), found)
    return [event_of(row, data) for row in found[:count]], consumed, stop


@pytest.mark.parametrize(
    "line",
    [
        CGMINER,
        CPUMINER,
        CPUMINER.replace(b"\n", b"\r\n"),
        CPUMINER.replace(b", ", b",").replace(b": ", b":"),
        CPUMINER.replace(b",", b"\t ,\t"),
        b" " + CPUMINER.replace(b"\n", b" \t\n"),
        CGMINER.replace(b'"id"', b'"jsonrpc":"2.0","id"'),
        CPUMINER.replace(b'"]', b'",null]'),
        CPUMINER.replace(b"deadbeef", b"DEADbeef"),
    ],
)
def test_the_ways_miners_write_a_share(line: bytes) -> None:
    assert scan(line) == ([EXPECTED], len(line), Stop.END)


def test_version_bits() -> None:
    ((event,), _, _) = scan(ESP_MINER)
    assert event.version_bits == 0x1FFFE000


def test_the_row_says_where_its_line_and_user_are() -> None:
    data = CGMINER + CPUMINER
    rows = np.zeros(2, SUBMIT_DTYPE)
    assert scan_submits(np.frombuffer(data, np.uint8), 0, len(data), rows)[0] == 2
    assert list(rows["line_start"]) == [0, len(CGMINER)]
    assert set(rows["user_hash"].tolist()) == {user_hash(b"alice.s19")}


@pytest.mark.parametrize("cut", range(len(CPUMINER)))
def test_a_line_without_its_end_is_incomplete(cut: int) -> None:
    events, consumed, stop = scan(CGMINER + CPUMINER[:cut])
    assert (len(events), consumed, stop) == (1, len(CGMINER), Stop.INCOMPLETE if cut else Stop.END)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"id": 4', b'"id": "4"'),
        (b'"id": 4', b'"id": null'),
        (b'"id": 4', b'"id": -4'),
        (b'"id": 4', b'"id": 04'),
        (b'"id": 4', b'"id": 4.0'),
        (b'"id": 4', b'"id": 4e0'),
        (b'"id": 4', b'"id": 10000000000000000000'),
        (b'"id": 4, ', b""),
        (b'"id": 4', b'"id": 4, "id": 5'),
        (b'"id": 4', b'"id": 4, "worker": 7'),
        (b'"id": 4', b'"id": 4,'),
        (b'"id"', b'"\\u0069d"'),
        (b"mining.submit", b"mining.submit2"),
        (b"mining.submit", b"mining.ping"),
        (b"alice", b"al\\u0069ce"),
        (b"alice", "alicé".encode()),
        (b"alice", b"al\x07ce"),
        (b"alice.s19", b"a" * 256),
        (b'"alice.s19"', b"7"),
        (b"1A2b", b""),
        (b"1A2b", b"123456789"),
        (b"1A2b", b"1A2g"),
        (b"00000000000000ff", b"00000000000000ff00"),
        (b"00000000000000ff", b"0ff"),
        (b"00000000000000ff", b""),
        (b"6927b489", b"6927b48"),
        (b"6927b489", b"6927b4890"),
        (b'"deadbeef"', b'"deadbeef", "1fffe00"'),
        (b'"deadbeef"', b'"deadbeef", nul'),
        (b'"deadbeef"', b'"deadbeef", null, null'),
        (b'"deadbeef"', b'"deadbeef",'),
        (b', "deadbeef"', b""),
        (b"}", b"} x"),
        (b"}", b"}" + b" " * 1024),
        (b"}", b""),
        (b'{"params', b'[{"params'),
        (b'{"params', b'\n{"params'),
    ],
)
def test_anything_else_is_left_to_the_session(before: bytes, after: bytes) -> None:
    line = CGMINER.replace(before, after)
    assert line != CGMINER
    assert scan(CGMINER + line + CGMINER) == ([EXPECTED], len(CGMINER), Stop.OTHER_LINE)


def test_no_more_than_there_are_rows() -> None:
    assert scan(CGMINER * 3, rows=2) == ([EXPECTED] * 2, 2 * len(CGMINER), Stop.FULL)


def test_the_shortest_line_and_how_many_fit() -> None:
    shortest = b'{"id":0,"method":"mining.submit","params":["","0","00","00000000","00000000"]}\n'
    assert len(shortest) == SHORTEST_LINE_BYTES
    events, _, stop = scan(shortest * 50, rows=most_submits(50 * len(shortest)))
    assert (len(events), stop) == (50, Stop.END)


def test_a_batch_of_many_connections() -> None:
    parts = [CGMINER * 2, b"", CPUMINER + b'{"id":1}\n' + CGMINER, ESP_MINER[:-1], CGMINER]
    data = b"".join(parts)
    ends = np.cumsum([len(part) for part in parts])
    starts = ends - [len(part) for part in parts]
    rows = np.zeros(most_submits(len(data)), SUBMIT_DTYPE)
    found = scan_batch(np.frombuffer(data, np.uint8), starts, ends, rows)
    assert found.count == 4
    assert found.first_rows.tolist() == [0, 2, 2, 3, 3, 4]
    assert rows["segment"][:4].tolist() == [0, 0, 2, 4]
    assert found.stops.tolist() == [Stop.END, Stop.END, Stop.OTHER_LINE, Stop.INCOMPLETE, Stop.END]
    assert found.consumed.tolist() == [ends[0], ends[1], starts[2] + len(CPUMINER), starts[3], ends[4]]


def test_answers_of_a_batch_are_those_of_the_codec() -> None:
    ids = np.array([0, 9, 10, 2**64 - 1, *range(100, 120)], np.uint64)
    verdicts = np.arange(len(ids), dtype=np.uint8) % len(Verdict)
    each = [encode_verdict(int(i), Verdict(v)) for i, v in zip(ids, verdicts, strict=True)]
    assert encode_results(ids, verdicts) == b"".join(each)
    batch = encode_batch(ids, verdicts)
    assert batch.lines(2, 5) == b"".join(each[2:5])
    assert batch.lines(7, 7) == b""
    assert encode_results(ids[:0], verdicts[:0]) == b""


def test_no_such_verdict() -> None:
    with pytest.raises(ValueError, match="no such verdict: 12"):
        encode_results(np.array([1], np.uint64), np.array([len(Verdict)], np.uint8))
    with pytest.raises(ValueError, match="1,"):
        encode_results(np.array([1], np.uint64), np.array([], np.uint8))


def test_warmed_up_it_does_not_compile_again() -> None:
    """In a process of its own: other tests have warmed up this one."""
    program = """if True:
        import numpy as np
        from hashwerk.stratum.v1 import results, submits
        submits.warm_up()
        results.warm_up()
        compiled = [submits._scan_run, submits._scan_segments, results._write_results]
        before = [len(function.signatures) for function in compiled]
        data = np.frombuffer(b'{"id":1}' + bytes([10]), np.uint8)
        rows = np.zeros(3, submits.SUBMIT_DTYPE)
        submits.scan_submits(data, 0, 9, rows, 1)
        submits.scan_batch(data, np.array([0, 3]), np.array([3, 9]), rows)
        results.encode_results(rows["id"].copy(), np.zeros(3, np.uint8))
        assert [len(function.signatures) for function in compiled] == before, before
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
