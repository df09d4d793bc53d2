"""The `serve` process: node, Stratum server and ledger, introduced to each other.

Whatever ends it, the order is the same: stop accepting, answer what is being stored, commit, close the chain.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.chain.address import script_from_address
from hashwerk.chain.header import hash_to_hex
from hashwerk.chain.network import network_from_name
from hashwerk.clock import Clock, SystemClock
from hashwerk.config.site import SiteConfig
from hashwerk.errors import HashwerkError, NodeError, PoolError
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.records import Prefix
from hashwerk.node.open import NodeSpec, open_node
from hashwerk.pool.attribution import Row
from hashwerk.pool.handover import (
    Handover,
    HandoverListener,
    Received,
    export_sessions,
    import_sessions,
    request_handover,
)
from hashwerk.pool.payees import Payees
from hashwerk.pool.server import StratumServer
from hashwerk.pool.settings import PoolSettings
from hashwerk.pool.warm_up import quiet_collector, warm_up
from hashwerk.site.child import Progress, Ready, tell
from hashwerk.site.declarations import declarations
from hashwerk.site.folder import DataFolder, public_bytes
from hashwerk.site.link import LinkServer
from hashwerk.site.orders import Orders
from hashwerk.site.snapshot import Observed, take_snapshot
from hashwerk.store import SqliteLedger
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.key_changes import check_present
from hashwerk.store.open_epoch import warm_up as warm_up_epochs
from hashwerk.stratum.ports import Node

log = logging.getLogger(__name__)

SNAPSHOT_INTERVAL_S: Final = 1.0
#: Pay to the witness script OP_TRUE. On a private chain coins are worth nothing, so anyone may spend them.
ANYONE_CAN_SPEND: Final = b"\x00\x20" + hashlib.sha256(b"\x51").digest()


async def serve_mine(orders: Orders, stop: asyncio.Event) -> None:
    """Serve work until ``stop`` is set, or until a successor takes over.

    Raises:
        HashwerkError: If node, ledger or Stratum server cannot be opened; the message says what to do.
    """
    clock = SystemClock()
    received = await _take_over(orders.take_over) if orders.take_over else None
    successor = HandoverListener(Path(orders.handover))
    try:
        handed = await _serve(orders, clock, stop, successor, received)
        if handed is not None:  # ledger and node are closed: the successor may have them
            state, files = handed
            await successor.send(state, files)
            log.info("handed %d connections over", len(state.sessions))
    finally:
        successor.close()
        if received is not None:
            received.close()


async def _take_over(predecessor: str) -> Received | None:
    """Return the predecessor's sockets once everything slow is done; None if there is no predecessor any more."""
    tell(Progress("preparing to take over"))
    await asyncio.to_thread(warm_up)
    await asyncio.to_thread(warm_up_epochs)
    try:
        return await request_handover(Path(predecessor))
    except PoolError as error:
        log.warning("starting afresh: %s", error)
        return None


async def _serve(
    orders: Orders, clock: Clock, stop: asyncio.Event, successor: HandoverListener, received: Received | None
) -> tuple[Handover, list[int]] | None:
    """Serve; return what a successor is to be sent, or None if nobody asked."""
    config = orders.config
    folder = DataFolder(Path(orders.data_dir), config.node.network)
    await asyncio.to_thread(check_present, folder.root)
    async with AsyncExitStack() as stack:
        tell(Progress("opening the ledger"))
        ledger = SqliteLedger(folder.ledger, asyncio.get_running_loop(), config.ledger, clock)
        await asyncio.to_thread(ledger.open)
        stack.push_async_callback(asyncio.to_thread, ledger.close)
        tell(Progress(f"opening the node ({config.node.kind}, {config.node.network})"))
        node = open_node(node_spec(config, folder), clock)
        await node.start()
        stack.push_async_callback(node.close)
        private = config.node.kind == "kernel" or config.node.network == "regtest"
        server = StratumServer(
            _stratum_settings(orders),
            ledger,
            node,
            clock,
            site_key=public_bytes(folder.site_key()),
            payees=payees(config),
            private_chain=private,
            upstreams=config.upstream,
            network=config.node.network,
        )
        tell(Progress("preparing the share check for this processor"))
        jobs = server.restorable(ledger.open_jobs())
        server.book.restore(jobs, await asyncio.to_thread(ledger.shares_of_jobs, {job.id for job in jobs}))
        await server.start(received.listeners if received is not None else None)
        stack.push_async_callback(server.close)
        if received is not None:
            ledger.event("serve", f"took over {await import_sessions(server, received)} connections")
        link = LinkServer(Path(orders.link))
        await link.start()
        stack.push_async_callback(link.close)
        successor.start()
        keeper = EpochKeeper(
            folder.ledger,
            open_keys(folder.root),
            ledger.put,
            declarations=declarations(
                config, private=private, commitment=lambda name: ledger.account(name).commitment
            ),
            interval_s=config.evidence.epoch_s,
            key_folder=folder.root,
        )
        server.book.set_epoch_root(await asyncio.to_thread(keeper.open, clock.time()))
        server.admission.hold_declared(_rows(keeper))
        stack.push_async_callback(asyncio.to_thread, keeper.close)
        observed = Observed(node, ledger, server, keeper, private, clock.time(), server.urls["stratum"])
        ledger.event("serve", f"serving work on {server.urls['stratum']}")
        quiet_collector()
        tell(Ready(server.urls))
        if await _run(observed, link, clock, stop, successor):
            ledger.event("serve", "handing over to a successor")
            return await export_sessions(server)
        ledger.event("serve", "ended as asked")
    return None


