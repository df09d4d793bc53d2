"""A table that is patched in place once a second, sorted and filtered in the browser."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nicegui import ui

Column = tuple[str, str] | tuple[str, str, str]


class LiveTable(ui.element, component="live_table.js"):
    """Shows rows of the shared frame; see ``live_table.js`` for what a cell may hold.

    ``columns`` are (heading, class) or (heading, class, explanation); ``number`` sets figures right.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        *,
        label: str,
        empty: str,
        sortable: bool = False,
        searchable: str | None = None,
    ) -> None:
        super().__init__()
        self._props["columns"] = [
            {"t": column[0], "c": column[1], "h": column[2] if len(column) > 2 else None}
            for column in columns
        ]
        self._props["label"] = label
        self._props["empty"] = empty
        self._props["sortable"] = sortable
        if searchable is not None:
            self._props["searchable"] = searchable
        self._props["rows"] = []

    def show(self, rows: list[dict[str, Any]]) -> None:
        """Show these rows."""
        replace_prop(self, "rows", rows)


def replace_prop(element: ui.element, name: str, value: Any) -> None:
    """Set a prop to a value that is shared by all pages and never changed in place.

    NiceGUI would wrap every nested list and dictionary to watch it for changes: for 200 rows and each open
    page that costs more than everything else on the page.
    """
    dict.__setitem__(element.props, name, value)
    element.update()
