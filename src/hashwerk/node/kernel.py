"""The embedded node: a private chain under Bitcoin Core's own consensus code."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from hashwerk.chain.header import HEADER_SIZE, BlockHeader, double_sha256, hash_to_hex
from hashwerk.chain.network import network_from_name
from hashwerk.chain.template import Template
from hashwerk.clock import Clock, SystemClock
from hashwerk.errors import ConfigError, NodeError, NodeLockedError, NodeUnavailableError, StoreError
from hashwerk.node.block_store import FOUND_BLOCKS_FILE, MAX_BLOCK_BYTES, BlockStore
from hashwerk.node.engine import PRIVATE_NETWORKS, Engine, block_problem, refusal
from hashwerk.node.private_template import private_template, seconds_until_stale
from hashwerk.node.settings import KernelSettings
from hashwerk.stratum.ports import NodeStatus, SubmitOutcome

ENGINE_FOLDER: Final = "chainstate"
#: The engine refuses to work with less than 50 MiB, and makes its files 16 MiB at a time.
LEAST_FREE_BYTES: Final = 80 * 2**20

_T = TypeVar("_T")
_LOG: Final = logging.getLogger(__name__)


class KernelNode:
    """A `hashwerk.stratum.ports.Node` that keeps its chain in a folder and talks to nobody.

    The file of found blocks is the chain; what the engine keeps beside it is made from it. The engine writes
    its own state only when it is closed, so after a crash it has forgotten blocks, and is fed them again.

    Stored are blocks that are sound in themselves (proof of work, merkle root) and whose parent is known:
    what is stored has cost its work, so the file cannot be flooded. One that then turns out invalid stays in
    the file; it is refused again at every start, which costs a moment.

    *Resource handling*: one worker thread, in which everything of the engine happens; one open file and one
    chainstate, both released by `close`. *Cancellation*: a block that was handed in is judged to the end,
    whether or not the caller still waits.
    """

    def __init__(
        self,
        folder: Path,
        settings: KernelSettings | None = None,
        clock: Clock | None = None,
        *,
        network: str = "testnet4",
    ) -> None:
        """Prepare a node.

        Args:
            folder: Where chains are kept, each network's in a folder of its own below it.
            settings: The operator's settings.
            clock: Where the time comes from. The engine itself always looks at the machine's clock.
            network: Whose rules the private chain obeys: testnet4, or regtest for tests.

        Raises:
            ConfigError: If no private chain can be kept under this network's rules.
        """
        self._settings = settings or KernelSettings()
        self._network = network_from_name(network)
        if self._network.name not in PRIVATE_NETWORKS:
            raise ConfigError(refusal(self._network.name))
        self._clock = clock or SystemClock()
        self._folder = folder / self._network.name
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernel")
        self._engine: Engine | None = None
        self._store: BlockStore | None = None
        self._tip = self._network.genesis_hash
        self._height = 0
        self._failure: str | None = None  # of the engine; only a new start cures it
        self._store_failure: str | None = None  # cured by the next block that can be stored
        self._closed = False
        self._changed = asyncio.Event()

    @property
    def folder(self) -> Path:
        """The folder of this node's chain."""
        return self._folder

    async def start(self) -> None:
        """Open the chain and feed it every stored block it lacks, in order.

        Raises:
            NodeLockedError: If another process has the folder open; the message names it.
            NodeError: If the chain cannot be opened.
            StoreError: If the file of found blocks cannot be read.
        """
        try:
            await self._in_worker(self._open)
        except BaseException:
            await self.close()
            raise

    async def templates(self) -> AsyncIterator[Template]:
        """Yield the current template, then one on each new tip, every ``refresh_s``, at the 20-minute edge.

        It ends after `close`.
        """
        while not self._closed:
            changed = self._changed  # taken first, so that no change in between is missed
            template = await self.template()
            yield template
            wait_s = seconds_until_stale(template, self._clock.time(), self._settings.refresh_s)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await changed.wait()

    async def template(self) -> Template:
        """Return a template for the block after the present tip, made now."""
        return await self.ask(self._template)

    async def submit_block(self, block: bytes) -> SubmitOutcome:
        """Make the block durable, then hand it to the engine. Never raises for a refused block.

        The reasons are those of Bitcoin Core's ``submitblock``, and ``"block-decode-failed"``,
        ``"trailing-bytes"`` and ``"not-stored"``: the disk did not take it, so the engine was not given it
        either. ``"duplicate"`` with ``accepted`` means: it was in the active chain already.

        Raises:
            NodeUnavailableError: If the node is not open.
        """
        return await asyncio.shield(self._submit(bytes(block)))

    async def confirmations(self, block_hash: bytes) -> int | None:
        """Return how many blocks of the active chain stand on this one, itself included; None: not in it."""

        def count(engine: Engine) -> int | None:
            height = engine.height_of(block_hash)
            return None if height is None else engine.height - height + 1

        return await self.ask(count)

    async def wait_for_change(self, known_tip: bytes) -> None:
        """Return when the tip is another than ``known_tip``, or the node is closed."""
        while not self._closed and self._tip == known_tip:
            await self._changed.wait()

    async def ask(self, question: Callable[[Engine], _T]) -> _T:
        """Run a function on the engine in its thread and return what it returns.

        Raises:
            NodeUnavailableError: If the node is not open.
        """

        def run() -> _T:
            if self._engine is None:
                raise NodeUnavailableError("the embedded node is not open")
            return question(self._engine)

        if self._closed:
            raise NodeUnavailableError("the embedded node is closed")
        return await self._in_worker(run)

    def status(self) -> NodeStatus:
        """Return the node's state as last seen, without waiting."""
        message = self._failure or self._store_failure
        if message is None and self._engine is None:
            message = "the embedded node is not open"
        return NodeStatus(
            kind="kernel",
            network=self._network.name,
            height=self._height,
            tip=self._tip,
            healthy=message is None,
            message=message,
        )

    async def close(self) -> None:
        """Write the chainstate and give the folder free, to be opened again at once. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._announce()
        await asyncio.shield(self._in_worker(self._release))
        self._worker.shutdown(wait=False)

    async def _in_worker(self, function: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, function)

    async def _submit(self, block: bytes) -> SubmitOutcome:
        outcome, tip, height = await self.ask(lambda engine: self._process(engine, block))
        if tip != self._tip:
            self._tip, self._height = tip, height
            self._announce()
        if not outcome.accepted:
            _LOG.warning("block %s was refused: %s", hash_to_hex(double_sha256(block[:80])), outcome.reason)
        return outcome

    def _announce(self) -> None:
        """Wake everybody who waits for a new tip. On the event loop's thread."""
        self._changed.set()
        self._changed = asyncio.Event()

    # What follows runs in the worker thread.

    def _open(self) -> None:
        self._store = BlockStore(self._folder / FOUND_BLOCKS_FILE)
        engine = self._open_engine()
        self._engine = engine
        lacking = 0
        for block in self._store:
            if self._closed:  # told to stop before it was open
                break
            if engine.height_of(double_sha256(block[:HEADER_SIZE])) is None:
                engine.process(block)
                lacking += 1
        if lacking:
            _LOG.info(
                "%d stored blocks were fed to the engine, which now stands at %d", lacking, engine.height
            )
        self._tip, self._height = engine.tip, engine.height

    def _open_engine(self) -> Engine:
        folder = self._folder / ENGINE_FOLDER
        try:
            return Engine(folder, self._network, self._on_failure)
        except NodeLockedError:
            raise
        except NodeError as error:
            free = shutil.disk_usage(self._folder).free
            if free < LEAST_FREE_BYTES:
                raise NodeError(
                    f"{self._folder}: only {free // 2**20} MiB are free on this disk; the chain needs"
                    f" {LEAST_FREE_BYTES // 2**20} MiB, and lies there as it was"
                ) from error
            # All it holds can be made again from the found blocks, so damage there is no reason to stop.
            kept = folder.with_name(f"{ENGINE_FOLDER}.damaged-{int(self._clock.time())}")
            _LOG.error("%s; it is moved to %s and made anew", error, kept)
            folder.rename(kept)
            return Engine(folder, self._network, self._on_failure)

    def _process(self, engine: Engine, block: bytes) -> tuple[SubmitOutcome, bytes, int]:
        outcome = self._judge(engine, block)
        return outcome, engine.tip, engine.height

    def _judge(self, engine: Engine, block: bytes) -> SubmitOutcome:
        problem = block_problem(block)
        if problem is not None:
            return SubmitOutcome(accepted=False, reason=problem)
        if self._store is not None and _is_worth_storing(engine, block):
            try:
                self._store.append(block)
                self._store_failure = None
            except StoreError as error:
                self._store_failure = str(error)
                return SubmitOutcome(accepted=False, reason="not-stored")
        return engine.process(block)

    def _on_failure(self, words: str) -> None:
        self._failure = words

    def _template(self, engine: Engine) -> Template:
        return private_template(
            self._network,
            engine.height,
            engine.tip,
            engine.header_at,
            self._clock.time(),
            source="kernel",
        )

    def _release(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._store is not None:
            self._store.close()
            self._store = None


def _is_worth_storing(engine: Engine, block: bytes) -> bool:
    if len(block) > MAX_BLOCK_BYTES:
        return False
    parent = BlockHeader.parse(block[:HEADER_SIZE]).prev_hash
    return engine.header(parent) is not None and engine.check(block)
