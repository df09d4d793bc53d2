"""*Hall*: which machines need a hand?"""

from __future__ import annotations

from typing import Final

from nicegui import ui

from hashwerk.web.board import Board
from hashwerk.web.pages.action_list import ActionList
from hashwerk.web.pages.first_picture import add_first_picture
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import copied_line, page_shell, panel

#: What the map needs, asked for by the browser before it has read any script: a fifth of a second earlier.
_AHEAD: Final = (
    '<link rel="preload" as="fetch" crossorigin href="/api/v1/machines?format=columns">'
    + "".join(
        f'<link rel="modulepreload" href="/assets/fleet/{name}.js">'
        for name in ("hall", "tiles", "client", "columns")
    )
    + '<script type="module" async src="/assets/fleet/first.js"></script>'
)
#: Where the first picture of the map is drawn, with room for its filter above.
_MAP_PLACE: Final = (
    '<div class="hall-map"><div class="hall-filter first-filter"></div>'
    '<div class="hall-canvas"><canvas></canvas></div></div>'
)


class HallMap(ui.element, component="hall_map.js"):
    """The map: one canvas that takes all machines as columns from the API, every two seconds while somebody looks."""


class HallOrders(ui.element, component="hall_orders.js"):
    """What is done to many machines at once: preview first, then the order."""


def hall_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Hall") as sheet:
        _sentence(sheet)
        if board.site.fleet is None:
            _no_fleet()
            return
        ui.add_head_html(_AHEAD)
        with box("div", "tiles fleet-tiles") as tiles:
            _sums(sheet)
        sheet.state(tiles, "fleet.shown", "tiles fleet-tiles")
        with box("div", "hall-columns") as columns:
            with panel("Hall", "hall-panel", source="/api/v1/machines?format=columns"):
                HallMap()
            with box("div", "stack hall-side"):
                with panel("Order", "hall-order", source="/api"):
                    HallOrders()
                _orders(sheet)
        sheet.state(columns, "fleet.side", "hall-columns")
        _alerts(sheet)
    add_first_picture({HallMap: _MAP_PLACE})


def _no_fleet() -> None:
    with panel("Hall", "hall-empty open"):
        fixed("p", "Name the addresses of your machines in the site's file, and start anew:")
        copied_line("Site file", '[fleet]\nranges = ["10.0.0.0/24"]')
        fixed(
            "p",
            "Nothing is sent anywhere else, and no command is sent at all until control = true stands there too."
            " hashwerk twin starts simulated machines to try it with.",
            "small muted",
        )


def _sentence(sheet: Sheet) -> None:
    with box("section", "sentence") as section:
        sheet.text("span", "fleet.glyph", "glyph").props("aria-hidden=true")
        sheet.text("p", "fleet.sentence", "words")
        sheet.text("span", "fleet.calm", "calm")
    sheet.state(section, "fleet.state", "sentence")
    sheet.text("p", "fleet.notice", "lost")
    sheet.text("p", "fleet.button", "lost")


def _sums(sheet: Sheet) -> None:
    _tile(sheet, "Power", "power", ("basis", "reported", "commanded"), source="/api/v1/fleet")
    _tile(sheet, "Hash rate", "rate", ("basis", "reported", "share"), source="/api/v1/fleet")
    _tile(sheet, "Machines", "count", ("states", "more"), source="/api/v1/machines")
    _tile(
        sheet,
        "Need a hand",
        "hand",
        ("alerts", "stale"),
        source="/api/v1/fleet/alerts",
        state="fleet.hand.state",
    )


def _tile(
    sheet: Sheet, title: str, key: str, lines: tuple[str, ...], *, source: str, state: str | None = None
) -> None:
    with panel(title, "tile", source=source) as section:
        sheet.text("p", f"fleet.{key}", "figure number")
        for line in lines:
            sheet.text("p", f"fleet.{key}.{line}", "small")
    if state is not None:
        sheet.state(section, state, "panel tile")


def _orders(sheet: Sheet) -> None:
    with panel("Orders", source="/api/v1/fleet/orders"):
        orders = ActionList(
            label="Orders that are under way or held",
            empty="No order is under way. What is told to machines above stands here until it is put back.",
        )
        sheet.bind("rows.fleet_orders", orders.show)


def _alerts(sheet: Sheet) -> None:
    with panel("Open alerts, oldest first", "fleet-alerts", source="/api/v1/fleet/alerts") as section:
        alerts = ActionList(
            label="Open alerts, oldest first",
            empty="No machine has anything to tell. What lasts longer than a minute appears here.",
            can_show=True,
        )
        sheet.bind("rows.fleet_alerts", alerts.show)
        sheet.text("p", "fleet.alerts.more", "small muted")
    sheet.state(section, "fleet.shown", "panel fleet-alerts")
    with box("p", "more"):
        fixed("a", "The record of what happened").props('href="/log"')
