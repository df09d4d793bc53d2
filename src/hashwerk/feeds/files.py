"""Series from CSV and Parquet files, with the time of publication that a column or a rule of the market gives."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import ConfigError, FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.fields import number_of
from hashwerk.feeds.moments import day_ahead_published_s, epoch_s, iso_s, local_rows_s
from hashwerk.feeds.settings import ColumnSettings, FileFeed

#: A year of five-minute values of some columns is a tenth of this.
MAX_FILE_BYTES: Final = 256 * 1024 * 1024


class File:
    """Series of one file. It is read whole, and again when its size or time of change differs."""

    def __init__(self, settings: FileFeed) -> None:
        self.name = settings.name
        self._settings = settings
        self._path = Path(settings.path).expanduser()
        if self._path.suffix not in {".csv", ".parquet"}:
            raise ConfigError(
                f"{settings.name}: a file of series ends in .csv or .parquet, not {self._path.name}"
            )
        self._read_as: tuple[int, int] | None = None
        self._series: dict[Signal, PublishedSeries] = {}

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return all that the file holds: whoever asks takes what he needs and what was published by his moment.

        Raises:
            FeedError: If it cannot be read, or not as the settings say.
        """
        return await asyncio.to_thread(self.read)

    def read(self) -> Mapping[Signal, PublishedSeries]:
        """Return the series, read anew if the file has changed.

        Raises:
            FeedError: As `fetch`.
        """
        try:
            status = self._path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
            if stamp != self._read_as:
                if status.st_size > MAX_FILE_BYTES:
                    raise FeedError(
                        f"{self.name}: {self._path.name} is larger than {MAX_FILE_BYTES >> 20} MiB"
                    )
                table = _csv(self._path) if self._path.suffix == ".csv" else self._parquet()
                self._series = self._convert(table)
                self._read_as = stamp
        except (OSError, UnicodeDecodeError, csv.Error, pyarrow.ArrowException) as error:
            raise FeedError(f"{self.name}: {self._path.name} cannot be read: {error}") from error
        return self._series

    def _parquet(self) -> dict[str, list[object]]:
        settings = self._settings
        wanted = {settings.time_column, *(field.column for field in settings.columns), *settings.select}
        if settings.published_column is not None:
            wanted.add(settings.published_column)
        table = pyarrow.parquet.read_table(self._path)
        columns = {}
        for name in wanted & set(table.column_names):
            column = table.column(name)
            if pyarrow.types.is_timestamp(column.type):
                seconds = pyarrow.compute.cast(column, pyarrow.timestamp("s", tz=column.type.tz), safe=False)
                columns[name] = [
                    value.isoformat() if value.tzinfo else value.isoformat() + "+00:00"
                    for value in seconds.to_pylist()
                ]
            else:
                columns[name] = column.to_pylist()
        return columns

    def _convert(self, table: dict[str, list[object]]) -> dict[Signal, PublishedSeries]:
        rows = self._selected(table)
        starts = self._times(self._column(table, self._settings.time_column), rows)
        moments = self._published(table, rows, starts)
        found: dict[Signal, PublishedSeries] = {}
        for field in self._settings.columns:
            column = self._column(table, field.column)
            values = [number_of(self.name, column[row], "") for row in rows]
            scaled = [None if value is None or value != value else value * field.scale for value in values]  # noqa: PLR0124
            found[Signal(field.signal)] = series_from_rows(self._info(field), starts, scaled, moments)
        return found

    def _selected(self, table: dict[str, list[object]]) -> list[int]:
        length = max((len(column) for column in table.values()), default=0)
        conditions = [(self._column(table, name), text) for name, text in self._settings.select.items()]
        return [row for row in range(length) if all(str(column[row]) == text for column, text in conditions)]

    def _times(self, column: list[object], rows: list[int]) -> list[int]:
        settings, values = self._settings, [column[row] for row in rows]
        texts = [str(value).strip() for value in values]
        if settings.time_format is not None or settings.zone is not None:
            return local_rows_s(self.name, texts, settings.zone or "UTC", settings.time_format)
        if texts and texts[0].isdigit():
            return [epoch_s(self.name, int(text)) for text in texts]
        return [
            iso_s(self.name, text if text[10:].count(":") else f"{text}T00:00:00+00:00") for text in texts
        ]

    def _published(self, table: dict[str, list[object]], rows: list[int], starts: list[int]) -> list[int]:
        settings = self._settings
        if settings.published_column is not None:
            return self._times(self._column(table, settings.published_column), rows)
        if settings.published == "day ahead":
            zone = settings.zone or "UTC"
            return [day_ahead_published_s(start, zone, settings.published_at) for start in starts]
        return [start + settings.resolution_s + settings.lag_s for start in starts]

    def _column(self, table: dict[str, list[object]], name: str) -> list[object]:
        if name not in table:
            raise FeedError(
                f"{self.name}: {self._path.name} has no column {name!r}; there is {', '.join(sorted(table))[:300]}"
            )
        return table[name]

    def _info(self, field: ColumnSettings) -> SeriesInfo:
        return SeriesInfo(
            name=f"{self.name} {field.column}",
            unit=field.unit,
            resolution_s=self._settings.resolution_s,
            source=self._settings.source,
            currency=field.currency,
        )


def _csv(path: Path) -> dict[str, list[object]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        lines = (line for line in stream if not line.startswith("#"))
        reader = csv.DictReader(lines, strict=True)
        columns: dict[str, list[object]] = {name: [] for name in reader.fieldnames or ()}
        for number, row in enumerate(reader, start=2):
            if None in row or None in row.values():
                raise csv.Error(f"row {number} has more or fewer fields than the heading")
            for name, value in row.items():
                columns[name].append(value)
    return columns
