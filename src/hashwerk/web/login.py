"""The door: a page that asks for the password, and gives a signed session cookie."""

from __future__ import annotations

import html
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from hashwerk.clock import Clock
from hashwerk.units import format_duration
from hashwerk.web.auth import SESSION_LIFETIME_S, Credentials, LoginBrake, Sessions
from hashwerk.web.guard import SESSION_COOKIE

_MAX_FORM_BYTES: Final = 4_096

_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Sign in · {title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="/assets/icon.svg"><link rel="stylesheet" href="/assets/hashwerk.css">
<script src="/assets/hashwerk.js"></script></head>
<body class="door"><main><form method="post" action="/login" class="panel">
<h1>{title}</h1>
<p>This mine asks who is there.</p>
<input type="hidden" name="next" value="{target}">
<label for="password">Password or access token</label>
<input id="password" name="password" type="password" autocomplete="current-password" required autofocus>
<p class="trouble" role="alert">{trouble}</p>
<button type="submit">Sign in</button>
</form></main></body></html>"""


def login_router(
    title: str, credentials: Credentials, sessions: Sessions, brake: LoginBrake, clock: Clock
) -> APIRouter:
    """Return the routes of signing in and out."""
    router = APIRouter(include_in_schema=False)

    def page(target: str, trouble: str = "", status: int = 200) -> HTMLResponse:
        text = _PAGE.format(
            title=html.escape(title), target=html.escape(target), trouble=html.escape(trouble)
        )
        return HTMLResponse(text, status, {"Cache-Control": "no-store"})

    @router.get("/login")
    async def ask(request: Request) -> Response:
        return page(local_path(request.query_params.get("next", "/")))

    @router.post("/login")
    async def answer(request: Request) -> Response:
        address = request.client.host if request.client is not None else ""
        form = await _read_form(request)
        target = local_path(form.get("next", "/"))
        wait_s = brake.wait_s(address, clock.monotonic())
        if wait_s > 0:
            return page(target, f"Too many wrong passwords: try again in {format_duration(wait_s)}.", 429)
        # Counted before it is checked, so that many attempts at once cannot slip through together.
        brake.failed(address, clock.monotonic())
        if not await credentials.admits(form.get("password", "")):
            return page(target, "That is neither the password nor a token.", 403)
        brake.succeeded(address)
        response = RedirectResponse(target, 303)
        response.set_cookie(
            SESSION_COOKIE,
            sessions.issue(clock.time()),
            max_age=SESSION_LIFETIME_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return response

    @router.post("/logout")
    async def leave() -> Response:
        response = RedirectResponse("/login", 303)
        response.delete_cookie(SESSION_COOKIE)
        return response

    return router


def local_path(target: str) -> str:
    """Return a target of ours, or the start page for anything that would lead elsewhere."""
    leads_away = not target.startswith("/") or target.startswith(("//", "/\\")) or "\n" in target
    return "/" if leads_away or target.startswith("/login") else target


async def _read_form(request: Request) -> dict[str, str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8)
    return {name: values[0] for name, values in fields.items()}
