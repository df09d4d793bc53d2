"""What the API says to orders that are none: in words, and never with a stack trace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.site.energy import EnergyParts
from hashwerk.web.app import create_api
from hashwerk.web.energy_api import energy_router
from hashwerk.web.state import MineView
from support.virtual_hall import VirtualHall, open_service

BAD = (
    '{"kind":"reduce to","amount_kw":-1}',
    '{"kind":"reduce to","amount_kw":NaN}',
    '{"kind":"reduce to","amount_kw":1e999}',
    '{"kind":"reduce to","amount_kw":1e300}',
    '{"kind":"reduce to"}',
    '{"kind":"all","amount_kw":3}',
    '{"kind":"more","amount_kw":3}',
    '{"kind":"reduce to","amount_kw":3,"stop":5}',
    '{"kind":"reduce to","amount_kw":3,"start":1e30}',
    '{"kind":"reduce to","amount_kw":3,"start":NaN}',
    '{"kind":"reduce to","amount_kw":3,"restore_s":Infinity}',
    '{"kind":"reduce to","amount_kw":3,"minutes":5}',
    '{"kind":"reduce to","amount_kw":3,"id":"' + "x" * 5_000 + '"}',
    "[]",
    "{",
    "",
)


@pytest.mark.parametrize("body", BAD, ids=[body[:50] for body in BAD])
async def test_an_order_that_is_none_is_refused_in_words(
    body: str,
    tmp_path: Path,
    view: MineView,
    clock: VirtualClock,
    client_of: Callable[..., httpx.AsyncClient],
) -> None:
    hall = VirtualHall(clock, "avalon-q", machines=2)
    service = open_service(hall, clock, tmp_path, EnergyParts())
    router = energy_router(service, clock, is_guarded=False, local_token="t")
    app = create_api(view, WebSettings(), clock, session_key=bytes(32), routers=[router])
    headers = {"authorization": "Bearer t", "content-type": "application/json"}
    async with client_of(app) as client:
        answer = await client.post("/api/v1/energy/orders", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]
    assert service.orders() == ()
    await service.close()
