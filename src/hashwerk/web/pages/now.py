"""*Now*: is my mine all right, and what does it do this minute?"""

from __future__ import annotations

from functools import partial
from typing import Final

from nicegui import ui

from hashwerk.web.board import Board
from hashwerk.web.frames import WINDOW_WORDS, WINDOWS
from hashwerk.web.history import LIVE, RANGES
from hashwerk.web.pages.energy import (
    SOURCE,
    EnergyChart,
    energy_sentence,
    margin_tile,
    no_price,
    power_lines,
    price_lines,
)
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.ranges import RangedChart
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import (
    NO_BLOCK_YET,
    alerts,
    connect_lines,
    open_alerts,
    page_shell,
    panel,
    sentence,
)

_DAY_WORDS: Final = (
    "Price of energy and machines on as planned, over the next 24 hours; as a table on the page Energy"
)
CHART_WORDS: Final = "Measured hash rate over time with its 95 % interval; triangles are blocks found"


def now_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Now") as sheet:
        if board.site.energy is None:
            sentence(sheet)
            alerts(sheet)
            _hash_rate(sheet)
        else:
            with box("div", "sentences"):
                energy_sentence(sheet)
                sentence(sheet)
                with box("p", "brief") as brief:
                    sheet.text("a", "open_alerts.brief").props('href="#alerts"')
                sheet.state(brief, "open_alerts.brief.state", "brief")
            _energy(sheet)
            _hash_rate(sheet, has_figure=False)
        _tiles(sheet)
        with box("div", "columns"):
            _machines(sheet)
            _blocks(sheet)


def _energy(sheet: Sheet) -> None:
    with box("div", "tiles now-tiles"):
        with panel("Hash rate", "tile", source="/api/v1/status"):
            _rate_figure(sheet)
        with panel("Power, by source", "tile", source=SOURCE):
            power_lines(sheet)
        margin_tile(sheet)
    with box("div", "energy-now") as columns:
        with panel("Price now and the next 24 hours, with the plan", "tile", source=SOURCE) as section:
            price_lines(sheet)
            no_price(sheet)
            EnergyChart(sheet, "day", _DAY_WORDS)
            with box("p", "legend"):
                fixed("span", "price", "key key-known")
                fixed("span", "forecast", "key key-forecast")
                fixed("span", "below zero", "key key-below")
                fixed("span", "machines on, as planned", "key key-band")
                fixed("span", "clean", "key key-clean")
                fixed("span", "fossil", "key key-fossil")
                fixed("span", "grid mix", "key key-mix")
                fixed("span", "night, 22 to 6", "key key-night")
            with box("p", "more"):
                fixed("a", "Carbon, each group and why, orders, bill").props('href="/energy"')
        sheet.state(section, "energy.price.state", "panel tile")
        open_alerts(sheet)
    sheet.state(columns, "open_alerts.state", "energy-now")


def _rate_figure(sheet: Sheet) -> None:
    with box("p", "figure energy-figure"):
        sheet.text("span", "rate.figure", "number")
        sheet.text("span", "rate.unit", "unit")
    sheet.text("p", "rate.window", "small muted")
    sheet.text("p", "rate.band", "small")
    if sheet.board.site.fleet is not None:
        with box("p", "small"):
            fixed("span", "Machines ")
            sheet.text("span", "fleet.rate.reported")
        sheet.text("p", "fleet.rate.share", "small")


def _hash_rate(sheet: Sheet, *, has_figure: bool = True) -> None:
    title = "Hash rate" if has_figure else "Hash rate over time"
    with panel(title, "hero" if has_figure else "hero low", source="/api/v1/series"):
        if has_figure:
            with box("div", "hero-figure"):
                with box("p", "figure huge"):
                    sheet.text("span", "rate.figure", "number")
                    sheet.text("span", "rate.unit", "unit")
                sheet.text("p", "rate.window", "muted")
                sheet.text("p", "rate.band", "band")
        with box("div", "hero-chart"):
            young = sheet.board.frame.get("young", "")
            RangedChart(sheet, "rate", CHART_WORDS, (LIVE, *RANGES), LIVE if young else RANGES[0])
            with box("p", "legend"):
                fixed("span", "measured from shares", "key key-line")
                fixed("span", "95 % interval", "key key-band")
                fixed("span", "block found", "key key-block")
            sheet.text("p", "history.trouble", "attention")
        _windows(sheet)


def _windows(sheet: Sheet) -> None:
    with box("table", "windows"):
        with box("thead"), box("tr"):
            for heading in ("over", "rate", "95 % interval", "shares"):
                fixed("th", heading).props("scope=col")
        with box("tbody"):
            for name in WINDOWS:
                with box("tr"):
                    fixed("th", WINDOW_WORDS[name]).props("scope=row")
                    sheet.text("td", f"rate.{name}.figure", "number")
                    with box("td", "interval"):
                        with box("span", "track").props("aria-hidden=true"):
                            bar = box("i")
                        sheet.bind(f"rate.{name}.bar", partial(_restyle, bar))
                        sheet.text("span", f"rate.{name}.band")
                    sheet.text("td", f"rate.{name}.shares", "number")


def _restyle(bar: ui.element, style: str) -> None:
    bar.style(replace=style)


def _tiles(sheet: Sheet) -> None:
    blocks = ("blocks.last", "blocks.expected", "blocks.detail")
    shares = ("shares.minute", "shares.rejected", "shares.reasons")
    machines = ("machines.detail", "machines.share")
    node = ("node.health", "node.kind", "node.difficulty", "template.brief")
    with box("div", "tiles"):
        _tile(sheet, "Blocks", "blocks.count", blocks, source="/api/v1/blocks")
        _tile(
            sheet, "Shares accepted", "shares.accepted", shares, source="/api/v1/status", state="shares.state"
        )
        _tile(sheet, "Machines hashing", "machines.count", machines, source="/api/v1/workers")
        _tile(sheet, "Chain height", "node.height", node, source="/api/v1/template", state="node.state")


def _tile(
    sheet: Sheet, title: str, key: str, lines: tuple[str, ...], *, source: str, state: str | None = None
) -> None:
    with panel(title, "tile", source=source) as section:
        sheet.text("p", key, "figure number")
        for line in lines:
            sheet.text("p", line, "small")
    if state is not None:
        sheet.state(section, state, "panel tile")


def _machines(sheet: Sheet) -> None:
    with panel("Machines", "machines", source="/api/v1/workers") as section:
        table = LiveTable(
            [("Machine", ""), ("State", ""), ("Hash rate", "number"), ("Last share", "number wide")],
            label="Most active machines",
            empty="No machine has connected yet.",
        )
        sheet.bind("rows.machines", table.show)
        with box("div", "connect"):
            connect_lines(sheet)
        with box("p", "more"):
            fixed("a", "All machines, and how to connect one").props('href="/work"')
    sheet.state(section, "machines.none", "panel machines")


def _blocks(sheet: Sheet) -> None:
    with panel("Last blocks", source="/api/v1/blocks"):
        table = LiveTable(
            [("Height", "number"), ("Found", ""), ("State", ""), ("Reward", "number wide"), ("By", "wide")],
            label="Last blocks found",
            empty=NO_BLOCK_YET,
        )
        sheet.bind("rows.recent_blocks", table.show)
