"""Orders of a grid operator: how they arrive, and what they mean for a plan.

Adapters (OpenADR, Modbus, MQTT, a dry contact, files, the API) fill the port `OrderSource`; none of them is known here.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import msgspec
import numpy as np

from hashwerk.dispatch.baselines import BaselineKind
from hashwerk.dispatch.grid import FloatArray, Grid
from hashwerk.dispatch.problem import Limit, Problem
from hashwerk.errors import DispatchError

#: No site draws more than this, W, and no order is of a later time: a figure beyond is a slip. Comparisons refuse NaN as well.
_HIGHEST_W: Final = 1e12
_LATEST_S: Final = 4_102_444_800.0  # 1 January 2100


class OrderKind(enum.Enum):
    """What is asked for."""

    REDUCE_TO = "reduce to"  # import at most so much
    REDUCE_BY = "reduce by"  # so much below the baseline
    ALL = "all"  # every machine sleeps


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as received. Times are Unix seconds, the window is half-open."""

    id: str
    source: str  # the adapter and who spoke to it: "openadr:utility"
    kind: OrderKind
    received_s: float
    start_s: float
    stop_s: float | None = None  # None: until it is cancelled
    amount_w: float | None = None  # None for ALL
    baseline: BaselineKind = BaselineKind.METER_BEFORE
    restore_s: float = 300.0  # over which the limit is given back, so that not everybody wakes at once

    def __post_init__(self) -> None:
        if (self.amount_w is None) != (self.kind is OrderKind.ALL):
            raise ValueError(
                f"order {self.id}: {self.kind.value} {'needs' if self.amount_w is None else 'has no'} amount"
            )
        if self.amount_w is not None and not 0 <= self.amount_w <= _HIGHEST_W:
            raise ValueError(f"order {self.id}: {self.amount_w:g} W is no power of a site")
        if not 0 <= self.restore_s < _LATEST_S:
            raise ValueError(f"order {self.id}: power is not given back over {self.restore_s:g} s")
        for moment in (self.received_s, self.start_s, self.stop_s):
            if moment is not None and not 0 <= moment < _LATEST_S:
                raise ValueError(f"order {self.id}: {moment:g} is no time in this century, in Unix seconds")
        if self.stop_s is not None and self.stop_s <= self.start_s:
            raise ValueError(f"order {self.id}: it ends before it begins")


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """The end of an order before its time, or of one without an end."""

    id: str
    source: str
    received_s: float


class OrderSource(Protocol):
    """The port that adapters fill."""

    name: str

    @property
    def trouble(self) -> str | None:
        """Why orders cannot be heard now; None if they can. What is in force stays so."""
        ...

    async def listen(self, receive: Callable[[Order | Cancel], None]) -> None:
        """Hand every order over as it arrives, until cancelled. A repeated order has the same id; it replaces the first."""
        ...

    async def tell(self, order_id: str, baseline_w: float, import_w: float | None, target_w: float) -> None:
        """Tell whoever ordered what is being delivered; called every few seconds while the order lasts."""
        ...


