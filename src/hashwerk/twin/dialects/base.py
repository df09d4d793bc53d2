"""What a hall needs of a dialect."""

from __future__ import annotations

from typing import Protocol

from hashwerk.twin.http import HttpRequest, HttpResponse
from hashwerk.twin.machine import Machine


class Dialect(Protocol):
    """Turns what came over the wire into deeds and answers. It keeps nothing; all state is the machine's."""

    speaks_api: bool  # whether there is a miner API on port 4028
    speaks_http: bool  # whether there is a web server

    def api(self, machine: Machine, data: bytes, now: float) -> bytes | None:
        """Answer what came on the miner API's port; None while the request is not complete, empty to close silently."""
        ...

    def http(self, machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
        """Answer a request to the web server."""
        ...
