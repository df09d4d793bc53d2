"""What holds of every way by which an order arrives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hashwerk.dispatch.orders import Cancel, Order, OrderKind
from support.grid_operators import Listening, operator_of, until

KINDS = ("file", "mqtt", "modbus", "dry-contact", "openadr")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_order_lives_through_everything(kind: str, tmp_path: Path) -> None:
    """Given, repeated, changed, answered, amid garbage, over a restart, and ended: each step is heard once."""
    async with operator_of(kind, tmp_path) as operator:
        listening = Listening(operator.source())
        listening.start()
        await operator.ready(listening.source)
        windowed = kind != "dry-contact"
        await operator.order("reduce to", 500.0, 30 if windowed else None)
        first = await listening.count(1)
        assert isinstance(first, Order)
        assert (first.kind, first.amount_w) == (OrderKind.REDUCE_TO, 500_000.0)
        assert first.source == f"{listening.source.name}:grid"
        assert (first.stop_s is None) or first.stop_s - first.start_s == 1_800.0
        assert windowed == (first.stop_s is not None)

        await operator.repeat()
        number = 1
        if windowed:  # a repetition is no order: the next one that is heard is the change
            await operator.change(400.0)
            changed = await listening.count(2)
            number = 2
            assert isinstance(changed, Order)
            assert (changed.id, changed.amount_w, changed.start_s) == (first.id, 400_000.0, first.start_s)

        async def is_told() -> bool:
            await listening.source.tell(first.id, 900_000.0, 390_123.0, 400_000.0)
            return bool(await operator.is_told(390_123.0))

        await until(is_told)
        await operator.garbage(listening.source)

        await listening.stop()
        again = Listening(operator.source())
        again.start()
        await operator.ready(again.source)
        await operator.repeat()
        await operator.cancel()
        ended = await again.count(1)
        assert isinstance(ended, Cancel)
        assert (ended.id, ended.source) == (first.id, first.source)
        assert len(listening.heard) == number
        await _other_kinds(operator, again)
        await again.stop()


async def _other_kinds(operator: Any, listening: Listening) -> None:
    for wanted in operator.kinds[1:]:
        heard = len(listening.heard)
        await operator.order(wanted, None if wanted == "all" else 100.0, None)
        order = await listening.count(heard + 1)
        assert isinstance(order, Order)
        assert order.kind is OrderKind(wanted)
        assert order.amount_w == (None if wanted == "all" else 100_000.0)
        await operator.cancel()
        assert isinstance(await listening.count(heard + 2), Cancel)
