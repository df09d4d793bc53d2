"""How pools' account APIs are asked: politely, bounded, and with every failure as one clear `FeedError`.

Keys travel in headers only, never in an address, and no message, log line or representation here contains one.
"""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

import httpx
import msgspec

from hashwerk.clock import Clock, SystemClock
from hashwerk.errors import FeedError

Reply = TypeVar("Reply")
Sleep = Callable[[float], Awaitable[object]]

#: A year of days of a thousand workers is some 40 MB; no single page of any of these APIs comes near this.
MAX_REPLY_BYTES: Final = 16 * 1024 * 1024
#: More pages than this are taken for an API that repeats itself.
MAX_PAGES: Final = 1_000


class KeyRefusedError(FeedError):
    """The pool refuses the key: trying again does not help."""

    retry = False


class RateLimitedError(FeedError):
    """The pool wants fewer requests; ``retry_after_s`` is what it asked for, if it did."""

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Api:
    """One pool's HTTP API.

    Resource handling:
        Every request opens and closes its own connection: a reconciliation makes a handful a day.
        ``pause_s`` is kept between requests, as the pool asks; a reply larger than `MAX_REPLY_BYTES` is cut off.

    Cancellation:
        A cancelled request is closed at once and leaves nothing behind.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        pause_s: float = 0.0,
        timeout_s: float = 20.0,
        clock: Clock | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name = name
        self.clock = clock or SystemClock()
        self._base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._pause_s = pause_s
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._asked_at: float | None = None

    def __repr__(self) -> str:
        """Leave the key out."""
        return f"Api({self.name!r}, {self._base_url!r})"

    def without_key(self, text: str) -> str:
        """Return a pool's words without the key, should they repeat it."""
        for value in self._headers.values():
            text = text.replace(value, "…")
        return text

    async def get(self, path: str, kind: type[Reply], params: Mapping[str, str] | None = None) -> Reply:
        """Return the reply to a GET as ``kind``.

        Raises:
            FeedError: If the pool is silent, refuses, or answers something else.
        """
        return decode(self.name, path, await self._ask("GET", path, params=params), kind)

    async def post(self, path: str, kind: type[Reply], body: object) -> Reply:
        """Return the reply to a POST of JSON as ``kind``.

        Raises:
            FeedError: As `get`.
        """
        return decode(self.name, path, await self._ask("POST", path, content=msgspec.json.encode(body)), kind)

    async def _ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> bytes:
        await self._keep_pause()
        headers = {"Accept": "application/json", **self._headers}
        if content is not None:
            headers["Content-Type"] = "application/json"
        try:
            # The deadline bounds the whole request: a pool that drips a byte at a time does not hold us.
            async with (
                asyncio.timeout(self._timeout_s),
                httpx.AsyncClient(timeout=self._timeout_s, verify=_tls()) as client,
                client.stream(
                    method, self._base_url + path, params=params, content=content, headers=headers
                ) as response,
            ):
                self._refuse_status(path, response)
                return await self._read(path, response)
        except (httpx.HTTPError, OSError) as error:
            # TimeoutError is an OSError. httpx's messages name the host and the cause, never a header.
            cause = str(error) or f"no answer within {self._timeout_s:.0f} s"
            raise FeedError(f"{self.name} cannot be asked for {path}: {cause}") from error
        finally:
            self._asked_at = self.clock.monotonic()

    async def _keep_pause(self) -> None:
        if self._asked_at is not None:
            wait_s = self._asked_at + self._pause_s - self.clock.monotonic()
            if wait_s > 0:
                await self._sleep(wait_s)

    def _refuse_status(self, path: str, response: httpx.Response) -> None:
        status = response.status_code
        if status in {401, 403}:
            raise KeyRefusedError(f"{self.name} refuses the key for {path} (HTTP {status})")
        if status == 429:
            retry_after_s = _retry_after_s(response.headers.get("Retry-After"))
            when = "" if retry_after_s is None else f"; it asks to wait {retry_after_s:.0f} s"
            raise RateLimitedError(f"{self.name} wants fewer requests (HTTP 429){when}", retry_after_s)
        if status != 200:
            raise FeedError(f"{self.name} answers {path} with HTTP {status}")

    async def _read(self, path: str, response: httpx.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        async for chunk in response.aiter_bytes():
            size += len(chunk)
            if size > MAX_REPLY_BYTES:
                raise FeedError(f"{self.name} answers {path} with more than {MAX_REPLY_BYTES >> 20} MiB")
            chunks.append(chunk)
        return b"".join(chunks)


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one context of the process: reading the certificates takes a twentieth of a second."""
    return httpx.create_ssl_context()


def decode(name: str, path: str, body: bytes, kind: type[Reply]) -> Reply:
    """Return a JSON body as ``kind``; what a pool adds is ignored, what it takes away is an error that names the field.

    Raises:
        FeedError: If the body is empty, no JSON, or of another shape.
    """
    if body.strip() in {b"", b"null", b"{}", b"[]"}:
        raise FeedError(f"{name} answers {path} with nothing")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise FeedError(f"{name} has changed its answer to {path}: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FeedError(f"{name} answers {path} with what is not JSON") from error


def _retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header; its other form, a date, is left to the caller's own patience."""
    return float(value) if value is not None and value.strip().isdigit() else None
