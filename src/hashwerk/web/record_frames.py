"""From the records to rows of tables: what happened, and who told which machine what, with what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from hashwerk.fleet.orders import OrderState
from hashwerk.units import format_duration
from hashwerk.web import words
from hashwerk.web.fleet_frames import task_words

if TYPE_CHECKING:
    from hashwerk.fleet.orders import Order
    from hashwerk.fleet.record import CommandRecord, TransitionRecord
    from hashwerk.web.history import LedgerEvent

Row = dict[str, Any]

#: How commands begin in the record, and what they are called where one is chosen.
COMMANDS: Final = {
    "sleep": "sleep",
    "wake": "wake",
    "change to mode": "change mode",
    "draw no more": "power limit",
    "reboot": "reboot",
    "turn its light": "light",
    "use pools": "pools",
    "run its fans": "fans",
    "take over": "take-over",
    "take for": "maintenance",
    "give back": "end of maintenance",
    "forget it": "forgotten",
    "abort": "abort",
    "let the order": "go on",
    "put back": "put back",
    "acknowledge": "acknowledge",
    "silence": "silence",
    "take in": "places",
}
#: What came of commands, as `CommandQuery.result` has it.
RESULTS: Final = {
    "confirmed": "● confirmed",
    "claimed": "○ only it says so",
    "contradicted": "▲ contradicted",
    "open": "◌ not known yet",
    "refused": "✕ not accepted",
    "unmeasured": "– nothing to measure",
}
#: Since when: words, and seconds.
SPANS: Final = {
    "hour": ("an hour ago", 3_600.0),
    "day": ("a day ago", 86_400.0),
    "week": ("a week ago", 7 * 86_400.0),
    "month": ("30 days ago", 30 * 86_400.0),
}

#: Who saw the power after a command.
_SEEN_BY: Final = {"meter": " by its meter", "reported": " as it says"}

#: Answers after which there is nothing to measure.
_NOT_ACCEPTED: Final = ("refused", "unsupported", "not sent")

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
                _subject(record.key, names),
                *row["c"][1:],
                {"t": "command", "u": f"/api/v1/fleet/commands/{record.id}", "c": "small"},
            ],
        }
        for record, row in ((record, command_row(record)) for record in records)
    ]


def _subject(key: str, names: Mapping[str, str]) -> Row | str:
    """Return what a record is about: a machine with a way to its page, or an order, an alert's breaker, the site."""
    if not key.startswith(("mac:", "serial:")):
        return key
    return {"t": names.get(key, key), "h": key, "u": f"/machine/{quote(key, safe='')}"}


def command_row(record: CommandRecord) -> Row:
    """Return a command as a row: when, what, who and why, the answer, what was measured, the power, the effect."""
    verdict, colour = _VERDICTS.get(record.verdict or "open", (record.verdict or "", ""))
    if record.verdict is None and record.settled_at is not None:
        verdict, colour = "–", "muted"
    if record.outcome in _NOT_ACCEPTED:
        verdict, colour = RESULTS["refused"], "attention"
    change = ""
    if record.before_w is not None and record.after_w is not None:
        seen_by = _SEEN_BY.get(record.basis or "", "")
        change = f"{record.before_w:,.0f} → {record.after_w:,.0f} W{seen_by}"
    answer = record.outcome or "no answer yet"
    return {
        "k": record.id,
        "c": [
            {"e": record.at},
            record.command + (f" (attempt {record.attempt})" if record.attempt > 1 else ""),
            {
                "t": f"{record.who}: {record.why}",
                "h": f"order {record.order_id}, as {record.holder}"
                if record.order_id
                else f"as {record.holder}",
            },
            {"t": answer, "h": record.message or ""},
            {"t": verdict, "c": colour},
            change or "–",
            _effect(record),
        ],
    }


def _effect(record: CommandRecord) -> str:
    """Return what came of a command, and how long that took: a machine says soon what its power follows later."""
    text = (record.effect or "").removeprefix(f"{record.command}: ")
    if not text or record.settled_at is None or record.settled_at <= record.at:
        return text
    return f"{text}, {format_duration(max(0.0, record.settled_at - record.at))} after it was told"


def history_frame(
    commands: Sequence[CommandRecord], transitions: Sequence[TransitionRecord]
) -> dict[str, Any]:
    """Return what a machine was told and what came of it, and how its state changed; the newest first."""
    return {
        "rows.m.commands": [command_row(record) for record in commands],
        "rows.m.transitions": [
            {
                "k": record.id,
                "c": [{"e": record.at}, f"{record.was.value} → {record.now.value}", record.cause],
            }
            for record in transitions
        ],
    }


def order_rows(orders: Sequence[Order]) -> list[Row]:
    """Return orders as rows: when, what, who and why, how it stands, how many were told and left out."""
    return [
        {
            "k": order.spec.id,
            "c": [
                {"e": order.spec.at},
                task_words(order) + (" (dry run: nothing is sent)" if order.spec.dry_run else ""),
                f"{order.spec.who}: {order.spec.why}",
                {
                    "t": f"▲ {order.state.value}" if order.state is OrderState.STOPPED else order.state.value,
                    "c": "attention" if order.state is OrderState.STOPPED else "",
                },
                {
                    "t": f"{len(order.machines):,} told",
                    "s": len(order.machines),
                    "u": f"/log?order={quote(order.spec.id, safe='')}",
                },
                {"t": f"{len(order.skips):,} left out", "s": len(order.skips)},
                order.text,
                {"t": "order", "u": f"/api/v1/fleet/orders/{quote(order.spec.id, safe='')}", "c": "small"},
            ],
        }
        for order in orders
    ]


def told_frame(counts: Mapping[tuple[str, str], int]) -> dict[str, str]:
    """Return the answer to who did what in the last day, and what came of it, from counts by giver and result."""
    givers, results = Counter[str](), Counter[str]()
    for (who, result), count in counts.items():
        givers[who] += count
        results[result] += count
    if not givers:
        return {
            "log.state": "",
            "log.glyph": "○",
            "log.sentence": "No machine was told anything in the last 24 hours.",
            "log.results": "",
        }
    first, *others = givers.most_common()
    named = [f"{first[0]} gave {_many(first[1], 'command')}"]
    named += [f"{who} {count:,}" for who, count in others[:3]]
    if len(others) > 3:
        named.append(f"{len(others) - 3:,} others {sum(count for _, count in others[3:]):,}")
    wrong = results["contradicted"] + results["refused"]
    return {
        "log.state": "attention" if wrong else "",
        "log.glyph": "▲" if wrong else "●",
        "log.sentence": f"In the last 24 hours {_listed(named)}.",
        "log.results": "Of these "
        + _listed([f"{results[name]:,} {words}" for name, words in _CAME_OF_IT.items() if results[name]])
        + ".",
    }


_CAME_OF_IT: Final = {
    "contradicted": "contradicted by what was measured",
    "refused": "not accepted",
    "confirmed": "confirmed by measurement",
    "claimed": "borne out by the machine's own word only",
    "open": "not settled yet",
    "unmeasured": "of a kind that nothing measures",
}


def fitting_words(fitting: int, shown: int, *, narrowed: bool) -> str:
    """Return how many commands there are, and how many of them stand here."""
    what = _many(fitting, "command") + (" that fits" if fitting == 1 else " that fit") * narrowed
    return what if shown == fitting else f"{shown:,} of {what}"


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _listed(parts: Sequence[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


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
