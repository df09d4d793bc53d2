"""One Bitcoin Core node as the mine sees it: its template, kept fresh, and whether it answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Final, TypeVar

import msgspec

from hashwerk.chain.header import hash_from_hex, hash_to_hex
from hashwerk.chain.network import Network
from hashwerk.chain.template import Template
from hashwerk.clock import Clock
from hashwerk.errors import HashwerkError, NodeError
from hashwerk.node.core_rpc import RPC_INVALID_ADDRESS_OR_KEY, RPC_METHOD_NOT_FOUND, RpcClient, RpcError
from hashwerk.node.gbt import GbtReply, TemplateVerifier
from hashwerk.node.private_template import seconds_until_stale
from hashwerk.node.settings import CoreSettings

_SUBMIT_TIMEOUT_S: Final = (
    60.0  # checking a full block on a slow disk takes long, and nothing is more precious
)
_HEARTBEAT_S: Final = 5.0
_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)


class WrongNetworkError(NodeError):
    """The node is on another network than the mine."""


class ChainInfo(msgspec.Struct, frozen=True):
    """The part of ``getblockchaininfo`` that is used."""

    chain: str
    blocks: int
    bestblockhash: str


class HeaderInfo(msgspec.Struct, frozen=True):
    """The part of ``getblockheader`` that is used."""

    time: int
    height: int
    confirmations: int  # -1: not in the active chain


class CorePeer:
    """One node. Its state belongs to the task that runs `refresh`; others read it."""

    __slots__ = (
        "_clock",
        "_long_poll_id",
        "_network",
        "_nudged",
        "_settings",
        "_verifier",
        "client",
        "error",
        "failed_at",
        "is_refused",
        "template",
    )

    def __init__(self, client: RpcClient, network: Network, settings: CoreSettings, clock: Clock) -> None:
        self.client = client
        self.template: Template | None = None  # the last good one, kept while the node fails
        self.error: str | None = "not asked yet"  # None: it answers and its template is good
        self.failed_at: float | None = None  # monotonic seconds
        self._network = network
        self._settings = settings
        self._clock = clock
        self._verifier = TemplateVerifier(network)
        self._long_poll_id: str | None = None
        self._nudged = asyncio.Event()

    @property
    def url(self) -> str:
        """The node's address, without credentials."""
        return self.client.url

    def fail(self, error: HashwerkError) -> None:
        """Take note that the node cannot be used now."""
        if self.error is None or self.failed_at is None:
            self.failed_at = self._clock.monotonic()
        if self.error != str(error):
            _LOG.warning("node %s: %s", self.url, error)
        self.error = str(error)
        self._long_poll_id = None

    def nudge(self) -> None:
        """Let `refresh` ask for a new template now: there is reason to think that the tip has changed."""
        self._nudged.set()

    async def greet(self) -> ChainInfo:
        """Ask the node who it is.

        Raises:
            WrongNetworkError: If it is on another network.
            NodeError: If it does not answer.
        """
        info = await self.client.call("getblockchaininfo", kind=ChainInfo)
        if info.chain != self._network.name:
            raise WrongNetworkError(
                f"{self.url} is on the network {info.chain}, the mine is on {self._network.name}"
            )
        return info

    async def refresh(self) -> None:
        """Return with a fresh template: at once the first time, then when there is reason for a new one.

        Reasons are a new tip, the node's own word (long poll), the refresh time and the 20-minute edge.

        Raises:
            NodeError: If the node does not answer, or its template is invalid.
        """
        reply = None
        if self.error is None and self.template is not None:
            reply = await self._news(self.template)
        self._nudged.clear()
        if reply is None:
            reply = await self._ask_template(None, self._settings.timeout_s)
        previous_time = None
        if self._network.allow_min_difficulty:
            previous_time = (await self._header(reply.previousblockhash)).time
        # A full template takes a while to verify; the event loop has shares to answer meanwhile.
        self.template = await asyncio.to_thread(
            self._verifier.verify,
            reply,
            previous_time=previous_time,
            now=self._clock.time(),
            source=self.url,
        )
        self._long_poll_id = reply.longpollid if self._settings.long_poll else None
        if self.error is not None and self.failed_at is not None:
            _LOG.info("node %s is back", self.url)
        self.error = None
        self.failed_at = None

    async def submit(self, block_hex: str, block_hash: bytes) -> tuple[bool, str | None]:
        """Hand in a block; return whether it is in the node's active chain, and the node's reason.

        Raises:
            NodeError: If the node does not answer.
        """
        try:
            reply = await self.client.call(
                "submitblock", [block_hex], kind=object, timeout_s=_SUBMIT_TIMEOUT_S
            )
        except RpcError as error:
            return False, "block-decode-failed" if "decode" in error.message.lower() else error.message
        if reply is None:
            return True, None
        reason = str(reply)
        if reason in ("inconclusive", "duplicate"):
            # Valid so far, but somebody else's block of the same height came first: ask for ours to be
            # preferred.
            await self._prefer(block_hash)
            return (await self.confirmations(block_hash) is not None), reason
        return False, reason

    async def confirmations(self, block_hash: bytes) -> int | None:
        """Return how many blocks of the active chain stand on this one, itself included; None: not in it.

        Raises:
            NodeError: If the node does not answer.
        """
        header = await self.find(block_hash)
        return None if header is None or header.confirmations < 1 else header.confirmations

    async def find(self, block_hash: bytes) -> HeaderInfo | None:
        """Return what the node knows of a block; None: it never heard of it.

        Raises:
            NodeError: If the node does not answer.
        """
        try:
            return await self._header(hash_to_hex(block_hash))
        except RpcError as error:
            if error.code != RPC_INVALID_ADDRESS_OR_KEY:
                raise
            return None

    async def _header(self, block_hash_hex: str) -> HeaderInfo:
        return await self.client.call("getblockheader", [block_hash_hex, True], kind=HeaderInfo)

    async def _prefer(self, block_hash: bytes) -> None:
        try:
            await self.client.call("preciousblock", [hash_to_hex(block_hash)], kind=object)
        except RpcError as error:
            if error.code not in (RPC_INVALID_ADDRESS_OR_KEY, RPC_METHOD_NOT_FOUND):
                raise

    async def _ask_template(self, long_poll_id: str | None, timeout_s: float) -> GbtReply:
        rules = ["segwit", "signet"] if self._network.name == "signet" else ["segwit"]
        request: dict[str, object] = {"rules": rules}
        if long_poll_id is not None:
            request["longpollid"] = long_poll_id
        return await self.client.call("getblocktemplate", [request], kind=GbtReply, timeout_s=timeout_s)

    async def _news(self, template: Template) -> GbtReply | None:
        """Wait for a reason to renew the template; return the new one where the long poll gave it.

        The tip is asked for beside the long poll too, because a connection can die without a word.
        """
        wait_s = seconds_until_stale(template, self._clock.time(), self._settings.refresh_s)
        pause_s = self._settings.poll_s
        reasons: list[Coroutine[object, object, GbtReply | None]] = [self._nudge()]
        if self._long_poll_id is not None:
            pause_s = max(_HEARTBEAT_S, pause_s)
            reasons.append(self._long_poll(self._long_poll_id, template, wait_s))
        return await _first_of(wait_s, *reasons, self._tip_other_than(template, pause_s))

    async def _nudge(self) -> None:
        await self._nudged.wait()

    async def _long_poll(self, long_poll_id: str, template: Template, wait_s: float) -> GbtReply:
        asked_at = self._clock.monotonic()
        reply = await self._ask_template(long_poll_id, wait_s + self._settings.timeout_s)
        is_same_tip = hash_from_hex(reply.previousblockhash) == template.prev_hash
        if is_same_tip and self._clock.monotonic() - asked_at < self._settings.poll_s:
            # A node or a proxy that does not hold the request must not be asked without pause.
            await asyncio.sleep(self._settings.poll_s)
        return reply

    async def _tip_other_than(self, template: Template, pause_s: float) -> None:
        while True:
            await asyncio.sleep(pause_s)
            tip = await self.client.call("getbestblockhash", kind=str)
            if hash_from_hex(tip) != template.prev_hash:
                return


async def _first_of(wait_s: float, *coroutines: Coroutine[object, object, _T | None]) -> _T | None:
    """Return what the first of them returns, or None after ``wait_s`` seconds; the others are cancelled."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        return next((task.result() for task in tasks if task in done), None)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