async def _run(
    observed: Observed, link: LinkServer, clock: Clock, stop: asyncio.Event, successor: HandoverListener
) -> bool:
    """Serve until asked to end; return whether a successor asked."""
    async with asyncio.TaskGroup() as group:
        stopped = group.create_task(stop.wait(), name="stop")
        succeeded = group.create_task(successor.requested(), name="successor")
        tasks = [
            stopped,
            succeeded,
            group.create_task(observed.server.run(), name="stratum"),
            group.create_task(_publish(observed, link, clock), name="snapshots"),
            group.create_task(_watch_node(observed), name="node"),
            group.create_task(_close_epochs(observed.server, observed.keeper, clock), name="epochs"),
        ]
        await asyncio.wait({stopped, succeeded}, return_when=asyncio.FIRST_COMPLETED)
        asked = succeeded.done() and not stop.is_set()
        for task in tasks:
            task.cancel()
    return asked


def _rows(keeper: EpochKeeper) -> list[Row]:
    return [Row(each.prefix, each.account) for each in keeper.prefixes]


async def _close_epochs(server: StratumServer, keeper: EpochKeeper, clock: Clock) -> None:
    """Prepare the open epoch, close it when it ends, and let the following jobs carry the root."""
    failure = ""
    while True:
        try:
            if keeper.due(clock.time()):
                rows = [Prefix(prefix=row.prefix, account=row.account) for row in server.admission.prefixes()]
                server.book.set_epoch_root(await asyncio.to_thread(keeper.close_epoch, clock.time(), rows))
                server.admission.hold_declared(_rows(keeper))
            else:
                await asyncio.to_thread(keeper.take_in, clock.time())
            failure = ""
        except HashwerkError as error:
            if str(error) != failure:
                log.warning("no epoch is closed: %s", error)
            failure = str(error)
        await asyncio.sleep(SNAPSHOT_INTERVAL_S)


async def review_blocks(ledger: SqliteLedger, node: Node) -> None:
    """Ask the node what became of our blocks: how deep they lie, or that a reorganisation took them out."""
    confirmations: dict[bytes, int | None] = {}
    for block in ledger.blocks():
        if block.state in ("accepted", "orphaned"):
            try:
                confirmations[block.hash] = await node.confirmations(block.hash)
            except NodeError as error:
                log.warning("cannot ask the node about our blocks now: %s", error)
                return
    for block in ledger.update_blocks(confirmations):
        log.info("block %d %s is %s", block.height, hash_to_hex(block.hash), block.state)
        ledger.event("block", f"block {block.height} is {block.state}", hash=hash_to_hex(block.hash))


async def _publish(observed: Observed, link: LinkServer, clock: Clock) -> None:
    loop = asyncio.get_running_loop()
    due = loop.time()
    failure = ""
    while True:
        try:
            snapshot = take_snapshot(observed, clock.time(), clock.monotonic())
        except (
            Exception
        ) as error:  # a mistake of ours: pages without news are bad, machines without work are worse
            if repr(error) != failure:
                log.exception("the pages get no news")
            failure = repr(error)
        else:
            failure = ""
            await link.publish(snapshot)
        due = max(due + SNAPSHOT_INTERVAL_S, loop.time())
        await asyncio.sleep(due - loop.time())


async def _watch_node(observed: Observed) -> None:
    """Look after our blocks whenever the tip moves; record when node or ledger fail, and when they are back."""
    healthy, tip, writable = True, b"", True
    while True:
        ledger = observed.ledger.status()
        if ledger.healthy != writable:
            writable = ledger.healthy
            # While there is no room this waits in the ledger's queue and is tried again, which is how we learn of room.
            text = "the ledger writes again" if writable else f"shares are refused: {ledger.message}"
            log.warning(text)
            observed.ledger.event("ledger", text)
        status = observed.node.status()
        if status.healthy != healthy:
            healthy = status.healthy
            text = "the node is back" if healthy else f"the node gives no work: {status.message}"
            log.warning(text)
            observed.ledger.event("node", text)
        if status.healthy and status.tip != tip:
            tip = status.tip
            await review_blocks(observed.ledger, observed.node)
        await asyncio.sleep(SNAPSHOT_INTERVAL_S)


def node_spec(config: SiteConfig, folder: DataFolder) -> NodeSpec:
    """Return the description of the configured node."""
    return NodeSpec(
        kind=config.node.kind,
        network=config.node.network,
        folder=folder.root,
        kernel=config.node.kernel,
        core=config.node.core,
        payout_script=payout_script(config) if config.site.payout_address else None,
    )


def payout_script(config: SiteConfig) -> bytes:
    """Return the script that block rewards go to.

    Raises:
        ConfigError: If the address is not one of the network.
    """
    if config.site.payout_address is None:
        return ANYONE_CAN_SPEND
    return script_from_address(config.site.payout_address, network_from_name(config.node.network))


def payees(config: SiteConfig) -> Payees:
    """Return whom blocks pay.

    Raises:
        ConfigError: If an address is not one of the network.
    """
    payout, network = config.evidence.payout, network_from_name(config.node.network)
    if payout is None or payout.scheme != "solo":
        return Payees(payout_script(config))
    return Payees(
        payout_script(config),
        {account: script_from_address(address, network) for account, address in payout.addresses.items()},
        round(payout.fee_percent * 10_000),
    )


def _stratum_settings(orders: Orders) -> PoolSettings:
    settings = orders.config.stratum
    if settings.port == 0 and orders.stratum_port:
        return msgspec.structs.replace(settings, port=orders.stratum_port)
    return settings
