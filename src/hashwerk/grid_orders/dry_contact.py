"""The contact of an operator's relay, read as an input of a Modbus module."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException

from hashwerk.clock import Clock
from hashwerk.dispatch.orders import OrderKind
from hashwerk.errors import DeviceError, end_if_cancelled
from hashwerk.grid_orders.intake import Intake, Receive
from hashwerk.grid_orders.notice import Notice
from hashwerk.grid_orders.present import Told
from hashwerk.grid_orders.settings import DryContactOrders

log = logging.getLogger(__name__)

# What goes wrong is told here; the library would write each of it into the log besides.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class DryContact:
    """One contact. While it orders there is one order without an end; it ends when the contact does.

    Resource handling:
        One connection, thrown away when it fails: whoever asks again connects again.

    Cancellation:
        `listen` ends at once and closes the connection. The order stands; the next process takes it up.
    """

    def __init__(self, settings: DryContactOrders, clock: Clock, memory: Path | None) -> None:
        self.name = settings.name
        self._settings = settings
        self._clock = clock
        self._intake = Intake(settings.name, settings.operator, clock, memory)
        self._client: AsyncModbusTcpClient | None = None
        self._lock = asyncio.Lock()
        self._answered: bool | None = None
        self._refusal: str | None = None
        self.trouble: str | None = None

    async def listen(self, receive: Receive) -> None:
        """Read the contact until cancelled.

        Raises:
            StoreError: If an order cannot be kept.
        """
        clock, settings = self._clock, self._settings
        heard_at = changed_at = clock.monotonic()
        level: bool | None = None
        is_silent = False
        try:
            while True:
                now = clock.monotonic()
                try:
                    found = await self._read()
                except DeviceError as error:
                    if not is_silent and now - heard_at >= settings.silent_after_s:
                        is_silent, level = True, None
                        self.trouble = f"the module is silent: {error}; on silence: {settings.on_silence}"
                        log.warning("%s is silent: %s; on silence: %s", self.name, error, settings.on_silence)
                        self._silence(receive)
                else:
                    if is_silent:
                        log.warning("%s answers again", self.name)
                    heard_at, is_silent, self.trouble = now, False, None
                    if found is not level:
                        level, changed_at = found, now
                    if now - changed_at >= settings.debounce_s:
                        self._set(receive, found)
                        await self._answer_end()
                end_if_cancelled()
                await asyncio.sleep(settings.every_s)
        finally:
            self._drop()

    async def tell(self, order_id: str, baseline_w: float, import_w: float | None, target_w: float) -> None:
        """Switch the coil of the answer on while the order is obeyed.

        Raises:
            DeviceError: If the module does not take it.
        """
        told = Told(
            order_id=order_id,
            at_s=self._clock.time(),
            baseline_w=baseline_w,
            import_w=import_w,
            target_w=target_w,
        )
        await self._answer(bool(told.is_reached) and bool(self._intake.standing()))

    def _silence(self, receive: Receive) -> None:
        if self._settings.on_silence != "keep":
            self._set(receive, self._settings.on_silence == "reduce")

    def _set(self, receive: Receive, is_ordered: bool) -> None:
        standing = self._intake.standing()
        if is_ordered and not standing:
            self._intake.take(receive, self._notice())
        elif not is_ordered:
            for order in standing:
                self._intake.end(receive, order.id)

    def _notice(self) -> Notice:
        settings = self._settings
        kind, amount_kw = OrderKind.ALL, None
        if settings.reduce_to_kw is not None:
            kind, amount_kw = OrderKind.REDUCE_TO, settings.reduce_to_kw
        elif settings.reduce_by_kw is not None:
            kind, amount_kw = OrderKind.REDUCE_BY, settings.reduce_by_kw
        return Notice(
            id=f"contact-{int(self._clock.time() * 1e3)}",
            kind=kind,
            amount_w=None if amount_kw is None else amount_kw * 1e3,
        )

    async def _answer_end(self) -> None:
        """Switch the answer off where no order stands, also one that an earlier process left on; asked until it is taken."""
        if self._answered is False or self._intake.standing():
            return
        try:
            await self._answer(False)
            self._refusal = None
        except DeviceError as error:
            if self._refusal != str(error):
                log.warning("%s: %s", self.name, error)
            self._refusal = str(error)

    async def _answer(self, is_obeyed: bool) -> None:
        if self._settings.answer_coil is None or self._answered is is_obeyed:
            return
        async with self._lock:
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    client = await self._connected()
                    reply = await client.write_coil(
                        self._settings.answer_coil, is_obeyed, device_id=self._settings.unit
                    )
            except (TimeoutError, ModbusException, OSError) as error:
                self._drop()
                raise DeviceError(f"{self.name} does not take the answer: {error}") from error
            except asyncio.CancelledError:
                self._drop()
                raise
        if reply.isError():
            raise DeviceError(f"{self.name} refuses coil {self._settings.answer_coil}")
        self._answered = is_obeyed

    async def _read(self) -> bool:
        """Return whether the contact orders.

        Raises:
            DeviceError: If the module does not answer, or has no such input.
        """
        settings = self._settings
        async with self._lock:
            try:
                async with asyncio.timeout(settings.timeout_s):
                    client = await self._connected()
                    ask = client.read_coils if settings.input == "coil" else client.read_discrete_inputs
                    reply = await ask(settings.address, count=1, device_id=settings.unit)
            except (TimeoutError, ModbusException, OSError) as error:
                self._drop()
                raise DeviceError(f"it does not answer: {str(error) or 'too late'}") from error
            except asyncio.CancelledError:  # a late answer must not be taken for that of the next request
                self._drop()
                raise
        if reply.isError() or not reply.bits:
            raise DeviceError(f"it has no {settings.input} {settings.address}")
        return bool(reply.bits[0]) is not settings.invert

    async def _connected(self) -> AsyncModbusTcpClient:
        if self._client is None or not self._client.connected:
            self._drop()
            self._client = AsyncModbusTcpClient(
                self._settings.host,
                port=self._settings.port,
                timeout=self._settings.timeout_s,
                retries=0,
                reconnect_delay=0,
            )
            if not await self._client.connect():
                raise ConnectionError("it cannot be reached")
        return self._client

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
