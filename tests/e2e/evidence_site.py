"""The pages of a mine with a few closed epochs, in a process of its own; run by the test of the page *Evidence*."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
import time
from pathlib import Path
from types import ModuleType

from hashwerk.clock import SystemClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.records import Scale, Site
from hashwerk.site.evidence_desk import EvidenceDesk
from hashwerk.store import SqliteLedger
from hashwerk.store.keeper import EpochKeeper
from hashwerk.web import state
from hashwerk.web.app import create_app
from hashwerk.web.evidence_api import evidence_router
from hashwerk.web.server import serve_web

HERE = Path(__file__).parent
DECLARED = (
    Site(name="Demonstration mine", network="testnet4", private=1),
    Scale(factor=1, basis="one hash is one hash"),
)


def load_beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


async def close_epochs(path: Path) -> None:
    """Lay down a ledger whose last five minutes are closed epochs."""
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    kept = EpochKeeper(path, open_keys(path.parent), ledger.put, declarations=DECLARED, interval_s=60.0)
    minute = time.time() // 60 * 60
    await asyncio.to_thread(kept.open, minute - 330)
    for ago in (300, 240, 180, 120, 60):
        await asyncio.to_thread(kept.close_epoch, minute - ago + 3)
    kept.close()
    ledger.close()


async def serve(folder: Path) -> None:
    loop, shutdown, clock = asyncio.get_running_loop(), asyncio.Event(), SystemClock()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.set)
    path = folder / "ledger.sqlite"
    await close_epochs(path)
    view = state.MineView(None, clock)
    view.receive(load_beside("web_site").sample(time.time()))
    desk = EvidenceDesk(path, folder, folder / "spool", clock)
    running = asyncio.create_task(desk.run())
    app = create_app(
        view,
        WebSettings(port=0, title="Demonstration mine"),
        clock,
        session_key=bytes(32),
        routers=[evidence_router(desk, clock)],
        site=state.Site(evidence=desk),
    )
    await serve_web(app, WebSettings(port=0), shutdown, lambda url: print(url, flush=True))
    running.cancel()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
