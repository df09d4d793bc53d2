"""Which server next, and when: priorities, exponential backoff with jitter. No sockets, no clock."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hashwerk.client.settings import ServerUrl


@dataclass(slots=True)
class _Candidate:
    server: ServerUrl
    failures: int = 0
    ready_at: float = 0.0


class Failover:
    """Chooses the most preferred server that is not resting after a failure."""

    def __init__(
        self,
        servers: tuple[ServerUrl, ...],
        rng: random.Random,
        *,
        retry_min_s: float,
        retry_max_s: float,
    ) -> None:
        """Take the servers, the preferred one first, and a source of jitter."""
        self._candidates = [_Candidate(server) for server in servers]
        self._rng = rng
        self._retry_min_s = retry_min_s
        self._retry_max_s = retry_max_s

    def next(self, now: float) -> tuple[int, float]:
        """Return the index of the server to try and how many seconds to wait before.

        The most preferred server that may be tried at once wins; when all rest, the one whose rest ends
        first.
        """
        for index, candidate in enumerate(self._candidates):
            if candidate.ready_at <= now:
                return index, 0.0
        index, candidate = min(enumerate(self._candidates), key=lambda item: item[1].ready_at)
        return index, candidate.ready_at - now

    def failed(self, index: int, now: float, *, at_least_s: float = 0.0) -> float:
        """Record that a server could not be used or was lost; return how many seconds it rests.

        The rest doubles from ``retry_min_s`` to ``retry_max_s`` with each failure in a row. Jitter takes up
        to half of it away, so that the machines of a farm do not come back all at the same instant. A server
        may ask for a longer rest, ``at_least_s``, but not for more than ``retry_max_s``.
        """
        candidate = self._candidates[index]
        ceiling_s = min(self._retry_max_s, self._retry_min_s * 2.0 ** min(candidate.failures, 32))
        rest_s = max(ceiling_s * (1.0 - 0.5 * self._rng.random()), min(at_least_s, self._retry_max_s))
        candidate.failures += 1
        candidate.ready_at = now + rest_s
        return rest_s

    def proven(self, index: int) -> None:
        """Record that a server has served work for a while: its next rest is the shortest again."""
        candidate = self._candidates[index]
        candidate.failures = 0
        candidate.ready_at = 0.0

    def server(self, index: int) -> ServerUrl:
        """Return the address of a server."""
        return self._candidates[index].server
