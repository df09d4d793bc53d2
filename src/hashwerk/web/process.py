"""The `site` process: pages and API, fed by `serve` over the local link and by the ledger on disk."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from pathlib import Path

import msgspec
from fastapi import APIRouter

from hashwerk.clock import SystemClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.site.child import Progress, Ready, tell
from hashwerk.site.energy.process import running_energy
from hashwerk.site.evidence_desk import EvidenceDesk
from hashwerk.site.external_time import running_time
from hashwerk.site.fleet import FleetService
from hashwerk.site.fleet.process import running_fleet
from hashwerk.site.fleet.token import local_token
from hashwerk.site.folder import DataFolder
from hashwerk.site.link import snapshots
from hashwerk.site.logbook.process import running_logbook
from hashwerk.site.orders import Orders
from hashwerk.site.pool_books import PoolBooks
from hashwerk.store.reader import LedgerReader
from hashwerk.web.app import create_app
from hashwerk.web.books_api import books_router
from hashwerk.web.customer_api import customer_router
from hashwerk.web.energy_api import EnergyCollector, energy_router
from hashwerk.web.evidence_api import evidence_router
from hashwerk.web.fleet_api import fleet_router
from hashwerk.web.fleet_metrics import FleetCollector
from hashwerk.web.guard import needs_credentials
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView, Site
from hashwerk.web.witness_api import witness_router

log = logging.getLogger(__name__)


async def serve_site(orders: Orders, stop: asyncio.Event) -> None:
    """Serve pages and API until ``stop`` is set.

    Raises:
        PageUnavailableError: If the page's address cannot be listened on.
        StoreError: If the ledger cannot be read.
    """
    config = orders.config
    tell(Progress("preparing the pages"))
    clock = SystemClock()
    folder = DataFolder(Path(orders.data_dir), config.node.network)
    reader = LedgerReader(folder.ledger)
    view = MineView(reader, clock)
    settings = msgspec.structs.replace(
        config.web,
        title=config.web.title or config.site.name,
        port=orders.web_port if config.web.port == 0 and orders.web_port else config.web.port,
    )

    async def follow() -> None:
        async for snapshot in snapshots(Path(orders.link)):
            view.receive(snapshot)

    books = PoolBooks(config.pool_account, folder.ledger, clock)
    background = [
        asyncio.create_task(follow(), name="follow-serve"),
        asyncio.create_task(books.run(), name="pool-books"),
    ]
    try:
        async with (
            running_fleet(config, folder.here, clock, reader) as fleet,
            running_energy(config, fleet, folder.here, clock, latest=view.latest) as energy,
            running_logbook(config, folder.here, clock, fleet=fleet, energy=energy),
            running_time(config.evidence, folder.ledger, folder.root, clock) as time,
        ):
            evidence = EvidenceDesk(
                folder.ledger,
                folder.root,
                folder.here / "evidence-spool",
                clock,
                time=time,
                epoch_s=config.evidence.epoch_s,
            )
            background.append(asyncio.create_task(evidence.run(), name="evidence"))
            routers = [] if fleet is None else [_fleet_routes(fleet, settings, folder)]
            if fleet is not None:
                view.collectors.append(FleetCollector(fleet))
            if energy is not None:
                guarded, token = needs_credentials(settings), local_token(folder.here)
                routers.append(energy_router(energy, clock, is_guarded=guarded, local_token=token))
                view.collectors.append(EnergyCollector(energy))
            routers += [books_router(books), evidence_router(evidence, clock), customer_router(evidence)]
            if time.witness is not None:
                routers.append(witness_router(time.witness))
            app = create_app(
                view,
                settings,
                clock,
                session_key=_session_key(folder),
                routers=routers,
                site=Site(
                    fleet=fleet,
                    config=config,
                    books=books,
                    energy=energy,
                    evidence=evidence,
                    origins=orders.origins,
                ),
            )
            await serve_web(app, settings, stop, lambda url: tell(Ready({"web": url})))
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        reader.close()


def _fleet_routes(fleet: FleetService, settings: WebSettings, folder: DataFolder) -> APIRouter:
    return fleet_router(fleet, is_guarded=needs_credentials(settings), local_token=local_token(folder.here))


def _session_key(folder: DataFolder) -> bytes:
    """Return the key that signs the page's cookies, so that a restart signs nobody out. It is the site's signature of a
    fixed text, known to whoever has the site's key only (Ed25519 signatures are deterministic: RFC 8032)."""
    return hashlib.sha256(folder.site_key().sign(b"hashwerk/web-session/v1")).digest()
