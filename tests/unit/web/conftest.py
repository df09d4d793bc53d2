"""What the tests of the pages share: a sample mine, a clock turned by hand, and a client that speaks to the app."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import httpx
import pytest
from fastapi import FastAPI

from hashwerk.clock import VirtualClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.web.app import create_api
from hashwerk.web.state import MineView

NOW = 1_750_000_000.0


def load_web_site() -> ModuleType:
    path = Path(__file__).parents[2] / "e2e" / "web_site.py"
    spec = importlib.util.spec_from_file_location("web_site", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["web_site"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def web_site() -> ModuleType:
    return load_web_site()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def view(clock: VirtualClock) -> MineView:
    return MineView(None, clock)


@pytest.fixture
def app_of(view: MineView, clock: VirtualClock) -> Callable[..., FastAPI]:
    def make(**settings: object) -> FastAPI:
        return create_api(view, WebSettings(**settings), clock, session_key=bytes(32))

    return make


@pytest.fixture
def client_of() -> Callable[..., httpx.AsyncClient]:
    def make(app: FastAPI, base_url: str = "http://127.0.0.1:8080", **headers: str) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50_000))
        return httpx.AsyncClient(transport=transport, base_url=base_url, headers=headers)

    return make
