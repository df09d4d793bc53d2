"""On *Machine*: what it can be told, what it was told and what came of it, and the pools that it has."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hashwerk.web.pages.action_list import ActionList
from hashwerk.web.pages.live_table import LiveTable
from hashwerk.web.pages.sheet import Sheet, box, fixed
from hashwerk.web.pages.shell import panel


def tell_panel(key: str) -> None:
    """Show what a machine can be told on its own page."""
    with panel("Tell it", source="/api"):
        tell = ActionList(label="What this machine can be told here", empty="")
        why = "by hand on its page"
        light = {"command": "locate", "machines": [key], "why": why}
        hold = f"machines/{quote(key, safe='')}/hold"
        tell.show(
            [
                _deed("Light", "by which it is found in the hall", [
                    ("On", "fleet/commands", light, "Told: its light goes on."),
                    ("Off", "fleet/commands", light | {"on": False}, "Told: its light goes off."),
                ]),
                _deed("Maintenance", "while it is taken nobody else tells it anything", [
                    ("Take it", hold, {"why": why}, "Taken for maintenance."),
                    ("Give it back", hold, {"release": True, "why": why}, "Given back."),
                ]),
                _deed("Sold or scrapped", "once it does not answer it can be let go of", [
                    ("Forget it", f"machines/{quote(key, safe='')}/forget", {"why": why}, "Forgotten."),
                ]),
            ]
        )  # fmt: skip
        with box("p", "more"):
            link = fixed("a", "Sleep, wake, mode, reboot: on Hall, with a preview")
            link.props(f'href="/hall?select={quote(key, safe="")}"')


def _deed(title: str, text: str, actions: list[tuple[str, str, dict[str, Any], str]]) -> dict[str, Any]:
    return {
        "k": title,
        "glyph": "",
        "title": title,
        "text": text,
        "machines": [],
        "actions": [
            {"t": label, "path": path, "body": body, "done": done} for label, path, body, done in actions
        ],
    }


def pools_panel(sheet: Sheet, source: str) -> None:
    """Show the pools as the machine has them."""
    with panel("Pools as it has them", source=source):
        columns = [
            ("Slot", "number"),
            ("URL", ""),
            ("User", ""),
            ("State", ""),
            ("Accepted", "number"),
            ("Rejected", "number"),
        ]
        bound(sheet, "rows.m.pools", columns, "Pools", "It names no pool. hashwerk fleet pools writes them.")


def history_panels(sheet: Sheet, source: str, key: str) -> None:
    """Show what it was told and what came of it, and how its state changed."""
    with panel("What it was told, and what was measured", "tall cards", source=f"{source}/commands"):
        sheet.text("p", "m.trouble", "attention")
        bound(
            sheet,
            "rows.m.commands",
            [
                ("Time", ""),
                ("Command", "prose"),
                ("Who and why", "prose"),
                ("It answered", ""),
                ("Measured", ""),
                ("Power", "number"),
                ("Effect", "prose muted"),
            ],
            "Commands, newest first",
            "It was never told anything.",
        )
        with box("p", "more"):
            link = fixed("a", "All of it, to look through")
            link.props(f'href="/log?machine={quote(key, safe="")}"')
    with panel("How its state changed", "tall cards", source=f"{source}/transitions"):
        columns = [("Time", ""), ("State", ""), ("Cause", "prose")]
        bound(
            sheet, "rows.m.transitions", columns, "Changes of state, newest first", "Nothing has changed yet."
        )


def bound(sheet: Sheet, key: str, columns: list[Any], label: str, empty: str) -> None:
    """Show the rows of a key in a table."""
    sheet.bind(key, LiveTable(columns, label=label, empty=empty).show)
