"""From the records to rows of tables: what happened, and who told which machine what, with what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hashwerk.web import words

if TYPE_CHECKING:
    from hashwerk.fleet.record import CommandRecord
    from hashwerk.web.history import LedgerEvent

Row = dict[str, Any]

_VERDICTS: Final = {
    "confirmed": ("● confirmed", "violet"),
    "claimed": ("○ only it says so", "muted"),
    "contradicted": ("▲ contradicted", "attention"),
    "open": ("◌ not known yet", "muted"),
}


def command_rows(records: Sequence[CommandRecord], names: Mapping[str, str]) -> list[Row]:
    """Return commands as rows that name their machine, with a way to its page; ``names`` by machine."""
    return [
        {
            "k": row["k"],
            "c": [
                row["c"][0],
                {
                    "t": names.get(record.key, record.key),
                    "h": record.key,
                    "u": f"/machine/{quote(record.key, safe='')}",
                },
                *row["c"][1:],
            ],
        }
        for record, row in ((record, command_row(record)) for record in records)
    ]


def command_row(record: CommandRecord) -> Row:
    """Return a command as a row: when, what, who and why, the answer, what was measured, the power, the effect."""
    verdict, colour = _VERDICTS.get(record.verdict or "open", (record.verdict or "", ""))
    if record.verdict is None and record.settled_at is not None:
        verdict, colour = "–", "muted"
    change = ""
    if record.before_w is not None and record.after_w is not None:
        change = f"{record.before_w:,.0f} → {record.after_w:,.0f} W"
    answer = record.outcome or "no answer yet"
    return {
        "k": record.id,
        "c": [
            {"e": record.at},
            record.command + (f" (attempt {record.attempt})" if record.attempt > 1 else ""),
            {"t": f"{record.who}: {record.why}", "h": f"order {record.order_id}, as {record.holder}"},
            {"t": answer, "h": record.message or ""},
            {"t": verdict, "c": colour},
            change or "–",
            record.effect or "",
        ],
    }


def event_rows(events: Sequence[LedgerEvent]) -> list[Row]:
    """Return the rows of what the mine says of itself, in the order given."""
    return [
        {
            "k": event.id,
            "c": [{"e": event.time}, event.kind.replace("_", " "), event.message, _details(event)],
        }
        for event in events
    ]


def _details(event: LedgerEvent) -> str:
    known = ((name, value) for name, value in event.details.items() if value is not None)
    return ", ".join(
        f"{name.replace('_', ' ')} {words.short_hash(value) if isinstance(value, str) and len(value) == 64 else value}"
        for name, value in known
    )
