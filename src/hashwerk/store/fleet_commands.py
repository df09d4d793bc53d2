"""Reading the record of commands: which of them, how many of each giver and result.

Conditions are made of fixed text only; what is looked for goes in as parameters.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

import msgspec

from hashwerk.fleet.record import CommandQuery, CommandRecord

#: What came of a command, in one word; `CommandQuery.result` is one of these.
_RESULT: Final = (
    "CASE WHEN outcome IS NOT NULL AND outcome <> 'accepted' THEN 'refused' WHEN verdict IS NOT NULL THEN verdict"
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
