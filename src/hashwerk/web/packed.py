"""Scripts and styles of the framework, compressed once: a first visit asks for thirty, and they stay while the mine runs."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Below it lie files of the installed version only; what is made anew for each caller lies elsewhere.
_FILES: Final = "/_nicegui/"
_NOT_FILES: Final = "/dynamic_resources/"
#: Each file that exists is kept once; a name that does not exist is never kept.
_MAX_KEPT: Final = 512


class PackedOnce:
    """ASGI middleware: compresses what the application answers, and keeps the answer where it is a file."""

    def __init__(self, app: ASGIApp) -> None:
        self._packing = GZipMiddleware(app, minimum_size=500, compresslevel=6)
        self._kept: dict[str, list[Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer from what is kept, or ask the application."""
        if not _can_be_kept(scope):
            await self._packing(scope, receive, send)
            return
        path = scope["path"]
        if path in self._kept:
            for message in self._kept[path]:
                await send(message)
            return
        messages: list[Message] = []

        async def note(message: Message) -> None:
            messages.append(message)
            await send(message)

        await self._packing(scope, receive, note)
        if messages[0].get("status") == 200 and len(self._kept) < _MAX_KEPT:
            self._kept[path] = messages


def _can_be_kept(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "GET":
        return False
    if not scope["path"].startswith(_FILES) or _NOT_FILES in scope["path"]:
        return False
    headers = Headers(scope=scope)
    return "gzip" in headers.get("accept-encoding", "") and not {"range", "if-none-match"} & set(headers)
