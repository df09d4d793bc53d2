"""A Modbus TCP server with the registers that a dispatcher's RTU expects. The table stands in docs/guide/grid-orders.md."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hashwerk.clock import Clock
from hashwerk.dispatch.orders import Order, OrderKind
from hashwerk.errors import ConfigError, StoreError
from hashwerk.grid_orders.intake import Intake, Receive
from hashwerk.grid_orders.modbus_frame import (
    DEVICE_FAILURE,
    ILLEGAL_ADDRESS,
    ILLEGAL_VALUE,
    RegisterError,
    serve_master,
)
from hashwerk.grid_orders.modbus_registers import (
    ACTIVATE,
    HEARTBEAT,
    KINDS,
    MAP_VERSION,
    MINUTES,
    MODE,
    SEEN,
    SETPOINT,
    WRITTEN,
    WRITTEN_COUNT,
    Mode,
    Status,
    number,
    words,
)
from hashwerk.grid_orders.notice import Notice, NoticeError
from hashwerk.grid_orders.present import Told, nothing_known
from hashwerk.grid_orders.settings import ModbusMapOrders

log = logging.getLogger(__name__)

_TICK_S: Final = 1.0
_MAX_MASTERS: Final = 16
_SILENCE: Final = "silence"


class ModbusMap:
    """The server.

    What a master writes does nothing until it writes the activation: a set-point of two registers is never half of one.

    Resource handling:
        The port is open while `listen` runs; at most 16 masters at a time.

    Cancellation:
        `listen` closes the port and every connection. The order stands.
    """

    def __init__(self, settings: ModbusMapOrders, clock: Clock, memory: Path | None) -> None:
        self.name = settings.name
        self.look = nothing_known
        self.listening = asyncio.Event()
        self.port = settings.port
        self._settings = settings
        self._clock = clock
        self._intake = Intake(settings.name, settings.operator, clock, memory)
        self._allowed = tuple(_network(settings.name, one) for one in settings.masters)
        self._receive: Receive | None = None
        self._written = [0] * WRITTEN_COUNT
        self._told: Told | None = None
        self._beats = 0
        self._heard_at = clock.monotonic()
        # A silence that lasted when the last process ended lasts until the heartbeat is back.
        self._is_silent = any(one.id.startswith(_SILENCE) for one in self._intake.standing())
        self._is_refused = False
        self._masters: set[asyncio.StreamWriter] = set()
        self._restore()

    @property
    def trouble(self) -> str | None:
        """Why orders cannot be heard: the master's heartbeat is lost."""
        if not self._is_silent:
            return None
        return f"no heartbeat of the master; on silence: {self._settings.on_silence}"

    async def listen(self, receive: Receive) -> None:
        """Serve until cancelled.

        Raises:
            OSError: If the address cannot be listened on.
            StoreError: If what the master's silence means cannot be kept.
        """
        self._receive = receive
        self._heard_at = self._clock.monotonic()
        server = await asyncio.start_server(self._connected, self._settings.host, self._settings.port)
        try:
            self.port = server.sockets[0].getsockname()[1]
            self.listening.set()
            log.info("%s: a dispatcher may connect to %s:%d", self.name, self._settings.host, self.port)
            while True:
                await asyncio.sleep(_TICK_S)
                self._beats = (self._beats + 1) & 0xFFFF
                self._watch(receive)
        finally:
            self.listening.clear()
            server.close()
            for writer in tuple(self._masters):
                writer.close()
            await server.wait_closed()

    async def tell(self, order_id: str, baseline_w: float, import_w: float | None, target_w: float) -> None:
        """Show what is delivered in the registers."""
        self._told = Told(
            order_id=order_id,
            at_s=self._clock.time(),
            baseline_w=baseline_w,
            import_w=import_w,
            target_w=target_w,
        )

    # --- registers ---

    def read(self, address: int, count: int) -> Sequence[int]:
        """Return registers of either block.

        Raises:
            RegisterError: If one of them is in neither.
        """
        for first, values in ((SEEN, self._seen()), (WRITTEN, self._written)):
            if first <= address and address + count <= first + len(values):
                return values[address - first : address - first + count]
        raise RegisterError(ILLEGAL_ADDRESS)

    def write(self, address: int, values: Sequence[int]) -> None:
        """Set registers; the activation takes effect after all others of the same request.

        Raises:
            RegisterError: If one of them cannot be written, or the order cannot be taken: then nothing changes.
        """
        first = address - WRITTEN
        if first < 0 or first + len(values) > WRITTEN_COUNT:
            raise RegisterError(ILLEGAL_ADDRESS)
        before = list(self._written)
        self._written[first : first + len(values)] = values
        if first <= HEARTBEAT < first + len(values) and before[HEARTBEAT] != self._written[HEARTBEAT]:
            self._heartbeat()
        if first <= ACTIVATE < first + len(values):
            try:
                self._activate()
            except RegisterError:  # nothing of the request was written, but that the master lives was heard
                before[HEARTBEAT] = self._written[HEARTBEAT]
                self._written = before
                self._is_refused = True
                raise
            self._is_refused = False

    def _seen(self) -> list[int]:
        present, order = self.look(), self._current()
        told = self._told if order is not None and self._told and self._told.order_id == order.id else None
        import_w = present.import_w
        if import_w is None and told is not None:
            import_w = told.import_w
        return [
            *words(import_w),
            *words(present.sheddable_w),
            *words(None if told is None else told.target_w),
            *words(None if told is None else told.baseline_w),
            int(self._status(order, told)),
            int(
                Mode.NONE
                if order is None
                else next(mode for mode, kind in KINDS.items() if kind is order.kind)
            ),
            self._beats,
            self._written[HEARTBEAT],
            int(self._is_silent),
            MAP_VERSION,
        ]

    def _status(self, order: Order | None, told: Told | None) -> Status:
        if self._is_refused:
            return Status.REFUSED
        if self._is_silent:
            return Status.MASTER_SILENT
        if order is None:
            return Status.FREE
        if told is None:
            return Status.AHEAD
        return Status.REACHED if told.is_reached else Status.REDUCING

    # --- orders ---

    def _current(self) -> Order | None:
        """Return the order in force; that of the master's silence counts most."""
        standing = self._intake.standing()
        by_silence = [order for order in standing if order.id.startswith(_SILENCE)]
        return next(iter((*by_silence, *standing)), None)

    def _ordered(self) -> Order | None:
        """Return what the master ordered."""
        return next((one for one in self._intake.standing() if not one.id.startswith(_SILENCE)), None)

    def _activate(self) -> None:
        """Do what stands in the registers.

        Raises:
            RegisterError: If it is no order, or cannot be kept.
        """
        receive = self._receive
        if receive is None or self._written[ACTIVATE] not in (0, 1):
            raise RegisterError(ILLEGAL_VALUE)
        try:
            mode = Mode(self._written[MODE])
            standing = self._ordered()
            if self._written[ACTIVATE] == 0 or mode is Mode.NONE:
                if standing is not None:
                    self._intake.end(receive, standing.id)
                return
            order_id = f"rtu-{int(self._clock.time() * 1e3)}" if standing is None else standing.id
            self._intake.take(receive, self._notice(order_id, mode))
        except (NoticeError, ValueError) as error:
            log.warning("%s: what was activated is no order: %s", self.name, error)
            raise RegisterError(ILLEGAL_VALUE) from error
        except StoreError as error:
            log.error("%s: the order is not taken: %s", self.name, error)
            raise RegisterError(DEVICE_FAILURE) from error

    def _notice(self, order_id: str, mode: Mode) -> Notice:
        minutes = self._written[MINUTES]
        setpoint = number(self._written[SETPOINT], self._written[SETPOINT + 1])
        setpoint_w = setpoint * (1e3 if self._settings.setpoint_unit == "kW" else 1.0)
        if mode is not Mode.ALL and not 0 <= setpoint_w <= self._settings.max_kw * 1e3:
            raise NoticeError(f"a set-point of {setpoint} {self._settings.setpoint_unit} is out of range")
        return Notice(
            id=order_id,
            kind=KINDS[mode],
            amount_w=None if mode is Mode.ALL else setpoint_w,
            duration_s=minutes * 60.0 if minutes else None,
        )

    def _restore(self) -> None:
        """Show the order that stood before a restart in the written registers."""
        order = self._ordered()
        if order is None:
            return
        factor = 1e3 if self._settings.setpoint_unit == "kW" else 1.0
        self._written[SETPOINT : SETPOINT + 2] = words((order.amount_w or 0.0) / factor)
        self._written[MODE] = int(next(mode for mode, kind in KINDS.items() if kind is order.kind))
        notice = self._intake.notice(order.id)
        self._written[MINUTES] = int((notice.duration_s or 0.0) / 60) if notice is not None else 0
        self._written[ACTIVATE] = 1

    # --- the master's heartbeat ---

    def _heartbeat(self) -> None:
        self._heard_at = self._clock.monotonic()
        if self._is_silent:
            log.warning("%s: the master's heartbeat is back", self.name)
        self._is_silent = False
        try:
            for order in self._intake.standing():
                if self._receive is not None and order.id.startswith(_SILENCE):
                    self._intake.end(self._receive, order.id)
        except StoreError as error:  # the watch tries again
            log.error("%s: the end of the silence cannot be kept: %s", self.name, error)

    def _watch(self, receive: Receive) -> None:
        """Do what the master's silence means, and undo it when the heartbeat is back."""
        settings = self._settings
        silent_s = self._clock.monotonic() - self._heard_at
        if settings.silent_after_s and silent_s > settings.silent_after_s and not self._is_silent:
            self._is_silent = True
            log.warning(
                "%s: no heartbeat of the master for %.0f s: %s", self.name, silent_s, settings.on_silence
            )
            if settings.on_silence == "release" and (order := self._ordered()) is not None:
                self._intake.end(receive, order.id)
                self._written[ACTIVATE] = 0
        by_silence = [one.id for one in self._intake.standing() if one.id.startswith(_SILENCE)]
        if self._is_silent and settings.on_silence == "reduce" and not by_silence:
            order_id = f"{_SILENCE}-{int(self._clock.time() * 1e3)}"
            amount_w = settings.silent_kw * 1e3
            self._intake.take(receive, Notice(id=order_id, kind=OrderKind.REDUCE_TO, amount_w=amount_w))
        elif not self._is_silent and silent_s <= _TICK_S * 2:
            for order_id in by_silence:
                self._intake.end(receive, order_id)

    # --- connections ---

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = str(writer.get_extra_info("peername", ("?",))[0])
        try:
            if not self._may_connect(peer) or len(self._masters) >= _MAX_MASTERS:
                log.warning("%s: %s may not connect: it is no master, or there are too many", self.name, peer)
                return
            self._masters.add(writer)
            await serve_master(reader, writer, self, self._settings.unit)
        finally:
            self._masters.discard(writer)
            writer.close()

    def _may_connect(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._allowed if network.version == address.version)


def _network(name: str, text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(f"{name}: masters: {error}") from error
