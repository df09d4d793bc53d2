"""Bitcoin Core's RPC on the embedded node: pools that know only Core can mine on the private chain.

``python -m hashwerk.node.rpc_server --folder DIR --port PORT`` runs it alone; see ``--help``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hmac
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from hashwerk.chain.network import network_from_name
from hashwerk.clock import SystemClock
from hashwerk.errors import HashwerkError, NodeError
from hashwerk.node.core_rpc import RPC_METHOD_NOT_FOUND
from hashwerk.node.engine import PRIVATE_NETWORKS
from hashwerk.node.kernel import KernelNode
from hashwerk.node.rpc_methods import RPC_MISC_ERROR, MethodError, RpcMethods

COOKIE_FILE: Final = ".cookie"
COOKIE_USER: Final = "__cookie__"

_MAX_HEADER_BYTES: Final = 16_384  # as Core's own server: 8 KiB of headers, and the request line
_MAX_BODY_BYTES: Final = 0x0200_0000  # Core's MAX_SIZE
_MAX_CONNECTIONS: Final = 128
_READ_TIMEOUT_S: Final = 30.0
_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_STATUS: Final = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
                  405: "Method Not Allowed", 413: "Content Too Large", 500: "Internal Server Error",
                  503: "Service Unavailable"}  # fmt: skip
_LOG: Final = logging.getLogger(__name__)


class Methods(Protocol):
    """What answers: `RpcMethods`, or something around them."""

    async def call(self, method: str, params: list[Any]) -> object:
        """Return the result of a method.

        Raises:
            MethodError: With the code and message to answer.
        """
        ...


class _HttpError(Exception):
    """The request is refused before its content is looked at; the connection ends."""

    def __init__(self, status: int) -> None:
        super().__init__(_STATUS[status])
        self.status = status


class RpcServer:
    """An HTTP server on loopback that answers JSON-RPC from an embedded node.

    *Resource handling*: at most 128 connections, each with one request at a time; a peer that does not send
    its request within 30 seconds is closed. *Cancellation*: `close` ends all connections at once.
    """

    def __init__(
        self,
        methods: Methods,
        *,
        cookie_file: Path,
        user: str | None = None,
        password: str | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            methods: What is answered; its node stays the caller's to close.
            cookie_file: Where the cookie is written; whoever can read it may call.
            user: With ``password``, let in beside the cookie.
            password: See ``user``.
        """
        self._methods = methods
        self._cookie_file = cookie_file
        self._allowed = [] if user is None else [_basic(f"{user}:{password or ''}")]
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen; return the port (an unused one for 0).

        Raises:
            NodeError: If the address cannot be listened on, or the cookie not be written.
        """
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=_MAX_HEADER_BYTES)
            self._allowed.append(_basic(self._write_cookie()))
        except OSError as error:
            raise NodeError(f"cannot serve RPC on {host}:{port}: {error.strerror or error}") from error
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening, end all connections and remove the cookie."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self._cookie_file.unlink(missing_ok=True)

    def _write_cookie(self) -> str:
        cookie = f"{COOKIE_USER}:{secrets.token_hex(32)}"
        self._cookie_file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._cookie_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(cookie)
        return cookie

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if len(self._connections) > _MAX_CONNECTIONS:
                raise _HttpError(503)
            while await self._serve_one(reader, writer):
                pass
        except _HttpError as error:
            with contextlib.suppress(ConnectionError):
                await _respond(writer, error.status, b"", keep_alive=False)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a peer that is slow, gone or talks nonsense: there is nobody to answer
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection goes on."""
        async with asyncio.timeout(_READ_TIMEOUT_S):
            head = await _read_head(reader)
            verb, headers, keep_alive = _parse_head(head)
            body = await _read_body(reader, headers)
        if verb != "POST":
            raise _HttpError(405)
        if not self._is_allowed(headers.get("authorization", "")):
            # Core waits here too: guessing is to be slow.
            await asyncio.sleep(0.25)
            raise _HttpError(401)
        answer = asyncio.ensure_future(self._answer(body))
        try:
            # A long poll may wait for hours; its peer may leave meanwhile.
            while not answer.done():
                await asyncio.wait([answer], timeout=1.0)
                if reader.at_eof():
                    return False
        finally:
            answer.cancel()
        status, reply = answer.result()
        async with asyncio.timeout(_READ_TIMEOUT_S):
            await _respond(writer, status, reply, keep_alive=keep_alive)
        return keep_alive

    def _is_allowed(self, authorization: str) -> bool:
        given = authorization.encode()
        return any(hmac.compare_digest(given, allowed.encode()) for allowed in self._allowed)

    async def _answer(self, body: bytes) -> tuple[int, bytes]:
        try:
            request = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return 500, msgspec.json.encode(_failure(None, _PARSE_ERROR, "Parse error", legacy=True))
        if isinstance(request, list):
            replies = [(await self._answer_one(one))[1] for one in request]
            return 200, msgspec.json.encode(replies)
        status, reply = await self._answer_one(request)
        return status, msgspec.json.encode(reply)

    async def _answer_one(self, request: Any) -> tuple[int, dict[str, Any]]:
        """Return HTTP status and reply.

        JSON-RPC 2.0 answers errors with 200; the older form, which Core's own clients use, with a fitting
        status.
        """
        if not isinstance(request, dict):
            return 400, _failure(None, _INVALID_REQUEST, "Invalid Request object", legacy=True)
        legacy = request.get("jsonrpc") != "2.0"
        request_id = request.get("id")
        method, params = request.get("method"), request.get("params") or []
        if not isinstance(method, str) or not isinstance(params, list):
            return 400, _failure(
                request_id, _INVALID_REQUEST, "Method or params of a wrong type", legacy=legacy
            )
        try:
            result = await self._methods.call(method, params)
        except MethodError as error:
            status = (404 if error.code == RPC_METHOD_NOT_FOUND else 500) if legacy else 200
            return status, _failure(request_id, error.code, error.message, legacy=legacy)
        except NodeError as error:
            return (500 if legacy else 200), _failure(request_id, RPC_MISC_ERROR, str(error), legacy=legacy)
        if legacy:
            return 200, {"result": result, "error": None, "id": request_id}
        return 200, {"jsonrpc": "2.0", "result": result, "id": request_id}


