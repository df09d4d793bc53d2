"""Meter records from settlement intervals: each begins where the last one ended, over gaps, restarts and exchanged meters.

What a register counted while nobody read it is its own difference (quality 2, filled). Where that cannot be said, because it was
set back or the meter was exchanged, it goes on under another serial, which is declared with it; nothing is made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from hashwerk.energy.registers import MeterInterval
from hashwerk.energy.series import Quality as SeriesQuality
from hashwerk.evidence.records import Configuration, Direction, Meter, Quality, Record
from hashwerk.meters.settings import MeterSettings
from hashwerk.site.logbook.state import RegisterState
from hashwerk.site.logbook.words import plain

_SECOND_US: Final = 1_000_000
#: How much more than its connection can carry a register may have counted in a gap: clocks and rounding.
_MARGIN: Final = 1.25
_JITTER_WH: Final = 20
_UNKNOWN: Final = "unknown"


def evidence_name(meter: str, direction: Direction) -> str:
    """Return the name under which a register is logged: an exchange is declared by name, so each has its own."""
    return plain(meter if direction is Direction.IMPORT else f"{meter}, export")


def log_register(
    settings: MeterSettings,
    direction: Direction,
    rows: Sequence[MeterInterval],
    state: RegisterState | None,
) -> tuple[list[Record], RegisterState | None]:
    """Return the records of a register's new intervals, and how far it is logged with them.

    Args:
        settings: Of the meter.
        direction: Of the record.
        rows: Intervals in order of time.
        state: How far it was logged; None: not at all.
    """
    found: list[Record] = []
    for row in rows:
        if state is not None and row.start_s * _SECOND_US < state.end_us:
            continue
        if row.wh is None:
            state = None if state is None else _broken(state)
            continue
        more, state = _log(settings, direction, row, state)
        found += more
    return found, state


def _log(
    settings: MeterSettings, direction: Direction, row: MeterInterval, state: RegisterState | None
) -> tuple[list[Record], RegisterState]:
    name, start_us = evidence_name(settings.name, direction), row.start_s * _SECOND_US
    found: list[Record] = []
    if state is None:
        serial = plain(row.serial or _UNKNOWN)
    elif not _goes_on(settings, row, state):
        since = datetime.fromtimestamp(row.start_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        serial = plain(f"{row.serial or state.told or _UNKNOWN}, anew since {since}")
        found.append(Configuration(name=f"meter/{name}", value=serial))
    else:
        serial = state.serial
        if start_us > state.end_us:
            span = state.end_us, start_us, state.count_wh, row.start_wh
            found.append(_record(settings, (name, serial, direction), span, Quality.FILLED))
    quality = Quality.ESTIMATED if row.quality is not SeriesQuality.MEASURED else Quality.MEASURED
    span = start_us, row.stop_s * _SECOND_US, row.start_wh, row.end_wh
    found.append(_record(settings, (name, serial, direction), span, quality))
    told = row.serial if row.serial is not None or state is None else state.told
    return found, RegisterState(end_us=span[1], count_wh=row.end_wh, serial=serial, told=told)


def _goes_on(settings: MeterSettings, row: MeterInterval, state: RegisterState) -> bool:
    """Say whether a register's count follows from where it was logged to."""
    gap_us = row.start_s * _SECOND_US - state.end_us
    rise_wh = row.start_wh - state.count_wh
    is_same = row.serial is None or row.serial == state.told
    most_wh = settings.max_power_w * gap_us / _SECOND_US / 3_600 * _MARGIN + _JITTER_WH
    return is_same and not state.is_broken and (rise_wh == 0 if gap_us == 0 else 0 <= rise_wh <= most_wh)


def _broken(state: RegisterState) -> RegisterState:
    return RegisterState(
        end_us=state.end_us, count_wh=state.count_wh, serial=state.serial, told=state.told, is_broken=True
    )


def _record(
    settings: MeterSettings,
    register: tuple[str, str, Direction],
    span: tuple[int, int, int, int],
    quality: Quality,
) -> Meter:
    """Return the record of a register (name, serial, direction) over a span (begin, end, Wh at both)."""
    name, serial, direction = register
    return Meter(
        meter=name,
        serial=serial,
        multiplier_ppm=getattr(settings, "ratio", 1) * 1_000_000,
        direction=int(direction),
        start_us=span[0],
        end_us=span[1],
        start_wh=span[2],
        end_wh=span[3],
        quality=int(quality),
        signed_by="",  # no meter that is read here signs its registers
        signed_data=b"",
        signer_key=b"",
    )
