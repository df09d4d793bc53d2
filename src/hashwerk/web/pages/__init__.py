"""The pages, and how they are hung into the application. NiceGUI carries them; every asset is local."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from fastapi import FastAPI, Request
from nicegui import ui

from hashwerk import __version__
from hashwerk.clock import Clock
from hashwerk.web.board import Board
from hashwerk.web.history import History
from hashwerk.web.packed import PackedOnce
from hashwerk.web.pages.energy import energy_page
from hashwerk.web.pages.evidence import evidence_page
from hashwerk.web.pages.hall import hall_page
from hashwerk.web.pages.log import log_page
from hashwerk.web.pages.machine import machine_page
from hashwerk.web.pages.now import now_page
from hashwerk.web.pages.settings import settings_page
from hashwerk.web.pages.sheet import fixed
from hashwerk.web.pages.work import work_page
from hashwerk.web.state import NO_SITE, MineView, Site

#: Path → what builds the page. A new page is one row here and one in `shell.PAGES`.
_BUILDERS: Final = {
    "/": now_page,
    "/hall": hall_page,
    "/work": work_page,
    "/energy": energy_page,
    "/evidence": evidence_page,
}
#: Each open page holds about a megabyte here.
MAX_PAGES: Final = 128
_HEAD: Final = (
    '<link rel="icon" href="/assets/icon.svg">'
    f'<link rel="stylesheet" href="/assets/hashwerk.css?v={__version__}">'
    f'<link rel="stylesheet" href="/assets/fleet/fleet.css?v={__version__}">'
    f'<link rel="stylesheet" href="/assets/energy.css?v={__version__}">'
    f'<link rel="stylesheet" href="/assets/evidence.css?v={__version__}">'
    f'<script src="/assets/hashwerk.js?v={__version__}"></script>'
    f'<script src="/assets/energy.js?v={__version__}"></script>'
    '<meta name="color-scheme" content="light dark">'
)


def mount_pages(
    app: FastAPI, view: MineView, history: History, clock: Clock, title: str, *, site: Site = NO_SITE
) -> AbstractAsyncContextManager[None]:
    """Hang the pages into the application; the context that is returned keeps them up to date."""
    board = Board(view, history, clock, site)

    def is_full() -> bool:
        if board.listeners >= MAX_PAGES:
            fixed("p", "Too many pages of this mine are open. Close some, then load this one again.")
        return board.listeners >= MAX_PAGES

    for path, build in _BUILDERS.items():

        def page(build=build) -> None:  # type: ignore[no-untyped-def]
            if not is_full():
                build(board, title)

        ui.page(path, response_timeout=10.0)(page)

    async def one(machine: str) -> None:
        if not is_full():
            await machine_page(board, title, machine)

    async def settings() -> None:
        if not is_full():
            await settings_page(board, title)

    async def log(request: Request) -> None:
        if not is_full():
            await log_page(board, title, request.query_params)

    ui.page("/machine/{machine}", response_timeout=10.0)(one)
    ui.page("/log", response_timeout=10.0)(log)
    ui.page("/settings", response_timeout=10.0)(settings)
    ui.add_head_html(_HEAD, shared=True)
    ui.run_with(
        app,
        title=title,
        language="en-US",
        dark=False,  # the page's own style sheet knows both themes
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=5.0,
        show_welcome_message=False,
        gzip_middleware_factory=PackedOnce,  # type: ignore[arg-type]
    )

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        task = asyncio.create_task(board.run(), name="board")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    return running()
