"""External time in the running mine: stamps asked for, and stamps given as a witness, as the settings say.

Nothing here reaches outward or answers anybody unless the settings name whom. What cannot start keeps the pages from nothing:
it is logged, and shown beside the epochs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from hashwerk.clock import Clock
from hashwerk.config.site import EvidenceSettings
from hashwerk.errors import HashwerkError
from hashwerk.site.stamping import ServiceState, Stamping
from hashwerk.site.time_services import build_services
from hashwerk.site.witness_desk import WitnessDesk
from hashwerk.store.stamp_book import NAME, StampBook

log = logging.getLogger(__name__)


@dataclass(slots=True)
class ExternalTime:
    """What of it runs; ``problem`` says why something does not."""

    stamping: Stamping | None = None
    witness: WitnessDesk | None = None
    problem: str = ""

    def states(self) -> list[ServiceState]:
        """Return how each service does."""
        return [] if self.stamping is None else self.stamping.states


@asynccontextmanager
async def running_time(
    settings: EvidenceSettings, ledger: Path, keys: Path, clock: Clock
) -> AsyncIterator[ExternalTime]:
    """Run what the settings ask for until the context ends.

    Args:
        settings: Of the evidence.
        ledger: Whose epochs are stamped; the stamps lie beside it.
        keys: Folder of the witness's key.
        clock: The clock.
    """
    found = ExternalTime()
    book = StampBook(ledger.with_name(NAME))
    try:
        services = build_services(settings.time)
        if services or settings.witness.sites:
            await asyncio.to_thread(book.open)
        if services:
            found.stamping = Stamping(ledger, book, services, clock, every_s=settings.time.every_s)
        if settings.witness.sites:
            found.witness = WitnessDesk(book, keys, settings.witness.sites, clock)
    except HashwerkError as error:
        log.error("no external time: %s", error)
        found.problem = str(error)
    running = None if found.stamping is None else asyncio.create_task(found.stamping.run(), name="stamping")
    try:
        yield found
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await asyncio.to_thread(book.close)
