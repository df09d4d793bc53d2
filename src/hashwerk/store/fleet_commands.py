"""The record of commands: written as orders go on and effects are seen, read by whatever is asked for.

Conditions are made of fixed text only; what is looked for goes in as parameters.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from hashwerk.fleet.commands import Command
from hashwerk.fleet.effects import NO_POWER
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.limits import words
from hashwerk.fleet.measure import Effect, Verdict
from hashwerk.fleet.orders import Answered, GaveUp, Missed, OrderEvent, OrderSpec, Sent, Verified
from hashwerk.fleet.record import CommandQuery, CommandRecord, Deed, Unsettled

#: What came of a command, in one word; `CommandQuery.result` is one of these.
_RESULT: Final = (
    "CASE WHEN outcome IN ('refused', 'unsupported', 'not sent') THEN 'refused' WHEN verdict IS NOT NULL THEN verdict"
    " WHEN settled_at IS NULL THEN 'open' ELSE 'unmeasured' END"
)
_CONDITIONS: Final = {
    "keys": "key IN (SELECT value FROM json_each(:keys))",
    "order_id": "order_id = :order_id",
    "who": "(instr(lower(who), lower(:who)) OR instr(lower(why), lower(:who)))",
    "command": "substr(command, 1, length(:command)) = :command",
    "result": f"{_RESULT} = :result",
    "since": "at >= :since",
    "until": "at < :until",
}
_NAMES: Final = ", ".join(CommandRecord.__struct_fields__)


def read_commands(
    connection: sqlite3.Connection, query: CommandQuery, limit: int, before: int | None
) -> list[CommandRecord]:
    """Return the newest commands that fit, the newest first; ``before`` is the id of the one after them."""
    where, values = _where(query)
    rows = connection.execute(
        f"SELECT {_NAMES} FROM commands WHERE {where} AND (:before IS NULL OR id < :before)"  # noqa: S608
        " ORDER BY id DESC LIMIT :limit",
        values | {"before": before, "limit": limit},
    )
    names = CommandRecord.__struct_fields__
    return [CommandRecord(**dict(zip(names, row, strict=True))) for row in rows]


def count_commands(connection: sqlite3.Connection, query: CommandQuery) -> dict[tuple[str, str], int]:
    """Return how many commands fit, by who gave them and what came of them."""
    where, values = _where(query)
    rows = connection.execute(
        f"SELECT who, {_RESULT}, count(*) FROM commands WHERE {where} GROUP BY 1, 2",  # noqa: S608
        values,
    )
    return {(who, result): count for who, result, count in rows}


def _where(query: CommandQuery) -> tuple[str, dict[str, Any]]:
    values = {name: value for name, value in msgspec.structs.asdict(query).items() if value is not None}
    where = " AND ".join(_CONDITIONS[name] for name in values) or "1"
    if query.keys is not None:
        values["keys"] = msgspec.json.encode(query.keys).decode()
    return where, values


def note_command(connection: sqlite3.Connection, order: OrderSpec, event: OrderEvent) -> None:
    """Add what an order's event says of a command."""
    match event:
        case Sent():
            _insert(connection, order, event, event.command)
        case Missed() if event.unsent is not None:
            _insert(connection, order, event, event.unsent, outcome="not sent", effect=event.reason)
        case Answered():
            answer = event.outcome
            _amend(connection, order.id, event.key, outcome=answer.kind.value, message=answer.message)
        case Verified() if event.told:
            _verify(connection, order.id, event)
        case Missed() | GaveUp():
            _amend(connection, order.id, event.key, effect=event.reason, settled_at=event.at)
        case _:
            return


def _verify(connection: sqlite3.Connection, order_id: str, event: Verified) -> None:
    """Add whether it did as told. What it then draws is seen later, unless nothing of it shows in its power."""
    verdict, text = event.effect.verdict, event.effect.text
    values: dict[str, object] = {
        "verdict": None if verdict is Verdict.OPEN else verdict.value,
        "effect": text,
    }
    if verdict is Verdict.CONTRADICTED or not event.awaits_power:
        values["settled_at"] = event.at
    if event.effect.after_w is not None:
        values |= {"before_w": event.effect.before_w, "after_w": event.effect.after_w}
    _amend(connection, order_id, event.key, **values)
    connection.execute(  # what was found out before stays said
        "UPDATE commands SET effect = effect || '; ' || ? WHERE ? AND settled_at IS NOT NULL AND after_w IS NULL"
        " AND id = (SELECT max(id) FROM commands WHERE order_id = ? AND key = ?)",
        (NO_POWER, event.awaits_power and "settled_at" not in values, order_id, event.key),
    )


def note_effect(
    connection: sqlite3.Connection, command: Unsettled, effect: Effect, settled_at: float | None
) -> None:
    """Add what was seen of a command."""
    verdict = None if effect.verdict is Verdict.OPEN else effect.verdict.value
    connection.execute(
        "UPDATE commands SET verdict = coalesce(?, verdict), effect = ?, before_w = ?, after_w = ?, basis = ?,"
        " settled_at = ? WHERE id = (SELECT max(id) FROM commands WHERE order_id = ? AND key = ? AND at = ?)",
        (
            verdict,
            effect.text,
            effect.before_w,
            effect.after_w,
            None if effect.basis is None else effect.basis.value,
            settled_at,
            command.order_id,
            command.key,
            command.at,
        ),
    )


def note_deed(connection: sqlite3.Connection, deed: Deed) -> None:
    """Add what somebody did. It was done as it was said, so nothing of it is open."""
    connection.execute(
        "INSERT INTO commands (at, order_id, key, who, why, holder, command, attempt, outcome, effect, settled_at)"
        " VALUES (?,?,?,?,?,?,?,1,'done',?,?)",
        (
            deed.at,
            deed.order_id,
            deed.subject,
            deed.who,
            deed.why,
            deed.holder,
            deed.what,
            deed.effect,
            deed.at,
        ),
    )


def unsettled_commands(connection: sqlite3.Connection, since: float) -> list[Unsettled]:
    """Return the commands since a moment that have no last word, the oldest first."""
    rows = connection.execute(
        "SELECT order_id, key, at FROM commands WHERE settled_at IS NULL AND at >= ?"
        " AND (outcome IS NULL OR outcome IN ('accepted', 'unanswered')) ORDER BY id",
        (since,),
    )
    return [Unsettled(*row) for row in rows]


def _insert(
    connection: sqlite3.Connection,
    order: OrderSpec,
    event: Sent | Missed,
    command: Command,
    *,
    outcome: str | None = None,
    effect: str | None = None,
) -> None:
    connection.execute(
        "INSERT INTO commands (at, order_id, key, who, why, holder, command, attempt, outcome, effect)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        (
            event.at,
            order.id,
            event.key,
            order.who,
            order.why,
            order.holder.name.lower(),
            words(command),
            event.attempt,
            outcome,
            effect,
        ),
    )


def _amend(connection: sqlite3.Connection, order_id: str, key: MachineKey, **values: object) -> None:
    columns = ", ".join(f"{name} = ?" for name in values)
    connection.execute(
        f"UPDATE commands SET {columns} WHERE id ="  # noqa: S608 - names of our own
        " (SELECT max(id) FROM commands WHERE order_id = ? AND key = ?)",
        (*values.values(), order_id, key),
    )
