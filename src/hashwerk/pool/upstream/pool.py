"""One upstream pool while we run."""

from __future__ import annotations

from dataclasses import dataclass

from hashwerk.pool.upstream.health import Trust
from hashwerk.pool.upstream.link import Link
from hashwerk.pool.upstream.record import PoolRecord
from hashwerk.pool.upstream.settings import UpstreamSettings


@dataclass(slots=True)
class Pool:
    """What is known of one pool, and its connections."""

    settings: UpstreamSettings
    id: int  # in the ledger
    trust: Trust
    record: PoolRecord
    links: list[Link | None]
    failed_because: str | None = None
    quiet_until: float = 0.0  # its messages are not shown before, monotonic

    @property
    def open_links(self) -> list[Link]:
        """Connections that have work."""
        return [link for link in self.links if link is not None and link.is_open]
