"""Cumulative registers made into energy per interval, exactly: what wraps, resets, is swapped or silent is found and recorded.

Two readings give the energy between them and nothing else. At the edge of an interval the register is interpolated in whole
Wh between the readings on either side, so that intervals always sum up to the register, to the Wh. Energy that no register
can show (a meter was swapped, a register was set back) is missing, never zero.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hashwerk.energy.ports import RegisterReading
from hashwerk.energy.series import Quality

#: How much more than its limit a site may seem to draw before an increment is not believed: clocks and rounding.
_MARGIN: Final = 1.25
#: A float register of a large meter may seem to fall by its last digits without meaning anything.
_JITTER_WH: Final = 20


class Direction(enum.StrEnum):
    """Which register."""

    IMPORT = "import"
    EXPORT = "export"


class EventKind(enum.StrEnum):
    """What happened to a register."""

    WRAP = "wrap"  # it went over its end; nothing is lost
    RESET = "reset"  # it was set back; what was counted since the reading before is not known
    SWAP = "swap"  # another serial number
    GAP = "gap"  # the meter was silent; the difference of the registers fills it
    JITTER = "jitter"  # it fell by a few Wh; taken for no change
    LEAP = "leap"  # it rose by more than the connection can carry


class RegisterEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a register, for the record and for whoever watches."""

    meter: str
    direction: Direction
    kind: EventKind
    from_s: float
    to_s: float
    before_wh: int
    after_wh: int
    text: str


class MeterInterval(msgspec.Struct, frozen=True, kw_only=True):
    """The energy of one interval. ``end_wh − start_wh = wh``, on a count of ours that never goes back.

    The count begins with the first reading's register, goes on over wraps and swaps, and is what evidence is made from.
    """

    meter: str
    serial: str | None
    direction: Direction
    start_s: int
    stop_s: int
    start_wh: int
    end_wh: int
    wh: int | None  # None: part of it is not known; start and end then bound it from below
    quality: Quality


@dataclass(slots=True)
class _Point:
    at_s: float
    count_wh: int


