"""*Machine*: what is the truth about this one?"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from nicegui import ui

from hashwerk.errors import FleetError, StoreError
from hashwerk.site.fleet import FleetService
from hashwerk.web.board import Board, Frame
from hashwerk.web.machine_charts import history_chart
from hashwerk.web.machine_frames import machine_frame
from hashwerk.web.pages.live_table import replace_prop
from hashwerk.web.pages.machine_told import bound, history_panels, pools_panel, tell_panel
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import facts, page_shell, panel
from hashwerk.web.record_frames import history_frame

_REFRESH_S: Final = 2.0
_HISTORY: Final = 100
_NO_PAST: Final = "Nothing is kept of it yet: a moment of every machine is kept every ten minutes, for a day."


async def machine_page(board: Board, title: str, machine: str) -> None:
    """Build the page for one browser; ``machine`` is a key, a MAC address, a serial number or an IP address."""
    with page_shell(board, title, "Machine") as sheet:
        with box("p", "back"):
            fixed("a", "← Hall").props('href="/hall"')
        service = board.site.fleet
        try:
            if service is None:
                raise FleetError("no fleet is configured")
            key = service.machine(machine).id
        except FleetError as error:
            _unknown(str(error))
            return
        _build(sheet, key)
        watch = Watch(service, key, sheet)
        await watch.refresh()
        ui.timer(_REFRESH_S, watch.refresh)


def _unknown(reason: str) -> None:
    with box("section", "sentence"):
        fixed("p", f"{reason[:1].upper()}{reason[1:]}.", "words")
    fixed(
        "p",
        "A machine is named by its MAC address, its serial number or its present address. hashwerk fleet list names all of"
        " them; hashwerk fleet scan 10.0.0.0/24 finds those that are not known yet.",
        "lost",
    )


class Watch:
    """Keeps one open page about one machine up to date. Owned by the page."""

    def __init__(self, service: FleetService, key: str, sheet: Sheet) -> None:
        self._service = service
        self._key = key
        self._sheet = sheet
        self._frame: Frame = {}

    async def refresh(self) -> None:
        """Tell the page what changed."""
        try:
            machine = self._service.machine(self._key)
        except FleetError as error:
            self._show({"m.gone": f"{error}; what stands here is the last that was known of it."})
            return
        frame = machine_frame(machine, self._service.alerts(), self._service.view().at)
        try:
            commands = await self._service.commands(_HISTORY, key=self._key)
            frame |= history_frame(commands, await self._service.transitions(self._key, _HISTORY))
            past = await self._service.history(self._key)
            frame["m.past"] = history_chart(past, self._service.view().at)
            frame["m.past.state"], frame["m.past.none"] = ("", "") if past else ("none", _NO_PAST)
            frame["m.trouble"] = ""
        except StoreError as error:
            frame["m.trouble"] = f"The record cannot be read now: {error}"
        self._show(frame | {"m.gone": ""})

    def _show(self, frame: Frame) -> None:
        changes: dict[str, Any] = {
            name: value
            for name, value in frame.items()
            if name not in self._frame or self._frame[name] != value
        }
        self._frame |= changes
        self._sheet.apply(changes)


def _build(sheet: Sheet, key: str) -> None:
    with box("section", "sentence") as section:
        sheet.text("span", "m.glyph", "glyph").props("aria-hidden=true")
        sheet.text("p", "m.sentence", "words")
    sheet.state(section, "m.state", "sentence")
    for name in ("m.gone", "m.doubts", "m.complaints", "m.failure", "m.unbelieved"):
        sheet.text("p", name, "lost attention" if name != "m.unbelieved" else "lost")
    source = f"/api/v1/machines/{quote(key, safe='')}"
    with panel("Open alerts, oldest first", "alerts", source="/api/v1/fleet/alerts") as alerts:
        bound(sheet, "rows.m.alerts", [], "Open alerts of this machine", "")
    sheet.state(alerts, "m.alerts.state", "panel alerts")
    _truths(sheet, source)
    with box("div", "machine-columns"):
        with box("div", "stack"):
            _curve(sheet, source)
            _past(sheet, source)
        with box("div", "stack"):
            _identity(sheet, source)
            tell_panel(key)
            _body(sheet, source)
    pools_panel(sheet, source)
    history_panels(sheet, source, key)


def _truths(sheet: Sheet, source: str) -> None:
    with box("div", "truths"):
        with panel("Commanded", "truth commanded", source=f"{source}/commands"):
            sheet.text("p", "m.told", "figure")
            sheet.text("p", "m.told.at", "small")
            sheet.text("p", "m.told.deadline", "small attention")
            facts(sheet, [("Taken by", "m.lease"), ("Starts today", "m.starts"), ("Can be told", "m.can")])
        with panel("Reported by itself", "truth reported", source=source):
            sheet.text("p", "m.says", "figure number")
            sheet.text("p", "m.says.power", "small")
            facts(
                sheet,
                [
                    ("Says that it is", "m.says.work"),
                    ("Mode", "m.says.mode"),
                    ("Power limit", "m.says.limit"),
                    ("Should hash", "m.says.nominal"),
                    ("Hardware errors", "m.says.errors"),
                    ("Up for", "m.says.uptime"),
                    ("Last answer", "m.says.age"),
                ],
            )
        with panel("Measured", "truth measured", source=source):
            sheet.text("p", "m.is", "figure number")
            sheet.text("p", "m.is.band", "small")
            facts(
                sheet,
                [
                    ("Shares over", "m.is.window"),
                    ("Meter", "m.is.meter"),
                    ("Power counted with", "m.is.power"),
                    ("That is", "m.is.basis"),
                    ("Efficiency", "m.is.efficiency"),
                ],
            )


def _curve(sheet: Sheet, source: str) -> None:
    with panel("Power over hash rate", "curve", source=source):
        label = "Power over hash rate: published, learned on this site, and where the machine is now"
        with box("div", "chart-box").props(f'role=img aria-label="{label}"') as place:
            chart = ui.echart({}, renderer="svg").classes("chart")
        sheet.bind("m.chart", lambda options: replace_prop(chart, "options", options))
        sheet.state(place, "m.curve.state", "chart-box")
        with box("p", "legend") as legend:
            fixed("span", "published", "key key-nameplate")
            fixed("span", "learned on this site", "key key-learned")
            fixed("span", "now", "key key-now")
        sheet.state(legend, "m.curve.state", "legend")
        bound(
            sheet,
            "rows.m.curves",
            [
                ("Mode", ""),
                ("Power", "number"),
                ("Hash rate", "number"),
                ("Efficiency", "number wide"),
                (
                    "Per kelvin",
                    "number wide",
                    "How much more power a degree of inlet air costs, from 25 °C on.",
                ),
                ("Known from", ""),
            ],
            "Modes of this machine",
            "Nothing is published of this model, and nothing was learned yet: that takes a meter of its own.",
        )
        sheet.text("p", "m.learning", "small muted more")


def _past(sheet: Sheet, source: str) -> None:
    with panel("Power and temperature, last day", "past", source=f"{source}/history"):
        label = "Power and temperature of this machine over the last day"
        with box("div", "chart-box").props(f'role=img aria-label="{label}"') as place:
            chart = ui.echart({}, renderer="svg").classes("chart")
        sheet.bind("m.past", lambda options: replace_prop(chart, "options", options))
        sheet.state(place, "m.past.state", "chart-box")
        with box("p", "legend") as legend:
            for words, key in (
                ("power as believed", "key-believed"),
                ("says itself", "key-says"),
                ("its meter", "key-meter"),
                ("hottest chip", "key-chip"),
                ("inlet air", "key-inlet"),
            ):
                fixed("span", words, f"key {key}")
        sheet.state(legend, "m.past.state", "legend")
        sheet.text("p", "m.past.none", "small muted")


def _body(sheet: Sheet, source: str) -> None:
    with panel("Temperature, boards, fans", source=source):
        facts(sheet, [("Inlet air", "m.inlet"), ("Hottest chip", "m.chip"), ("Fans", "m.fans")])
        columns = [
            ("Board", ""),
            ("State", ""),
            ("Hash rate", "number"),
            ("Temperature", "number"),
            ("Chips", "number"),
        ]
        bound(sheet, "rows.m.boards", columns, "Hash boards", "It names no boards.")


def _identity(sheet: Sheet, source: str) -> None:
    with panel("Who and where", source=source):
        facts(
            sheet,
            [
                ("Model", "m.model"),
                ("Firmware", "m.firmware"),
                ("Place", "m.place"),
                ("Fed by", "m.wiring"),
                ("Group", "m.group"),
                ("Owner", "m.owner"),
                ("Address now", "m.address"),
                ("MAC address", "m.mac"),
                ("Serial number", "m.serial"),
                ("Mines as", "m.worker"),
                ("Driver", "m.driver"),
                ("Seen", "m.seen"),
            ],
            "stacked",
        )
        with box("div") as place:
            bound(sheet, "rows.m.findings", [("What was found about who it is", "prose")], "Findings", "")
        sheet.state(place, "m.findings.state", "panel-part")
