"""An epoch prepared while it was open is, byte for byte, the one that is closed with all its shares at hand."""

from __future__ import annotations

from hashlib import sha256
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashwerk.errors import EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.closer import EpochCloser, ShareRecords
from hashwerk.evidence.epoch import record_leaf
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.open_shares import BATCH_SHARES
from hashwerk.evidence.standing import Standing
from hashwerk.work.share import SHARE_DTYPE, Verdict
from support.evidence import START_US, EvidenceSite, seeded_key

KEYS = SiteKeys(seeded_key("site/key"), seeded_key("site/next"), seeded_key("site/recovery"))
TEMPLATE = EvidenceSite().job(bytes(32), START_US)
SITE = records.Site(name="site", network="main", private=1)
METER = records.Configuration(name="meter/a", value="1")


def closer(*more: records.Record) -> EpochCloser:
    made = EpochCloser(KEYS, (), None, Standing())
    made.begin([SITE, *more], START_US)
    return made


def job(number: int, account: int, work_log2: int) -> records.Job:
    commitment = sha256(bytes([account])).digest()
    return msgspec.structs.replace(TEMPLATE, id=number, account=commitment, work_log2=work_log2)


def some_shares(jobs: list[records.Job], count: int, seed: int) -> ShareRecords:
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, SHARE_DTYPE)
    for name, top in (
        ("session", 9),
        ("worker", 9),
        ("nonce", 2**32),
        ("extranonce1", 2**32),
        ("extranonce2", 50),
    ):
        rows[name] = rng.integers(0, top, count)
    rows["job"] = rng.choice([one.id for one in jobs], count)
    rows["time_us"] = START_US + np.sort(rng.integers(0, 60_000_000, count))
    rows["ntime"] = rows["time_us"] // 1_000_000
    rows["version"] = 0x20000000
    rows["verdict"] = rng.choice([Verdict.ACCEPTED] * 7 + [Verdict.STALE, Verdict.DUPLICATE], count)
    return rows


def both_ways(
    jobs: list[records.Job], rows: ShareRecords, cuts: list[int], *declared: records.Record
) -> tuple[EpochCloser, EpochCloser]:
    """Close an epoch with all shares at hand, and in pieces; return both closers."""
    by_number = {one.id: one for one in jobs}
    plain, growing = closer(*declared), closer(*declared)
    end_us = START_US + 60_000_000
    epoch = plain.close(rows, by_number, [METER], end_us)
    shares = growing.open_shares()
    asked: list[int] = []

    def fetch(numbers: list[int]) -> list[records.Job]:
        asked.extend(numbers)
        return [by_number[number] for number in reversed(numbers)]

    places = sorted({0, len(rows), *(cut % (len(rows) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        shares.add(rows[start:end], fetch)  # type: ignore[arg-type]
    sealed = growing.seal(shares, [record_leaf(METER)], end_us)
    assert (sealed.signed, sealed.records) == (epoch.signed, epoch.records)
    assert len(asked) == len(set(asked)), "each job is asked for once"
    assert growing.standing.root() == plain.standing.root()
    return plain, growing


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from([0, 1, 3, 63, 64, 100])), min_size=1, max_size=12),
    st.integers(0, 700),
    st.lists(st.integers(0, 10**6), max_size=6),
    st.integers(0, 2**32 - 1),
)
def test_pieces_give_the_epoch_of_the_whole(
    kinds: list[tuple[int, int]], count: int, cuts: list[int], seed: int
) -> None:
    jobs = [job(3 * number + 1, *kind) for number, kind in enumerate(kinds)]
    both_ways(jobs, some_shares(jobs, count, seed), cuts)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=8),
    st.integers(0, 300),
    st.lists(st.integers(0, 10**6), max_size=4),
    st.integers(0, 4),
)
def test_thinned_epochs_too(kinds: list[tuple[int, int]], count: int, cuts: list[int], thinning: int) -> None:
    jobs = [job(number + 1, *kind) for number, kind in enumerate(kinds)]
    both_ways(jobs, some_shares(jobs, count, count), cuts, records.Thinning(work_log2=thinning))


def test_accounts_that_appear_late_and_more_shares_than_a_batch() -> None:
    jobs = [job(number, number % 50, 1) for number in range(1, 101)]
    rows = some_shares(jobs[:1], 3 * BATCH_SHARES + 17, 1)
    rows["job"][-300:] = np.arange(300) % 100 + 1
    both_ways(jobs, rows, [BATCH_SHARES + 1])


def test_what_does_not_fit_is_refused() -> None:
    rows = some_shares([job(7, 0, 1)], 20, 1)
    with pytest.raises(EvidenceError, match="job 7 is not in the ledger"):
        closer().open_shares().add(rows, lambda _: [])
    with pytest.raises(EvidenceError, match=r"credits 2\*\*128"):
        closer().open_shares().add(rows, lambda _: [job(7, 0, 128)])
    rows["verdict"] = Verdict.ACCEPTED
    with pytest.raises(EvidenceError, match="overflows 128 bits"):
        closer().open_shares().add(rows, lambda _: [job(7, 0, 127)])
