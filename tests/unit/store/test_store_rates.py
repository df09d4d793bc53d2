"""Windows in memory: what a rate divides by, and what it counts."""

from __future__ import annotations

import numpy as np
import pytest

from hashwerk.store.codec import count_shares
from hashwerk.store.keys import KeyTable
from hashwerk.store.rates import WINDOWS, RateWindow
from hashwerk.stratum.latency import LatencyWindow
from hashwerk.work.poisson import rate_interval
from hashwerk.work.share import Verdict
from support.ledger import NOW, make_shares


def test_a_rate_divides_by_the_time_its_buckets_cover() -> None:
    rates = RateWindow(NOW - 90_000)
    for second in range(600):
        rates.add(make_shares(1, first=second, at=NOW - 600 + second, work_log2=32))
    total = rates.total(NOW - 0.5)
    minute, ten, hour, day = (total[name] for name in WINDOWS)
    assert minute is not None
    assert minute.shares == 60
    assert minute.hs == pytest.approx(60 * 2**32 / 59.5)
    assert minute == rate_interval({32: 60}, 59.5)
    assert ten is not None
    assert ten.shares == 600
    assert hour is not None
    assert day is not None
    assert hour.shares == day.shares == 600
    assert 86_400 - 900 < 600 * 2**32 / day.hs <= 86_400


def test_shares_leave_the_window() -> None:
    rates = RateWindow(NOW - 90_000)
    rates.add(make_shares(10, at=NOW))
    counts = {}
    for age in (59, 61, 599, 611, 3_500, 3_661, 85_000, 87_400):
        total = rates.total(NOW + age)
        counts[age] = [rate.shares if rate else None for rate in total.values()]
    assert counts == {
        59: [10, 10, 10, 10],
        61: [0, 10, 10, 10],
        599: [0, 10, 10, 10],
        611: [0, 0, 10, 10],
        3_500: [0, 0, 10, 10],
        3_661: [0, 0, 0, 10],
        85_000: [0, 0, 0, 10],
        87_400: [0, 0, 0, 0],
    }
    assert rates.accepted == 10


def test_a_new_worker_is_measured_since_it_was_known() -> None:
    rates = RateWindow(NOW - 90_000)
    rates.add_worker(1, account=7, since=NOW - 20)
    rates.add(make_shares(4, at=NOW - 5, work_log2=32))
    for rate in (*rates.worker(1, NOW).values(), *rates.account(7, NOW).values()):
        assert rate is not None
        assert rate.hs == pytest.approx(4 * 2**32 / 20)


def test_unknown_and_silent_workers_have_no_rate() -> None:
    rates = RateWindow(NOW)
    rates.add_worker(1, account=7, since=NOW)
    nothing = dict.fromkeys(WINDOWS)
    assert rates.worker(1, NOW + 60) == nothing
    assert rates.worker(2, NOW + 60) == nothing
    assert rates.account(8, NOW + 60) == nothing
    assert rates.total(NOW + 60) == nothing
    assert rates.shares_of(2) == (0, {})
    assert rates.last_share_at(1) is None


def test_a_worker_gone_silent_has_zero_with_an_upper_bound() -> None:
    rates = RateWindow(NOW - 90_000)
    rates.add_worker(1, account=7, since=NOW - 90_000)
    rates.add(make_shares(3, at=NOW, work_log2=32))
    rate = rates.worker(1, NOW + 100)["1m"]
    assert rate is not None
    assert (rate.hs, rate.low_hs, rate.shares) == (0.0, 0.0, 0)
    assert rate.high_hs == pytest.approx(3.6889 * 2**32 / 59, rel=1e-4)


