"""The mine's own node as a feed of money: difficulty and fees of the main network, and of no other."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.config.site import NodeSettings
from hashwerk.dispatch.settings import HashpriceSettings
from hashwerk.errors import NodeError
from hashwerk.feeds.node import NodeFeed
from hashwerk.site.energy.own_node import OwnNode, tells_money
from hashwerk.site.energy.signals import Signals
from hashwerk.site.messages import Snapshot, TemplateView

NOW = 1_751_932_800.0
SUBSIDY = 312_500_000


class Work:
    """What `serve` last said."""

    def __init__(self) -> None:
        self.template: TemplateView | None = None

    def latest(self) -> Snapshot | None:
        values: dict[str, Any] = dict.fromkeys(Snapshot.__struct_fields__)
        return Snapshot(**(values | {"template": self.template}))

    def give(self, height: int, fees_sat: int) -> None:
        self.template = TemplateView(
            height=height,
            prev_hash="",
            nbits="17021a91",
            transactions=2_000,
            coinbase_value_sat=SUBSIDY + fees_sat,
            received_at=NOW,
            template_to_job_ms=None,
        )


async def test_hashprice_is_of_the_own_node_where_no_feed_tells_it() -> None:
    work, clock = Work(), VirtualClock(NOW)
    node = OwnNode(work.latest)
    signals = Signals((), clock, "EUR", [NodeFeed("own node", node)])
    settings = HashpriceSettings(coin_price=66_900.0, difficulty=1.0, fee_share=0.5)
    with pytest.raises(NodeError, match="no template yet"):
        await node.difficulty()
    await signals.poll_all()
    assert "difficulty 1 assumed" in signals.hashprice(settings).text
    # The last template of each height counts: what the node itself would have paid.
    for height, fees in ((900_000, 9), (900_000, SUBSIDY // 9), (900_001, 0), (900_002, SUBSIDY // 9)):
        work.give(height, fees)
        node.look()
    clock.now += 61
    await signals.poll_all()
    rewards = await node.last_rewards(144)
    assert [reward.fees_sat for reward in rewards] == [SUBSIDY // 9, 0, SUBSIDY // 9]
    assert [reward.subsidy_sat for reward in rewards] == [SUBSIDY] * 3
    found = signals.hashprice(settings)
    assert "from own node" in found.text
    assert not any("difficulty" in text or "fees" in text for text in found.assumptions)
    difficulty = 0x00000000FFFF << 208
    difficulty_now = difficulty / (0x021A91 << 8 * (0x17 - 3))
    share = (2 * (SUBSIDY // 9)) / (3 * SUBSIDY + 2 * (SUBSIDY // 9))
    per_ph = 86_400e15 / (2**32 * difficulty_now) * 3.125 / (1 - share) * 66_900 * 0.99 * 0.998
    assert found.per_ph_day == pytest.approx(per_ph, rel=1e-6)


def test_only_the_main_network_of_a_real_node_tells_of_money() -> None:
    assert tells_money(msgspec.convert({"kind": "core", "network": "main"}, NodeSettings))
    assert not tells_money(msgspec.convert({"kind": "core", "network": "testnet4"}, NodeSettings))
    assert not tells_money(NodeSettings())
