"""The table of kinds of nodes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hashwerk.clock import SystemClock
from hashwerk.errors import ConfigError
from hashwerk.node.core import CoreNode
from hashwerk.node.kernel import KernelNode
from hashwerk.node.open import NODE_KINDS, NodeSpec, open_node
from hashwerk.node.settings import CoreSettings, KernelSettings


@pytest.mark.parametrize(("kind", "made"), [("kernel", KernelNode), ("core", CoreNode)])
async def test_each_kind_is_opened(tmp_path: Path, kind: str, made: type) -> None:
    node = open_node(NodeSpec(kind=kind, network="regtest", folder=tmp_path), SystemClock())
    assert isinstance(node, made)
    assert node.status().kind == kind
    await node.close()
    assert set(NODE_KINDS) == {"kernel", "core"}


def test_an_unknown_kind_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="choose one of: kernel, core"):
        open_node(NodeSpec(kind="moon", network="regtest", folder=tmp_path), SystemClock())


def test_main_asks_for_a_payout_script(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="payout address"):
        open_node(NodeSpec(kind="core", network="main", folder=tmp_path), SystemClock())


@pytest.mark.parametrize("settings", [KernelSettings, CoreSettings])
def test_every_setting_is_documented_and_unknown_ones_are_refused(settings: type[msgspec.Struct]) -> None:
    properties = msgspec.json.schema(settings)["$defs"][settings.__name__]["properties"]
    assert set(properties) == set(settings.__struct_fields__)
    for name, schema in properties.items():
        assert schema.get("description"), name
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.json.decode(b'{"nonsense": 1}', type=settings)
