"""*Log*: who did what, and when?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from nicegui import ui

from hashwerk.errors import StoreError
from hashwerk.fleet.record import CommandQuery
from hashwerk.site.fleet import FleetService
from hashwerk.web.board import EVENTS_SHOWN, Board
from hashwerk.web.pages.live_table import Column, LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import page_shell, panel, sentence
from hashwerk.web.record_frames import (
    COMMANDS,
    RESULTS,
    SPANS,
    command_rows,
    event_rows,
    fitting_words,
    order_rows,
    told_frame,
)

Rows = list[dict[str, Any]]

COMMANDS_SHOWN: Final = 100
_ORDERS_SHOWN: Final = 25
_DAY_S: Final = 86_400.0
_REFRESH_S: Final = 3.0
_EVENTS: Final[list[Column]] = [
    ("Time", ""),
    ("What", ""),
    ("Message", "prose"),
    ("Details", "prose muted"),
]
_ORDERS: Final[list[Column]] = [
    ("Time", ""),
    ("Order", "prose"),
    ("Who and why", "prose"),
    ("State", ""),
    ("Machines", "number"),
    ("", "number"),
    ("What came of it", "prose muted"),
    ("Source", ""),
]
_COMMANDS: Final[list[Column]] = [
    ("Time", ""),
    ("Machine", ""),
    ("Command", "prose"),
    ("Who and why", "prose"),
    ("It answered", ""),
    ("Measured", ""),
    ("Power", "number"),
    ("Effect", "prose muted"),
    ("Source", ""),
]
#: What may stand in the page's address; the rest of it is ignored.
_FIELDS: Final = ("machine", "who", "command", "result", "span", "order")


async def log_page(board: Board, title: str, asked: Mapping[str, str]) -> None:
    """Build the page for one browser; ``asked`` is what its address looks for in the record of commands."""
    with page_shell(board, title, "Log") as sheet:
        fleet = board.site.fleet
        if fleet is None:
            sentence(sheet)
        else:
            _told(sheet)
        sheet.text("p", "history.trouble", "attention")
        if fleet is not None:
            record = _commands(sheet, fleet, asked)
            _orders(sheet)
            await record.refresh()
            ui.timer(_REFRESH_S, record.refresh)
        with panel("Events of the mine", "log cards", source="/api/v1/events"):
            EventList(sheet)


def _told(sheet: Sheet) -> None:
    with box("section", "sentence") as section:
        sheet.text("span", "log.glyph", "glyph").props("aria-hidden=true")
        sheet.text("p", "log.sentence", "words")
    sheet.state(section, "log.state", "sentence")
    sheet.text("p", "log.results", "lost")


def _commands(sheet: Sheet, fleet: FleetService, asked: Mapping[str, str]) -> CommandList:
    given = {name: asked[name].strip() for name in _FIELDS if asked.get(name, "").strip()}
    record = CommandList(sheet, fleet, given, asked.get("before", ""))
    with panel("Commands to machines", "log cards commands", source=record.source()):
        RecordFilter(given)
        with box("p", "record-line small muted"):
            sheet.text("span", "log.fitting")
            fixed("span", "", "push")
            fixed("a", "CSV").props(f'href="{record.source(format="csv")}" download')
            fixed("a", "JSON").props(f'href="{record.source(limit="1000")}"')
        table = LiveTable(
            _COMMANDS,
            label="Commands, newest first",
            empty="No command fits."
            if given or record.before is not None
            else "No machine was told anything yet. Every command stands here: who gave it, why, what the machine"
            " answered, and what was measured of it.",
            sortable=True,
        )
        sheet.bind("rows.log.commands", table.show)
        with box("p", "more buttons"):
            newest = fixed("a", "Newest", "plain-button").props(f'href="{record.page()}"')
            newest.set_visibility(record.before is not None)
            older = fixed("a", "Older", "plain-button")
            sheet.bind("log.older", lambda path: older.props.__setitem__("href", path))
            sheet.bind("log.older", lambda path: older.set_visibility(bool(path)))
    return record


def _orders(sheet: Sheet) -> None:
    with panel("Orders: what was wanted", "log cards", source="/api/v1/fleet/orders"):
        table = LiveTable(
            _ORDERS,
            label="Orders, newest first",
            empty="No order was given yet. Dry runs and orders that found nobody to tell stand here too.",
        )
        sheet.bind("rows.log.orders", table.show)


class RecordFilter(ui.element, component="record_filter.js"):
    """The fields by which the record of commands is narrowed."""

    def __init__(self, given: Mapping[str, str]) -> None:
        super().__init__()
        self._props["path"] = "/log"
        self._props["given"] = dict(given)
        self._props["fields"] = [
            {"name": "machine", "label": "Machine", "hint": "address, serial, model"},
            {"name": "who", "label": "Who or why", "hint": "dispatcher, price …"},
            {"name": "command", "label": "Command", "options": [("", "any"), *COMMANDS.items()]},
            {"name": "result", "label": "Result", "options": [("", "any"), *RESULTS.items()]},
            {
                "name": "span",
                "label": "Since",
                "options": [("", "any time"), *((key, words) for key, (words, _) in SPANS.items())],
            },
        ]


class CommandList:
    """The commands that fit, one page of them; the newest page follows the record. Belongs to one page."""

    def __init__(self, sheet: Sheet, fleet: FleetService, given: dict[str, str], before: str) -> None:
        self._sheet = sheet
        self._fleet = fleet
        self._given = given
        self._shown: dict[str, Any] = {}
        self.before = int(before) if before.isdecimal() else None

    def page(self, **more: str) -> str:
        """Return the address of this page with the same conditions, and more."""
        return "/log" + _query(self._given | more)

    def source(self, **more: str) -> str:
        """Return the call of the API behind what is shown. Machines are named by their key there."""
        query = self._query()
        named = {
            "machine": query.keys[0] if query.keys is not None and len(query.keys) == 1 else None,
            "order": query.order_id,
            "who": query.who,
            "command": query.command,
            "result": query.result,
            "since": None if query.since is None else f"{query.since:.0f}",
        }
        return "/api/v1/fleet/commands" + _query({k: v for k, v in named.items() if v is not None} | more)

    def _query(self) -> CommandQuery:
        given, machine = self._given, self._given.get("machine")
        span = SPANS.get(given.get("span", ""))
        return CommandQuery(
            keys=None if machine is None else self._keys(machine),
            order_id=given.get("order"),
            who=given.get("who"),
            command=given.get("command"),
            result=given.get("result"),
            since=None if span is None else self._fleet.view().at - span[1],
        )

    def _keys(self, text: str) -> tuple[str, ...]:
        """Return whose key, address, serial number, make or model holds the text; one that is named exactly is alone."""
        wanted, found = text.lower(), []
        for key, unit in self._fleet.roster.units.items():
            address, identity = unit.member.address, unit.member.identity
            names = [key, address.host if address is not None else None, identity.mac, identity.serial]
            known = [name.lower() for name in names if name]
            if wanted in known:
                return (key,)
            kind = f"{identity.make or ''} {identity.model or ''}".lower()
            if any(wanted in name for name in (*known, kind)):
                found.append(key)
        return tuple(found) or (text,)  # a machine that was forgotten still has its key in the record

    async def refresh(self) -> None:
        """Tell the page what changed."""
        try:
            frame = await self._read()
        except StoreError as error:
            frame = {"log.fitting": f"The record cannot be read now: {error}"}
        changes = {k: v for k, v in frame.items() if k not in self._shown or self._shown[k] != v}
        self._shown |= changes
        self._sheet.apply(changes)

    async def _read(self) -> dict[str, Any]:
        query = self._query()
        records = await self._fleet.commands(COMMANDS_SHOWN + 1, self.before, query=query)
        shown = records[:COMMANDS_SHOWN]
        addresses = ((key, unit.member.address) for key, unit in self._fleet.roster.units.items())
        names = {key: address.host for key, address in addresses if address is not None}
        frame = {
            "rows.log.commands": command_rows(shown, names),
            "log.older": self.page(before=str(shown[-1].id)) if len(records) > len(shown) else "",
        }
        if self._shown.get("rows.log.commands") == frame["rows.log.commands"]:
            return frame  # nothing was added: counting all of it would say the same
        at = self._fleet.view().at
        fitting = sum((await self._fleet.command_counts(query)).values())
        frame["log.fitting"] = fitting_words(fitting, len(shown), narrowed=bool(self._given))
        frame["rows.log.orders"] = order_rows(await self._fleet.orders(_ORDERS_SHOWN))
        return frame | told_frame(await self._fleet.command_counts(CommandQuery(since=at - _DAY_S)))


def _query(values: Mapping[str, str]) -> str:
    return f"?{urlencode(values)}" if values else ""


class EventList:
    """The newest events, which come by themselves, and older ones on demand; belongs to one page."""

    def __init__(self, sheet: Sheet) -> None:
        self._board = sheet.board
        self._rows: Rows = []
        self._table = LiveTable(
            _EVENTS,
            label="Events, newest first",
            empty="Nothing has happened yet. Starts, blocks and every change of state are listed here.",
            sortable=True,
            searchable="any word",
        )
        with box("p", "more"):
            self._older = fixed("button", "Show older", "plain-button").props("type=button")
        self._older.on("click", self.show_older)
        self._older.set_visibility(False)
        sheet.bind("rows.events", self._newest)

    def _newest(self, rows: Rows) -> None:
        known = {row["k"] for row in rows}
        self._rows = [*rows, *(row for row in self._rows if row["k"] not in known)]
        self._table.show(self._rows)
        if len(self._rows) == EVENTS_SHOWN:
            self._older.set_visibility(True)

    async def show_older(self) -> None:
        """Add the page of events before the oldest that is shown."""
        try:
            events = await self._board.history.events(EVENTS_SHOWN, self._rows[-1]["k"])
        except StoreError as error:
            self._older.set_text(f"History cannot be read now: {error}. Try again")
            return
        self._rows = [*self._rows, *event_rows(events)]
        self._table.show(self._rows)
        self._older.set_text("Show older")
        self._older.set_visibility(len(events) == EVENTS_SHOWN)
