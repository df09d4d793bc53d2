"""Commands as evidence: what was ordered, and what the site's meter saw of it. Only a meter's word counts as an effect."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Final

from hashwerk.dispatch.baselines import Settlement
from hashwerk.evidence.records import Command
from hashwerk.fleet.limits import words
from hashwerk.fleet.orders import (
    Aborted,
    Ended,
    Opened,
    Order,
    OrderEvent,
    OrderState,
    Reached,
    Reduce,
    Stopped,
)
from hashwerk.site.energy.record import OrderRecord
from hashwerk.site.logbook.words import plain

#: Whose power a command is about that is about the whole site's.
SITE: Final = "site"
_KEEP: Final = 2_000


def fleet_commands(
    histories: Iterable[Sequence[OrderEvent]], logged: tuple[str, ...]
) -> tuple[list[Command], tuple[str, ...]]:
    """Return the commands of the fleet whose effect was measured, or that have failed, and what is logged with them.

    Args:
        histories: The events of each order, the oldest first.
        logged: Stages that are logged already.
    """
    known, found, stages = set(logged), list[Command](), list[str]()
    for events in histories:
        for stage, record in _stages(events):
            if stage not in known:
                stages.append(stage)
                found += [] if record is None else [record]
    return found, (*logged, *stages)[-_KEEP:]


def is_logged(order_id: str, logged: Container[str]) -> bool:
    """Say whether an order is over and wholly logged."""
    return f"fleet/{order_id}/over" in logged


def grid_commands(
    orders: Iterable[OrderRecord], logged: tuple[str, ...]
) -> tuple[list[Command], tuple[str, ...]]:
    """Return the orders of grid operators that are over, and what is logged with them."""
    known, found, stages = set(logged), list[Command](), list[str]()
    for record in orders:
        stage = f"grid/{record.order.source}/{record.order.id}"
        if record.settlement is not None and stage not in known:
            stages.append(stage)
            found += _grid(record, record.settlement)
    return found, (*logged, *stages)[-_KEEP:]


def _stages(events: Sequence[OrderEvent]) -> Iterator[tuple[str, Command | None]]:
    """Yield each stage of an order with what is logged of it, as its events tell."""
    order: Order | None = None
    is_down = is_back = False
    for event in events:
        if isinstance(event, Opened):
            order = Order(spec=event.spec)
        assert order is not None, "an order's events begin with the order"
        order.apply(event)
        name = f"fleet/{order.spec.id}"
        is_over = isinstance(event, Ended | Aborted)
        is_back = is_back or order.state is OrderState.RESTORING
        if order.spec.dry_run or not order.plans:
            pass  # nothing was sent
        elif not isinstance(order.spec.task, Reduce):
            if is_over:
                yield f"{name}/told", _command(order, words(order.spec.task.command), at_s=order.spec.at)
        elif not is_down and (is_over or isinstance(event, Reached | Stopped)):
            is_down = True
            yield f"{name}/down", _down(order, event)
        elif is_down and is_back and is_over:
            yield f"{name}/back", _back(order)
        if is_over:
            yield f"{name}/over", None


def _is_measured(order: Order) -> bool:
    """Say whether the site's meter speaks of an order: it is about the whole site's power."""
    return order.is_metered and order.spec.group is None and order.spec.keys is None


def _down(order: Order, event: OrderEvent) -> Command:
    measured = _is_measured(order) and isinstance(event, Reached)
    return _command(
        order,
        "reduce power",
        at_s=order.spec.at,
        ordered_w=_ordered_w(order),
        before_w=order.baseline_w if _is_measured(order) else None,
        after_w=order.measured_w if measured else None,
        effect_s=order.reached_at if measured and order.measured_w is not None else None,
    )


def _back(order: Order) -> Command:
    measured_w = order.measured_w if _is_measured(order) else None
    return _command(
        order,
        "restore power",
        at_s=order.begun_at,
        after_w=measured_w,
        effect_s=None if measured_w is None else order.ended_at,
    )


def _ordered_w(order: Order) -> float | None:
    if order.target_w is not None:
        return order.target_w
    return None if order.baseline_w is None else max(0.0, order.baseline_w - _saves_w(order))


def _saves_w(order: Order) -> float:
    """Return what the steps of an order were expected to save."""
    return sum(progress.step.saves_w or 0.0 for progress in order.machines.values())


def _command(
    order: Order,
    name: str,
    *,
    at_s: float,
    ordered_w: float | None = None,
    before_w: float | None = None,
    after_w: float | None = None,
    effect_s: float | None = None,
) -> Command:
    spec = order.spec
    whole = spec.group is None and spec.keys is None
    return Command(
        id=command_id(f"{spec.id}/{name}"),
        at_us=int(at_s * 1e6),
        command=plain(name),
        group=SITE if whole else plain(spec.group or f"order {spec.id}"),
        machines=len(order.machines),
        reason=plain(f"{spec.who}: {spec.why}; {order.text}"),
        ordered_w=_watts(ordered_w),
        before_w=_watts(before_w),
        after_w=_watts(after_w),
        effect_us=None if effect_s is None else int(effect_s * 1e6),
    )


def _grid(record: OrderRecord, settled: Settlement) -> list[Command]:
    order, name = record.order, f"{record.order.source}/{record.order.id}"
    measured = [watts for watts in settled.measured_w if watts is not None]
    begin = Command(
        id=command_id(f"{name}/begin"),
        at_us=int(settled.start_s * 1e6),
        command=plain(f"grid order: {order.kind.value}"),
        group=plain(f"grid order {order.id}"),
        machines=0,
        reason=plain(
            f"{order.source}; {settled.delivered_wh:,.0f} Wh against the baseline, {record.baseline_text}"
        ),
        ordered_w=_watts(settled.target_w),
        before_w=_watts(record.baseline_w),
        after_w=_watts(sum(measured) / len(measured)) if measured else None,
        effect_us=None if record.reached_s is None else int(record.reached_s * 1e6),
    )
    end = Command(
        id=command_id(f"{name}/end"),
        at_us=int(settled.stop_s * 1e6),
        command="grid order: over",
        group=begin.group,
        machines=0,
        reason=plain(order.source),
        ordered_w=None,
        before_w=None,
        after_w=None,
        effect_us=None,
    )
    return [begin, end]


def command_id(name: str) -> int:
    """Return a number for an order's name, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _watts(value: float | None) -> int | None:
    return None if value is None else max(0, round(value))
