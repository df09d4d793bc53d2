"""The nodes that must all behave alike, on regtest: the embedded one, and Core's RPC in front of another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from hashwerk.chain.block import Block
from hashwerk.chain.header import BlockHeader
from hashwerk.chain.merkle import merkle_root
from hashwerk.chain.network import network_from_name
from hashwerk.chain.template import Template
from hashwerk.chain.transaction import Transaction
from hashwerk.clock import SystemClock
from hashwerk.node.core import CoreNode
from hashwerk.node.kernel import KernelNode
from hashwerk.node.regtest import solve
from hashwerk.node.rpc_methods import RpcMethods
from hashwerk.node.rpc_server import RpcServer
from hashwerk.node.settings import CoreSettings, KernelSettings
from hashwerk.stratum.ports import Node

DEADLINE_S = 10.0
KINDS = ("kernel", "core long poll", "core polling")


@dataclass(slots=True)
class Rig:
    """Opens nodes of one kind on one folder, and whatever they need behind them."""

    kind: str
    root: Path
    refresh_s: float = 30.0
    opened: list[Node] = field(default_factory=list)
    backend: KernelNode | None = None
    server: RpcServer | None = None
    port: int = 0

    @property
    def folder(self) -> Path:
        """What the node under test is given as its folder."""
        return self.root / "node"

    async def make(self) -> Node:
        """Return a node that is not started."""
        if self.kind == "kernel":
            return KernelNode(self.folder, KernelSettings(refresh_s=self.refresh_s), network="regtest")
        await self._open_backend()
        settings = CoreSettings(
            urls=[f"http://127.0.0.1:{self.port}"],
            cookie_file=str(self.root / "cookie"),
            long_poll="long poll" in self.kind,
            poll_s=0.02,
            refresh_s=self.refresh_s,
            retry_s=0.05,
        )
        return CoreNode(self.folder, settings, network="regtest")

    async def open(self) -> Node:
        """Return a started node."""
        node = await self.make()
        await node.start()
        self.opened.append(node)
        return node

    async def close(self) -> None:
        """Close all that was opened."""
        for node in self.opened:
            await node.close()
        if self.server is not None:
            await self.server.close()
        if self.backend is not None:
            await self.backend.close()

    async def _open_backend(self) -> None:
        if self.backend is None:
            self.backend = KernelNode(self.root / "backend", network="regtest")
            await self.backend.start()
            methods = RpcMethods(self.backend, network_from_name("regtest"), SystemClock())
            self.server = RpcServer(methods, cookie_file=self.root / "cookie")
            self.port = await self.server.start()


@pytest.fixture(params=KINDS)
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    made = Rig(request.param, tmp_path)
    yield made
    await made.close()


@pytest.fixture
def template_on() -> Callable[[Node, bytes], Awaitable[Template]]:
    """Wait for a template that builds on the given block."""

    async def wait(node: Node, prev_hash: bytes) -> Template:
        async with asyncio.timeout(DEADLINE_S):
            async for template in node.templates():
                if template.prev_hash == prev_hash:
                    return template
        raise AssertionError("the templates ended")

    return wait


@pytest.fixture
def rework() -> Callable[..., bytes]:
    """Change a solved block's header or coinbase and solve it again: only the change is wrong with it."""

    def make(
        block: bytes,
        *,
        header: Callable[[BlockHeader], BlockHeader] = lambda header: header,
        coinbase: Callable[[Transaction], Transaction] = lambda coinbase: coinbase,
        keep_root: bool = False,
        unsolved: bool = False,
    ) -> bytes:
        parsed = Block.parse(block)
        transactions = (coinbase(parsed.transactions[0]), *parsed.transactions[1:])
        root = parsed.header.merkle_root
        if not keep_root:
            root = merkle_root([transaction.txid() for transaction in transactions])
        changed = header(msgspec.structs.replace(parsed.header, merkle_root=root))
        solved = _unsolve(changed) if unsolved else solve(changed)
        return Block(BlockHeader.parse(solved), transactions).serialize()

    return make


def _unsolve(header: BlockHeader) -> bytes:
    """Return the header with a nonce that does not solve it; on regtest every other one does not."""
    target = 0x7FFFFF << 232
    for nonce in range(1_000):
        candidate = msgspec.structs.replace(header, nonce=nonce)
        if int.from_bytes(candidate.hash(), "little") > target:
            return candidate.serialize()
    raise AssertionError("every nonce solves it")
