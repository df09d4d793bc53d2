"""*Log*: who did what, and when?"""

from __future__ import annotations

from typing import Any

from hashwerk.errors import StoreError
from hashwerk.web.board import EVENTS_SHOWN, Board
from hashwerk.web.frames import event_rows
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import page_shell, panel, sentence


def log_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Log") as sheet:
        sentence(sheet)
        with panel("Events", "log", source="/api/v1/events"):
            sheet.text("p", "history.trouble", "attention")
            EventList(sheet)


class EventList:
    """The newest events, which come by themselves, and older ones on demand; belongs to one page."""

    def __init__(self, sheet: Sheet) -> None:
        self._board = sheet.board
        self._rows: list[dict[str, Any]] = []
        self._table = LiveTable(
            [("Time", ""), ("What", ""), ("Message", "prose"), ("Details", "prose muted")],
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

    def _newest(self, rows: list[dict[str, Any]]) -> None:
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
