"""*Settings*: what runs, where does each setting come from, and who may come in?"""

from __future__ import annotations

from typing import Final

from hashwerk.web.board import Board
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import facts, page_shell, panel

#: In the order of the site's file; what is not named here stands under its own name.
_TITLES: Final = {
    "site": "Site",
    "listen": "Who may connect",
    "node": "Node",
    "stratum": "Stratum",
    "upstream": "Upstream pools",
    "ledger": "Ledger",
    "web": "Pages and API",
    "fleet": "Fleet",
    "miner": "This computer's miner",
    "log": "Log",
}

_COLUMNS: Final = [("Setting", ""), ("Value", "prose"), ("From", ""), ("What it means", "prose muted")]


def settings_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Settings") as sheet:
        with box("section", "sentence"):
            sheet.text("p", "settings.set", "words")
        fixed(
            "p",
            "Set in the site's file or on the command line, read once at the start. Passwords, tokens and what machines"
            " ask for are never shown.",
            "lost",
        )
        with box("div", "settings-columns"):
            with box("div", "stack settings-side"):
                _door(sheet)
                _contents(board)
            with box("div", "stack"):
                _own(sheet)
                for section in board.frame.get("settings.sections", []):
                    _section(sheet, section)


def _door(sheet: Sheet) -> None:
    with panel("Users and tokens"):
        facts(
            sheet,
            [
                ("Page and API", "door.where"),
                ("Reached by", "door.reach"),
                ("It asks", "door.asks"),
                ("Password", "door.password"),
                ("Tokens", "door.tokens"),
                ("A command needs", "door.commands"),
                ("Control", "door.control"),
            ],
            "stacked",
        )
        sheet.text("p", "door.users", "small muted")


def _contents(board: Board) -> None:
    with panel("Sections", "contents"), box("ul"):
        for section in board.frame.get("settings.sections", []):
            with box("li"):
                fixed("a", _title(section)).props(f'href="#settings-{section}"')


def _title(section: str) -> str:
    return _TITLES.get(section, section.capitalize())


def _own(sheet: Sheet) -> None:
    with panel("What was set", "settings own"):
        table = LiveTable(
            _COLUMNS,
            label="Settings that were set",
            empty="Nothing was set: everything runs on its default. Settings stand in a site.toml;"
            " hashwerk check-config reads it over.",
            searchable="any word",
        )
        sheet.bind("rows.settings", table.show)


def _section(sheet: Sheet, section: str) -> None:
    with panel(f"{_title(section)} [{section}]", "settings") as place:
        place.props(f"id=settings-{section}")
        table = LiveTable(
            _COLUMNS,
            label=f"Settings of section {section}",
            empty="Nothing is configured here.",
            sortable=True,
        )
        sheet.bind(f"rows.settings.{section}", table.show)