def _failure(request_id: Any, code: int, message: str, *, legacy: bool) -> dict[str, Any]:
    error = {"code": code, "message": message}
    if legacy:
        return {"result": None, "error": error, "id": request_id}
    return {"jsonrpc": "2.0", "error": error, "id": request_id}


def _basic(user_and_password: str) -> str:
    return "Basic " + base64.b64encode(user_and_password.encode()).decode()


async def _read_head(reader: asyncio.StreamReader) -> bytes:
    """Return request line and headers. A lone LF ends a line too (RFC 9112, section 2.2): some pools send it."""
    head = b""
    while (line := await reader.readuntil(b"\n")) not in (b"\r\n", b"\n"):
        head += line
        if len(head) > _MAX_HEADER_BYTES:
            raise asyncio.LimitOverrunError("the head of the request is too long", len(head))
    return head


def _parse_head(head: bytes) -> tuple[str, dict[str, str], bool]:
    """Return verb, headers by lower-case name, and whether the connection stays open."""
    lines = head.decode("latin-1").splitlines()
    request_line = lines[0].split(" ")
    if len(request_line) != 3 or not request_line[2].startswith("HTTP/1."):
        raise _HttpError(400)
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    wish = headers.get("connection", "").lower()
    keep_alive = wish != "close" if request_line[2] == "HTTP/1.1" else wish == "keep-alive"
    return request_line[0], headers, keep_alive


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not (length.isascii() and length.isdigit()):
        raise _HttpError(400)
    if len(length) > 9 or int(length) > _MAX_BODY_BYTES:
        raise _HttpError(413)
    return await reader.readexactly(int(length))


async def _respond(writer: asyncio.StreamWriter, status: int, body: bytes, *, keep_alive: bool) -> None:
    if body:
        body += b"\n"  # as Bitcoin Core: clients exist that read up to the end of the line
    challenge = 'WWW-Authenticate: Basic realm="jsonrpc"\r\n' if status == 401 else ""
    head = (
        f"HTTP/1.1 {status} {_STATUS[status]}\r\n{challenge}Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {'keep-alive' if keep_alive else 'close'}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()


async def serve(folder: Path, network: str, port: int, *, user: str | None, password: str | None) -> None:
    """Run node and server until SIGINT or SIGTERM.

    Raises:
        HashwerkError: If either cannot be opened.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    node = KernelNode(folder, network=network)
    await node.start()
    try:
        cookie_file = node.folder / COOKIE_FILE
        methods = RpcMethods(node, network_from_name(network), SystemClock())
        server = RpcServer(methods, cookie_file=cookie_file, user=user, password=password)
        try:
            bound = await server.start(port=port)
            print(f"RPC on http://127.0.0.1:{bound}, cookie in {cookie_file}", flush=True)  # noqa: T201
            await stop.wait()
        finally:
            await server.close()
    finally:
        await node.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m hashwerk.node.rpc_server",
        description="Serve Bitcoin Core's RPC from the embedded node, on loopback only.",
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the chain is kept")
    parser.add_argument("--network", choices=sorted(PRIVATE_NETWORKS), default="testnet4")
    parser.add_argument("--port", type=int, default=None, help="the network's own when not given; 0: any")
    parser.add_argument(
        "--user", help="let in beside the cookie; needs HASHWERK_RPC_PASSWORD in the environment"
    )
    options = parser.parse_args(argv)
    port = network_from_name(options.network).rpc_port if options.port is None else options.port
    password = os.environ.get("HASHWERK_RPC_PASSWORD")
    if options.user is not None and not password:
        parser.error("--user needs a password in HASHWERK_RPC_PASSWORD")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(serve(options.folder, options.network, port, user=options.user, password=password))
    except HashwerkError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
