"""Any HTTP API that answers JSON, by a mapping from its fields to signals."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import ConfigError, FeedError
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.fields import field_of, number_of
from hashwerk.feeds.keys import read_key
from hashwerk.feeds.moments import epoch_s, iso_s, iso_text
from hashwerk.feeds.pool_accounts.transport import Api
from hashwerk.feeds.settings import HttpFeed


class HttpJson:
    """Series of one answer: rows of objects or arrays, or arrays side by side."""

    def __init__(self, settings: HttpFeed) -> None:
        if (settings.header is None) is not (settings.key_file is None):
            raise ConfigError(f"{settings.name}: a key needs its header, and a header its key file")
        self.name = settings.name
        self._settings = settings
        headers = {}
        if settings.header is not None and settings.key_file is not None:
            headers[settings.header] = read_key(settings.name, settings.key_file)
        parts = urlsplit(settings.url)
        self._path = parts.path + (f"?{parts.query}" if parts.query else "")
        self._api = Api(settings.name, f"{parts.scheme}://{parts.netloc}", headers=headers)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return what the answer lists within [start_s, stop_s).

        Raises:
            FeedError: If it does not answer, or not as the mapping says.
        """
        path = self._path.replace("{start}", self._moment(start_s)).replace("{stop}", self._moment(stop_s))
        reply: object = await self._api.get(path, object)
        starts, columns = self._read(reply)
        found: dict[Signal, PublishedSeries] = {}
        inside = [number for number, start in enumerate(starts) if start_s <= start < stop_s]
        for field in self._settings.fields:
            values = [columns[field.column][number] for number in inside]
            info = SeriesInfo(
                name=self.name,
                unit=field.unit,
                resolution_s=self._settings.resolution_s,
                source=self._settings.source,
                currency=field.currency,
            )
            scaled = [None if value is None else value * field.scale for value in values]
            found[Signal(field.signal)] = series_from_rows(
                info, [starts[number] for number in inside], scaled, int(now_s)
            )
        return found

    def _read(self, reply: object) -> tuple[list[int], dict[str, list[float | None]]]:
        settings = self._settings
        paths = [field.column for field in settings.fields]
        rows = field_of(self.name, reply, settings.rows)
        if settings.layout == "columns":
            times = self._list(field_of(self.name, rows, settings.time_field))
            columns = {path: self._list(field_of(self.name, rows, path)) for path in paths}
            for path, column in columns.items():
                if len(column) != len(times):
                    raise FeedError(f"{self.name} lists {len(times)} times and {len(column)} of {path!r}")
            starts = [self._time(value) for value in times]
            return starts, {path: [number_of(self.name, v, "") for v in columns[path]] for path in paths}
        listed = self._list(rows)
        starts = [self._time(field_of(self.name, row, settings.time_field)) for row in listed]
        return starts, {path: [number_of(self.name, row, path) for row in listed] for path in paths}

    def _list(self, value: object) -> list[object]:
        if not isinstance(value, list):
            raise FeedError(f"{self.name} has no list of rows but {str(value)[:100]!r}")
        return value

    def _time(self, value: object) -> int:
        if self._settings.time_unit == "iso":
            return iso_s(self.name, value)
        return epoch_s(self.name, value, 1_000 if self._settings.time_unit == "ms" else 1)

    def _moment(self, moment_s: int) -> str:
        match self._settings.url_time:
            case "iso":
                return quote(iso_text(moment_s))
            case "s":
                return str(moment_s)
            case _:
                return str(moment_s * 1_000)
