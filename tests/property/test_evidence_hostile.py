"""Bundles come from strangers: whatever is in them, the verifier answers and does not fall over."""

import io
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import keys
from hashwerk.evidence.bundle import MAGIC, MAX_SECTION_BYTES, BundleReader
from hashwerk.evidence.columns import decode_chunk, encode_chunk
from hashwerk.evidence.domains import BUNDLE, SIGN_BUNDLE, tagged
from hashwerk.evidence.leaf import decode_record, encode_record
from hashwerk.evidence.report import figures
from hashwerk.evidence.share_leaf import LEAF_DTYPE
from hashwerk.evidence.share_tree import all_levels, leaf_level, path_of, root_of
from hashwerk.evidence.tree import SHARES, Node, climb, levels, root
from hashwerk.evidence.verify import Verdict, verify_bundle
from hashwerk.evidence.verify.run import Options
from support.evidence import EvidenceSite, decoded, resign, write_bundle
from support.forgeries import reclosed

OPTIONS = Options(threads=1)
SEAL_SIZE = 9 + 128


def small_site() -> EvidenceSite:
    site = EvidenceSite(name="small", shares=3, certificates=False)
    site.epoch()
    return site


SITE = small_site()
GOOD = SITE.bundle()


def sealed(body: bytes) -> bytes:
    """Return a bundle of this body with a seal that fits, as the owner of the key can make it."""
    import hashlib

    digest = hashlib.sha256(body).digest()
    signature = keys.sign(SITE.key, SIGN_BUNDLE, tagged(BUNDLE, digest))
    return body + b"\xff" + (128).to_bytes(8, "big") + digest + keys.public_bytes(SITE.key) + signature


BODY = GOOD[:-SEAL_SIZE]


def test_the_seal_is_made_here_as_there() -> None:
    assert sealed(BODY) == GOOD
    assert verify_bundle(io.BytesIO(GOOD), OPTIONS).ok


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cut_and_pasted_bundles_get_an_answer(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(BODY)))
    end = data.draw(st.integers(start, min(len(BODY), start + 200)))
    body = BODY[:start] + data.draw(st.binary(max_size=40)) + BODY[end:]
    report = verify_bundle(io.BytesIO(sealed(body)), OPTIONS)
    assert report.verdict == Verdict.INVALID or body == BODY


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_not_a_bundle(noise: bytes) -> None:
    for data in (noise, MAGIC + noise):
        with pytest.raises(DecodeError):
            BundleReader(io.BytesIO(data))


def test_a_section_that_announces_too_much_costs_nothing() -> None:
    lie = MAGIC + b"\x01" + (MAX_SECTION_BYTES + 1).to_bytes(8, "big")
    with pytest.raises(DecodeError, match="allowed"):
        BundleReader(io.BytesIO(lie))
    lie = MAGIC + b"\x01" + (1 << 62).to_bytes(8, "big")
    with pytest.raises(DecodeError, match="allowed"):
        BundleReader(io.BytesIO(lie))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=120))
def test_a_record_that_can_be_read_is_spelled_the_same_again(data: bytes) -> None:
    try:
        record = decode_record(data)
    except DecodeError:
        return
    assert encode_record(record) == data


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_a_chunk_that_can_be_read_is_spelled_the_same_again(noise: bytes) -> None:
    for data in (noise, (1).to_bytes(4, "big") + noise):
        try:
            leaves = decode_chunk(data)
        except DecodeError:
            continue
        assert encode_chunk(leaves) == data


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_chunks_come_back(count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    leaves = np.zeros(count, LEAF_DTYPE)
    for name in LEAF_DTYPE.names or ():
        bits = int(rng.integers(0, 8 * LEAF_DTYPE[name].itemsize + 1))
        leaves[name] = rng.integers(0, 2**63, count, dtype=np.uint64) >> np.uint64(63 - min(bits, 63))
    assert (decode_chunk(encode_chunk(leaves)) == leaves).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 100), min_size=1, max_size=40))
def test_the_compiled_tree_is_the_written_one(works: list[int]) -> None:
    hashes = np.random.default_rng(len(works)).integers(0, 256, (len(works), 32), dtype=np.uint8)
    level = leaf_level(hashes, np.array(works, np.uint8))
    nodes = [Node(bytes(hash_), (1 << work,), 1) for hash_, work in zip(hashes, works, strict=True)]
    assert root_of(level) == root(SHARES, nodes)
    index = works[0] % len(works)
    path = path_of(all_levels(level), index)
    assert climb(SHARES, nodes[index], path) == levels(SHARES, nodes)[-1][0]


def extremes(record: msgspec.Struct) -> Iterator[dict[str, object]]:
    """Yield changes of one field of a struct to the least and greatest value that can be written."""
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, int):
            for extreme in (0, 255, 2**32 - 1, 2**63, 2**64 - 1):
                yield {name: extreme}


def test_headers_with_extreme_numbers_get_an_answer() -> None:
    last = SITE.last
    for change in extremes(last.header):
        try:
            changed = resign(last, SITE.key, **change)
        except EvidenceError:
            continue  # does not fit the field
        report = verify_bundle(io.BytesIO(write_bundle(SITE, [SITE.epochs[0], changed])), OPTIONS)
        assert figures(report) or not report.statement
        if change != {name: getattr(last.header, name) for name in change}:
            assert not report.ok, change


def test_records_with_extreme_numbers_get_an_answer() -> None:
    site = EvidenceSite(name="small", shares=3).run(4)
    for index, record in enumerate(decoded(site.last)):
        for change in extremes(record):
            changed = msgspec.structs.replace(record, **change)
            logged = decoded(site.last)
            logged[index] = changed
            try:
                part = reclosed(site, 4, logged=logged)
            except (EvidenceError, DecodeError):
                continue  # not even its owner can write that
            report = verify_bundle(io.BytesIO(write_bundle(site, part)), OPTIONS)
            assert report.checks
            assert figures(report) or not report.statement
