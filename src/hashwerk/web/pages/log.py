"""*Log*: who did what, and when?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hashwerk.errors import StoreError
from hashwerk.web.board import EVENTS_SHOWN, Board
from hashwerk.web.pages.live_table import Column, LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import page_shell, panel, sentence
from hashwerk.web.record_frames import event_rows

Rows = list[dict[str, Any]]

_COMMANDS: list[Column] = [
    ("Time", ""),
    ("Machine", ""),
    ("Command", ""),
    ("Who and why", "prose"),
    ("It answered", ""),
    ("Measured", ""),
    ("Power", "number"),
    ("Effect", "prose muted"),
]
_EVENTS: list[Column] = [("Time", ""), ("What", ""), ("Message", "prose"), ("Details", "prose muted")]


def log_page(board: Board, title: str) -> None:
    """Build the page for one browser."""

    async def older_events(before: int) -> Rows:
        return event_rows(await board.history.events(EVENTS_SHOWN, before))

    with page_shell(board, title, "Log") as sheet:
        sentence(sheet)
        sheet.text("p", "history.trouble", "attention")
        if board.site.fleet is not None:
            _commands(sheet)
        with panel("Events", "log", source="/api/v1/events"):
            table = LiveTable(
                _EVENTS,
                label="Events, newest first",
                empty="Nothing has happened yet. Starts, blocks and every change of state are listed here.",
                sortable=True,
                searchable="any word",
            )
            Record(sheet, "rows.events", table, older_events)


def _commands(sheet: Sheet) -> None:
    with panel("Commands to machines", "log", source="/api/v1/fleet/commands"):
        table = LiveTable(
            _COMMANDS,
            label="Commands, newest first",
            empty="No machine was told anything yet. Every command stands here: who gave it, why, what the machine"
            " answered, and what was measured of it.",
            sortable=True,
            searchable="machine, who, command",
        )
        Record(sheet, "rows.commands", table, sheet.board.commands)


class Record:
    """The newest rows of a record, which come by themselves, and older ones on demand; belongs to one page."""

    def __init__(
        self, sheet: Sheet, key: str, table: LiveTable, read: Callable[[int], Awaitable[Rows]]
    ) -> None:
        """Show the rows of a key of the frame in a table; ``read`` returns the page of rows before one."""
        self._rows: Rows = []
        self._table = table
        self._read = read
        with box("p", "more"):
            self._older = fixed("button", "Show older", "plain-button").props("type=button")
        self._older.on("click", self.show_older)
        self._older.set_visibility(False)
        sheet.bind(key, self._newest)

    def _newest(self, rows: Rows) -> None:
        known = {row["k"] for row in rows}
        self._rows = [*rows, *(row for row in self._rows if row["k"] not in known)]
        self._table.show(self._rows)
        if len(self._rows) == EVENTS_SHOWN:
            self._older.set_visibility(True)

    async def show_older(self) -> None:
        """Add the page of rows before the oldest that is shown."""
        try:
            older = await self._read(self._rows[-1]["k"])
        except StoreError as error:
            self._older.set_text(f"History cannot be read now: {error}. Try again")
            return
        self._rows = [*self._rows, *older]
        self._table.show(self._rows)
        self._older.set_text("Show older")
        self._older.set_visibility(len(older) == EVENTS_SHOWN)
