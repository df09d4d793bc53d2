"""Where machines stand and whose they are, and how that comes in and goes out as CSV."""

from __future__ import annotations

import csv
import io
import ipaddress
from collections.abc import Iterable
from typing import Final, Protocol

import msgspec

from hashwerk.errors import FleetError
from hashwerk.fleet.identity import normal_mac, normal_serial

#: A larger file is not a list of machines.
MAX_ROWS: Final = 200_000
#: Nobody calls a row more than this.
MAX_CHARACTERS: Final = 200


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a machine stands and what feeds it."""

    hall: str | None = None
    row: str | None = None
    shelf: str | None = None
    breaker: str | None = None
    feeder: str | None = None

    def words(self) -> str:
        """Return the place as people say it; empty when nothing is known."""
        parts = (("hall", self.hall), ("row", self.row), ("shelf", self.shelf))
        return ", ".join(f"{name} {value}" for name, value in parts if value)


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a list of places: which machine, and what is known of it. None leaves what is known as it is."""

    address: str | None = None
    mac: str | None = None
    serial: str | None = None
    place: Place = Place()
    owner: str | None = None
    group: str | None = None

    @property
    def names(self) -> tuple[str | None, ...]:
        """By what it means a machine: MAC address and serial number, else where it answers."""
        is_named = self.mac is not None or self.serial is not None
        return (self.mac, self.serial, None if is_named else self.address)


class _Rows(Protocol):
    """What `csv.reader` gives."""

    @property
    def line_num(self) -> int:
        """How many lines were read."""
        ...

    def __iter__(self) -> _Rows: ...

    def __next__(self) -> list[str]: ...


COLUMNS: Final = (
    "address",
    "mac",
    "serial",
    "hall",
    "row",
    "shelf",
    "breaker",
    "feeder",
    "owner",
    "group",
)
_FORMULA: Final = tuple("=+-@\t\r")
_PLACE: Final = ("hall", "row", "shelf", "breaker", "feeder")


def read_places(text: str) -> list[Placement]:
    """Return the lines of a CSV file with a header of `COLUMNS`, in any order; separated by comma, semicolon or tab.

    Raises:
        FleetError: With the line, if a column is unknown, a MAC address is none, a line names no machine or one that an
            earlier line names, or the file is not as CSV is written.
    """
    text = text.removeprefix("\ufeff").lstrip("\r\n")  # what spreadsheets put in front of UTF-8
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return _read(rows)
    except csv.Error as error:
        raise FleetError(f"line {rows.line_num}: not as CSV is written: {error}") from error


def _read(rows: _Rows) -> list[Placement]:
    names = _header(next(rows, []))
    found: list[Placement] = []
    lines: dict[tuple[str | None, ...], int] = {}
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(found) >= MAX_ROWS:
            raise FleetError(f"more than {MAX_ROWS} lines")
        if any(cell.strip() for cell in row[len(names) :]):
            raise FleetError(f"line {rows.line_num}: {len(row)} values, {len(names)} columns")
        entry = _placement(dict(zip(names, row, strict=False)), rows.line_num)
        first = lines.setdefault(entry.names, rows.line_num)
        if first != rows.line_num:
            raise FleetError(f"line {rows.line_num}: the same machine as in line {first}")
        found.append(entry)
    return found


def _header(row: list[str]) -> list[str]:
    """Return the names of columns; spreadsheets write empty ones at the end."""
    names = [name.strip().lower() for name in row]
    while names and not names[-1]:
        names.pop()
    unknown = [name for name in names if name not in COLUMNS]
    twice = [name for name in COLUMNS if names.count(name) > 1]
    if unknown or twice or not {"address", "mac", "serial"} & set(names):
        raise FleetError(
            f"line 1: columns are {', '.join(COLUMNS)}, at least one of address, mac and serial"
            + (f"; not known: {', '.join(map(repr, unknown))}" if unknown else "")
            + (f"; twice: {', '.join(twice)}" if twice else "")
        )
    return names


def _placement(cells: dict[str, str], line: int) -> Placement:
    value = {name: _as_written(cell.strip()) or None for name, cell in cells.items()}
    for name, cell in value.items():
        if cell is not None and not (cell.isprintable() and len(cell) <= MAX_CHARACTERS):
            raise FleetError(
                f"line {line}: {name} is longer than {MAX_CHARACTERS} characters or holds what cannot be printed"
            )
    mac, serial, address = value.get("mac"), value.get("serial"), value.get("address")
    if address is not None and not _is_address(address):
        raise FleetError(f"line {line}: not an IP address: {address!r}")
    if mac is not None and (mac := normal_mac(mac)) is None:
        raise FleetError(f"line {line}: not a MAC address: {cells['mac'].strip()!r}")
    if serial is not None:
        serial = normal_serial(serial)
    if mac is None and serial is None and value.get("address") is None:
        raise FleetError(f"line {line}: names no machine: address, MAC or serial is needed")
    return Placement(
        address=value.get("address"),
        mac=mac,
        serial=serial,
        place=Place(**{name: value.get(name) for name in _PLACE}),
        owner=value.get("owner"),
        group=value.get("group"),
    )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def write_places(placements: Iterable[Placement]) -> str:
    """Return the CSV text that `read_places` reads back.

    Cells that a spreadsheet would take for a formula get a leading apostrophe.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in placements:
        cells = {name: getattr(entry.place, name) for name in _PLACE}
        cells |= {name: getattr(entry, name) for name in COLUMNS if name not in _PLACE}
        writer.writerow([_harmless(cells[name]) for name in COLUMNS])
    return out.getvalue()


def _as_written(cell: str) -> str:
    """Return a cell without the apostrophe that `write_places` puts before what is no formula."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] and cell[1:2] in _FORMULA else cell


def _harmless(cell: str | None) -> str:
    if cell is None:
        return ""
    return f"'{cell}" if cell[:1] in _FORMULA else cell


def merge(known: Place, given: Place) -> Place:
    """Return ``known`` with everything that ``given`` knows laid over it."""
    return Place(**{name: getattr(given, name) or getattr(known, name) for name in _PLACE})