@dataclass(slots=True)
class RegisterTrack:
    """One register of one meter. Owned by one task.

    Args:
        meter: Its name.
        direction: Which register.
        interval_s: Length of the settlement intervals, on multiples since 1970.
        max_power_w: What the connection can carry: a greater rise is not believed.
        wraps_at_wh: Where the register begins again; None: it is not known to.
        gap_s: Silence longer than this is a gap.
    """

    meter: str
    direction: Direction
    interval_s: int
    max_power_w: float
    wraps_at_wh: int | None = None
    gap_s: float = 120.0
    _raw_wh: int | None = None
    _serial: str | None = None
    _last: _Point | None = None
    _edge: _Point | None = None  # the last edge of an interval, interpolated
    _worst: Quality = Quality.MEASURED
    _hole: bool = False
    _events: list[RegisterEvent] = field(default_factory=list)

    def take(
        self, at_s: float, raw_wh: int, serial: str | None
    ) -> tuple[tuple[MeterInterval, ...], tuple[RegisterEvent, ...]]:
        """Take in a reading; return the intervals that it completes and what happened to the register.

        Raises:
            ValueError: If the reading is negative or not later than the one before.
        """
        if raw_wh < 0:
            raise ValueError(f"{self.meter}: a register is not negative: {raw_wh} Wh")
        if self._last is None or self._raw_wh is None:
            self._begin(at_s, raw_wh, serial)
            return (), ()
        if at_s <= self._last.at_s:
            raise ValueError(f"{self.meter}: a reading of {at_s} comes after one of {self._last.at_s}")
        self._events = []
        quality, rise_wh, hole = self._judge(at_s, raw_wh, serial)
        point = _Point(at_s, self._last.count_wh + rise_wh)
        finished = self._cut(point, quality, hole=hole)
        if not any(event.kind is EventKind.JITTER for event in self._events):
            self._raw_wh = raw_wh
        self._serial = serial if serial is not None else self._serial
        self._last = point
        return finished, tuple(self._events)

    def _begin(self, at_s: float, raw_wh: int, serial: str | None) -> None:
        self._raw_wh, self._serial = raw_wh, serial
        self._last = _Point(at_s, raw_wh)
        on_edge = at_s % self.interval_s == 0
        self._edge = self._last if on_edge else None

    def _judge(self, at_s: float, raw_wh: int, serial: str | None) -> tuple[Quality, int, bool]:
        """Say what the difference to the reading before is worth: quality, rise, and whether energy is missing."""
        assert self._last is not None
        assert self._raw_wh is not None
        elapsed_s = at_s - self._last.at_s
        most_wh = self.max_power_w * elapsed_s / 3_600 * _MARGIN + _JITTER_WH
        quality = Quality.MEASURED
        if elapsed_s > self.gap_s:
            self._tell(
                EventKind.GAP, at_s, raw_wh, f"was silent for {elapsed_s:.0f} s; its register fills the gap"
            )
            quality = Quality.ESTIMATED
        if serial is not None and self._serial is not None and serial != self._serial:
            self._tell(
                EventKind.SWAP, at_s, raw_wh, f"has the serial number {serial} instead of {self._serial}"
            )
            return Quality.MISSING, 0, True
        rise_wh = raw_wh - self._raw_wh
        if rise_wh < 0:
            return self._judge_fall(at_s, raw_wh, most_wh, quality)
        if rise_wh > most_wh:
            self._tell(
                EventKind.LEAP,
                at_s,
                raw_wh,
                f"rose by {rise_wh} Wh in {elapsed_s:.0f} s, {most_wh:.0f} Wh are possible",
            )
            return Quality.MISSING, 0, True
        return quality, rise_wh, False

    def _judge_fall(
        self, at_s: float, raw_wh: int, most_wh: float, quality: Quality
    ) -> tuple[Quality, int, bool]:
        assert self._raw_wh is not None
        fall_wh = self._raw_wh - raw_wh
        if self.wraps_at_wh is not None and 0 <= self.wraps_at_wh - fall_wh <= most_wh:
            self._tell(EventKind.WRAP, at_s, raw_wh, f"went over its end of {self.wraps_at_wh} Wh")
            return quality, self.wraps_at_wh - fall_wh, False
        if fall_wh <= _JITTER_WH:
            self._tell(EventKind.JITTER, at_s, raw_wh, f"fell by {fall_wh} Wh; taken for no change")
            return quality, 0, False
        self._tell(EventKind.RESET, at_s, raw_wh, f"was set back from {self._raw_wh} to {raw_wh} Wh")
        return Quality.MISSING, 0, True

    def _cut(self, point: _Point, quality: Quality, *, hole: bool) -> tuple[MeterInterval, ...]:
        """Close every interval that ends up to this point; the count at its edge lies between the two readings."""
        assert self._last is not None
        last, finished = self._last, []
        rise_wh, elapsed_s = point.count_wh - last.count_wh, point.at_s - last.at_s
        edge_s = (int(last.at_s // self.interval_s) + 1) * self.interval_s
        self._note(quality, hole=hole)
        while edge_s <= point.at_s:
            count_wh = last.count_wh + int(rise_wh * (edge_s - last.at_s) / elapsed_s)
            if edge_s == point.at_s:
                count_wh = point.count_wh
            edge = _Point(edge_s, count_wh)
            if self._edge is not None:
                finished.append(self._interval(self._edge, edge))
            self._edge, self._worst, self._hole = edge, Quality.MEASURED, False
            if edge_s < point.at_s:
                self._note(quality, hole=hole)
            edge_s += self.interval_s
        return tuple(finished)

    def _note(self, quality: Quality, *, hole: bool) -> None:
        self._hole = self._hole or hole
        if quality is not Quality.MISSING:
            self._worst = max(self._worst, quality)

    def _interval(self, start: _Point, end: _Point) -> MeterInterval:
        return MeterInterval(
            meter=self.meter,
            serial=self._serial,
            direction=self.direction,
            start_s=int(start.at_s),
            stop_s=int(end.at_s),
            start_wh=start.count_wh,
            end_wh=end.count_wh,
            wh=None if self._hole else end.count_wh - start.count_wh,
            quality=Quality.MISSING if self._hole else self._worst,
        )

    def _tell(self, kind: EventKind, at_s: float, raw_wh: int, text: str) -> None:
        assert self._last is not None
        assert self._raw_wh is not None
        self._events.append(
            RegisterEvent(
                meter=self.meter,
                direction=self.direction,
                kind=kind,
                from_s=self._last.at_s,
                to_s=at_s,
                before_wh=self._raw_wh,
                after_wh=raw_wh,
                text=f"{self.meter}: the {self.direction.value} register {text}",
            )
        )


class MeterTrack:
    """Both registers of one meter. Owned by one task.

    Args:
        meter: Its name.
        interval_s: Length of the settlement intervals.
        max_power_w: What the connection can carry.
        wraps_at_wh: Where its registers begin again; None: not known.
        gap_s: Silence longer than this is a gap.
    """

    def __init__(
        self,
        meter: str,
        *,
        interval_s: int = 900,
        max_power_w: float,
        wraps_at_wh: int | None = None,
        gap_s: float = 120.0,
    ) -> None:
        self._tracks = {
            direction: RegisterTrack(
                meter=meter,
                direction=direction,
                interval_s=interval_s,
                max_power_w=max_power_w,
                wraps_at_wh=wraps_at_wh,
                gap_s=gap_s,
            )
            for direction in Direction
        }

    def take(self, reading: RegisterReading) -> tuple[tuple[MeterInterval, ...], tuple[RegisterEvent, ...]]:
        """Take in a reading; return the intervals that it completes and what happened to the registers.

        Raises:
            ValueError: If a register is negative, or the reading is not later than the one before.
        """
        intervals: list[MeterInterval] = []
        events: list[RegisterEvent] = []
        for direction, raw_wh in (
            (Direction.IMPORT, reading.import_wh),
            (Direction.EXPORT, reading.export_wh),
        ):
            if raw_wh is not None:
                done, told = self._tracks[direction].take(reading.at_s, raw_wh, reading.serial)
                intervals += done
                events += told
        return tuple(intervals), tuple(events)
