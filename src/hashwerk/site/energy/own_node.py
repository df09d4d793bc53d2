"""What the mine's own node tells of the money: the difficulty, and the fees in the templates that became blocks.

Only a node of the main network is asked: coins of any other are worth nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from hashwerk.chain.network import network_from_name
from hashwerk.chain.subsidy import subsidy_sat
from hashwerk.chain.target import difficulty_from_target, target_from_compact
from hashwerk.config.site import NodeSettings
from hashwerk.errors import NodeError
from hashwerk.feeds.node import BLOCKS, BlockReward
from hashwerk.site.messages import Snapshot, TemplateView


def tells_money(node: NodeSettings) -> bool:
    """Say whether the node's chain is one whose difficulty and fees are worth something."""
    return node.kind == "core" and node.network == "main"


class OwnNode:
    """Difficulty and rewards as the mine's work shows them. Owned by one loop; `look` is called as snapshots come.

    The reward of a block is that of the last template of its height: what the node itself would have paid.
    """

    def __init__(self, latest: Callable[[], Snapshot | None]) -> None:
        self._latest = latest
        self._templates: OrderedDict[int, TemplateView] = OrderedDict()
        self._network = network_from_name("main")

    def look(self) -> None:
        """Take in the newest template."""
        snapshot = self._latest()
        template = None if snapshot is None else snapshot.template
        if template is not None:
            self._templates[template.height] = template
            while len(self._templates) > BLOCKS:
                self._templates.popitem(last=False)

    async def difficulty(self) -> float:
        """Return the difficulty of the next block.

        Raises:
            NodeError: If there is no template yet.
        """
        return difficulty_from_target(target_from_compact(int(self._newest().nbits, 16)))

    async def last_rewards(self, count: int) -> Sequence[BlockReward]:
        """Return the rewards of the last heights that work was made for.

        Raises:
            NodeError: If there is no template yet.
        """
        self._newest()
        found = []
        for template in list(self._templates.values())[-count:]:
            subsidy = subsidy_sat(self._network, template.height)
            fees = max(0, template.coinbase_value_sat - subsidy)
            found.append(BlockReward(height=template.height, subsidy_sat=subsidy, fees_sat=fees))
        return found

    def _newest(self) -> TemplateView:
        self.look()
        if not self._templates:
            raise NodeError("the node has given no template yet")
        return next(reversed(self._templates.values()))
