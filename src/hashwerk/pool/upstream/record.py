"""What one pool has had of us and what it made of it: counts, rates and the fates on their way to the ledger."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import numpy as np

from hashwerk.clock import Clock
from hashwerk.stratum.latency import LatencyWindow
from hashwerk.stratum.ports import Ledger
from hashwerk.work.fate import FATE_DTYPE, Fate

_BUCKET_S: Final = 10
_BUCKETS: Final = 360
_FLUSH_S: Final = 0.2
_MOST_REASONS: Final = 50
WINDOWS_S: Final = {"1m": 60, "10m": 600, "1h": 3_600}


class WorkWindow:
    """Work of the last hour, in hashes, exact."""

    def __init__(self, started_at: float) -> None:
        """Begin at this time, Unix seconds."""
        self._started_at = started_at
        self._buckets: deque[tuple[int, int]] = deque(maxlen=_BUCKETS)

    def add(self, work: int, now: float) -> None:
        """Count work."""
        bucket = int(now // _BUCKET_S)
        if self._buckets and self._buckets[-1][0] == bucket:
            work += self._buckets.pop()[1]
        self._buckets.append((bucket, work))

    def rates_hs(self, now: float) -> dict[str, float | None]:
        """Return the hash rate over each window; None before any time has passed."""
        found: dict[str, float | None] = {}
        for name, window_s in WINDOWS_S.items():
            first = int(now // _BUCKET_S) - window_s // _BUCKET_S + 1
            since = max(first * _BUCKET_S, self._started_at)
            work = sum(amount for bucket, amount in self._buckets if bucket >= first)
            found[name] = work / (now - since) if now > since else None
        return found


@dataclass(slots=True)
class PoolRecord:
    """One pool since this process began."""

    seen: WorkWindow  # work of accepted shares of its jobs, here
    credited: WorkWindow  # work of the shares it said it accepted, at its own difficulty
    latency: LatencyWindow = field(default_factory=LatencyWindow)
    forwarded: int = 0
    accepted: int = 0
    lost: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    accepted_difficulty: Fraction = Fraction(0)

    def refuse(self, reason: str) -> None:
        """Count a refusal; a pool that has other words for each is cut short."""
        if reason not in self.rejected and len(self.rejected) >= _MOST_REASONS:
            reason = "other reasons"
        self.rejected[reason] = self.rejected.get(reason, 0) + 1


class FateBook:
    """Brings fates to the ledger, a few times a second: each write would else be a sync of the disk of its own.

    A fate that a crash keeps from the disk is recorded as lost at the next start; the share itself is on disk before.
    """

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._rows: list[tuple[bytes, int, int, int, int, int, bytes, int, int]] = []
        self._timer: asyncio.TimerHandle | None = None

    def put(
        self,
        fate: Fate,
        *,
        hash_key: bytes,
        job_id: int,
        worker_id: int,
        upstream_id: int,
        reason: str = "",
        sent_at: float | None,
    ) -> None:
        """Record what became of a share; ``sent_at`` is None if it could not be handed in."""
        if not self._rows:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self.flush)
        self._rows.append(
            (
                hash_key,
                job_id,
                worker_id,
                upstream_id,
                self._ledger.fate_reason(reason) if reason else 0,
                int(fate),
                b"",
                0 if sent_at is None else int(sent_at * 1e6),
                int(self._clock.time() * 1e6),
            )
        )

    def flush(self) -> None:
        """Hand what is there to the ledger."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._rows:
            self._ledger.put_fates(np.array(self._rows, FATE_DTYPE))
            self._rows.clear()
