"""The durable record of the fleet: machines, orders and everything that happened to them, commands, alerts.

It is a file of its own, because the ledger has one writer, and that is the process that takes shares; this one belongs to the
process that commands machines. An order's events are on disk before anything they speak of is sent.

Resource handling: one connection, used by one thread at a time; every call is one transaction, synced when it returns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from hashwerk.fleet.alerts import Alert, Silence
from hashwerk.fleet.identity import MachineKey
from hashwerk.fleet.lease import Lease
from hashwerk.fleet.measure import Effect
from hashwerk.fleet.orders import Opened, Order, OrderEvent, OrderSpec, fold
from hashwerk.fleet.place import Placement
from hashwerk.fleet.record import (
    CommandQuery,
    CommandRecord,
    Deed,
    HistoryPoint,
    MachineRecord,
    TransitionRecord,
    Unsettled,
)
from hashwerk.fleet.states import State, Transition
from hashwerk.fleet.timing import TimingRow
from hashwerk.store.fleet_commands import (
    count_commands,
    note_command,
    note_deed,
    note_effect,
    read_commands,
    unsettled_commands,
)
from hashwerk.store.migrations import FLEET
from hashwerk.store.owned_file import OwnedFile
from hashwerk.store.settings import StoreSettings

_V1: Final = """
CREATE TABLE machines (key TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE orders (
  id TEXT PRIMARY KEY, at REAL NOT NULL, is_open INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_by_time ON orders (at);
CREATE TABLE order_events (
  id INTEGER PRIMARY KEY, order_id TEXT NOT NULL REFERENCES orders (id), at REAL NOT NULL, event BLOB NOT NULL
) STRICT;
CREATE INDEX order_events_by_order ON order_events (order_id, id);
CREATE TABLE commands (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, order_id TEXT NOT NULL, key TEXT NOT NULL, who TEXT NOT NULL,
  why TEXT NOT NULL, holder TEXT NOT NULL, command TEXT NOT NULL, attempt INTEGER NOT NULL, outcome TEXT,
  message TEXT, verdict TEXT, effect TEXT, before_w REAL, after_w REAL, settled_at REAL
) STRICT;
CREATE INDEX commands_by_machine ON commands (key, id);
CREATE INDEX commands_by_order ON commands (order_id, key, id);
CREATE TABLE transitions (
  id INTEGER PRIMARY KEY, at REAL NOT NULL, key TEXT NOT NULL, was TEXT NOT NULL, now TEXT NOT NULL,
  cause TEXT NOT NULL
) STRICT;
CREATE INDEX transitions_by_machine ON transitions (key, id);
CREATE TABLE alerts (id TEXT PRIMARY KEY, is_open INTEGER NOT NULL, since REAL NOT NULL, record BLOB NOT NULL)
  STRICT, WITHOUT ROWID;
CREATE INDEX alerts_open ON alerts (is_open, since);
CREATE TABLE leases (key TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE kept (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""

_V2: Final = """
CREATE TABLE history (
  key TEXT NOT NULL, slot INTEGER NOT NULL, at REAL NOT NULL, reported_w INTEGER, power_w INTEGER, metered_w INTEGER,
  inlet_c INTEGER, chip_c INTEGER, measured_hs REAL, PRIMARY KEY (key, slot)
) STRICT, WITHOUT ROWID;
"""

#: Who saw the power after a command. What older rows hold was seen by whoever was believed then.
_V3: Final = """
ALTER TABLE commands ADD COLUMN basis TEXT;
CREATE INDEX commands_unsettled ON commands (at) WHERE settled_at IS NULL;
"""

#: Script number n leads from schema version n to n + 1. A released script is never edited.
FLEET_SCRIPTS: Final = (_V1, _V2, _V3)
#: Transitions kept in all; the oldest go first.
KEEP_TRANSITIONS: Final = 500_000
_TRIM_EVERY: Final = 5_000
#: A machine's history is a ring of so many moments: a day of ten minutes each; 5,000 machines take about 40 MB.
HISTORY_SLOTS: Final = 144

_encode = msgspec.msgpack.Encoder().encode
_events = msgspec.msgpack.Decoder(OrderEvent)
_machines = msgspec.msgpack.Decoder(MachineRecord)
_alerts = msgspec.msgpack.Decoder(Alert)
_leases = msgspec.msgpack.Decoder(Lease)


class FleetState(msgspec.Struct, frozen=True, kw_only=True):
    """What a new process finds."""

    machines: tuple[MachineRecord, ...]
    orders: tuple[Order, ...]  # that are not ended
    leases: tuple[Lease, ...]
    alerts: tuple[Alert, ...]  # that are open
    last_alert: int  # the number of the newest one, open or over
    timings: tuple[TimingRow, ...]
    waiting: tuple[Placement, ...]  # places of machines not met yet
    silences: tuple[Silence, ...]


class FleetStore:
    """Keeps what must outlive the process that commands machines."""

    def __init__(self, path: Path, settings: StoreSettings | None = None) -> None:
        self._file = OwnedFile(path, FLEET, FLEET_SCRIPTS, settings)
        self._since_trim = 0

    def open(self) -> FleetState:
        """Open the file, made if it is not there; return what is in it.

        Raises:
            StoreError: If it cannot be used, or another process has it.
        """
        self._file.open()
        return self._load()

    def close(self) -> None:
        """Give the file back."""
        self._file.close()

    # --- orders ---

    def append(
        self, order: OrderSpec, events: Sequence[OrderEvent], *, is_open: bool, deeds: Sequence[Deed] = ()
    ) -> None:
        """Add events to an order, and what they and somebody's deeds say to the record of commands.

        Raises:
            StoreError: If they could not be written: then nothing of them was.
        """
        with self._file.writing("an order cannot be stored") as connection:
            connection.execute(
                "INSERT INTO orders (id, at, is_open) VALUES (?,?,?)"
                " ON CONFLICT (id) DO UPDATE SET is_open = excluded.is_open",
                (order.id, order.at, is_open),
            )
            connection.executemany(
                "INSERT INTO order_events (order_id, at, event) VALUES (?,?,?)",
                [(order.id, event.at, _encode(event)) for event in events],
            )
            for deed in deeds:  # first: what follows amends the newest row of a machine
                note_deed(connection, deed)
            for event in events:
                note_command(connection, order, event)

    def order(self, order_id: str) -> Order | None:
        """Return an order with everything that happened to it; None if there is none."""
        with self._file.reading("an order cannot be read") as connection:
            return _order(connection, order_id)

    def orders(self, limit: int = 50) -> list[Order]:
        """Return the newest orders, the newest first."""
        with self._file.reading("orders cannot be read") as connection:
            ids = connection.execute("SELECT id FROM orders ORDER BY at DESC LIMIT ?", (limit,)).fetchall()
            return [order for (order_id,) in ids if (order := _order(connection, order_id)) is not None]

    def histories(self, limit: int, skip: Callable[[str], bool]) -> list[tuple[OrderEvent, ...]]:
        """Return the events of the newest orders but those to be skipped, the oldest order first."""
        with self._file.reading("orders cannot be read") as connection:
            ids = connection.execute("SELECT id FROM orders ORDER BY at DESC LIMIT ?", (limit,)).fetchall()
            sql = "SELECT event FROM order_events WHERE order_id = ? ORDER BY id"
            return [
                tuple(_events.decode(row[0]) for row in connection.execute(sql, (order_id,)))
                for (order_id,) in reversed(ids)
                if not skip(order_id)
            ]

    def commands(
        self,
        limit: int = 100,
        *,
        before: int | None = None,
        key: MachineKey | None = None,
        query: CommandQuery | None = None,
    ) -> list[CommandRecord]:
        """Return the newest commands, of one machine or those that fit, the newest first."""
        if query is None:
            query = CommandQuery(keys=None if key is None else (key,))
        with self._file.reading("commands cannot be read") as connection:
            return read_commands(connection, query, limit, before)

    def command_counts(self, query: CommandQuery) -> dict[tuple[str, str], int]:
        """Return how many commands fit, by who gave them and what came of them."""
        with self._file.reading("commands cannot be counted") as connection:
            return count_commands(connection, query)

    def note_deeds(self, deeds: Sequence[Deed]) -> None:
        """Add what somebody did to the record of commands.

        Raises:
            StoreError: If it could not be written.
        """
        with self._file.writing("what was done cannot be stored") as connection:
            for deed in deeds:
                note_deed(connection, deed)

    def note_effects(self, effects: Sequence[tuple[Unsettled, Effect, float | None]]) -> None:
        """Add to commands what was seen of them; with a moment it is the last word.

        Raises:
            StoreError: If it could not be written.
        """
        with self._file.writing("the effect of a command cannot be stored") as connection:
            for command, effect, settled_at in effects:
                note_effect(connection, command, effect, settled_at)

    def unsettled(self, since: float) -> list[Unsettled]:
        """Return the commands since a moment that have no last word, the oldest first."""
        with self._file.reading("commands cannot be read") as connection:
            return unsettled_commands(connection, since)

    # --- machines ---

    def save_machines(self, records: Iterable[MachineRecord], gone: Iterable[MachineKey] = ()) -> None:
        """Keep machines as they are now.

        Raises:
            StoreError: If they could not be written.
        """
        with self._file.writing("machines cannot be stored") as connection:
            connection.executemany(
                "INSERT INTO machines (key, record) VALUES (?,?)"
                " ON CONFLICT (key) DO UPDATE SET record = excluded.record",
                [(record.key, _encode(record)) for record in records],
            )
            connection.executemany("DELETE FROM machines WHERE key = ?", [(key,) for key in gone])

    def save_transitions(self, transitions: Sequence[tuple[MachineKey, Transition]]) -> None:
        """Add changes of state to their record.

        Raises:
            StoreError: If they could not be written.
        """
        with self._file.writing("changes of state cannot be stored") as connection:
            connection.executemany(
                "INSERT INTO transitions (at, key, was, now, cause) VALUES (?,?,?,?,?)",
                [(t.at, key, t.was.value, t.now.value, t.cause) for key, t in transitions],
            )
            self._since_trim += len(transitions)
            if self._since_trim >= _TRIM_EVERY:
                self._since_trim = 0
                connection.execute(
                    "DELETE FROM transitions WHERE id <= (SELECT max(id) FROM transitions) - ?",
                    (KEEP_TRANSITIONS,),
                )

    def transitions(self, limit: int = 100, key: MachineKey | None = None) -> list[TransitionRecord]:
        """Return the newest changes of state, the newest first."""
        with self._file.reading("changes of state cannot be read") as connection:
            rows = connection.execute(
                "SELECT id, at, key, was, now, cause FROM transitions WHERE (?1 IS NULL OR key = ?1)"
                " ORDER BY id DESC LIMIT ?2",
                (key, limit),
            ).fetchall()
        return [
            TransitionRecord(id=id_, at=at, key=of, was=State(was), now=State(now), cause=cause)
            for id_, at, of, was, now, cause in rows
        ]

    def save_history(self, slot: int, points: Iterable[tuple[MachineKey, HistoryPoint]]) -> None:
        """Keep a moment of many machines in the place of the one that is a whole ring older; ``slot`` counts on for ever.

        Raises:
            StoreError: If it could not be written.
        """
        with self._file.writing("the history of machines cannot be stored") as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO history VALUES (?,?,?,?,?,?,?,?,?)",
                [
                    (
                        key,
                        slot % HISTORY_SLOTS,
                        point.at,
                        _whole(point.reported_w),
                        _whole(point.power_w),
                        _whole(point.metered_w),
                        _whole(point.inlet_c),
                        _whole(point.chip_c),
                        point.measured_hs,
                    )
                    for key, point in points
                ],
            )

    def history(self, key: MachineKey) -> list[HistoryPoint]:
        """Return what is kept of a machine's past, the oldest first."""
        with self._file.reading("the history of a machine cannot be read") as connection:
            rows = connection.execute(
                "SELECT at, reported_w, power_w, metered_w, inlet_c, chip_c, measured_hs FROM history"
                " WHERE key = ? ORDER BY at",
                (key,),
            ).fetchall()
        return [HistoryPoint(**dict(zip(HistoryPoint.__struct_fields__, row, strict=True))) for row in rows]

    # --- the rest ---

    def save_alerts(self, alerts: Iterable[Alert]) -> None:
        """Keep alerts, open or over.

        Raises:
            StoreError: If they could not be written.
        """
        with self._file.writing("alerts cannot be stored") as connection:
            connection.executemany(
                "INSERT INTO alerts (id, is_open, since, record) VALUES (?,?,?,?) ON CONFLICT (id) DO UPDATE"
                " SET is_open = excluded.is_open, record = excluded.record",
                [(alert.id, alert.over_at is None, alert.since, _encode(alert)) for alert in alerts],
            )

    def alerts(self, limit: int = 200) -> list[Alert]:
        """Return the newest alerts, the newest first."""
        with self._file.reading("alerts cannot be read") as connection:
            rows = connection.execute(
                "SELECT record FROM alerts ORDER BY since DESC LIMIT ?", (limit,)
            ).fetchall()
        return [_alerts.decode(record) for (record,) in rows]

    def save_leases(self, leases: Iterable[Lease]) -> None:
        """Keep all leases in force; others are forgotten.

        Raises:
            StoreError: If they could not be written.
        """
        with self._file.writing("leases cannot be stored") as connection:
            connection.execute("DELETE FROM leases")
            connection.executemany(
                "INSERT INTO leases (key, record) VALUES (?,?)",
                [(lease.key, _encode(lease)) for lease in leases],
            )

    def keep(self, name: str, value: Sequence[TimingRow] | Sequence[Placement] | Sequence[Silence]) -> None:
        """Keep a list under a name: ``timings``, ``waiting`` or ``silences``.

        Raises:
            StoreError: If it could not be written.
        """
        with self._file.writing(f"{name} cannot be stored") as connection:
            connection.execute(
                "INSERT INTO kept (name, record) VALUES (?,?)"
                " ON CONFLICT (name) DO UPDATE SET record = excluded.record",
                (name, _encode(value)),
            )

    # --- inside ---

    def _load(self) -> FleetState:
        with self._file.reading("cannot be read") as connection:
            open_orders = connection.execute("SELECT id FROM orders WHERE is_open ORDER BY at").fetchall()
            return FleetState(
                machines=_all(connection, "SELECT record FROM machines ORDER BY key", _machines),
                orders=tuple(
                    order
                    for (order_id,) in open_orders
                    if (order := _order(connection, order_id)) is not None
                ),
                leases=_all(connection, "SELECT record FROM leases", _leases),
                alerts=_all(connection, "SELECT record FROM alerts WHERE is_open ORDER BY since", _alerts),
                last_alert=connection.execute(
                    "SELECT coalesce(max(CAST(substr(id, 3) AS INTEGER)), 0) FROM alerts"
                ).fetchone()[0],
                timings=_kept(connection, "timings", tuple[TimingRow, ...]),
                waiting=_kept(connection, "waiting", tuple[Placement, ...]),
                silences=_kept(connection, "silences", tuple[Silence, ...]),
            )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _order(connection: sqlite3.Connection, order_id: str) -> Order | None:
    rows = connection.execute(
        "SELECT event FROM order_events WHERE order_id = ? ORDER BY id", (order_id,)
    ).fetchall()
    events = [_events.decode(event) for (event,) in rows]
    return fold(events) if events and isinstance(events[0], Opened) else None


def _all(
    connection: sqlite3.Connection, query: str, decoder: msgspec.msgpack.Decoder[Any]
) -> tuple[Any, ...]:
    return tuple(decoder.decode(record) for (record,) in connection.execute(query))


def _kept(connection: sqlite3.Connection, name: str, kind: Any) -> Any:
    row = connection.execute("SELECT record FROM kept WHERE name = ?", (name,)).fetchone()
    return () if row is None else msgspec.msgpack.decode(row[0], type=kind)
