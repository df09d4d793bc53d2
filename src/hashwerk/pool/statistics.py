"""What the server counts: shares by worker and verdict, and how long things take."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from hashwerk.stratum.latency import LatencyWindow
from hashwerk.work.share import Verdict

VERDICTS: Final = len(Verdict)
_FIRST_WORKERS: Final = 64
_MAX_WORK_LOG2: Final = 129


class WorkerCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker handed in since this process began."""

    worker_id: int
    accepted: int
    rejected: dict[str, int]  # by `Verdict` name in lower case
    last_share_at: float | None  # accepted, UTC seconds


class Broadcast(msgspec.Struct, frozen=True, kw_only=True):
    """How long a job took from the template to the machines' sockets, in milliseconds."""

    sessions: int
    first_ms: float
    last_ms: float
    new_block: bool


class Statistics:
    """Counters of one server. Owned by its event loop."""

    def __init__(self) -> None:
        self.submit_latency: Final = LatencyWindow()  # bytes read → answer written
        self.first_job_latency: Final = LatencyWindow()  # template → first machine
        self.last_job_latency: Final = LatencyWindow()  # template → last machine
        self.last_broadcast: Broadcast | None = None
        self.sessions_opened = 0
        self.sessions_dropped: dict[str, int] = {}  # closed by us, by reason
        self._by_worker: NDArray[np.int64] = np.zeros((_FIRST_WORKERS, VERDICTS), np.int64)
        self._last_share_us: NDArray[np.int64] = np.zeros(_FIRST_WORKERS, np.int64)
        self._by_work: NDArray[np.int64] = np.zeros(_MAX_WORK_LOG2, np.int64)

    def count_shares(self, rows: NDArray[np.void]) -> None:
        """Count rows of `work.batch.ROW_DTYPE` with their final verdicts. Worker 0 is nobody."""
        while not _tally(rows, self._by_worker, self._last_share_us, self._by_work):
            size = 2 * max(len(self._by_worker), int(rows["worker"].max()))
            self._by_worker = _grown(self._by_worker, size)
            self._last_share_us = _grown(self._last_share_us, size)

    def count_drop(self, reason: str) -> None:
        """Count a session that was closed by us."""
        self.sessions_dropped[reason] = self.sessions_dropped.get(reason, 0) + 1

    def count_broadcast(self, broadcast: Broadcast, now: float) -> None:
        """Count a job that went to all machines; ``now`` is monotonic."""
        self.last_broadcast = broadcast
        self.first_job_latency.add(broadcast.first_ms / 1000, now)
        self.last_job_latency.add(broadcast.last_ms / 1000, now)

    @property
    def accepted(self) -> int:
        """Shares accepted since this process began."""
        return int(self._by_worker[:, Verdict.ACCEPTED].sum())

    @property
    def rejected(self) -> dict[str, int]:
        """Shares rejected since this process began, by reason; reasons that never came up are left out."""
        return _reasons(self._by_worker.sum(axis=0))

    @property
    def accepted_work(self) -> int:
        """Hashes credited since this process began, exact."""
        return sum(int(count) << work_log2 for work_log2, count in enumerate(self._by_work) if count)

    def workers(self) -> list[WorkerCounts]:
        """Return the counts of every worker that handed in a share."""
        seen = np.flatnonzero(self._by_worker.sum(axis=1))
        return [self.worker(int(worker_id)) for worker_id in seen if worker_id]

    def worker(self, worker_id: int) -> WorkerCounts:
        """Return one worker's counts; all zero if it handed in nothing."""
        if worker_id >= len(self._by_worker):
            return WorkerCounts(worker_id=worker_id, accepted=0, rejected={}, last_share_at=None)
        counts = self._by_worker[worker_id]
        last_us = int(self._last_share_us[worker_id])
        return WorkerCounts(
            worker_id=worker_id,
            accepted=int(counts[Verdict.ACCEPTED]),
            rejected=_reasons(counts),
            last_share_at=last_us / 1e6 if last_us else None,
        )


def _reasons(counts: NDArray[np.int64]) -> dict[str, int]:
    return {
        verdict.name.lower(): int(counts[verdict])
        for verdict in Verdict
        if verdict is not Verdict.ACCEPTED and counts[verdict]
    }


def _grown(array: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    grown = np.zeros((size, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


@njit(cache=True, nogil=True)
def _tally(rows: Any, by_worker: Any, last_share_us: Any, by_work: Any) -> bool:
    """Count the rows; count nothing and return False if a worker has no place in the arrays."""
    for i in range(len(rows)):
        if rows[i].worker >= len(by_worker):
            return False
    for i in range(len(rows)):
        row = rows[i]
        by_worker[row.worker, row.verdict] += 1
        if row.verdict == 0:
            by_work[row.work_log2] += 1
            last_share_us[row.worker] = row.time_us
    return True
