"""A file that says what is ordered. An order that no longer stands in it has ended."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import tomllib
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.grid_orders.intake import Intake, Receive
from hashwerk.grid_orders.notice import Ending, Notice, NoticeError, read_notice
from hashwerk.grid_orders.present import Told
from hashwerk.grid_orders.settings import FileOrders

log = logging.getLogger(__name__)

_MAX_BYTES: Final = 256 * 1024


class File:
    """One file: an order, a list of them, or a table with a list called ``order``.

    A file that is being written is not believed: it must look the same twice in a row. One that cannot be read changes nothing.

    Cancellation:
        `listen` ends at once.
    """

    def __init__(self, settings: FileOrders, clock: Clock, memory: Path | None) -> None:
        self.name = settings.name
        self._path = Path(settings.path).expanduser()
        self._every_s = settings.every_s
        self._clock = clock
        self._intake = Intake(settings.name, settings.operator, clock, memory)
        self.trouble: str | None = None

    async def listen(self, receive: Receive) -> None:
        """Look at the file until cancelled.

        Raises:
            StoreError: If an order cannot be kept.
        """
        seen: bytes | None = None
        done: bytes | None = None
        while True:
            text = await asyncio.to_thread(self._read)
            if text is not None:
                digest = hashlib.sha256(text).digest()
                if digest == seen and digest != done:
                    self._take(receive, text)
                    done = digest
                seen = digest
            await asyncio.sleep(self._every_s)

    async def tell(self, order_id: str, baseline_w: float, import_w: float | None, target_w: float) -> None:
        """Write what is delivered beside the file: ``orders.toml`` is answered in ``orders.toml.answer``."""
        told = Told(
            order_id=order_id,
            at_s=self._clock.time(),
            baseline_w=baseline_w,
            import_w=import_w,
            target_w=target_w,
        )
        await asyncio.to_thread(self._write, msgspec.json.encode(told))

    def _write(self, text: bytes) -> None:
        beside = self._path.with_name(self._path.name + ".answer.new")
        beside.write_bytes(text + b"\n")
        beside.replace(self._path.with_name(self._path.name + ".answer"))

    def _read(self) -> bytes | None:
        """Return the file; nothing where there is none; None where it cannot be read, which changes nothing."""
        try:
            with self._path.open("rb") as file:
                text = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            if not self._path.parent.is_dir():  # a share that is not mounted says nothing about orders
                self._tell("cannot be read: its folder is not there")
                return None
            self._tell(None)
            return b""
        except OSError as error:
            self._tell(f"cannot be read: {error.strerror}")
            return None
        if len(text) > _MAX_BYTES:
            self._tell(f"are longer than {_MAX_BYTES} bytes")
            return None
        return text

    def _tell(self, trouble: str | None) -> None:
        """Say once what is wrong, and not again every second."""
        if trouble is not None and trouble != self.trouble:
            log.warning("orders in %s %s; the last ones stand", self._path, trouble)
        self.trouble = trouble

    def _take(self, receive: Receive, text: bytes) -> None:
        try:
            said = self._said(text)
        except NoticeError as error:
            self._tell(f"are not understood: {error}")
            return
        self._tell(None)
        named = {one.id for one in said if isinstance(one, Notice)}
        for order in self._intake.standing():
            if order.id not in named:
                self._intake.end(receive, order.id)
        for one in said:
            if isinstance(one, Notice):
                try:
                    self._intake.take(receive, one, is_current=True)
                except NoticeError as error:
                    log.warning("orders in %s: %s", self._path, error)

    def _said(self, text: bytes) -> list[Notice | Ending]:
        """Return everything the file says.

        Raises:
            NoticeError: If any of it is no order: then none of it counts.
        """
        if not text.strip():
            return []
        try:
            document: object = (
                tomllib.loads(text.decode()) if self._path.suffix == ".toml" else msgspec.json.decode(text)
            )
        except (tomllib.TOMLDecodeError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NoticeError(str(error)) from error
        if isinstance(document, dict) and set(document) == {"order"}:
            document = document["order"]
        entries = document if isinstance(document, list) else [document]
        said = [read_notice(entry) for entry in entries]
        if len({one.id for one in said}) < len(said):
            raise NoticeError("two orders have the same id")
        return said
