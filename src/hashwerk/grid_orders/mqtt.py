"""Orders on an MQTT topic, kept there by the broker; what became of each is said on topics below it."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path
from typing import Final

import aiomqtt
import msgspec

from hashwerk.clock import Clock
from hashwerk.errors import ConfigError, end_if_cancelled
from hashwerk.grid_orders.intake import Heard, Intake, Receive
from hashwerk.grid_orders.notice import Ending, NoticeError, read_notice
from hashwerk.grid_orders.present import Told
from hashwerk.grid_orders.secret import read_secret
from hashwerk.grid_orders.settings import MqttOrders

log = logging.getLogger(__name__)

_MAX_BYTES: Final = 16 * 1024


class Mqtt:
    """One topic.

    Resource handling:
        `listen` holds one connection and opens it again after a pause when it breaks; the broker then repeats the last order,
        which is no new one.

    Cancellation:
        `listen` ends at once and disconnects.
    """

    def __init__(self, settings: MqttOrders, clock: Clock, memory: Path | None) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._intake = Intake(settings.name, settings.operator, clock, memory)
        self._password = read_secret(settings.name, settings.password_file)
        self._tls = _tls(settings)
        self._client: aiomqtt.Client | None = None
        self.trouble: str | None = None

    async def listen(self, receive: Receive) -> None:
        """Take orders until cancelled.

        Raises:
            StoreError: If an order cannot be kept; the broker repeats it when it is listened to again.
        """
        settings = self._settings
        while True:
            try:
                async with aiomqtt.Client(
                    settings.host,
                    settings.port,
                    username=settings.user,
                    password=self._password,
                    tls_context=self._tls,
                ) as client:
                    await client.subscribe(settings.topic, qos=1)
                    end_if_cancelled()
                    self._client = client
                    if self.trouble is not None:
                        log.info("orders from %s: the broker answers again", self.name)
                    self.trouble = None
                    async for message in client.messages:
                        await self._answer(client, self._take(receive, message.payload))
                        end_if_cancelled()
            except aiomqtt.MqttError as error:
                trouble = f"the broker cannot be reached: {error}"
                if self.trouble != trouble:  # told once, however often it is tried again
                    log.warning("orders from %s: %s", self.name, trouble)
                self.trouble = trouble
                end_if_cancelled()
            finally:
                self._client = None
            await asyncio.sleep(settings.retry_s)

    async def tell(self, order_id: str, baseline_w: float, import_w: float | None, target_w: float) -> None:
        """Say what is delivered, on ``topic/telemetry``. Without a broker nobody is told."""
        client = self._client
        if client is None:
            return
        told = Told(
            order_id=order_id,
            at_s=self._clock.time(),
            baseline_w=baseline_w,
            import_w=import_w,
            target_w=target_w,
        )
        try:
            await client.publish(f"{self._settings.topic}/telemetry", msgspec.json.encode(told))
            end_if_cancelled()
        except aiomqtt.MqttError as error:
            log.warning("%s is not told about order %s: %s", self.name, order_id, error)

    def _take(self, receive: Receive, payload: object) -> dict[str, str | None]:
        """Take a message in; return the answer to it."""
        order_id: str | None = None
        try:
            if not isinstance(payload, bytes | bytearray) or len(payload) > _MAX_BYTES:
                raise NoticeError(f"it is longer than {_MAX_BYTES} bytes")
            if not payload:  # the topic was cleared: what stood there is over
                ended = [self._intake.end(receive, order.id) for order in self._intake.standing()]
                return {"id": None, "state": Heard.ENDED.value if ended else Heard.UNKNOWN.value}
            said = read_notice(_document(bytes(payload)))
            order_id = said.id
            if isinstance(said, Ending):
                return {"id": said.id, "state": self._intake.end(receive, said.id).value}
            heard = self._intake.take(receive, said)
        except NoticeError as error:
            log.warning(
                "orders from %s: what was said on %s is no order: %s", self.name, self._settings.topic, error
            )
            return {"id": order_id, "state": "refused", "why": str(error)}
        return {"id": order_id, "state": heard.value}

    async def _answer(self, client: aiomqtt.Client, answer: dict[str, str | None]) -> None:
        await client.publish(f"{self._settings.topic}/ack", msgspec.json.encode(answer), qos=1)


def _document(payload: bytes) -> object:
    try:
        return msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NoticeError(f"it is no JSON: {error}") from error


def _tls(settings: MqttOrders) -> ssl.SSLContext | None:
    if settings.ca_file is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.certificate is not None:
            context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{settings.name}: its certificates cannot be used: {error}") from error
    return context
