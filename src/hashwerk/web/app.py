"""Puts pages, API, metrics and the door together into one application."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles

from hashwerk import __version__
from hashwerk.clock import Clock
from hashwerk.config.web_settings import WebSettings
from hashwerk.errors import ConfigError
from hashwerk.web.api import api_router
from hashwerk.web.auth import Credentials, LoginBrake, Sessions
from hashwerk.web.guard import Guard, is_loopback
from hashwerk.web.history import History
from hashwerk.web.login import login_router
from hashwerk.web.reference import reference_router
from hashwerk.web.state import NO_SITE, MineView, Site

ASSETS: Final = Path(__file__).parent / "assets"
_DESCRIPTION: Final = (
    "Everything a page shows, for programs. Times are Unix seconds, UTC; a missing value is null, never 0."
)


def create_api(
    view: MineView,
    settings: WebSettings,
    clock: Clock,
    *,
    session_key: bytes | None = None,
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """Return the application without pages: API with further ``routers``, metrics, health, sign-in, assets.

    ``session_key`` signs the cookies; None: a random one, so that everybody signs in anew after a restart.

    Raises:
        ConfigError: If others could reach the page and nothing is set that they would be asked for.
    """
    return _create(view, settings, clock, session_key, None, routers)


def create_app(
    view: MineView,
    settings: WebSettings,
    clock: Clock,
    *,
    session_key: bytes | None = None,
    routers: Sequence[APIRouter] = (),
    site: Site = NO_SITE,
) -> FastAPI:
    """Return the whole application. NiceGUI keeps its pages globally, so there can be one in a process.

    ``site`` is what the pages show beside the mine itself: the fleet, and the configuration as it runs.

    Raises:
        ConfigError: If others could reach the page and nothing is set that they would be asked for.
    """
    from hashwerk.web.pages import mount_pages

    return _create(view, settings, clock, session_key, partial(mount_pages, site=site), routers)


Mount = Callable[[FastAPI, MineView, History, Clock, str], AbstractAsyncContextManager[None]]


def _create(  # noqa: PLR0917 - private, called from two places
    view: MineView,
    settings: WebSettings,
    clock: Clock,
    session_key: bytes | None,
    mount: Mount | None,
    routers: Sequence[APIRouter],
) -> FastAPI:
    _check(settings)
    title = settings.title or "My mine"
    history = History(view.reader, clock)
    credentials = Credentials(settings)
    sessions = Sessions(session_key or secrets.token_bytes(32), settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            if pages is None:
                yield
            else:
                async with pages:
                    yield
        finally:
            history.close()

    app = FastAPI(
        title="Hashwerk",
        version=__version__,
        description=_DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_middleware(Guard, settings=settings, credentials=credentials, sessions=sessions, clock=clock)
    app.include_router(api_router(view, history, clock))
    for router in routers:
        app.include_router(router)
    app.include_router(login_router(title, credentials, sessions, LoginBrake(), clock))
    app.include_router(reference_router(app, title))
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")
    pages = None if mount is None else mount(app, view, history, clock, title)
    return app


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    """Say what is wrong with a request, without repeating it: NaN cannot be said in JSON, and a secret should not be."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: one[key] for key in ("type", "loc", "msg")} for one in error.errors()]
    return JSONResponse({"detail": detail}, status_code=422)


def _check(settings: WebSettings) -> None:
    if not is_loopback(settings.host) and settings.password_hash is None and not settings.tokens:
        raise ConfigError(
            f"the page on {settings.host} can be reached by others and asks for nothing;"
            " make a password with: hashwerk passwd"
        )
