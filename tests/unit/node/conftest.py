"""Bitcoin Core's RPC served from embedded nodes, and everything that can go wrong with a node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hashwerk.chain.network import network_from_name
from hashwerk.clock import SystemClock
from hashwerk.node.core import CoreNode
from hashwerk.node.kernel import KernelNode
from hashwerk.node.regtest import mine_block
from hashwerk.node.rpc_methods import RpcMethods
from hashwerk.node.rpc_server import RpcServer
from hashwerk.node.settings import CoreSettings

DEADLINE_S = 10.0


@dataclass(slots=True)
class Backend:
    """One node behind Core's RPC that can be made to hang, to lie and to vanish."""

    root: Path
    name: str
    port: int = 0
    chain: str = "regtest"
    hangs: bool = False
    spoil: Callable[[str, Any], Any] = lambda method, result: result
    calls: list[tuple[str, list[Any]]] = field(default_factory=list)
    node: KernelNode | None = None
    server: RpcServer | None = None
    methods: RpcMethods | None = None

    @property
    def cookie_file(self) -> Path:
        """Where this node's cookie is."""
        return self.root / f"{self.name}.cookie"

    @property
    def url(self) -> str:
        """This node's address."""
        return f"http://127.0.0.1:{self.port}"

    async def call(self, method: str, params: list[Any]) -> object:
        """Answer, or not."""
        self.calls.append((method, params))
        if self.hangs:
            await asyncio.Event().wait()
        assert self.methods is not None
        return self.spoil(method, await self.methods.call(method, params))

    async def appear(self) -> None:
        """Start the node, on the port it had."""
        self.node = KernelNode(self.root / self.name, network="regtest")
        await self.node.start()
        self.methods = RpcMethods(self.node, network_from_name("regtest"), SystemClock())
        self.server = RpcServer(self, cookie_file=self.cookie_file, user="user", password="pass:word")
        self.port = await self.server.start(port=self.port)

    async def vanish(self) -> None:
        """Stop the node."""
        if self.server is not None and self.node is not None:
            await self.server.close()
            await self.node.close()
            self.server = self.node = None

    async def mine(self) -> bytes:
        """Find a block of its own."""
        assert self.node is not None
        block = mine_block(await self.node.template())
        assert (await self.node.submit_block(block)).accepted
        return block


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    one = Backend(tmp_path, "one")
    await one.appear()
    yield one
    await one.vanish()


@pytest.fixture
async def second_backend(tmp_path: Path) -> AsyncIterator[Backend]:
    two = Backend(tmp_path, "two")
    await two.appear()
    yield two
    await two.vanish()


@pytest.fixture
async def open_core(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[CoreNode]]]:
    """Open a node on the given backends, with waits short enough for tests."""
    opened: list[CoreNode] = []

    async def make(*backends: Backend, **settings: Any) -> CoreNode:
        defaults: dict[str, Any] = {
            "urls": [backend.url for backend in backends],
            "user": "user",
            "password": "pass:word",
            "timeout_s": 0.5,
            "retry_s": 0.05,
            "poll_s": 0.05,
        }
        node = CoreNode(tmp_path / "core", CoreSettings(**(defaults | settings)), network="regtest")
        await node.start()
        opened.append(node)
        return node

    yield make
    for node in opened:
        await node.close()
