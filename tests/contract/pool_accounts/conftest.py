"""A pool's API on loopback that answers from a script, over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

REPLIES = Path(__file__).parent / "replies"


@dataclass
class Request:
    """What a client asked."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class Answer:
    """What it is told."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    hold: threading.Event | None = None  # answered only once this is set


class Pool:
    """A pool's API: the answers by path, each used up in turn until one is left, and everything that was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[Request] = []
        pool = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._serve(None)

            def do_POST(self) -> None:
                self._serve(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _serve(self, body: Any) -> None:
                split = urlsplit(self.path)
                query = {key: values[0] for key, values in parse_qs(split.query).items()}
                pool.requests.append(Request(self.command, split.path, query, dict(self.headers), body))
                answers = pool.answers.get(split.path) or [Answer(b"nothing here", 404)]
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                if answer.hold is not None:
                    answer.hold.wait(20)
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(answer.body)))
                    self.end_headers()
                    self.wfile.write(answer.body)
                except OSError:
                    return  # the client has had enough, which is what some tests want

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: what was asked is in `requests`."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def says(self, path: str, *bodies: str | bytes, status: int = 200, **headers: str) -> None:
        """Answer a path with these bodies in turn; a text is the name of a recorded reply."""
        self.answers[path] = [
            Answer(
                body if isinstance(body, bytes) else (REPLIES / f"{body}.json").read_bytes(), status, headers
            )
            for body in bodies
        ]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool's API that knows no path yet."""
    running = Pool()
    yield running
    running.close()
