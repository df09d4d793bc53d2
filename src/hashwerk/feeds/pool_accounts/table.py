"""Account exports as files: CSV, by the names of their columns.

Pools rename columns, order them as they like and write units into headings, so a layout lists the names that are known for
each field; a file that has none of them is refused with what it does have. A unit in brackets counts: ``Hashrate (TH/s)``.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final

import msgspec

from hashwerk.economics.ports import CreditedDay, CreditedWorker, Payout, Rail, day_of, day_window
from hashwerk.errors import FeedError
from hashwerk.feeds.pool_accounts.amounts import (
    day_difficulty,
    decimal_from_text,
    hashes_from_unit,
    moment_from_text,
    rounding,
    sat_from_btc,
    worker_from_login,
)

MAX_FILE_BYTES: Final = 64 * 1024 * 1024
_HEADING: Final = re.compile(r"^(?P<name>.*?)\s*(?:[(\[](?P<unit>[^)\]]*)[)\]])?$")


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """The headings of one pool's files, in lower case, without units; and what its figures are where no unit is written."""

    time: tuple[str, ...]
    difficulty: tuple[str, ...] = ()
    hashrate: tuple[str, ...] = ()
    mining: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    worker: tuple[str, ...] = ()
    payout: tuple[str, ...] = ()  # a file that has one of these lists payouts
    payout_fee: tuple[str, ...] = ()
    transaction: tuple[str, ...] = ()
    from_coinbase: tuple[str, ...] = ()
    hashrate_unit: str = "H/s"
    money_unit: str = "BTC"
    rows_are_blocks: bool = False  # a row is a block that paid, not a day
    login_has_account: bool = False  # workers are written account.worker


class Column(msgspec.Struct, frozen=True):
    """A heading as it stands in a file, and the unit in it."""

    heading: str
    unit: str | None


class File(msgspec.Struct, frozen=True, kw_only=True):
    """What one export holds. Lists are empty where the file is of another kind."""

    days: list[CreditedDay]
    workers: list[CreditedWorker]
    payouts: list[Payout]


class FileAccount:
    """A pool's account read from its exports: one file or several, of days, workers and payouts."""

    def __init__(self, name: str, files: Iterable[File], day_start_s: int = 0) -> None:
        chosen = list(files)
        self.name = name
        self.day_start_s = day_start_s
        self._days = [day for file in chosen for day in file.days]
        self._workers = [worker for file in chosen for worker in file.workers]
        self._payouts = [payout for file in chosen for payout in file.payouts]

    async def days(self, first: dt.date, last: dt.date) -> list[CreditedDay]:
        """Return the days that the files have.

        Raises:
            FeedError: If two files have the same day.
        """
        chosen = [day for day in self._days if first <= day.day <= last]
        if len({day.day for day in chosen}) < len(chosen):
            raise FeedError(f"the files of {self.name} have a day twice")
        return chosen

    async def workers(self, first: dt.date, last: dt.date) -> list[CreditedWorker] | None:
        """Return the workers' days that the files have; None: no file has workers."""
        start, end = day_window(first, self.day_start_s)[0], day_window(last, self.day_start_s)[1]
        return [row for row in self._workers if start <= row.start and row.end <= end] or None

    async def payouts(self, first: dt.date, last: dt.date) -> list[Payout] | None:
        """Return the payouts that the files have; None: no file has payouts."""
        if not self._payouts:
            return None
        return [row for row in self._payouts if first <= day_of(row.at, self.day_start_s) <= last]


