"""What the server counts."""

from __future__ import annotations

import numpy as np
import pytest

from hashwerk.pool.statistics import Broadcast, Statistics
from hashwerk.work.batch import ROW_DTYPE
from hashwerk.work.share import Verdict


def _rows(*shares: tuple[int, Verdict, int]) -> np.ndarray:
    rows = np.zeros(len(shares), ROW_DTYPE)
    for row, (worker, verdict, work_log2) in zip(rows, shares, strict=True):
        row["worker"], row["verdict"], row["work_log2"], row["time_us"] = (
            worker,
            verdict,
            work_log2,
            5_000_000,
        )
    return rows


def test_shares_are_counted_by_worker_and_verdict() -> None:
    statistics = Statistics()
    statistics.count_shares(
        _rows(
            (1, Verdict.ACCEPTED, 32),
            (1, Verdict.STALE, 32),
            (2, Verdict.ACCEPTED, 100),
            (0, Verdict.UNAUTHORIZED, 0),
        )
    )
    statistics.count_shares(_rows((5_000, Verdict.ACCEPTED, 32)))  # the arrays grow, nothing is counted twice
    assert statistics.accepted == 3
    assert statistics.rejected == {"stale": 1, "unauthorized": 1}
    assert statistics.accepted_work == 2 * 2**32 + 2**100  # exact
    assert [worker.worker_id for worker in statistics.workers()] == [1, 2, 5_000]
    first = statistics.worker(1)
    assert (first.accepted, first.rejected, first.last_share_at) == (1, {"stale": 1}, 5.0)
    assert statistics.worker(99_999).accepted == 0


def test_a_worker_with_rejects_only_has_no_last_share() -> None:
    statistics = Statistics()
    statistics.count_shares(_rows((1, Verdict.DUPLICATE, 32)))
    assert statistics.worker(1).last_share_at is None


def test_drops_and_broadcasts() -> None:
    statistics = Statistics()
    statistics.count_drop("Line too long")
    statistics.count_drop("Line too long")
    assert statistics.sessions_dropped == {"Line too long": 2}
    statistics.count_broadcast(Broadcast(sessions=9, first_ms=1.0, last_ms=20.0, new_block=True), now=1.0)
    assert statistics.last_job_latency.quantile_ms(0.5, 1.0) == pytest.approx(20, rel=0.05)
