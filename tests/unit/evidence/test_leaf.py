"""Records have one spelling, and what they add to the sums is what they say."""

import hashlib

import msgspec
import numpy as np
import pytest

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.columns import decode_chunk, encode_chunk
from hashwerk.evidence.leaf import KINDS, decode_record, describe_kinds, encode_record, record_sums
from hashwerk.evidence.share_leaf import LEAF_DTYPE, leaf_hashes, pack_leaves
from support.evidence import EvidenceSite, decoded

SCALE = records.Scale(factor=7, basis="model")


def some_leaves(count: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    leaves = np.zeros(count, LEAF_DTYPE)
    leaves["position"] = np.arange(count)
    for name in ("time_us", "nonce", "version", "extranonce1", "extranonce2"):
        bits = 8 * LEAF_DTYPE[name].itemsize
        leaves[name] = rng.integers(0, 2**63 if bits == 64 else 2**bits, count, dtype=np.uint64)
    return leaves


def test_a_record_is_kind_version_fields() -> None:
    assert encode_record(SCALE) == b"\x0b\x01" + (7).to_bytes(8, "big") + b"\x00\x05model"


def test_every_kind_that_a_site_logs_comes_back() -> None:
    site = EvidenceSite().run(4)
    seen = set()
    for epoch in site.epochs:
        for record, data in zip(decoded(epoch), epoch.records, strict=True):
            assert encode_record(record) == data
            seen.add(record.NUMBER)
    assert {1, 2, 3, 4, 6, 7, 8, 9, 11, 13, 14, 15} <= seen


def test_numbers_of_kinds_are_fixed() -> None:
    assert sorted(KINDS) == list(range(1, 22))
    assert [name for _, name, meaning, fields in describe_kinds() if not meaning or not fields] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x0b",
        b"\x63\x01",  # no such kind
        b"\x0b\x02" + encode_record(SCALE)[2:],  # no such version
        encode_record(SCALE) + b"\x00",
        encode_record(SCALE)[:-1],
        encode_record(SCALE)[:-5] + b"\xff\xff\xff\xff\xff",  # not UTF-8
        b"\x0b\x01" + bytes(8) + b"\x00\x03a\xcc\x88",  # "ä" in two letters
        b"\x0b\x01" + bytes(8) + b"\x00\x01\n",
    ],
)
def test_what_is_not_a_record_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_record(data)


@pytest.mark.parametrize(
    "record",
    [
        records.Scale(factor=-1, basis=""),
        records.Scale(factor=1 << 64, basis=""),
        records.Scale(factor=1, basis="x" * 5000),
        records.Scale(factor=1, basis="\ud800"),
        records.KeyRecord(event=bytes(31)),
    ],
)
def test_what_does_not_fit_is_not_written(record: records.Record) -> None:
    with pytest.raises(EvidenceError):
        encode_record(record)


def test_a_register_that_was_set_back_has_no_sum() -> None:
    reading = EvidenceSite().meter(0, 10)
    assert record_sums(reading)[0] == 5_000
    assert record_sums(msgspec.structs.replace(reading, direction=1))[:2] == (0, 5_000)
    with pytest.raises(EvidenceError, match="set back"):
        record_sums(msgspec.structs.replace(reading, end_wh=reading.start_wh - 1))


def test_share_leaves_are_hashed_as_the_specification_says() -> None:
    leaves = some_leaves(5)
    for leaf, packed, hash_ in zip(leaves, pack_leaves(leaves), leaf_hashes(leaves), strict=True):
        spelled = b"\x00" + b"".join(
            int(leaf[name]).to_bytes(LEAF_DTYPE[name].itemsize, "big") for name in LEAF_DTYPE.names or ()
        )
        assert bytes(packed) == spelled
        assert bytes(hash_) == hashlib.sha256(spelled).digest()


@pytest.mark.parametrize("count", [1, 2, 1000])
def test_chunks_come_back(count: int) -> None:
    leaves = some_leaves(count)
    data = encode_chunk(leaves)
    assert (decode_chunk(data) == leaves).all()
    assert len(data) <= 4 + 10 * 9 + count * 52


def test_a_chunk_has_one_spelling() -> None:
    data = encode_chunk(some_leaves(3))
    wide = data[:4] + data[4:12] + b"\x02" + bytes((0, 0, 0, 1, 0, 2)) + data[16:]  # positions in two bytes
    with pytest.raises(DecodeError, match="shortest"):
        decode_chunk(wide)
    base = data[:4] + (0).to_bytes(8, "big") + b"\x01" + bytes((1, 2, 3)) + data[16:]  # base is not the least
    with pytest.raises(DecodeError, match="shortest"):
        decode_chunk(base)
    with pytest.raises(DecodeError):
        decode_chunk(data + b"\x00")
    with pytest.raises(DecodeError):
        decode_chunk((1 << 20).to_bytes(4, "big") + data[4:])
