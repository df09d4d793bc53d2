"""Blobs and tables of counts, for any content."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.errors import DecodeError
from hashwerk.store import LedgerReader, SqliteLedger
from hashwerk.store.blocks import STATES, next_state
from hashwerk.store.codec import (
    COLUMNS,
    RAW,
    count_shares,
    decode_counts,
    decode_ids,
    decode_shares,
    encode_counts,
    encode_ids,
    encode_shares,
    merge_counts,
    split_hashes,
)
from hashwerk.store.keys import KeyTable
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.share import SHARE_DTYPE, Verdict
from support.ledger import settle


@st.composite
def batches(draw: st.DrawFn, min_size: int = 0, max_size: int = 40) -> ShareRecords:
    """Any bytes for records, with verdicts, targets and times as they may occur."""
    count = draw(st.integers(min_size, max_size))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = np.frombuffer(random.bytes(count * SHARE_DTYPE.itemsize), SHARE_DTYPE).copy()
    shares["verdict"] = random.integers(0, len(Verdict), count)
    shares["worker"] = random.choice([1, 2, 300, 2**32 - 1], count)
    shares["work_log2"] = random.integers(0, 129, count)
    shares["time_us"] = random.integers(1_750_000_000_000_000, 1_750_000_300_000_000, count)
    return shares


@given(shares=batches(), encoding=st.sampled_from([RAW, COLUMNS]))
def test_shares_come_back_byte_for_byte(shares: ShareRecords, encoding: int) -> None:
    blob = encode_shares(shares, encoding)
    assert decode_shares(blob, encoding, len(shares)).tobytes() == shares.tobytes()
    for count in (len(shares) + 1, len(shares) - 1):
        if count >= 0:
            with pytest.raises(DecodeError):
                decode_shares(blob, encoding, count)


@given(blob=st.binary(max_size=200), encoding=st.integers(0, 3), count=st.integers(0, 3))
def test_damaged_groups_are_refused(blob: bytes, encoding: int, count: int) -> None:
    try:
        shares = decode_shares(blob, encoding, count)
    except DecodeError:
        return
    assert len(shares) == count


@given(parts=st.lists(batches(), max_size=6))
def test_counts_of_parts_add_up_to_the_counts_of_the_whole(parts: list[ShareRecords]) -> None:
    whole = np.concatenate(parts) if parts else np.empty(0, SHARE_DTYPE)
    merged = merge_counts([count_shares(part) for part in parts])
    assert merged.tobytes() == count_shares(whole).tobytes()
    assert merged["count"].sum() == len(whole)
    assert decode_counts(encode_counts(merged)).tobytes() == merged.tobytes()


def test_a_count_that_does_not_fit_is_refused() -> None:
    counts = count_shares(np.zeros(1, SHARE_DTYPE))
    counts["count"] = 2**32 - 1
    with pytest.raises(OverflowError):
        merge_counts([counts, counts])


@given(ids=st.lists(st.integers(1, 2**62)))
def test_ids_come_back_in_their_order(ids: list[int]) -> None:
    assert decode_ids(encode_ids(np.array(ids, np.int64))) == ids


@given(hashes=st.lists(st.binary(min_size=32, max_size=32)), tail=st.binary(max_size=31))
def test_hashes_are_split_whole_or_not_at_all(hashes: list[bytes], tail: bytes) -> None:
    assert split_hashes(b"".join(hashes)) == tuple(hashes)
    if tail:
        with pytest.raises(DecodeError):
            split_hashes(b"".join(hashes) + tail)


@given(calls=st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=20), max_size=8))
def test_a_keys_number_never_changes(calls: list[list[int]]) -> None:
    table = KeyTable()
    seen: dict[int, int] = {}
    for keys in calls:
        for key, number in zip(keys, table.find(np.array(keys, np.int64)).tolist(), strict=True):
            assert seen.setdefault(key, number) == number
    assert sorted(seen.values()) == list(range(len(table)))
    assert all(table.get(key) == number for key, number in seen.items())


@given(state=st.sampled_from(STATES), looks=st.lists(st.none() | st.integers(0, 300), max_size=12))
def test_a_block_is_accepted_exactly_while_it_stands_in_the_chain(
    state: str, looks: list[int | None]
) -> None:
    for confirmations in looks:
        state = next_state(state, confirmations, 101)
        standing = confirmations is not None and confirmations > 0
        assert (state in {"accepted", "mature"}) == standing
        assert (state == "mature") == (standing and confirmations is not None and confirmations >= 101)
    with pytest.raises(ValueError, match="unknown state"):
        next_state("lost", 1, 101)


@settings(max_examples=15, deadline=None)
@given(parts=st.lists(batches(min_size=1, max_size=30), min_size=1, max_size=20))
def test_any_batches_come_back_in_order_and_are_counted_exactly(parts: list[ShareRecords]) -> None:
    asyncio.run(store_and_compare(parts))


async def store_and_compare(parts: list[ShareRecords]) -> None:
    whole = np.concatenate(parts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        ledger = SqliteLedger(path, asyncio.get_running_loop())
        ledger.open()
        try:
            for part in parts:
                ledger.append(part, lambda error: None)
            await settle(ledger)
            accepted = whole["verdict"] == Verdict.ACCEPTED
            assert ledger.rates.accepted == accepted.sum()
            with LedgerReader(path) as reader:
                assert reader.shares(0, 10_000)[1].tobytes() == whole.tobytes()
                assert reader.totals().accepted_work == sum(1 << int(w) for w in whole["work_log2"][accepted])
                assert reader.rollup(0, 2e9).tobytes() == count_shares(whole).tobytes()
        finally:
            ledger.close()
