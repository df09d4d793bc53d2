"""The production node: Bitcoin Core over JSON-RPC, one or several."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from hashwerk.chain.header import HEADER_SIZE, double_sha256, hash_to_hex
from hashwerk.chain.network import network_from_name
from hashwerk.chain.template import Template
from hashwerk.clock import Clock, SystemClock
from hashwerk.errors import ConfigError, HashwerkError, NodeError, NodeUnavailableError, StoreError
from hashwerk.node.block_store import FOUND_BLOCKS_FILE, BlockStore
from hashwerk.node.core_peer import CorePeer, WrongNetworkError
from hashwerk.node.core_rpc import Credentials, RpcClient, RpcRefusedError
from hashwerk.node.engine import block_problem
from hashwerk.node.settings import CoreSettings
from hashwerk.stratum.ports import NodeStatus, SubmitOutcome

#: So many of the last found blocks are offered to every node that comes (back): it may never have had them.
_OFFERED_BLOCKS: Final = 16
#: Work on a block is not given up for work on the one before it, unless its node is gone for so long.
_LOWER_AFTER_S: Final = 30.0
_NO_ANSWER: Final = "no node answered; the block is stored and is handed in again as soon as one does"
_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)


class CoreNode:
    """A `hashwerk.stratum.ports.Node` of one or several Bitcoin Core nodes.

    All nodes are followed at once. The template is that of the node with the highest block; between equals
    the node in use is kept, then the order of the settings counts. A found block goes to disk first, then to
    all nodes at once, and counts as accepted when any of them has it in its active chain.

    *Resource handling*: a task and up to three connections per node, one worker thread, one open file; all
    released by `close`. *Cancellation*: a block that was handed in goes to all nodes, whether or not the
    caller still waits.
    """

    def __init__(
        self,
        folder: Path,
        settings: CoreSettings | None = None,
        clock: Clock | None = None,
        *,
        network: str = "main",
        payout_script: bytes | None = None,
    ) -> None:
        """Prepare a node; nothing is sent yet.

        Args:
            folder: Where found blocks are kept, each network's in a folder of its own below it.
            settings: The operator's settings.
            clock: Where the time comes from.
            network: The network all nodes must be on.
            payout_script: The output script of the checked payout address; main is not mined without.

        Raises:
            ConfigError: If the settings cannot be used.
        """
        self._settings = settings or CoreSettings()
        self._network = network_from_name(network)
        if self._network.name == "main" and not payout_script:
            raise ConfigError(
                "mining on the main network needs a payout address: without one "
                "the reward of a block would be lost"
            )
        if not self._settings.urls:
            raise ConfigError("no node is named: give at least one RPC address")
        self._clock = clock or SystemClock()
        self._folder = folder / self._network.name
        cookie_file = self._settings.cookie_file
        self._peers = [
            CorePeer(
                RpcClient(
                    url,
                    Credentials(
                        cookie_file=None if cookie_file is None else Path(cookie_file).expanduser(),
                        user=self._settings.user,
                        password=self._settings.password,
                    ),
                    default_port=self._network.rpc_port,
                    timeout_s=self._settings.timeout_s,
                ),
                self._network,
                self._settings,
                self._clock,
            )
            for url in self._settings.urls
        ]
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="found-blocks")
        self._store: BlockStore | None = None
        self._store_failure: str | None = None
        self._active: CorePeer | None = None  # whose template is being worked on
        self._current: Template | None = None
        self._runner: asyncio.Task[None] | None = None
        self._submissions: set[asyncio.Task[tuple[bool, str | None]]] = set()
        self._in_flight: set[bytes] = set()  # blocks on their way to the nodes
        self._changed = asyncio.Event()
        self._closed = False

    async def start(self) -> None:
        """Open the file of found blocks and follow the nodes.

        Nodes that do not answer yet are waited for: `status` says so, and work begins when one does.

        Raises:
            NodeError: If no node can be used and one says why in a way that waiting does not cure: it is on
            another
                network, or refuses our credentials.
            NodeLockedError: If another process has the file of found blocks open.
            StoreError: If that file cannot be read.
        """
        try:
            self._store = await self._in_worker(lambda: BlockStore(self._folder / FOUND_BLOCKS_FILE))
            greetings = await asyncio.gather(*(peer.greet() for peer in self._peers), return_exceptions=True)
            self._judge_greetings(greetings)
        except BaseException:
            await self.close()
            raise
        self._runner = asyncio.create_task(self._run())
        self._runner.add_done_callback(lambda _: self._announce())

    async def templates(self) -> AsyncIterator[Template]:
        """Yield the current template, then every new one. It ends after `close`."""
        last = None
        while not self._closed:
            if self._runner is not None and self._runner.done():
                self._runner.result()  # raises: a defect of ours must not look like a quiet node
            changed = self._changed  # taken first, so that no change in between is missed
            if self._current is not None and self._current is not last:
                last = self._current
                yield last
            else:
                await changed.wait()

    async def submit_block(self, block: bytes) -> SubmitOutcome:
        """Make the block durable, then hand it to all nodes at once. Never raises for a refused block.

        It returns with the first node that has the block in its active chain; the others are served to the
        end. Where none has, the reasons are those of Bitcoin Core's ``submitblock``, of several nodes joined
        by " | ". A full disk does not keep a block from the nodes; `status` tells of it.

        Raises:
            NodeUnavailableError: If the node is closed.
        """
        if self._closed or self._store is None:
            raise NodeUnavailableError("the node is not open")
        return await asyncio.shield(self._submit(bytes(block)))

    async def confirmations(self, block_hash: bytes) -> int | None:
        """Return how many blocks of the active chain stand on this one, itself included; None: not in it.

        Raises:
            NodeUnavailableError: If no node answers.
        """
        for peer in sorted(self._peers, key=lambda peer: (peer is not self._active, peer.error is not None)):
            try:
                return await peer.confirmations(block_hash)
            except NodeError as error:
                _LOG.debug("node %s: %s", peer.url, error)
        raise NodeUnavailableError("no node answers")

    def status(self) -> NodeStatus:
        """Return the state as last seen, without waiting."""
        active = self._active
        failures = [f"{peer.url}: {peer.error}" for peer in self._peers if peer.error is not None]
        if self._store_failure is not None:
            failures.append(self._store_failure)
        current = self._current
        return NodeStatus(
            kind="core",
            network=self._network.name,
            height=0 if current is None else current.height - 1,
            tip=self._network.genesis_hash if current is None else current.prev_hash,
            healthy=not self._closed and active is not None and active.error is None,
            message="; ".join(failures) or None,
            url=None if active is None else active.url,
        )

    async def close(self) -> None:
        """Release everything. Submissions under way get a moment to reach the nodes. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._announce()
        if self._submissions:
            await asyncio.wait(self._submissions, timeout=2.0)
        pending = {*self._submissions, *([] if self._runner is None else [self._runner])}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await asyncio.gather(*(peer.client.close() for peer in self._peers))
        if self._store is not None:
            await self._in_worker(self._store.close)
        self._worker.shutdown(wait=False)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for peer in self._peers:
                group.create_task(self._follow(peer))

    async def _follow(self, peer: CorePeer) -> None:
        is_new = True
        while True:
            try:
                if is_new:
                    await peer.greet()
                await peer.refresh()
                self._choose()
                if is_new:
                    await self._offer_found_blocks(peer)
                is_new = False
            except HashwerkError as error:
                peer.fail(error)
                is_new = True
                self._choose()
                await asyncio.sleep(self._settings.retry_s)

    def _choose(self) -> None:
        """Take the best node's template, and wake whoever waits for one."""
        usable = {
            peer: peer.template for peer in self._peers if peer.error is None and peer.template is not None
        }
        if not usable:
            return
        top = max(template.height for template in usable.values())
        highest = [peer for peer, template in usable.items() if template.height == top]  # preferred first
        best = highest[0] if self._active not in highest else self._active
        template = usable[best]
        if template is self._current:
            return
        if best is not self._active and self._is_too_low(template):
            return
        preferred = usable[highest[0]]
        if self._current is not None and preferred.prev_hash == template.prev_hash == self._current.prev_hash:
            # The machines get new work on the same block anyway: the moment to return to the preferred node.
            best, template = highest[0], preferred
        if self._active is not None and best is not self._active:
            _LOG.info("templates now come from node %s", best.url)
        self._active = best
        self._current = template
        self._announce()

    def _is_too_low(self, template: Template) -> bool:
        """Return whether it is for an earlier block than ours, and the node of ours is not long gone."""
        if self._current is None or self._active is None or template.height >= self._current.height:
            return False
        failed_at = self._active.failed_at
        return failed_at is not None and self._clock.monotonic() - failed_at < _LOWER_AFTER_S

    async def _submit(self, block: bytes) -> SubmitOutcome:
        self._in_flight.add(block)
        problem = await self._in_worker(lambda: self._store_block(block))
        if problem is not None:
            self._in_flight.discard(block)
            return SubmitOutcome(accepted=False, reason=problem)
        tasks = [asyncio.create_task(self._submit_to(peer, block)) for peer in self._peers]

        def done(task: asyncio.Task[tuple[bool, str | None]]) -> None:
            self._submissions.discard(task)
            if all(other.done() for other in tasks):
                self._in_flight.discard(block)

        self._submissions.update(tasks)
        for task in tasks:
            task.add_done_callback(done)
        reasons = []
        for next_done in asyncio.as_completed(tasks):
            is_active, reason = await next_done
            if is_active:
                return SubmitOutcome(accepted=True, reason=reason)
            reasons.append(reason)
        said = dict.fromkeys(reason for reason in reasons if reason is not None)
        outcome = SubmitOutcome(accepted=False, reason=" | ".join(said) or _NO_ANSWER)
        _LOG.warning("block %s was refused: %s", _hash_hex(block), outcome.reason)
        return outcome

    async def _submit_to(self, peer: CorePeer, block: bytes) -> tuple[bool, str | None]:
        """Return whether the block is in this node's active chain, and its reason; None: no answer."""
        try:
            outcome = await peer.submit(block.hex(), double_sha256(block[:HEADER_SIZE]))
            peer.nudge()
            return outcome
        except NodeError as error:
            _LOG.error("block %s did not reach node %s: %s", _hash_hex(block), peer.url, error)
            return False, None

    async def _offer_found_blocks(self, peer: CorePeer) -> None:
        """Hand in stored blocks the node never heard of: it was away, or we were, when they were found."""
        store = self._store
        if store is None:
            return
        for block in await self._in_worker(lambda: list(store.tail(_OFFERED_BLOCKS))):
            block_hash = double_sha256(block[:HEADER_SIZE])
            if block not in self._in_flight and await peer.find(block_hash) is None:
                is_active, reason = await peer.submit(block.hex(), block_hash)
                _LOG.info(
                    "stored block %s was handed to node %s: %s",
                    hash_to_hex(block_hash),
                    peer.url,
                    "accepted" if is_active else reason,
                )

    def _store_block(self, block: bytes) -> str | None:
        """Write the block to disk; return what keeps it from being one. In the worker thread."""
        problem = block_problem(block)
        if problem is None and self._store is not None:
            try:
                self._store.append(block)
                self._store_failure = None
            except StoreError as error:
                # Worth more than our own copy: the nodes get it all the same.
                _LOG.error("%s", error)
                self._store_failure = str(error)
        return problem

    def _judge_greetings(self, greetings: Sequence[object]) -> None:
        hopeless = [error for error in greetings if isinstance(error, WrongNetworkError | RpcRefusedError)]
        for peer, greeting in zip(self._peers, greetings, strict=True):
            if isinstance(greeting, NodeError):
                peer.fail(greeting)
            elif isinstance(greeting, BaseException):
                raise greeting
        if hopeless and all(isinstance(greeting, NodeError) for greeting in greetings):
            raise NodeError("; ".join(str(error) for error in hopeless))

    async def _in_worker(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function)

    def _announce(self) -> None:
        """Wake everybody who waits for a new template."""
        self._changed.set()
        self._changed = asyncio.Event()


def _hash_hex(block: bytes) -> str:
    return hash_to_hex(double_sha256(block[:HEADER_SIZE]))