def test_the_table_agrees_with_each_worker_and_with_the_total() -> None:
    random = np.random.default_rng(3)
    rates = RateWindow(NOW - 90_000)
    for number in range(50):
        shares = make_shares(100, first=100 * number, at=NOW - 500 + 10 * number)
        shares["worker"] = random.integers(1, 30, 100)
        shares["work_log2"] = random.integers(38, 41, 100)
        shares["verdict"] = random.choice([0, 0, 0, 3], 100)
        rates.add(shares)
    for name in WINDOWS:
        table = rates.table(name, NOW)
        for row, worker in enumerate(table.worker.tolist()):
            rate = rates.worker(worker, NOW)[name]
            assert rate is not None
            assert (table.hs[row], table.shares[row]) == (rate.hs, rate.shares)
            assert rate.low_hs < rate.hs < rate.high_hs or rate.shares == 0
        total = rates.total(NOW)[name]
        assert total is not None
        assert table.shares.sum() == total.shares
        assert table.hs.sum() == pytest.approx(total.hs)
    busiest = rates.busiest(5)
    ten = {worker: rate["10m"].hs for worker, rate in rates.workers(range(1, 30), NOW).items() if rate["10m"]}
    assert busiest == sorted(ten, key=lambda worker: -ten[worker])[:5]


def test_shares_of_nobody_make_nobody_busy() -> None:
    rates = RateWindow(NOW)
    rates.add(make_shares(5, at=NOW, worker=0, verdict=Verdict.UNAUTHORIZED))
    assert rates.busiest(5) == []
    rates.add(make_shares(1, first=5, at=NOW, worker=7))
    assert rates.busiest(1) == [7]
    assert rates.rejected == {"unauthorized": 5}


def test_a_mixed_worker_has_the_interval_of_its_mixture() -> None:
    rates = RateWindow(NOW - 90_000)
    rates.add(make_shares(10, at=NOW, work_log2=40))
    rates.add(make_shares(3, first=10, at=NOW, work_log2=43))
    rate = rates.worker(1, NOW + 0.25)["1m"]
    expected = rate_interval({40: 10, 43: 3}, 59.25)
    assert rate is not None
    assert (rate.hs, rate.low_hs, rate.high_hs) == pytest.approx(
        (expected.hs, expected.low_hs, expected.high_hs)
    )


def test_totals_are_exact_beyond_64_bits() -> None:
    rates = RateWindow(NOW)
    rates.add(make_shares(3, work_log2=80))
    rates.add(make_shares(1, first=3, work_log2=1))
    rates.add(make_shares(2, first=4, verdict=4))
    rates.add(make_shares(1, first=6, verdict=11))
    assert rates.accepted_work == 3 * 2**80 + 2
    assert rates.rejected == {"low_difficulty": 2, "not_stored": 1}
    assert rates.shares_of(1) == (4, {"low_difficulty": 2, "not_stored": 1})
    assert rates.last_share_at(1) == NOW


def test_counts_of_an_earlier_run_enter_windows_and_totals_apart() -> None:
    rates = RateWindow(NOW - 90_000)
    counts = count_shares(make_shares(5, work_log2=32))
    rates.add_counts(int(NOW) - 86_400, 3_600, counts, lifetime=True)
    assert rates.accepted == 5
    assert rates.total(NOW)["24h"] is None
    rates.add_counts(int(NOW) - 120, 60, counts, lifetime=False)
    total = rates.total(NOW)
    assert [rate.shares if rate else None for rate in total.values()] == [0, 5, 5, 5]
    assert rates.accepted == 5


def test_keys_are_numbered_in_the_order_of_first_sight() -> None:
    table = KeyTable()
    assert table.find(np.array([50, 10, 50])).tolist() == [1, 0, 1]  # new ones of one call in their own order
    assert table.find(np.array([30, 10])).tolist() == [2, 0]
    assert table.get(50) == 1
    assert table.get(20) is None
    assert table.get(99) is None
    assert table.keys().tolist() == [10, 50, 30]


def test_a_percentile_names_the_bin_it_lies_in() -> None:
    window = LatencyWindow()
    assert window.quantile_ms(0.5, 0.0) is None
    for number in range(100):
        window.add(0.001 if number < 98 else 0.1, 1000.0 + number / 100)
    assert window.quantile_ms(0.5, 1001.0) == pytest.approx(1, rel=0.05)
    assert window.quantile_ms(0.99, 1001.0) == pytest.approx(100, rel=0.05)
    assert window.quantile_ms(0.99, 1062.0) is None
    window.add(1e9, 2000.0)
    window.add(0.0, 2000.0)
    assert window.quantile_ms(0.0, 2000.0) is not None
    with pytest.raises(ValueError, match="quantile"):
        window.quantile_ms(1.5, 2000.0)
