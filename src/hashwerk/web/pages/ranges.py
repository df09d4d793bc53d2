"""A chart whose span of time the reader chooses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

from hashwerk.web.history import RANGES, Range
from hashwerk.web.pages.live_table import replace_prop
from hashwerk.web.pages.sheet import Sheet, box, fixed


class RangedChart:
    """A chart with a switch between the ranges of the history; belongs to one page."""

    def __init__(
        self, sheet: Sheet, kind: str, label: str, ranges: Sequence[Range] = RANGES, first: Range = RANGES[0]
    ) -> None:
        self._sheet = sheet
        self._kind = kind
        self._buttons: dict[str, ui.element] = {}
        with box("div", "ranges").props(f'role=group aria-label="Span of {label}"'):
            for span in ranges:
                button = fixed("button", span.name).props("type=button")
                button.on("click", lambda name=span.name: self.choose(name))
                self._buttons[span.name] = button
        with box("div", "chart-box").props(f'role=img aria-label="{label}"'):
            self._chart = ui.echart({}, renderer="svg").classes("chart")
        self._shown: str | None = None
        self.choose(first.name)

    def choose(self, name: str) -> None:
        """Show another range."""
        if self._shown is not None:
            self._sheet.release(self._key(self._shown), self._draw)
        self._shown = name
        for other, button in self._buttons.items():
            button.props(f'aria-pressed="{str(other == name).lower()}"')
        self._sheet.bind(self._key(name), self._draw)

    def _key(self, name: str) -> str:
        return f"chart.{self._kind}.{name}"

    def _draw(self, options: dict[str, Any]) -> None:
        replace_prop(self._chart, "options", options)
