"""What stands before every request: the right host name, the same site, and a password where one is needed.

A page that only this computer can reach is still reachable by other sites through the user's own browser.
Against DNS rebinding the Host header must name this computer; against cross-site requests a request that can
change something, and every WebSocket, must come from our own pages (Origin, Sec-Fetch-Site).
"""

from __future__ import annotations

import ipaddress
import json
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hashwerk.clock import Clock
from hashwerk.config.web_settings import WebSettings
from hashwerk.web.auth import Credentials, Sessions

SESSION_COOKIE: Final = "hashwerk_session"
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
#: Reachable without a password: the door itself, what it looks like, and the light above it.
#: Customers' proofs ask for the account's own secret instead (`hashwerk.web.customer_api`).
_OPEN_PATHS: Final = ("/login", "/assets/", "/healthz", "/favicon.ico", "/api/v1/customer/")
#: NiceGUI's pages compile their templates in the browser, hence 'unsafe-eval'; nothing comes from elsewhere.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval';"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; object-src 'none';"
    " base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def is_loopback(host: str) -> bool:
    """Say whether only this computer can connect to a host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def needs_credentials(settings: WebSettings) -> bool:
    """Say whether the page asks who is there: beyond loopback always, on loopback once a password is set."""
    return not is_loopback(settings.host) or settings.password_hash is not None or bool(settings.tokens)


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: WebSettings,
        credentials: Credentials,
        sessions: Sessions,
        clock: Clock,
    ) -> None:
        self._app = app
        self._credentials = credentials
        self._sessions = sessions
        self._clock = clock
        self._asks = needs_credentials(settings)
        # Beyond loopback the names of this machine are not known here; the password then protects.
        own = {settings.host.lower(), *(name.lower() for name in settings.allowed_hosts)}
        self._hosts = own | _LOOPBACK_NAMES if is_loopback(settings.host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (refusal := self._refusal(scope, headers)) is not None:
            await _refuse(scope, receive, send, *refusal)
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if self._hosts is not None and host_name(host) not in self._hosts:
            return 421, f"this page is not served under the name {host_name(host)!r}; open it as localhost"
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        if changes and not _same_site(headers, host):
            return 403, "this request comes from another site"
        if self._asks and not self._is_known(scope, headers):
            return 401, "a password or an access token is needed"
        return None

    def _is_known(self, scope: Scope, headers: Headers) -> bool:
        if scope["path"].startswith(_OPEN_PATHS):
            return True
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self._credentials.is_token(token.strip())
        cookie = read_cookie(headers)
        return cookie is not None and self._sessions.is_valid(cookie, self._clock.time())


def host_name(host: str) -> str:
    """Return the name in a Host header, without its port and brackets."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def read_cookie(headers: Headers) -> str | None:
    """Return the session cookie of a request."""
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(SESSION_COOKIE)
    except CookieError:
        return None
    return None if morsel is None else morsel.value


def _same_site(headers: Headers, host: str) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": reason})
        return
    accepts = Headers(scope=scope).get("accept", "")
    headers = [(b"cache-control", b"no-store")]
    if status == 401 and scope["method"] == "GET" and "text/html" in accepts:
        query = scope["query_string"].decode("latin-1")
        target = quote(scope["path"] + (f"?{query}" if query else ""), safe="")
        status, body, kind = 303, b"", b"text/plain"
        headers.append((b"location", f"/login?next={target}".encode()))
    else:
        body, kind = json.dumps({"detail": reason}).encode(), b"application/json"
        if status == 401:
            headers.append((b"www-authenticate", b'Bearer realm="hashwerk"'))
    headers += [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