@dataclass(slots=True)
class OrderBook:
    """All orders and what became of them. Owned by one task; survives a restart by being fed from the store."""

    _orders: dict[tuple[str, str], Order] = field(default_factory=dict)
    _baseline_w: dict[tuple[str, str], float] = field(default_factory=dict)

    def receive(self, message: Order | Cancel) -> Order | None:
        """Take in an order or its end; return the order as it now stands, None for the end of an unknown one."""
        key = (message.source, message.id)
        if isinstance(message, Order):
            self._orders[key] = message
            return message
        known = self._orders.get(key)
        if known is None:
            return None
        if message.received_s <= known.start_s:
            del self._orders[key]
            return known
        stop_s = min(message.received_s, known.stop_s if known.stop_s is not None else message.received_s)
        self._orders[key] = msgspec.structs.replace(known, stop_s=stop_s)
        return self._orders[key]

    def set_baseline(self, order: Order, baseline_w: float) -> None:
        """Fix the baseline of an order; it is measured once, before the order takes effect, and never moved."""
        self._baseline_w.setdefault((order.source, order.id), baseline_w)

    def baseline_w(self, order: Order) -> float | None:
        """Return an order's baseline, None while it is not known."""
        return self._baseline_w.get((order.source, order.id))

    def active(self, now: float) -> tuple[Order, ...]:
        """Return the orders whose window contains this moment."""
        return tuple(
            order
            for order in self._orders.values()
            if order.start_s <= now and (order.stop_s is None or now < order.stop_s)
        )

    def ahead(self, start_s: float, stop_s: float) -> tuple[Order, ...]:
        """Return the orders that bear on a span of time, the giving back of the limit included."""
        return tuple(
            order
            for order in self._orders.values()
            if order.start_s < stop_s and (order.stop_s is None or order.stop_s + order.restore_s > start_s)
        )

    def applied_to(self, problem: Problem) -> Problem:
        """Return a problem with every order that bears on it as a hard limit.

        Raises:
            DispatchError: If an order is relative to a baseline that is not known.
        """
        grid = problem.grid
        orders = self.ahead(float(grid.starts_s[0]), float(grid.ends_s[-1]))
        limits = tuple(limit for order in orders for limit in self._limits(order, problem))
        available = problem.available
        for order in orders:
            if order.kind is OrderKind.ALL:
                available = np.where(within(order, grid)[None, :], 0, available)
        return replace(problem, limits=(*problem.limits, *limits), available=available)

    def target_w(self, order: Order) -> float:
        """Return the highest import that obeys an order.

        Raises:
            DispatchError: If it is relative to a baseline that is not known.
        """
        if order.kind is OrderKind.ALL:
            return 0.0
        assert order.amount_w is not None
        if order.kind is OrderKind.REDUCE_TO:
            return order.amount_w
        baseline_w = self.baseline_w(order)
        if baseline_w is None:
            raise DispatchError(f"order {order.id} is relative to a baseline that has not been measured")
        return max(0.0, baseline_w - order.amount_w)

    def _limits(self, order: Order, problem: Problem) -> Iterator[Limit]:
        """Return the limit during an order, and the one that gives power back after it."""
        if order.kind is not OrderKind.ALL:
            # Else machines are made unavailable; what the house draws is not ours to switch.
            limit_w = np.where(within(order, problem.grid), self.target_w(order), np.inf)
            yield Limit(name=f"order {order.id}", limit_w=limit_w)
        if order.stop_s is not None and order.restore_s > 0:
            yield Limit(name=f"giving back after order {order.id}", limit_w=self._restoring(order, problem))

    def _restoring(self, order: Order, problem: Problem) -> FloatArray:
        """Return the limit after the order: it rises linearly from the target, or the house, to everything on.

        Each interval has the limit of its beginning.
        """
        assert order.stop_s is not None
        cooled = 1 + problem.cooling_share
        residual_w = sum(group.residual_w * group.count for group in problem.groups)
        standing_w = residual_w * cooled + problem.auxiliary_w
        highest_w = sum(group.count * group.modes[-1].power_w for group in problem.groups) * cooled
        from_w = np.maximum(self.target_w(order), standing_w)
        share = (problem.grid.starts_s - order.stop_s) / order.restore_s
        rising_w = from_w + share * np.maximum(0.0, highest_w + problem.auxiliary_w - from_w)
        return np.where((share >= 0) & (share < 1), rising_w, np.inf)


def within(order: Order, grid: Grid) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which intervals overlap an order's window: an order binds the whole of each."""
    after_start = grid.ends_s > order.start_s
    if order.stop_s is None:
        return after_start
    return after_start & (grid.starts_s < order.stop_s)


class Laggard(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that should be asleep and is not."""

    machine: str
    power_w: float | None
    what_to_do: str


def laggards(
    powers: Sequence[tuple[str, float | None, float]], since_s: float, *, patience_s: float = 60.0
) -> tuple[Laggard, ...]:
    """Return who does not sleep ``since_s`` after it was told to, with what to do.

    Args:
        powers: Name, measured power (None: it does not answer) and residual power of each machine told to sleep.
        since_s: Seconds since the command.
        patience_s: How long a machine may take.
    """
    if since_s < patience_s:
        return ()
    found = []
    for machine, power_w, residual_w in powers:
        if power_w is None:
            todo = "it does not answer: switch its outlet off, or look at its network port"
        elif power_w > residual_w * 1.5 + 20.0:
            todo = f"it still draws {power_w:,.0f} W: send sleep again, then reboot it, then switch its outlet off"
        else:
            continue
        found.append(Laggard(machine=machine, power_w=power_w, what_to_do=todo))
    return tuple(found)
