"""Bitcoin Core's JSON-RPC, as a client: one node, one address, every call with a deadline."""

from __future__ import annotations

import asyncio
import base64
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import unquote, urlsplit

import httpx
import msgspec

from hashwerk.errors import ConfigError, NodeError, NodeUnavailableError

#: Error codes of Bitcoin Core's rpc/protocol.h, those that are told apart.
RPC_METHOD_NOT_FOUND: Final = -32601
RPC_INVALID_ADDRESS_OR_KEY: Final = -5
RPC_INVALID_PARAMETER: Final = -8
RPC_DESERIALIZATION_ERROR: Final = -22
RPC_IN_WARMUP: Final = -28

_MAX_REPLY_BYTES: Final = 64_000_000  # a full template is about 10 MB
_T = TypeVar("_T")

# The HTTP library tells of every single request at INFO.
logging.getLogger("httpx").setLevel(logging.WARNING)


class RpcError(NodeError):
    """The node answered with an error."""

    def __init__(self, method: str, code: int, message: str) -> None:
        super().__init__(f"{method}: {message} ({code})")
        self.code = code
        self.message = message


class RpcRefusedError(NodeError):
    """The node does not let us in."""


class _ErrorReply(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Reply(msgspec.Struct, frozen=True):
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _ErrorReply | None = None


class Credentials:
    """User and password, or Core's cookie file, which changes whenever the node starts."""

    __slots__ = ("_cookie_file", "_header")

    def __init__(
        self, *, cookie_file: Path | None = None, user: str | None = None, password: str | None = None
    ) -> None:
        """Keep what authenticates.

        Raises:
            ConfigError: If there is a password without a user, or the other way round.
        """
        if (user is None) != (password is None):
            raise ConfigError("RPC user and password belong together; one of them is missing")
        self._cookie_file = cookie_file if user is None else None
        self._header = None if user is None else _basic(f"{user}:{password}")

    def header(self) -> str | None:
        """Return the Authorization header; None without credentials.

        Raises:
            NodeUnavailableError: If the cookie file cannot be read: the node is not running, or not yet.
        """
        if self._header is None and self._cookie_file is not None:
            try:
                self._header = _basic(self._cookie_file.read_text(encoding="utf-8").strip())
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not text"
                raise NodeUnavailableError(f"cannot read the cookie {self._cookie_file}: {reason}") from error
        return self._header

    def renew(self) -> bool:
        """Read the cookie again; return whether it is another one than that just refused."""
        if self._cookie_file is None:
            return False
        refused, self._header = self._header, None
        return self.header() != refused


class RpcClient:
    """A client of one node.

    *Resource handling*: a small pool of connections, closed by `close`. *Cancellation*: a cancelled call
    closes its connection; what the node made of the request is unknown.
    """

    def __init__(self, url: str, credentials: Credentials, *, default_port: int, timeout_s: float) -> None:
        """Prepare a client; nothing is sent yet.

        Args:
            url: ``http://host:port``; user and password in it are used and never shown.
            credentials: Used where the URL has none.
            default_port: Where the URL names no port.
            timeout_s: Deadline of a call that names none of its own.

        Raises:
            ConfigError: If the URL cannot be used.
        """
        self.url, self._credentials = _split_url(url, credentials, default_port)
        self._timeout_s = timeout_s
        self._ids = itertools.count(1)
        # trust_env=False: a proxy of the environment must not see what is meant for our own node. No timeout
        # here, because every call has a deadline of its own: a found block is worth waiting for a connection.
        self._http = httpx.AsyncClient(trust_env=False, timeout=httpx.Timeout(None))

    async def call(
        self, method: str, params: Sequence[object] = (), *, kind: type[_T], timeout_s: float | None = None
    ) -> _T:
        """Call a method and return its result, decoded as ``kind``.

        Raises:
            RpcError: If the node answers with an error. RpcRefusedError: If it refuses our credentials or our
            address. NodeUnavailableError: If it does not answer in time, is starting, or what answers is not
            Bitcoin Core.
        """
        body = msgspec.json.encode(
            {"jsonrpc": "1.0", "id": next(self._ids), "method": method, "params": list(params)}
        )
        deadline_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(deadline_s):
                status, reply = await self._post_fresh(body)
                if status == 401 and self._credentials.renew():
                    status, reply = await self._post(body)
        except TimeoutError as error:
            raise NodeUnavailableError(f"{self.url} did not answer within {deadline_s:g} s") from error
        except httpx.HTTPError as error:
            raise NodeUnavailableError(f"{self.url} cannot be reached: {_words(error)}") from error
        return self._decode(method, status, reply, kind)

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def _post_fresh(self, body: bytes) -> tuple[int, bytes]:
        """Post, a second time where a kept connection turns out to be dead. No method we call minds."""
        try:
            return await self._post(body)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            return await self._post(body)

    async def _post(self, body: bytes) -> tuple[int, bytes]:
        headers = {"Content-Type": "application/json"}
        authorization = self._credentials.header()
        if authorization is not None:
            headers["Authorization"] = authorization
        async with self._http.stream("POST", self.url, content=body, headers=headers) as response:
            parts = []
            size = 0
            async for part in response.aiter_bytes():
                size += len(part)
                if size > _MAX_REPLY_BYTES:
                    raise NodeUnavailableError(f"{self.url} sends more than {_MAX_REPLY_BYTES} bytes")
                parts.append(part)
            return response.status_code, b"".join(parts)

    def _decode(self, method: str, status: int, body: bytes, kind: type[_T]) -> _T:
        if status in (401, 403):
            what = "credentials" if status == 401 else "address"
            raise RpcRefusedError(f"{self.url} refuses our {what}")
        if status == 503:
            raise NodeUnavailableError(f"{self.url} is overloaded")
        try:
            reply = msgspec.json.decode(body, type=_Reply)
            if reply.error is None:
                return msgspec.json.decode(reply.result, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise NodeUnavailableError(
                f"{self.url} gives no usable answer to {method} (HTTP {status}): {error}"
            ) from error
        if reply.error.code == RPC_IN_WARMUP:
            raise NodeUnavailableError(f"{self.url} is starting: {reply.error.message}")
        raise RpcError(method, reply.error.code, reply.error.message)


def _split_url(url: str, credentials: Credentials, default_port: int) -> tuple[str, Credentials]:
    """Return the address without credentials, and the credentials to use."""
    try:
        parts = urlsplit(url)
        port = parts.port or default_port
    except ValueError as error:
        raise ConfigError("not the address of a node: the port is not a number") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"not the address of a node: {_without_credentials(url)!r}; http://host:port is")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.username is not None:
        credentials = Credentials(user=unquote(parts.username), password=unquote(parts.password or ""))
    return f"{parts.scheme}://{host}:{port}{parts.path}", credentials


def _without_credentials(url: str) -> str:
    head, at, tail = url.rpartition("@")
    return f"{head.partition('://')[0]}://{tail}" if at and "://" in head else tail


def _basic(user_and_password: str) -> str:
    return "Basic " + base64.b64encode(user_and_password.encode()).decode()


def _words(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__
