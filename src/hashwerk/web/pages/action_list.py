"""A list of things that can be answered with a button: alerts, orders."""

from __future__ import annotations

from typing import Any

from nicegui import ui

from hashwerk.web.pages.live_table import replace_prop


class ActionList(ui.element, component="action_list.js"):
    """Shows rows of the shared frame with their buttons; see ``action_list.js`` for what a row may hold.

    The buttons speak to the API from the browser, so that what stands before a command stands before them too.
    """

    def __init__(self, *, label: str, empty: str, can_show: bool = False) -> None:
        super().__init__()
        self._props["label"] = label
        self._props["empty"] = empty
        self._props["can-show"] = can_show
        self._props["rows"] = []

    def show(self, rows: list[dict[str, Any]]) -> None:
        """Show these rows."""
        replace_prop(self, "rows", rows)
