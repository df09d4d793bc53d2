"""Settings of the ledger, each with its default and what it costs."""

from __future__ import annotations

import msgspec


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the ledger keeps what, and how it shares the disk. Figures are in docs/performance/ledger.md.

    Raises:
        ValueError: If a value is out of its range.
    """

    keep_shares_days: float | None = 400.0
    """Days after which share records are removed; rollups and totals stay. None keeps them for ever."""

    keep_minutes_days: float = 7.0
    """Days for which per-minute counts are kept; after that per-hour counts remain, for ever."""

    keep_transactions_h: float = 48.0
    """Hours for which a template's transactions are kept, so that a block found on an old job can be
    assembled."""

    keep_events: int = 100_000
    """Events kept for the page *Log*; the oldest go first."""

    compact_after_h: float | None = 6.0
    """Hours after which commit groups are packed together and compressed, losing nothing. None never does."""

    maintenance_interval_s: float = 60.0
    """Seconds between two rounds of rollup, compaction and retention."""

    max_group_shares: int = 32_768
    """Most shares in one commit group: 2.4 MB of records, written in a few milliseconds."""

    max_pending_shares: int = 1_000_000
    """Shares that may wait for the disk (72 MB). Beyond this `append` refuses: the machine is told, nothing
    is lost."""

    resume_sessions_s: float = 900.0
    """Seconds after its end during which a session can be resumed with its token."""

    resume_jobs_s: float = 900.0
    """Seconds for which jobs stay open over a restart, so that shares for them are still taken."""

    lock_timeout_s: float = 5.0
    """Seconds to wait for a predecessor to let go of the ledger, and for any other writer's lock."""

    checkpoint_pages: int = 4_000
    """Pages of the write-ahead log (4 KiB each) after which they are copied into the database file."""

    id_block: int = 65_536
    """Identifiers reserved on disk ahead of use; at most so many are skipped after a crash."""

    maturity_confirmations: int = 101
    """Confirmations after which a block's reward can be spent; Bitcoin Core's wallet waits for 101 too."""

    def __post_init__(self) -> None:
        for name in (
            "keep_minutes_days",
            "keep_transactions_h",
            "maintenance_interval_s",
            "resume_sessions_s",
            "resume_jobs_s",
        ):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive: {getattr(self, name)}")
        for name in ("keep_shares_days", "compact_after_h"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive or none: {value}")
        for name in ("max_group_shares", "max_pending_shares", "checkpoint_pages", "maturity_confirmations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1: {getattr(self, name)}")
        if self.keep_events < 0 or self.lock_timeout_s < 0:
            raise ValueError("keep_events and lock_timeout_s must not be negative")
        if not 2 <= self.id_block <= 1 << 24:
            raise ValueError(f"id_block must lie between 2 and {1 << 24}: {self.id_block}")
