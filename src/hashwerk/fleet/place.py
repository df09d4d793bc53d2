"""Where machines stand and whose they are, and how that comes in and goes out as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

import msgspec

from hashwerk.errors import FleetError
from hashwerk.fleet.identity import normal_mac, normal_serial

#: A larger file is not a list of machines.
MAX_ROWS: Final = 200_000


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
        FleetError: With the line, if a column is unknown, a MAC address is none, or a line names no machine.
    """
    text = text.removeprefix("\ufeff")  # what spreadsheets put in front of UTF-8
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    names = [name.strip().lower() for name in next(rows, [])]
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not {"address", "mac", "serial"} & set(names):
        raise FleetError(
            f"line 1: columns are {', '.join(COLUMNS)}, at least one of address, mac and serial"
            + (f"; not known: {', '.join(map(repr, unknown))}" if unknown else "")
        )
    found: list[Placement] = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        if len(found) >= MAX_ROWS:
            raise FleetError(f"more than {MAX_ROWS} lines")
        if len(row) > len(names):
            raise FleetError(f"line {rows.line_num}: {len(row)} values, {len(names)} columns")
        found.append(_placement(dict(zip(names, row, strict=False)), rows.line_num))
    return found


def _placement(cells: dict[str, str], line: int) -> Placement:
    value = {name: _as_written(cell.strip()) or None for name, cell in cells.items()}
    mac, serial = value.get("mac"), value.get("serial")
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
