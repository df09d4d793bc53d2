"""Settings of the ledger, each with its default and what it costs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class StoreSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the ledger keeps what, and how it shares the disk. Figures are in docs/performance/ledger.md.

    Raises:
        ValueError: If a value is out of its range.
    """

    keep_shares_days: Annotated[
        float | None,
        Meta(description="Days after which share records are removed; counts and totals stay for ever."),
    ] = 400.0

    keep_minutes_days: Annotated[
        float,
        Meta(
            description="Days for which per-minute counts are kept; after that per-hour counts remain, for ever."
        ),
    ] = 7.0

    keep_transactions_h: Annotated[
        float,
        Meta(
            description="Hours for which a template's transactions are kept, to assemble a block found on an old job."
        ),
    ] = 48.0

    keep_events: Annotated[int, Meta(description="Events kept for the page Log; the oldest go first.")] = (
        100_000
    )

    compact_after_h: Annotated[
        float | None,
        Meta(
            description="Hours after which commit groups are packed together and compressed; nothing is lost."
        ),
    ] = 6.0

    maintenance_interval_s: Annotated[
        float, Meta(description="Seconds between two rounds of rollup, compaction and retention.")
    ] = 60.0

    max_group_shares: Annotated[
        int,
        Meta(
            description="Most shares in one commit group: 2.4 MB of records, written in a few milliseconds."
        ),
    ] = 32_768

    max_pending_shares: Annotated[
        int,
        Meta(
            description="Shares that may wait for the disk. Beyond this they are refused, and the machine is told."
        ),
    ] = 1_000_000

    resume_sessions_s: Annotated[
        float, Meta(description="Seconds after its end during which a session can be resumed with its token.")
    ] = 900.0

    resume_jobs_s: Annotated[
        float,
        Meta(
            description="Seconds for which jobs stay open over a restart, so that shares for them are still taken."
        ),
    ] = 900.0

    lock_timeout_s: Annotated[
        float,
        Meta(
            description="Seconds to wait for a predecessor to let go of the ledger, and for any other writer's lock."
        ),
    ] = 5.0

    checkpoint_pages: Annotated[
        int,
        Meta(
            description="Pages of the write-ahead log (4 KiB each) after which they are copied into the database file."
        ),
    ] = 1_000

    id_block: Annotated[
        int,
        Meta(
            description="Identifiers reserved on disk ahead of use; at most so many are skipped after a crash."
        ),
    ] = 65_536

    maturity_confirmations: Annotated[
        int,
        Meta(
            description="Confirmations after which a block's reward can be spent; Bitcoin Core's wallet waits for 101 too."
        ),
    ] = 101

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
