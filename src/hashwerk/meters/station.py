"""A meter at work: read again and again, its registers made into intervals, its power told to whoever steers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hashwerk.clock import Clock
from hashwerk.energy.ports import Meter, RegisterReading
from hashwerk.energy.registers import MeterInterval, MeterTrack, RegisterEvent
from hashwerk.fleet.measure import MeterReading
from hashwerk.meters.settings import MeterSettings
from hashwerk.meters.table import wraps_at_wh

Record = Callable[[Sequence[MeterInterval], Sequence[RegisterEvent]], None]


class Station:
    """One meter. Fills the fleet's port of a power source; owned by one task.

    Args:
        meter: What is read.
        settings: What it measures and how far it is believed.
        clock: The time of a reading.
        record: Takes finished intervals and what happened to registers; called from `read`.
    """

    def __init__(self, meter: Meter, settings: MeterSettings, clock: Clock, record: Record) -> None:
        self.meter = meter
        self.scope = settings.scope
        self._clock = clock
        self._record = record
        self._last_s: float | None = None
        self._track = MeterTrack(
            settings.name,
            interval_s=settings.interval_s,
            max_power_w=settings.max_power_w,
            wraps_at_wh=wraps_at_wh(settings),
            gap_s=settings.gap_s,
        )

    async def read(self) -> Sequence[MeterReading]:
        """Return the power that the meter shows; none where it shows energy alone.

        Raises:
            DeviceError: If the meter does not answer.
        """
        reading = await self.meter.read(self._clock.time())
        self._take(reading)
        if reading.power_w is None:
            return ()
        return (MeterReading(at=reading.at_s, power_w=reading.power_w, scope=self.scope),)

    def _take(self, reading: RegisterReading) -> None:
        # A meter that speaks by itself may have said nothing new since it was last read.
        if self._last_s is not None and reading.at_s <= self._last_s:
            return
        self._last_s = reading.at_s
        intervals, events = self._track.take(reading)
        if intervals or events:
            self._record(intervals, events)
