"""*Energy*: when should I run?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui

from hashwerk.web.board import Board
from hashwerk.web.pages.action_list import ActionList
from hashwerk.web.pages.live_table import Column, LiveTable, replace_prop
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import copied_line, page_shell, panel

SOURCE: Final = "/api/v1/energy"
HOURS_SOURCE: Final = "/api/v1/energy/hours"
PRICE_LINES: Final = '[[feed]]\nkind = "energy-charts"\nname = "day-ahead"\nzone = "DE-LU"'
CARBON_LINES: Final = '[[feed]]\nkind = "energy-charts-carbon"\nname = "carbon"\ncountry = "de"'
OFFLINE_LINES: Final = '[[feed]]\nkind = "typical"\nname = "typical day"\nzone = "DE-LU"'
HASHPRICE_LINES: Final = '[[feed]]\nkind = "exchange"\nname = "coin"\ncurrency = "EUR"'
DIFFICULTY_LINES: Final = "[dispatch.hashprice]\ndifficulty = 126.4e12"
TARIFF_LINES: Final = '[energy.tariff]\nname = "my-tariff.toml"'
_CHART_WORDS: Final = (
    "Price, carbon, plan by group and power under each other over time; the same stands in the table below"
)


class PowerBar(ui.element, component="power_bar.js"):
    """Power now by source, with the set-point."""

    def __init__(self, *, label: str) -> None:
        super().__init__()
        self._props["label"] = label

    def show(self, bar: dict[str, Any]) -> None:
        """Show these parts."""
        replace_prop(self, "bar", bar)


class EnergyOrder(ui.element, component="energy_order.js"):
    """An order to reduce power: preview first, then the order."""


class EnergyChart:
    """A chart of energy in the height it needs; belongs to one page."""

    def __init__(self, sheet: Sheet, name: str, label: str) -> None:
        with box("div", "chart-box energy-chart").props(f'role=img aria-label="{label}"') as place:
            chart = ui.echart({}, renderer="svg").classes("chart")
        sheet.state(place, "energy.hatch", "chart-box energy-chart")
        sheet.bind(f"chart.energy.{name}.height", lambda style: chart.style(replace=style))
        sheet.bind(f"chart.energy.{name}", lambda options: replace_prop(chart, "options", options))


def energy_page(board: Board, title: str) -> None:
    """Build the page for one browser."""
    with page_shell(board, title, "Energy") as sheet:
        if board.site.energy is None:
            _no_energy(has_fleet=board.site.fleet is not None)
            return
        energy_sentence(sheet)
        sheet.text("p", "energy.stance", "lost")
        sheet.text("p", "energy.dry", "lost")
        with box("div", "tiles energy-tiles"):
            _price(sheet)
            margin_tile(sheet)
            _power(sheet)
            _clean_tile(sheet)
        _plan(sheet)
        _groups(sheet)
        with box("div", "columns energy-columns"):
            _orders(sheet)
            _bill(sheet)
        with box("div", "columns"):
            _feeds(sheet)
            with box("div", "stack"):
                _clean(sheet)
                _backtest()
                _assumptions(sheet)


def energy_sentence(sheet: Sheet) -> None:
    """Show what is happening and why, and whether it is real."""
    with box("section", "sentence energy-sentence") as section:
        sheet.text("span", "energy.glyph", "glyph").props("aria-hidden=true")
        sheet.text("p", "energy.sentence", "words")
    sheet.state(section, "energy.state", "sentence energy-sentence")
    sheet.text("p", "energy.typical", "notice hatched slim")
    sheet.text("p", "energy.simulation", "notice hatched slim")


def _no_energy(*, has_fleet: bool) -> None:
    with box("section", "sentence"):
        fixed("span", "○", "glyph").props("aria-hidden=true")
        fixed("p", "Nothing is planned: no machine here runs by the price of its energy yet.", "words")
    with panel("Energy", "hall-empty open"):
        if has_fleet:
            fixed("p", "Plans are switched off. Set this in the site's file, and start anew:")
            copied_line("Plans", "[dispatch]\nenabled = true")
        else:
            fixed("p", "Plans need machines to plan for. Add these lines to the site's file, and start anew:")
            copied_line("Machines", '[fleet]\nranges = ["10.0.0.0/24"]')
        copied_line("Prices", PRICE_LINES)
        copied_line("Carbon", CARBON_LINES)
        fixed(
            "p",
            "Until controls = true stands in [dispatch] and control = true in [fleet], plans are shown and nothing is commanded.",
            "small muted",
        )


def figure(sheet: Sheet, key: str) -> None:
    """Show a figure and, smaller, its unit."""
    with box("p", "figure energy-figure"):
        sheet.text("span", key, "number")
        sheet.text("span", f"{key}.unit", "unit")


def price_lines(sheet: Sheet) -> None:
    """Show the price now, and what is ahead."""
    figure(sheet, "energy.price")
    sheet.text("p", "energy.price.fees", "small")
    sheet.text("p", "energy.price.market", "small")
    sheet.text("p", "energy.price.next", "small")
    sheet.text("p", "energy.price.source", "small muted")


def no_price(sheet: Sheet) -> None:
    """Say how prices come here, as long as there are none."""
    with box("div") as hint:
        fixed("p", "No price feed. Add one to the site's file, and start anew:", "small")
        copied_line("Open, no key", PRICE_LINES)
        copied_line("Offline", OFFLINE_LINES)
    sheet.state(hint, "energy.price.none", "hall-empty hint")


def _price(sheet: Sheet) -> None:
    with panel("Price now", "tile", source=SOURCE) as section:
        price_lines(sheet)
    sheet.state(section, "energy.price.state", "panel tile")


def margin_tile(sheet: Sheet) -> None:
    """Show revenue less cost, and a click away how it is computed."""
    with panel("Margin now", "tile", source=SOURCE) as section:
        figure(sheet, "energy.margin")
        sheet.text("p", "energy.margin.revenue", "small")
        sheet.text("p", "energy.margin.cost", "small")
        with box("details", "how"):
            fixed("summary", "How this is computed")
            with box("p", "small"):
                fixed("span", "Hashprice ")
                sheet.text("b", "energy.hashprice")
            sheet.text("p", "energy.hashprice.from", "small muted")
            fixed(
                "p",
                "Revenue is hash rate times hashprice; cost is power times the price of a MWh more.",
                "small muted",
            )
        with box("div") as hint:
            fixed("p", "No hashprice: what a hash earns is not known. Add to the site's file:", "small")
            copied_line("Coin's price", HASHPRICE_LINES)
            copied_line("Difficulty", DIFFICULTY_LINES)
            fixed("p", "with today's difficulty of the network, where no feed tells it.", "small muted")
        sheet.state(hint, "energy.hashprice.none", "hall-empty hint")
    sheet.state(section, "energy.margin.state", "panel tile")


def _power(sheet: Sheet) -> None:
    with panel("Power now", "tile", source="/api/v1/energy/history"):
        power_lines(sheet)


def power_lines(sheet: Sheet) -> None:
    """Show the power now by source, with the set-point."""
    sheet.text("p", "energy.power", "figure number")
    sheet.bind("bar.energy.power", PowerBar(label="Power now by source").show)
    sheet.text("p", "energy.power.setpoint", "small key key-setpoint")
    sheet.text("p", "energy.power.by", "small muted")


def _clean_tile(sheet: Sheet) -> None:
    with panel("Clean, hour by hour", "tile", source=SOURCE) as section:
        sheet.text("p", "energy.clean", "figure number")
        sheet.text("p", "energy.clean.free", "small")
        sheet.text("p", "energy.carbon", "small")
        sheet.text("p", "energy.carbon.source", "small muted")
    sheet.state(section, "energy.clean.state", "panel tile")


def _plan(sheet: Sheet) -> None:
    with panel("Price, carbon, plan, power", "energy-plan", source="/api/v1/energy/history"):
        no_price(sheet)
        with box("div") as hint:
            fixed(
                "p",
                "No carbon feed: plans do not know how clean the grid is. Add one to the site's file:",
                "small",
            )
            copied_line("Open, no key", CARBON_LINES)
        sheet.state(hint, "energy.carbon.none", "hall-empty hint")
        sheet.text("p", "energy.unknown", "small attention")
        EnergyChart(sheet, "whole", _CHART_WORDS)
        _legend()
        sheet.text("p", "energy.plan", "small")
        sheet.text("p", "energy.plan.remarks", "small attention")
        hint = fixed(
            "p",
            "There is no plan yet: it is made as soon as price, hashprice and machines are known.",
            "small muted",
        )
        sheet.state(hint, "energy.plan.none", "small muted hint")
        with box("details", "how"):
            fixed("summary", "The plan hour by hour, as a table")
            with box("div", "tall"):
                _bound(
                    sheet,
                    "rows.energy.hours",
                    [
                        ("From", ""),
                        ("Price", "number", "Of the feed, a MWh"),
                        ("All in", "number", "What a MWh more costs at the meter, taxes and fees included"),
                        ("Carbon g/kWh", "number"),
                        ("Machines on", "number"),
                        ("Power", "number"),
                    ],
                    "The plan hour by hour",
                    "There is no plan.",
                )


def _legend() -> None:
    with box("p", "legend"):
        fixed("span", "known, measured", "key key-known")
        fixed("span", "forecast, planned", "key key-dashed")
        fixed("span", "set-point", "key key-setpoint")
        fixed("span", "below zero", "key key-below")
        fixed("span", "machines on", "key key-strip")
        fixed("span", "clean", "key key-clean")
        fixed("span", "fossil", "key key-fossil")
        fixed("span", "grid mix", "key key-mix")
        fixed("span", "night, 22 to 6", "key key-night")


def _groups(sheet: Sheet) -> None:
    with panel("Why each group runs or not", "energy-groups", source=SOURCE):
        _bound(
            sheet,
            "rows.energy.groups",
            [
                ("Group", "name"),
                ("Now", ""),
                ("On as planned", "number"),
                ("Power", "number", "As reported or measured of its machines"),
                ("Planned", "number"),
                ("Sleeps above", "number", "The price of energy at which its best mode earns nothing more"),
                ("Why", "prose"),
            ],
            "Groups of like machines, what they do and why",
            "No machine is known yet. The page Hall says how machines are found.",
            sortable=True,
        )


def _orders(sheet: Sheet) -> None:
    with panel("Orders to reduce power", "energy-orders hall-side", source="/api/v1/energy/orders"):
        with box("div") as form:
            EnergyOrder()
        sheet.state(form, "energy.order.state", "order-form")
        hint = fixed("p", "Orders can be given here once plans are carried out: see above.", "small muted")
        sheet.state(hint, "energy.controls", "small muted hint")
        sheet.text("p", "energy.laggards", "attention small")
        orders = ActionList(label="Orders in force or ahead", empty="No order is in force.")
        sheet.bind("rows.energy.open", orders.show)
        with box("details", "how"):
            fixed("summary", "All orders and what they delivered")
            _bound(
                sheet,
                "rows.energy.orders",
                [
                    ("From", ""),
                    ("Source", ""),
                    ("Order", ""),
                    ("State", ""),
                    ("Target", "number"),
                    ("Delivered", "number"),
                    ("For", "number"),
                    ("Settlement", "prose"),
                ],
                "Orders, the newest first",
                "No order has come yet: by OpenADR, Modbus, MQTT, a file, the API or this page.",
            )


def _bill(sheet: Sheet) -> None:
    with panel("Bill of the month so far", source=SOURCE):
        with box("div") as known:
            figure(sheet, "energy.bill")
            sheet.text("p", "energy.bill.tariff", "small")
            sheet.text("p", "energy.bill.peak", "small")
            _bound(
                sheet,
                "rows.energy.bill",
                [("", "prose"), ("Quantity", "number"), ("Amount", "number")],
                "Lines of the bill",
                "No line yet.",
            )
            sheet.text("p", "energy.bill.missing", "small attention")
        sheet.state(known, "energy.bill.shown", "part")
        with box("div") as hint:
            fixed(
                "p",
                "No tariff: energy is counted at the market's price and no bill is made. Name one in the site's file:",
                "small",
            )
            copied_line("Tariff", TARIFF_LINES)
        sheet.state(hint, "energy.bill.none", "hall-empty hint")


def _clean(sheet: Sheet) -> None:
    with panel("How clean it was", source=SOURCE):
        with box("div") as known:
            sheet.text("p", "energy.clean.intensity", "figure number")
            sheet.text("p", "energy.clean.span", "small")
            sheet.text("p", "energy.clean.free", "small")
            sheet.text("p", "energy.clean.rule", "small muted")
        sheet.state(known, "energy.clean.shown", "part")
        hint = fixed(
            "p",
            "No hour is over yet of which power and sources are known. The score comes with the first.",
            "small muted",
        )
        sheet.state(hint, "energy.clean.none", "small muted hint")
        with box("details", "how"):
            fixed("summary", "By which rule, and since when")
            _bound(
                sheet,
                "rows.energy.clean.rules",
                [
                    ("Holds from", ""),
                    ("Declared", ""),
                    ("Rule", ""),
                    ("What it says", "prose"),
                    ("Factors", ""),
                ],
                "Rules by which energy is attributed to sources, the newest first",
                "No rule is declared yet.",
            )
        with box("details", "how"):
            fixed("summary", "Hour by hour")
            with box("div", "tall"):
                _bound(
                    sheet,
                    "rows.energy.clean.hours",
                    [
                        ("Hour", ""),
                        ("kWh", "number"),
                        ("By source", "prose"),
                        ("g/kWh", "number", "By location, own plants by the rule's factors"),
                        ("Rule", ""),
                    ],
                    "Hours that are over and whose energy they were, the newest first",
                    "No hour is over yet.",
                )
        with box("p", "small"):
            fixed("span", "Every hour of the month: ")
            fixed("a", "CSV").props(f'href="{HOURS_SOURCE}?format=csv" download')
            fixed("span", " ")
            fixed("a", "JSON").props(f'href="{HOURS_SOURCE}"')


def _feeds(sheet: Sheet) -> None:
    with panel("Feeds and meters", "energy-feeds", source=SOURCE):
        columns = [
            ("Name", "name"),
            ("State", ""),
            ("Since", ""),
            ("What it tells", "prose"),
            ("Plans use instead", "prose"),
        ]
        _bound(
            sheet,
            "rows.energy.feeds",
            columns,
            "Feeds",
            "No feed is configured. Prices and carbon come by [[feed]] in the site's file.",
        )
        _bound(
            sheet,
            "rows.energy.meters",
            columns,
            "Meters",
            "No meter is configured: power is what machines report. Add [[meter]] to the site's file to measure it.",
        )


def _backtest() -> None:
    with panel("What would another policy have earned?", "open"):
        fixed("p", "Real history through the same limits, against always on and perfect foresight:", "small")
        copied_line("Command", "hashwerk backtest site.toml --from 2025-01-01 --to 2026-01-01 --data FOLDER")


def _assumptions(sheet: Sheet) -> None:
    with panel("Assumed, not known", source=SOURCE) as section:
        _bound(sheet, "rows.energy.assumptions", [("", "prose")], "Assumptions", "Nothing.")
    sheet.state(section, "energy.assumptions.state", "panel")


def _bound(
    sheet: Sheet, key: str, columns: Sequence[Column], label: str, empty: str, *, sortable: bool = False
) -> None:
    sheet.bind(key, LiveTable(columns, label=label, empty=empty, sortable=sortable).show)
