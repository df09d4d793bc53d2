"""The durable record of the site's energy: moments of history, orders of grid operators and what became of them.

One file, `energy.sqlite`, one writer. An order is on disk before anything is done about it, so that after `kill -9` the next
process goes on with it. Moments are kept as they are for eight days and as means of a quarter of an hour for good, and so are
hours with their energy by source and the rules these were attributed by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from hashwerk.dispatch.baselines import Settlement
from hashwerk.dispatch.orders import Order
from hashwerk.energy.hours import EnergyHour, StandingRule
from hashwerk.site.energy.view import Moments
from hashwerk.store.migrations import FileKind
from hashwerk.store.owned_file import OwnedFile
from hashwerk.store.settings import StoreSettings

#: The file's application id, "HWEN".
ENERGY: Final = FileKind("energy record", 0x4857454E)
_V1: Final = """
CREATE TABLE moments (
  at REAL PRIMARY KEY, measured_w REAL, setpoint_w REAL, price_per_mwh REAL, hashrate_hs REAL, sources BLOB
) STRICT;
CREATE TABLE quarters (
  start_s INTEGER PRIMARY KEY, covered_s REAL NOT NULL, import_wh REAL NOT NULL, setpoint_w REAL, price_per_mwh REAL,
  hashrate_hs REAL, sources BLOB
) STRICT;
CREATE TABLE orders (
  source TEXT NOT NULL, id TEXT NOT NULL, received_s REAL NOT NULL, record BLOB NOT NULL, PRIMARY KEY (source, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE kept (name TEXT PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
"""
_V2: Final = """
CREATE TABLE rules (start_s INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
CREATE TABLE hours (start_s INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT;
"""
#: `price_per_mwh` is what a MWh more cost, fees and taxes included: a bill starts from the market's own price.
_V3: Final = "ALTER TABLE quarters ADD COLUMN market_per_mwh REAL;"
SCRIPTS: Final = (_V1, _V2, _V3)
KEEP_MOMENTS_S: Final = 8 * 86_400
QUARTER_S: Final = 900
#: So many moments are given out at most; more are thinned out by means.
MOST_MOMENTS: Final = 5_000

_encode = msgspec.msgpack.Encoder().encode


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What was known at a moment. Missing is None."""

    at_s: float
    measured_w: float | None
    setpoint_w: float | None
    price_per_mwh: float | None
    hashrate_hs: float | None
    sources: dict[str, float] = {}


class Quarter(msgspec.Struct, frozen=True, kw_only=True):
    """A quarter of an hour: energy, and means."""

    start_s: int
    covered_s: float  # of which power was known
    import_wh: float
    is_metered: bool = False  # counted by registers; else it is integrated power
    export_wh: float | None = (
        None  # counted by a register of its own; None: `import_wh` is what is left of both
    )
    setpoint_w: float | None = None
    price_per_mwh: float | None = None  # what a MWh more cost, fees and taxes included
    market_per_mwh: float | None = None  # the market's own price, as a feed told it
    hashrate_hs: float | None = None
    sources: dict[str, float] = {}  # Wh


class OrderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An order and what became of it."""

    order: Order
    baseline_w: float | None = None
    baseline_text: str = ""
    reached_s: float | None = None
    cancelled_s: float | None = None
    settlement: Settlement | None = None


_orders = msgspec.msgpack.Decoder(OrderRecord)
_sources = msgspec.msgpack.Decoder(dict[str, float])
_rules = msgspec.msgpack.Decoder(StandingRule)
_hours = msgspec.msgpack.Decoder(EnergyHour)


class EnergyRecord:
    """Keeps what must outlive the process. Every call is one transaction, synced when it returns."""

    def __init__(self, path: Path, settings: StoreSettings | None = None) -> None:
        self._file = OwnedFile(path, ENERGY, SCRIPTS, settings)

    def open(self) -> None:
        """Open the file, and make it where there is none.

        Raises:
            StoreError: If it cannot be used.
        """
        self._file.open()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    # --- history ---

    def add(self, moments: Sequence[Moment], quarters: Sequence[Quarter] = ()) -> None:
        """Keep moments, and quarters of an hour that are over."""
        with self._file.writing("keeping a moment") as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO moments VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (m.at_s, m.measured_w, m.setpoint_w, m.price_per_mwh, m.hashrate_hs, _blob(m.sources))
                    for m in moments
                ],
            )
            connection.executemany(
                "INSERT OR REPLACE INTO quarters VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        q.start_s,
                        q.covered_s,
                        q.import_wh,
                        q.setpoint_w,
                        q.price_per_mwh,
                        q.hashrate_hs,
                        _blob(q.sources),
                        q.market_per_mwh,
                    )
                    for q in quarters
                ],
            )
            if quarters:
                oldest = quarters[-1].start_s - KEEP_MOMENTS_S
                connection.execute("DELETE FROM moments WHERE at < ?", (oldest,))

    def moments(self, start_s: float, stop_s: float) -> list[Moment]:
        """Return what was known in [start_s, stop_s), from the finer record where it reaches so far back."""
        with self._file.reading("reading the history") as connection:
            rows = connection.execute(
                "SELECT * FROM moments WHERE at >= ? AND at < ? ORDER BY at", (start_s, stop_s)
            ).fetchall()
            first = rows[0][0] if rows else stop_s
            before = connection.execute(
                "SELECT * FROM quarters WHERE start_s >= ? AND start_s + ? <= ? ORDER BY start_s",
                (start_s, QUARTER_S, first),
            ).fetchall()
        quarters = [_quarter(row) for row in before]
        return [
            *(
                Moment(
                    at_s=float(q.start_s),
                    measured_w=q.import_wh * 3_600 / q.covered_s if q.covered_s else None,
                    setpoint_w=q.setpoint_w,
                    price_per_mwh=q.price_per_mwh,
                    hashrate_hs=q.hashrate_hs,
                    sources={name: wh * 3_600 / QUARTER_S for name, wh in q.sources.items()},
                )
                for q in quarters
            ),
            *(
                Moment(
                    at_s=row[0],
                    measured_w=row[1],
                    setpoint_w=row[2],
                    price_per_mwh=row[3],
                    hashrate_hs=row[4],
                    sources={} if row[5] is None else _sources.decode(row[5]),
                )
                for row in rows
            ),
        ]

    def quarters(self, start_s: float, stop_s: float) -> list[Quarter]:
        """Return the quarters of an hour that begin in [start_s, stop_s)."""
        with self._file.reading("reading the history") as connection:
            rows = connection.execute(
                "SELECT * FROM quarters WHERE start_s >= ? AND start_s < ? ORDER BY start_s",
                (start_s, stop_s),
            ).fetchall()
        return [_quarter(row) for row in rows]

    def put_market(self, prices: Mapping[int, float]) -> None:
        """Keep the market's prices by the beginning of a quarter of an hour; one on record stays."""
        with self._file.writing("keeping prices") as connection:
            connection.executemany(
                "UPDATE quarters SET market_per_mwh = ? WHERE start_s = ? AND market_per_mwh IS NULL",
                [(price, start_s) for start_s, price in prices.items()],
            )

    def highest_w(self, start_s: float, stop_s: float, covered_s: float) -> float | None:
        """Return the highest mean import of the quarters of an hour that begin in [start_s, stop_s) and are covered so far."""
        with self._file.reading("reading the history") as connection:
            found: float | None = connection.execute(
                "SELECT max(import_wh * 3600 / covered_s) FROM quarters"
                " WHERE start_s >= ? AND start_s < ? AND covered_s >= ?",
                (start_s, stop_s, covered_s),
            ).fetchone()[0]
        return found

    def imported_wh(self, start_s: float, stop_s: float) -> float:
        """Return what was imported in the quarters of an hour that begin in [start_s, stop_s), as far as it is known."""
        with self._file.reading("reading the history") as connection:
            found: float = connection.execute(
                "SELECT total(max(import_wh, 0)) FROM quarters WHERE start_s >= ? AND start_s < ?",
                (start_s, stop_s),
            ).fetchone()[0]
        return found

    # --- whose energy it was ---

    def put_rule(self, rule: StandingRule) -> None:
        """Keep a rule of attribution; one that would have begun at the same hour, and has not, gives way to it."""
        with self._file.writing("keeping a rule of attribution") as connection:
            connection.execute("INSERT OR REPLACE INTO rules VALUES (?, ?)", (rule.start_s, _encode(rule)))

    def rules(self) -> list[StandingRule]:
        """Return every rule of attribution there was, the oldest first."""
        with self._file.reading("reading rules of attribution") as connection:
            rows = connection.execute("SELECT record FROM rules ORDER BY start_s").fetchall()
        return [_rules.decode(row[0]) for row in rows]

    def put_hours(self, hours: Sequence[EnergyHour]) -> None:
        """Keep hours that are over; what an hour was attributed by is never written anew."""
        with self._file.writing("keeping an hour") as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO hours VALUES (?, ?)", [(one.start_s, _encode(one)) for one in hours]
            )

    def hours(self, start_s: float, stop_s: float) -> list[EnergyHour]:
        """Return the hours that begin in [start_s, stop_s), the oldest first."""
        with self._file.reading("reading hours") as connection:
            rows = connection.execute(
                "SELECT record FROM hours WHERE start_s >= ? AND start_s < ? ORDER BY start_s",
                (start_s, stop_s),
            ).fetchall()
        return [_hours.decode(row[0]) for row in rows]

    def newest(self, table: Literal["hours", "quarters"]) -> int | None:
        """Return the beginning of the newest hour or quarter of an hour on record; None: there is none."""
        with self._file.reading("reading the history") as connection:
            found: int | None = connection.execute(f"SELECT max(start_s) FROM {table}").fetchone()[0]  # noqa: S608
        return found

    # --- orders ---

    def put_order(self, record: OrderRecord) -> None:
        """Keep an order as it stands."""
        with self._file.writing("keeping an order") as connection:
            connection.execute(
                "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)",
                (record.order.source, record.order.id, record.order.received_s, _encode(record)),
            )

    def orders(self, limit: int = 100) -> list[OrderRecord]:
        """Return the newest orders, the newest first."""
        with self._file.reading("reading orders") as connection:
            rows = connection.execute(
                "SELECT record FROM orders ORDER BY received_s DESC LIMIT ?", (limit,)
            ).fetchall()
        return [_orders.decode(row[0]) for row in rows]

    # --- what else must be remembered ---

    def keep(self, name: str, value: object) -> None:
        """Keep a value under a name."""
        with self._file.writing("keeping a value") as connection:
            connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, _encode(value)))

    def kept(self, name: str, kind: type[Any]) -> Any:
        """Return the value of a name; None if there is none."""
        with self._file.reading("reading a value") as connection:
            row = connection.execute("SELECT record FROM kept WHERE name = ?", (name,)).fetchone()
        return None if row is None else msgspec.msgpack.decode(row[0], type=kind)


def _blob(sources: dict[str, float]) -> bytes | None:
    return _encode(sources) if sources else None


def _quarter(row: tuple[Any, ...]) -> Quarter:
    return Quarter(
        start_s=row[0],
        covered_s=row[1],
        import_wh=row[2],
        setpoint_w=row[3],
        price_per_mwh=row[4],
        hashrate_hs=row[5],
        sources={} if row[6] is None else _sources.decode(row[6]),
        market_per_mwh=row[7],
    )


def as_columns(moments: Sequence[Moment], start_s: float, stop_s: float, step_s: float) -> Moments:
    """Return moments as columns: means over steps; a step without a moment is left out."""
    step_s = max(step_s, (stop_s - start_s) / MOST_MOMENTS)
    steps: dict[int, list[Moment]] = {}
    for moment in moments:
        steps.setdefault(int((moment.at_s - start_s) // step_s), []).append(moment)
    names = list(dict.fromkeys(name for moment in moments for name in moment.sources))
    rows = [steps[number] for number in sorted(steps)]

    def means(name: str) -> tuple[float | None, ...]:
        return tuple(_mean([getattr(moment, name) for moment in row]) for row in rows)

    return Moments(
        at_s=tuple(row[0].at_s for row in rows),
        measured_w=means("measured_w"),
        setpoint_w=means("setpoint_w"),
        price_per_mwh=means("price_per_mwh"),
        hashrate_hs=means("hashrate_hs"),
        sources={
            name: tuple(_mean([moment.sources.get(name) for moment in row]) for row in rows) for name in names
        },
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
