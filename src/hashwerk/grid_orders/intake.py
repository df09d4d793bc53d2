"""What has been heard from a source, on disk: a repeated message is no new order, and a restart neither loses nor doubles one."""

from __future__ import annotations

import enum
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.dispatch.orders import Cancel, Order
from hashwerk.grid_orders.notice import Notice, NoticeError

log = logging.getLogger(__name__)

Receive = Callable[[Order | Cancel], None]
#: So many orders are remembered; the oldest that are over go first.
_KEPT: Final = 500


class Heard(enum.Enum):
    """What became of a message."""

    TAKEN = "taken"
    CHANGED = "changed"
    REPEATED = "repeated"
    ENDED = "ended"
    UNKNOWN = "unknown"


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """An order, and the words it was given in."""

    notice: Notice
    order: Order
    ended_s: float | None = None


class Intake:
    """Hands orders over, each once. Owned by one adapter.

    An order is remembered after it was taken: if the process dies in between it is handed over again under the same id,
    which replaces the first.
    """

    def __init__(self, name: str, operator: str, clock: Clock, path: Path | None) -> None:
        self.name = name
        self.source = f"{name}:{operator}"
        self._clock = clock
        self._path = path
        self._known: dict[str, Remembered] = {} if path is None else _load(name, path)

    def take(self, receive: Receive, notice: Notice, *, is_current: bool = False) -> Heard:
        """Hand an order over if it says anything new.

        Args:
            receive: Who takes it.
            notice: The order.
            is_current: What is said is in force now, not a message that may come late: an order that was ended is taken again.

        Raises:
            NoticeError: If it contradicts itself or is over already.
            StoreError: If it cannot be kept; then it has not been taken.
        """
        known = self._known.get(notice.id)
        if known is not None and known.notice == notice and not (is_current and known.ended_s is not None):
            return Heard.REPEATED
        now = self._clock.time()
        is_change = known is not None and known.ended_s is None and not _is_over(known.order, now)
        order = self._order(notice, now, known.order.start_s if known is not None and is_change else now)
        receive(order)
        self._keep(Remembered(notice=notice, order=order))
        log.info("%s: order %s is %s", self.name, notice.id, "changed" if is_change else "taken")
        return Heard.CHANGED if is_change else Heard.TAKEN

    def end(self, receive: Receive, order_id: str) -> Heard:
        """End an order before its time.

        Raises:
            StoreError: If that cannot be kept; then the order stands.
        """
        known = self._known.get(order_id)
        if known is None:
            return Heard.UNKNOWN
        now = self._clock.time()
        if known.ended_s is not None or _is_over(known.order, now):
            return Heard.REPEATED
        receive(Cancel(id=order_id, source=self.source, received_s=now))
        self._keep(msgspec.structs.replace(known, ended_s=now))
        log.info("%s: order %s is ended", self.name, order_id)
        return Heard.ENDED

    def standing(self) -> tuple[Order, ...]:
        """Return the orders that are in force or ahead, as far as this source has said."""
        now = self._clock.time()
        return tuple(
            one.order for one in self._known.values() if one.ended_s is None and not _is_over(one.order, now)
        )

    def notice(self, order_id: str) -> Notice | None:
        """Return the words of an order; None if it is not known."""
        known = self._known.get(order_id)
        return None if known is None else known.notice

    def _order(self, notice: Notice, now: float, start_s: float) -> Order:
        start_s = start_s if notice.start_s is None else notice.start_s
        stop_s = notice.stop_s if notice.duration_s is None else start_s + notice.duration_s
        if stop_s is not None and stop_s <= now:
            raise NoticeError(f"order {notice.id} is over already")
        try:
            return Order(
                id=notice.id,
                source=self.source,
                kind=notice.kind,
                received_s=now,
                start_s=start_s,
                stop_s=stop_s,
                amount_w=notice.amount_w,
                baseline=notice.baseline,
                restore_s=notice.restore_s,
            )
        except ValueError as error:
            raise NoticeError(str(error)) from error

    def _keep(self, one: Remembered) -> None:
        self._known.pop(one.order.id, None)
        self._known[one.order.id] = one
        now = self._clock.time()
        for key, known in list(self._known.items()):
            if len(self._known) <= _KEPT:
                break
            if known.ended_s is not None or _is_over(known.order, now):
                del self._known[key]
        if self._path is not None:
            _save(self.name, self._path, tuple(self._known.values()))


def _is_over(order: Order, now: float) -> bool:
    return order.stop_s is not None and order.stop_s <= now


def _load(name: str, path: Path) -> dict[str, Remembered]:
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=tuple[Remembered, ...])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, ValueError) as error:
        log.error("%s: what was heard before cannot be read from %s: %s", name, path, error)
        return {}
    return {one.order.id: one for one in kept}


def _save(name: str, path: Path, kept: tuple[Remembered, ...]) -> None:
    """Write the file beside the old one and change places, so that it is never half of one."""
    beside = path.with_suffix(".new")
    try:
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(kept))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        # The order itself is in the site's record; only a repetition after a restart would count as a change.
        log.error("%s: what was heard cannot be kept in %s: %s", name, path, error)
