"""Canaan's firmware: its miner API, and of its web server as much as pools need."""

from __future__ import annotations

import hashlib
from functools import partial

from hashwerk.twin.cgminer import Answer, Bare, Code, Row, Silence, encode_reply, parse_request
from hashwerk.twin.dialects.avalon_set import set_asc, write_pool
from hashwerk.twin.dialects.avalon_stats import Layout, statistics_rows
from hashwerk.twin.faults import FaultKind
from hashwerk.twin.http import NOT_FOUND, HttpRequest, HttpResponse, text_response
from hashwerk.twin.machine import Machine, Slot
from hashwerk.twin.reports import common_answer

_DESCRIPTION = "cgminer 4.11.1"
_DEFAULT_PASSWORD = "admin"  # noqa: S105 - the maker's
_HASH_CHARS = 24
_LOGIN_PAGE = '<html><title>Avalon Device</title><form name="loginform" action="login.cgi"></form></html>'
_PAGE = "<html><title>Avalon Device</title><body>Avalon dashboard</body></html>"


class AvalonDialect:
    """A layout of the estats line, and the commands that go with it."""

    speaks_api = True
    speaks_http = True

    def __init__(self, layout: Layout) -> None:
        """Speak in a layout."""
        self._layout = layout

    def api(self, machine: Machine, data: bytes, now: float) -> bytes | None:
        """Answer a request of the miner API."""
        request = parse_request(data)
        if request is None:
            return None
        answer = partial(self._answer, machine, now)
        return encode_reply(request, answer, when=machine.clock(now), description=_DESCRIPTION)

    def http(self, machine: Machine, request: HttpRequest, now: float) -> HttpResponse:
        """Answer the web server's few pages; the cookie is a salt followed by a piece of the password's hash."""
        salt = machine.identity.mac[-8:]
        token = hashlib.sha256(_DEFAULT_PASSWORD.encode()).hexdigest()[:_HASH_CHARS]
        authorized = f"auth={salt}{token}" in request.headers.get("cookie", "")
        match request.path:
            case "/get_auth.cgi":
                return text_response(f'getAuthCallback({{"auth":"{salt}","code":"{token[::-1]}"}});')
            case "/" | "/index.html":
                return text_response(_LOGIN_PAGE)
            case "/login.cgi" | "/dashboard.cgi" | "/poolconfig.cgi":
                return text_response(_PAGE if authorized else _LOGIN_PAGE)
            case "/cgpools.cgi" | "/reboot.cgi" if not authorized:
                return text_response(_LOGIN_PAGE)
            case "/cgpools.cgi":
                self._write_pools(machine, request.form(), now)
                return text_response(_PAGE)
            case "/reboot.cgi":
                machine.command(now, now + 1, Machine.reboot)
                return text_response(_PAGE)
            case _:
                return NOT_FOUND

    def _answer(self, machine: Machine, now: float, command: str, parameter: str) -> Answer | Silence | Bare:
        match command:
            case "version":
                return Answer("S", Code.VERSION, "CGMiner versions", "VERSION", [self._version(machine)])
            case "stats" | "estats" | "litestats":
                rows = statistics_rows(machine, self._layout, now, lite=command == "litestats")
                return Answer("S", Code.STATS, "CGMiner stats", "STATS", rows)
            case "ascset":
                return set_asc(machine, self._layout, parameter, now)
            case "restart" if FaultKind.REFUSE not in machine.faults:
                machine.command(now, now + 1, Machine.reboot)
                return Bare(b'{"STATUS":"RESTART"}\0')
            case _:
                return common_answer(machine, command, parameter, now, "AVALON")

    def _version(self, machine: Machine) -> Row:
        model, identity = machine.model, machine.identity
        row: dict[str, str | int] = {
            "CGMiner": "4.11.1",
            "API": "3.7",
            "PROD": model.product,
            "MODEL": model.type_name,
            "HWTYPE": "MM4v2_X3" if self._layout is Layout.A else f"{model.type_name}_MM1v1_X1",
            "SWTYPE": "MM317" if self._layout is Layout.A else "MM319",
        }
        if self._layout is Layout.A:
            row["VERSION"] = model.version
        else:
            row |= {"LVERSION": model.version, "BVERSION": model.version, "CGVERSION": model.version}
        return {**row, "DNA": identity.serial, "MAC": identity.mac, "UPAPI": 2}

    def _write_pools(self, machine: Machine, form: dict[str, str], now: float) -> None:
        """Take the pools of the form; one that is left out stays, an empty one goes. In force after a reboot."""
        for index in range(3):
            url = form.get(f"pool{index + 1}")
            if url:
                worker = form.get(f"worker{index + 1}", "")
                slot = Slot(url, worker, form.get(f"passwd{index + 1}", ""))
                machine.command(now, now, partial(write_pool, index, slot))
