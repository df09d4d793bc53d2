"""Which kinds of node there are. A new one is one new file and one row here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.clock import Clock
from hashwerk.errors import ConfigError
from hashwerk.node.core import CoreNode
from hashwerk.node.kernel import KernelNode
from hashwerk.node.settings import CoreSettings, KernelSettings
from hashwerk.stratum.ports import Node


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to open a node, of whichever kind."""

    kind: str
    network: str
    folder: Path
    kernel: KernelSettings = KernelSettings()
    core: CoreSettings = CoreSettings()
    payout_script: bytes | None = None


def _open_kernel(spec: NodeSpec, clock: Clock) -> Node:
    return KernelNode(spec.folder, spec.kernel, clock, network=spec.network)


def _open_core(spec: NodeSpec, clock: Clock) -> Node:
    return CoreNode(spec.folder, spec.core, clock, network=spec.network, payout_script=spec.payout_script)


NODE_KINDS: Final[dict[str, Callable[[NodeSpec, Clock], Node]]] = {
    "kernel": _open_kernel,
    "core": _open_core,
}


def open_node(spec: NodeSpec, clock: Clock) -> Node:
    """Return the node of this description, not started yet.

    Raises:
        ConfigError: If there is no such kind, or its settings cannot be used.
    """
    try:
        opener = NODE_KINDS[spec.kind]
    except KeyError:
        raise ConfigError(
            f"unknown kind of node {spec.kind!r}; choose one of: {', '.join(NODE_KINDS)}"
        ) from None
    return opener(spec, clock)
