"""Meters that speak MQTT: Shelly of both generations, Tasmota. They speak when they like, and when they are asked."""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal, InvalidOperation
from typing import Final

import aiomqtt
import msgspec

from hashwerk.clock import Clock
from hashwerk.energy.ports import RegisterReading
from hashwerk.errors import DeviceError, end_if_cancelled
from hashwerk.meters.dialects import DIALECTS, summed
from hashwerk.meters.modbus import reading
from hashwerk.meters.secret import read_secret
from hashwerk.meters.settings import MqttMeter

log = logging.getLogger(__name__)

_MAX_PAYLOAD_BYTES: Final = 64 * 1024


class Mqtt:
    """One device.

    Resource handling:
        `run` holds one connection and opens it again after a pause. Only the newest value of each kind is kept.

    Cancellation:
        `run` ends at once and disconnects.
    """

    def __init__(self, settings: MqttMeter, clock: Clock, *, retry_s: float = 5.0) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._retry_s = retry_s
        self._password = (
            None if settings.password_file is None else read_secret(settings.name, settings.password_file)
        )
        self._dialect = DIALECTS[settings.dialect]
        self._phases = self._dialect.phases(settings)
        self._latest: dict[str, tuple[float, Decimal]] = {}
        self._serial: str | None = None
        self._doubts: tuple[str, ...] = ()
        self._problem = "has not been connected yet"
        self.arrived = asyncio.Event()  # set at every value; whoever waits clears it

    async def run(self) -> None:
        """Listen until cancelled."""
        while True:
            try:
                await self._listen()
            except aiomqtt.MqttError as error:
                self._problem = f"cannot be reached: {error}"
                log.warning("meter %s %s", self.name, self._problem)
                end_if_cancelled()
            await asyncio.sleep(self._retry_s)

    async def read(self, now_s: float) -> RegisterReading:
        """Return the newest power and registers. What is older than the settings allow is missing.

        Raises:
            DeviceError: If no register has arrived, or the newest is too old.
        """
        fresh = {
            name: (moment, value)
            for name, (moment, value) in self._latest.items()
            if now_s - moment <= self._settings.max_age_s
        }
        values = summed({name: value for name, (_, value) in fresh.items()}, self._phases)
        if "import_wh" not in values:
            raise DeviceError(f"{self.name} {self._why_not(now_s)}")
        return reading(
            self.name,
            max(moment for name, (moment, _) in fresh.items() if name.startswith("import_wh")),
            values,
            serial=self._serial,
            invert=self._settings.invert,
            doubts=self._doubts,
        )

    async def close(self) -> None:
        """Nothing is held outside `run`."""

    async def _listen(self) -> None:
        settings = self._settings
        async with aiomqtt.Client(
            settings.host, settings.port, username=settings.user, password=self._password
        ) as client:
            for topic in self._dialect.topics(settings):
                await client.subscribe(topic)
            end_if_cancelled()
            self._problem = "has said nothing yet"
            asking = asyncio.create_task(self._ask(client))
            try:
                async for message in client.messages:
                    self._take(str(message.topic), message.payload)
            finally:
                asking.cancel()
                await asyncio.wait([asking])

    async def _ask(self, client: aiomqtt.Client) -> None:
        """Ask again and again: some devices speak by themselves only every five minutes."""
        while self._settings.ask_every_s > 0:
            try:
                for topic, payload in self._dialect.asks(self._settings):
                    await client.publish(topic, payload)
            except aiomqtt.MqttError as error:
                # A lost connection ends the listening too; a busy one may pass the next question.
                log.warning("meter %s cannot be asked: %s", self.name, error)
            end_if_cancelled()
            await asyncio.sleep(self._settings.ask_every_s)

    def _why_not(self, now_s: float) -> str:
        ages = [now_s - moment for name, (moment, _) in self._latest.items() if name.startswith("import_wh")]
        if not ages:
            return self._problem
        if min(ages) > self._settings.max_age_s:
            return f"has been silent for {min(ages):.0f} s"
        return "does not tell of all its phases"

    def _take(self, topic: str, payload: object) -> None:
        if not isinstance(payload, bytes | bytearray) or len(payload) > _MAX_PAYLOAD_BYTES:
            return
        try:
            told = self._dialect.decode(self._settings, topic, bytes(payload))
        except (msgspec.DecodeError, UnicodeDecodeError, InvalidOperation) as error:
            log.warning("meter %s says %r at %s: %s", self.name, bytes(payload[:60]), topic, error)
            return
        if told.is_online is False:
            # What it said before it went is no reading of now.
            self._latest.clear()
            self._problem = "is offline, its broker says"
        self._serial = told.serial or self._serial
        self._doubts = self._doubts if told.doubts is None else told.doubts
        moment = self._clock.time()
        for name, value in told.values.items():
            if value.is_finite():
                self._latest[name] = (moment, value)
        if told.values:
            self.arrived.set()
