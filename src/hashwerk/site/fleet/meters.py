"""Meters as the fleet sees them: whoever can tell a power is a `PowerSource`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from hashwerk.clock import Clock
from hashwerk.errors import HashwerkError
from hashwerk.fleet.measure import MeterReading

log = logging.getLogger(__name__)

#: A meter that was silent for so long shows nothing.
STALE_S: Final = 60.0


class PowerSource(Protocol):
    """A meter, or several: of the site, of feeders, of breakers, of machines."""

    async def read(self) -> Sequence[MeterReading]:
        """Return what the meters show now; see `MeterReading.scope` for what they measure.

        Raises:
            HashwerkError: If they do not answer.
        """
        ...


class MeterBook:
    """The last reading of every meter. Owned by the fleet's loop.

    Cancellation: `run` ends at once.
    """

    def __init__(self, sources: Sequence[PowerSource], clock: Clock, *, interval_s: float = 2.0) -> None:
        self._sources = tuple(sources)
        self._clock = clock
        self._interval_s = interval_s
        self._latest: dict[str, MeterReading] = {}
        self._failures: dict[int, str] = {}

    def get(self, scope: str) -> MeterReading | None:
        """Return what a meter showed last; None if there is none or it is silent."""
        found = self._latest.get(scope)
        return None if found is None or self._clock.time() - found.at > STALE_S else found

    def machine_w(self, key: str) -> float | None:
        """Return what a machine's own meter shows; None where it has none."""
        found = self.get(f"machine:{key}")
        return None if found is None else found.power_w

    async def run(self) -> None:
        """Read all meters again and again."""
        if not self._sources:
            return
        while True:
            await asyncio.gather(*(self._read(number, source) for number, source in enumerate(self._sources)))
            await asyncio.sleep(self._interval_s)

    async def read_once(self) -> None:
        """Read all meters now."""
        await asyncio.gather(*(self._read(number, source) for number, source in enumerate(self._sources)))

    async def _read(self, number: int, source: PowerSource) -> None:
        try:
            async with asyncio.timeout(max(5.0, self._interval_s)):
                readings = await source.read()
        except (HashwerkError, TimeoutError) as error:
            text = str(error) or "it does not answer"
            if self._failures.get(number) != text:
                log.warning("meter %d: %s", number + 1, text)
            self._failures[number] = text
            return
        if self._failures.pop(number, None) is not None:
            log.info("meter %d is back", number + 1)
        for reading in readings:
            self._latest[reading.scope] = reading