def read_file(name: str, path: Path, layout: Layout, day_start_s: int = 0) -> File:
    """Return what an export holds.

    Raises:
        FeedError: If it cannot be read, is larger than `MAX_FILE_BYTES`, or is not an export of this pool.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise FeedError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FeedError(f"{path} cannot be read: {error}") from error
    return parse(f"{name} ({path.name})", text, layout, day_start_s)


def parse(name: str, text: str, layout: Layout, day_start_s: int = 0) -> File:
    """Return what the text of an export holds.

    Raises:
        FeedError: If it has no rows, lacks a column, or has a field that cannot be read.
    """
    dialect = _dialect(text)
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=dialect) if any(row)]
    if len(rows) < 2:
        raise FeedError(f"{name} has no rows")
    columns = [_column(heading) for heading in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise FeedError(f"{name}: line {number} has {len(row)} fields, its heading {len(columns)}")
    reader = _Reader(name, layout, columns, day_start_s)
    return reader.read(rows[1:])


class _Reader:
    """Reads the rows of one file."""

    def __init__(self, name: str, layout: Layout, columns: list[Column], day_start_s: int) -> None:
        self._name = name
        self._layout = layout
        self._columns = columns
        self._day_start_s = day_start_s
        self._at = {
            field: self._find(getattr(layout, field))
            for field in (
                "time", "difficulty", "hashrate", "mining", "other", "worker", "payout", "payout_fee", "transaction",
                "from_coinbase",
            )
        }  # fmt: skip
        if self._at["time"] is None or all(
            self._at[field] is None for field in ("difficulty", "hashrate", "mining", "payout")
        ):
            found = ", ".join(column.heading for column in columns)
            raise FeedError(f"{name} is no export that is known here; its columns are: {found}")

    def read(self, rows: list[list[str]]) -> File:
        """Return what the rows hold, by the kind of the file."""
        if self._at["payout"] is not None:
            return File(days=[], workers=[], payouts=[self._payout(row) for row in rows])
        if self._at["worker"] is not None:
            return File(days=[], workers=[self._worker(row) for row in rows], payouts=[])
        by_day: dict[dt.date, list[list[str]]] = {}
        for row in rows:
            by_day.setdefault(self._day(row), []).append(row)
        if not self._layout.rows_are_blocks:
            for day, several in by_day.items():
                if len(several) > 1:
                    raise FeedError(f"{self._name} has {day.isoformat()} twice")
        return File(
            days=[self._credited(day, several) for day, several in sorted(by_day.items())],
            workers=[],
            payouts=[],
        )

    def _credited(self, day: dt.date, rows: list[list[str]]) -> CreditedDay:
        works = [work for row in rows if (work := self._work(row)) is not None]
        money = [amount for row in rows if (amount := self._money(row, "mining")) is not None]
        other = [amount for row in rows if (amount := self._money(row, "other")) is not None]
        return CreditedDay(
            day=day,
            difficulty=sum((work for work, _ in works), Decimal(0)) if works else None,
            difficulty_step=sum((step for _, step in works), Decimal(0)),
            mining_sat=sum((amount for amount, _ in money), Decimal(0)) if money else None,
            sat_step=sum((step for _, step in money), Decimal(0)) if money else Decimal(1),
            other_sat=sum((amount for amount, _ in other), Decimal(0)) if other else None,
            blocks=len(rows) if self._layout.rows_are_blocks else None,
        )

    def _worker(self, row: list[str]) -> CreditedWorker:
        start, end = day_window(self._day(row), self._day_start_s)
        login = self._text(row, "worker") or ""
        work = self._work(row)
        return CreditedWorker(
            worker=worker_from_login(login) if self._layout.login_has_account else login,
            start=start,
            end=end,
            difficulty=work[0] if work else None,
            difficulty_step=work[1] if work else Decimal(0),
        )

    def _payout(self, row: list[str]) -> Payout:
        amount = self._money(row, "payout")
        if amount is None:
            raise FeedError(f"{self._name} has a payout without an amount")
        fee = self._money(row, "payout_fee")
        coinbase = (self._text(row, "from_coinbase") or "").lower() in {"true", "1", "yes"}
        transaction = self._text(row, "transaction")
        rail = Rail.COINBASE if coinbase else Rail.ONCHAIN if transaction else Rail.UNKNOWN
        return Payout(
            at=self._moment(row),
            amount_sat=abs(amount[0]),
            fee_sat=fee[0] if fee else None,
            rail=rail,
            transaction=transaction,
        )

    def _work(self, row: list[str]) -> tuple[Decimal, Decimal] | None:
        if text := self._text(row, "difficulty"):
            value = decimal_from_text(self._name, text)
            return value, rounding(value)
        if not (text := self._text(row, "hashrate")):
            return None
        # Figures such as "201.5 TH/s" carry their unit with them.
        figure, _, written = text.partition(" ")
        unit = written or self._unit("hashrate") or self._layout.hashrate_unit
        return day_difficulty(decimal_from_text(self._name, figure), hashes_from_unit(self._name, unit))

    def _money(self, row: list[str], field: str) -> tuple[Decimal, Decimal] | None:
        """Return an amount in satoshi and its rounding."""
        text = self._text(row, field)
        if not text:
            return None
        value = decimal_from_text(self._name, text)
        unit = (self._unit(field) or self._layout.money_unit).lower()
        if unit in {"sat", "sats", "satoshi", "satoshis"}:
            return value, rounding(value)
        if unit != "btc":
            raise FeedError(f"{self._name} has amounts in {unit!r}, which are not known here")
        return sat_from_btc(value), sat_from_btc(rounding(value))

    def _day(self, row: list[str]) -> dt.date:
        text = self._text(row, "time") or ""
        try:
            return dt.date.fromisoformat(text)  # a date alone is the pool's own day, wherever it begins
        except ValueError:
            return day_of(moment_from_text(self._name, text), self._day_start_s)

    def _moment(self, row: list[str]) -> float:
        return moment_from_text(self._name, self._text(row, "time") or "")

    def _text(self, row: list[str], field: str) -> str | None:
        at = self._at[field]
        return None if at is None else row[at].strip() or None

    def _unit(self, field: str) -> str | None:
        at = self._at[field]
        return None if at is None else self._columns[at].unit

    def _find(self, names: tuple[str, ...]) -> int | None:
        for name in names:
            for at, column in enumerate(self._columns):
                if column.heading == name:
                    return at
        return None


def _column(heading: str) -> Column:
    match = _HEADING.match(heading.strip())
    assert match is not None, "the expression matches everything"
    return Column(match["name"].strip().lower(), (match["unit"] or "").strip() or None)


def _dialect(text: str) -> str:
    heading = text.partition("\n")[0]
    return max((",", ";", "\t"), key=heading.count)
