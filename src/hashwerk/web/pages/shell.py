"""What every page has: navigation, the state in one sentence, and what must never be overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from nicegui import ui

from hashwerk import __version__
from hashwerk.web.board import Board
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed

NO_BLOCK_YET: Final = "No block yet. Each hash has the same small chance; the sentence above says how long one takes on average."
#: A page joins the navigation when it exists; one row each.
PAGES: Final = (
    ("Now", "/"),
    ("Hall", "/hall"),
    ("Work", "/work"),
    ("Energy", "/energy"),
    ("Evidence", "/evidence"),
    ("Settings", "/settings"),
    ("Log", "/log"),
)


@contextmanager
def page_shell(board: Board, title: str, name: str) -> Iterator[Sheet]:
    """Open a page; what is made inside stands in its main part."""
    sheet = Sheet(board)
    ui.page_title(f"{name} · {title}")
    fixed("a", "Skip to content", "skip").props('href="#main"')
    _header(sheet, title, name)
    _notices(sheet)
    main = box("div").props('id=main tabindex="-1"')
    sheet.state(main, "stale", f"page page-{name.lower()}")
    with main:
        fixed("h1", name, "unseen")
        yield sheet
    _footer()


def _header(sheet: Sheet, title: str, name: str) -> None:
    with box("header", "bar"):
        with fixed("a", "", "brand").props('href="/"'):
            box("span", "brand-mark").props("aria-hidden=true")
            fixed("span", title)
        with box("nav").props('aria-label="Pages"'):
            for label, path in PAGES:
                link = fixed("a", label).props(f'href="{path}"')
                if label == name:
                    link.props('aria-current="page"')
        box("span", "push")
        with box("span", "live") as live:
            sheet.text("span", "live")
        sheet.state(live, "live.state", "live")
        fixed("button", "", "theme").props(
            'type=button data-theme-toggle aria-label="Theme: follow the system, light or dark"'
        )


def _notices(sheet: Sheet) -> None:
    with box("div", "notices"):
        sheet.text("p", "simulation", "notice hatched")
        sheet.text("p", "private", "notice")


def sentence(sheet: Sheet) -> None:
    """Show what is happening and why, and what has to be done about it."""
    with box("section", "sentence") as section:
        sheet.text("span", "glyph", "glyph").props("aria-hidden=true")
        sheet.text("p", "sentence", "words")
        sheet.text("span", "alerts.none", "calm")
    sheet.state(section, "state", "sentence")
    sheet.text("p", "lost", "lost").props("role=status")


def alerts(sheet: Sheet) -> None:
    """Show the open alerts, oldest first."""
    with panel("Open alerts, oldest first", "alerts", source="/api/v1/status") as section:
        table = LiveTable([], label="Open alerts, oldest first", empty="")
        sheet.bind("rows.alerts", table.show)
    sheet.state(section, "alerts.state", "panel alerts")


def open_alerts(sheet: Sheet) -> None:
    """Show the open alerts of mine, machines, feeds, meters and orders, oldest first."""
    with panel("Open alerts, oldest first", "alerts", source="/api/v1/fleet/alerts") as section:
        section.props("id=alerts")
        table = LiveTable([], label="Open alerts, oldest first", empty="")
        sheet.bind("rows.open_alerts", table.show)
        sheet.text("p", "open_alerts.more", "small muted")
        with box("p", "more"):
            fixed("a", "All alerts of machines, to answer them").props('href="/hall"')
    sheet.state(section, "open_alerts.state", "panel alerts")


@contextmanager
def panel(title: str, classes: str = "", *, source: str | None = None) -> Iterator[ui.element]:
    """Open a part of a page with its heading and, small, the call its figures come from."""
    with box("section", f"panel {classes}") as section:
        with box("div", "panel-head"):
            fixed("h2", title)
            if source is not None:
                fixed("a", "source", "source").props(
                    f'href="{source}" title="{source}" aria-label="Source of {title}"'
                )
        yield section


def facts(sheet: Sheet, rows: list[tuple[str, str]], classes: str = "") -> None:
    """Show pairs of a name and the value of a key."""
    with box("dl", f"facts {classes}"):
        for name, key in rows:
            with box("div"):
                fixed("dt", name)
                sheet.text("dd", key)


def copied_line(
    name: str, value: str | None = None, sheet: Sheet | None = None, key: str | None = None
) -> None:
    """Show a line to enter elsewhere, with a button that copies it."""
    with box("div", "line"):
        fixed("span", name, "line-name")
        if sheet is not None and key is not None:
            code = sheet.text("code", key)
            button = _copy_button(name)
            sheet.bind(key, lambda text: button.props.__setitem__("data-copy", text))
        else:
            code = fixed("code", value or "")
            _copy_button(name).props["data-copy"] = value
        code.props("tabindex=0")


def _copy_button(name: str) -> ui.element:
    return fixed("button", "", "copy").props(f'type=button aria-label="Copy {name}"')


def connect_lines(sheet: Sheet) -> None:
    """Show what to enter on a machine."""
    fixed("p", "Enter these three lines on the machine, under Pool or Stratum:", "muted")
    copied_line("URL", sheet=sheet, key="stratum.url")
    copied_line("User", "home.machine1")
    copied_line("Password", "x")
    fixed(
        "p",
        "User is account.machine, chosen freely: the account is credited, the machine gets a row of its own.",
        "muted small",
    )
    with box("div", "reach") as reach:
        fixed(
            "p",
            "Only programs on this computer reach this address. To let machines in, start with",
            "muted small",
        )
        copied_line("Command", "hashwerk run --stratum 0.0.0.0:3333 --listen-beyond-loopback")
        fixed("p", "and enter this computer's own address instead of 127.0.0.1.", "muted small")
    sheet.state(reach, "stratum.reach", "reach")


def _footer() -> None:
    with box("footer"):
        fixed("span", f"Hashwerk {__version__}")
        fixed("span", "", "zone").props("data-zone")
        fixed("a", "API").props('href="/api"')
        fixed("a", "Metrics").props('href="/metrics"')
