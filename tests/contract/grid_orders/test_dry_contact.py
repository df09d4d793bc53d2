"""What holds of a dry contact besides: a module that falls silent, a broken wire, an answer that was left on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hashwerk.dispatch.orders import Cancel, Order, OrderKind
from support.grid_operators import Listening, contact, until


async def _so(value: Any) -> bool:
    return bool(value)


@pytest.mark.parametrize(("on_silence", "is_ordered"), [("keep", True), ("release", False), ("reduce", True)])
async def test_a_module_that_is_silent_while_it_orders_means_what_was_declared(
    on_silence: str, is_ordered: bool, tmp_path: Path
) -> None:
    async with contact(tmp_path) as operator:
        listening = Listening(operator.source(on_silence=on_silence, silent_after_s=0.6, timeout_s=0.3))
        listening.start()
        operator.module.closed = True
        assert isinstance(await listening.count(1), Order)
        operator.module.is_broken = True
        await until(lambda: _so(listening.source.trouble))
        assert on_silence in listening.source.trouble
        assert bool(listening.source._intake.standing()) is is_ordered
        assert len(listening.heard) == (1 if is_ordered else 2)
        await listening.stop()


async def test_a_module_that_is_silent_while_it_does_not_order_may_order(tmp_path: Path) -> None:
    async with contact(tmp_path) as operator:
        listening = Listening(
            operator.source(on_silence="reduce", silent_after_s=0.6, timeout_s=0.3, reduce_to_kw=None)
        )
        listening.start()
        await operator.repeat()
        operator.module.is_broken = True
        order = await listening.count(1)
        assert isinstance(order, Order)
        assert order.kind is OrderKind.ALL
        operator.module.is_broken = False
        assert isinstance(await listening.count(2), Cancel)
        assert listening.source.trouble is None
        await listening.stop()


async def test_an_open_contact_orders_where_it_is_inverted_and_an_answer_left_on_goes_off(
    tmp_path: Path,
) -> None:
    async with contact(tmp_path) as operator:
        operator.module.coil = operator.module.closed = True
        listening = Listening(operator.source(invert=True))
        listening.start()
        await until(lambda: _so(not operator.module.coil))
        assert listening.heard == []
        operator.module.closed = False  # opened, or the wire broke
        assert isinstance(await listening.count(1), Order)
        await listening.stop()
