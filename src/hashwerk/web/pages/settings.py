"""*Settings*: what runs, where does each setting come from, and who may come in?"""

from __future__ import annotations

from typing import Final

from hashwerk.errors import StoreError
from hashwerk.web.board import Board
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import facts, page_shell, panel
from hashwerk.web.settings_frames import key_rows

#: In the order of the site's file; what is not named here stands under its own name.
_TITLES: Final = {
    "site": "Site",
    "listen": "Who may connect",
    "node": "Node",
    "stratum": "Stratum",
    "upstream": "Upstream pools",
    "pool_account": "Accounts at pools",
    "ledger": "Ledger",
    "web": "Pages and API",
    "fleet": "Fleet",
    "twin": "Simulated hall",
    "meter": "Meters",
    "feed": "Prices and carbon from elsewhere",
    "dispatch": "When machines run",
    "grid_order": "Orders of grid operators",
    "policy": "Rules of your own",
    "miner": "This computer's miner",
    "log": "Log",
}

_COLUMNS: Final = [("Setting", ""), ("Value", "prose"), ("From", ""), ("What it means", "prose muted")]
_OWN: Final = [
    ("Setting", ""),
    ("Value", "prose"),
    ("Default", "prose"),
    ("From", ""),
    ("What it means", "prose muted"),
]
_KEYS: Final = [
    ("Key", ""),
    ("Fingerprint", ""),
    ("Since", ""),
    ("From epoch", "number"),
    ("", "prose muted"),
]


async def settings_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Settings") as sheet:
        with box("section", "sentence"):
            sheet.text("p", "settings.set", "words")
        sheet.text("p", "settings.read", "lost")
        with box("div", "settings-columns"):
            with box("div", "stack settings-side"):
                _door(sheet)
                _contents(board)
            with box("div", "stack"):
                await _keys(board)
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


async def _keys(board: Board) -> None:
    desk = board.site.evidence
    if desk is None:
        return
    with panel("Keys that sign the evidence", "cards", source="/api/v1/evidence"):
        table = LiveTable(
            _KEYS,
            label="Keys of this site",
            empty="The site's first epoch has not begun: its keys are named with it.",
        )
        try:
            table.show(key_rows(await desk.keys()))
        except StoreError as error:
            fixed("p", f"The keys cannot be read now: {error}", "attention")


def _contents(board: Board) -> None:
    with panel("Sections", "contents"), box("ul"):
        for section in board.frame.get("settings.sections", []):
            with box("li"):
                fixed("a", _title(section)).props(f'href="#settings-{section}"')


def _title(section: str) -> str:
    return _TITLES.get(section, section.replace("_", " ").capitalize())


def _own(sheet: Sheet) -> None:
    with panel("What was set", "settings own tall"):
        table = LiveTable(
            _OWN,
            label="Settings that were set",
            empty="Nothing was set: everything runs on its default. Settings stand in a site.toml;"
            " hashwerk check-config reads it over.",
            searchable="any word",
        )
        sheet.bind("rows.settings", table.show)


def _section(sheet: Sheet, section: str) -> None:
    """Show a section folded up; the browser unfolds it for whoever goes to it or looks for a word in it."""
    with box("details", "panel settings"):
        with box("summary"):
            fixed("h2", _title(section))
            fixed("code", f"[{section}]", "small muted")
            sheet.text("span", f"settings.count.{section}", "small muted push-left")
        with box("div").props(f"id=settings-{section}"):
            table = LiveTable(
                _COLUMNS,
                label=f"Settings of section {section}",
                empty="Nothing is configured here.",
                sortable=True,
            )
            sheet.bind(f"rows.settings.{section}", table.show)
