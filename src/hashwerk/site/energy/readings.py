"""What meters counted: settlement intervals and what happened to registers, kept for good in a file of their own.

Resource handling:
    One file, `meters.sqlite`, one writer. `record` may be called at any time and never waits for the disk; `run` writes what has
    gathered, and `close` the rest.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from hashwerk.energy.registers import Direction, EventKind, MeterInterval, RegisterEvent
from hashwerk.energy.series import Quality
from hashwerk.errors import StoreError
from hashwerk.store.connection import connect_reader, store_error
from hashwerk.store.migrations import FileKind
from hashwerk.store.owned_file import OwnedFile
from hashwerk.store.settings import StoreSettings

log = logging.getLogger(__name__)

#: The file's application id, "HWMT".
METERS: Final = FileKind("record of meters", 0x48574D54)
_V1: Final = """
CREATE TABLE intervals (
  meter TEXT NOT NULL, direction TEXT NOT NULL, start_s INTEGER NOT NULL, stop_s INTEGER NOT NULL, serial TEXT,
  start_wh INTEGER NOT NULL, end_wh INTEGER NOT NULL, wh INTEGER, quality INTEGER NOT NULL,
  PRIMARY KEY (meter, direction, start_s)
) STRICT, WITHOUT ROWID;
CREATE TABLE events (
  meter TEXT NOT NULL, direction TEXT NOT NULL, kind TEXT NOT NULL, from_s REAL NOT NULL, to_s REAL NOT NULL,
  before_wh INTEGER NOT NULL, after_wh INTEGER NOT NULL, text TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (meter, from_s);
"""
SCRIPTS: Final = (_V1,)
_INTERVAL: Final = "INSERT OR IGNORE INTO intervals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_EVENT: Final = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_INTERVALS: Final = (
    "SELECT * FROM intervals WHERE meter = ? AND start_s >= ? AND start_s < ? ORDER BY start_s, direction"
)
_RETRY_S: Final = 10.0


class Readings:
    """Keeps what meters counted. Owned by one loop.

    Cancellation: `run` ends at once; what it had not written yet is written by `close`.
    """

    def __init__(self, path: Path, settings: StoreSettings | None = None) -> None:
        self._file = OwnedFile(path, METERS, SCRIPTS, settings)
        self._intervals: list[MeterInterval] = []
        self._events: list[RegisterEvent] = []
        self._news = asyncio.Event()

    def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            StoreError: If it cannot be used.
        """
        self._file.open()

    def record(self, intervals: Sequence[MeterInterval], events: Sequence[RegisterEvent]) -> None:
        """Take finished intervals and what happened to registers; they are written soon."""
        self._intervals += intervals
        self._events += events
        self._news.set()

    async def run(self) -> None:
        """Write what comes, until cancelled; what the disk refuses is tried again."""
        failure = ""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await self.save()
                failure = ""
            except StoreError as error:
                if str(error) != failure:
                    log.error("what meters counted is not recorded: %s", error)
                failure = str(error)
                self._news.set()
                await asyncio.sleep(_RETRY_S)

    async def save(self) -> None:
        """Write what has gathered.

        Raises:
            StoreError: If it could not be written; it is kept and written next time.
        """
        intervals, events = self._intervals, self._events
        self._intervals, self._events = [], []
        if not intervals and not events:
            return
        try:
            await asyncio.to_thread(self._write, intervals, events)
        except StoreError:
            self._intervals, self._events = intervals + self._intervals, events + self._events
            raise

    async def close(self) -> None:
        """Write the rest and close the file.

        Raises:
            StoreError: If the rest could not be written.
        """
        try:
            await self.save()
        finally:
            self._file.close()

    async def intervals(self, meter: str, start_s: int, stop_s: int) -> list[MeterInterval]:
        """Return the intervals of a meter that begin in [start_s, stop_s), the oldest first.

        Raises:
            StoreError: If they cannot be read.
        """
        rows = await asyncio.to_thread(self._select, _INTERVALS, (meter, start_s, stop_s))
        return [_interval(row) for row in rows]

    async def events(self, meter: str, start_s: float, stop_s: float) -> list[RegisterEvent]:
        """Return what happened to a meter's registers from [start_s, stop_s) on, the oldest first.

        Raises:
            StoreError: If they cannot be read.
        """
        sql = "SELECT * FROM events WHERE meter = ? AND from_s >= ? AND from_s < ? ORDER BY from_s"
        rows = await asyncio.to_thread(self._select, sql, (meter, start_s, stop_s))
        return [
            RegisterEvent(
                meter=row[0],
                direction=Direction(row[1]),
                kind=EventKind(row[2]),
                from_s=row[3],
                to_s=row[4],
                before_wh=row[5],
                after_wh=row[6],
                text=row[7],
            )
            for row in rows
        ]

    # --- inside ---

    def _write(self, intervals: Sequence[MeterInterval], events: Sequence[RegisterEvent]) -> None:
        with self._file.writing("recording meters") as connection:
            connection.executemany(_INTERVAL, [_interval_row(one) for one in intervals])
            connection.executemany(_EVENT, [_event_row(one) for one in events])

    def _select(self, sql: str, values: tuple[str, float, float]) -> list[tuple[Any, ...]]:
        with self._file.reading("reading meters") as connection:
            return connection.execute(sql, values).fetchall()


def read_intervals(path: Path, meter: str, start_s: int, stop_s: int) -> list[MeterInterval]:
    """Return the intervals of a meter that begin in [start_s, stop_s), beside whoever records; no file, no intervals.

    Raises:
        StoreError: If they cannot be read.
    """
    if not path.exists():
        return []
    connection = connect_reader(path)
    try:
        return [_interval(row) for row in connection.execute(_INTERVALS, (meter, start_s, stop_s))]
    except sqlite3.Error as error:
        raise store_error(error, path, "reading meters") from error
    finally:
        connection.close()


def _interval(row: tuple[Any, ...]) -> MeterInterval:
    return MeterInterval(
        meter=row[0],
        direction=Direction(row[1]),
        start_s=row[2],
        stop_s=row[3],
        serial=row[4],
        start_wh=row[5],
        end_wh=row[6],
        wh=row[7],
        quality=Quality(row[8]),
    )


def _interval_row(one: MeterInterval) -> tuple[object, ...]:
    return (
        one.meter,
        one.direction.value,
        one.start_s,
        one.stop_s,
        one.serial,
        one.start_wh,
        one.end_wh,
        one.wh,
        int(one.quality),
    )


def _event_row(one: RegisterEvent) -> tuple[object, ...]:
    return (
        one.meter,
        one.direction.value,
        one.kind.value,
        one.from_s,
        one.to_s,
        one.before_wh,
        one.after_wh,
        one.text,
    )
