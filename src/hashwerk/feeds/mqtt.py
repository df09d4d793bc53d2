"""The latest value of an MQTT topic. It listens in a task of its own; a request takes what has arrived."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

import aiomqtt
import msgspec

from hashwerk.clock import Clock
from hashwerk.energy.ports import Signal
from hashwerk.energy.published import PublishedSeries
from hashwerk.energy.series import SeriesInfo
from hashwerk.errors import FeedError, end_if_cancelled
from hashwerk.feeds.build import series_from_rows
from hashwerk.feeds.fields import number_of
from hashwerk.feeds.keys import read_key
from hashwerk.feeds.settings import MqttFeed

log = logging.getLogger(__name__)

_RETRY_S: Final = 5.0
#: Longer payloads are no values.
_MAX_PAYLOAD_BYTES: Final = 64 * 1024


class Mqtt:
    """One topic.

    Resource handling:
        `run` holds one connection and opens it again after a pause when it breaks. Only the newest value is kept.

    Cancellation:
        `run` ends at once and disconnects.
    """

    def __init__(self, settings: MqttFeed, clock: Clock, *, retry_s: float = _RETRY_S) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._retry_s = retry_s
        self._password = (
            None if settings.password_file is None else read_key(settings.name, settings.password_file)
        )
        self._latest: tuple[float, float] | None = None  # moment, value
        self._problem: str | None = "has not been connected yet"
        self.arrived = asyncio.Event()  # set at every value; whoever waits clears it

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                async with aiomqtt.Client(
                    self._settings.host,
                    self._settings.port,
                    username=self._settings.user,
                    password=self._password,
                ) as client:
                    await client.subscribe(self._settings.topic)
                    end_if_cancelled()
                    self._problem = "has said nothing yet"
                    async for message in client.messages:
                        self._take(message.payload)
            except aiomqtt.MqttError as error:
                self._problem = f"cannot be reached: {error}"
                log.warning("feed %s %s", self.name, self._problem)
                end_if_cancelled()
            await asyncio.sleep(self._retry_s)

    async def fetch(self, start_s: int, stop_s: int, now_s: float) -> Mapping[Signal, PublishedSeries]:
        """Return the newest value, for the interval it arrived in.

        Raises:
            FeedError: If nothing has arrived, or what arrived is no value.
        """
        if self._latest is None:
            raise FeedError(f"{self.name} {self._problem or 'has said nothing yet'}")
        moment, value = self._latest
        settings = self._settings
        info = SeriesInfo(
            name=self.name,
            unit=settings.field.unit,
            resolution_s=settings.resolution_s,
            source=f"MQTT {settings.topic}",
            currency=settings.field.currency,
        )
        start = int(moment) // settings.resolution_s * settings.resolution_s
        series = series_from_rows(info, [start], [value * settings.field.scale], int(moment))
        return {Signal(settings.field.signal): series}

    def _take(self, payload: object) -> None:
        try:
            value = self._value(payload)
        except FeedError as error:
            self._problem = str(error)
            log.warning("feed %s: %s", self.name, error)
            return
        if value is not None:
            self._latest, self._problem = (self._clock.time(), value), None
            self.arrived.set()

    def _value(self, payload: object) -> float | None:
        if not isinstance(payload, bytes | bytearray) or len(payload) > _MAX_PAYLOAD_BYTES:
            raise FeedError(f"{self.name} says what is no value")
        try:
            document: object = msgspec.json.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FeedError(
                f"{self.name} says {bytes(payload[:40])!r}, which is neither a number nor JSON"
            ) from error
        return number_of(self.name, document, self._settings.field.column)
