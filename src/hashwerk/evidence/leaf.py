"""Records as leaves: their number, version and canonical bytes, their hash, and what they add to the sums."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hashwerk.errors import DecodeError, EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.canonical import Layout, Reader
from hashwerk.evidence.domains import RECORD_LEAF, tagged
from hashwerk.evidence.records import Certificate, Direction, Meter, Payout, Record

VERSION: Final = 1
MAX_RECORD_BYTES: Final = 4 << 20

#: Columns of the record tree's sums, each 8 bytes.
SUM_COLUMNS: Final = (
    "import_wh",
    "export_wh",
    "correction_up_wh",
    "correction_down_wh",
    "certificate_wh",
    "payout_sat",
)
Sums = tuple[int, ...]
NO_SUMS: Final[Sums] = (0,) * len(SUM_COLUMNS)

KINDS: Final[dict[int, type[Record]]] = {
    kind.NUMBER: kind
    for kind in vars(records).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record
}
_LAYOUTS: Final[dict[int, Layout[Any]]] = {number: Layout(kind) for number, kind in KINDS.items()}


def encode_record(record: Record) -> bytes:
    """Return a record's leaf: kind, version, fields.

    Raises:
        EvidenceError: If a field does not fit.
    """
    return bytes((record.NUMBER, VERSION)) + _LAYOUTS[record.NUMBER].encode(record)


def decode_record(data: bytes) -> Record:
    """Return the record of a leaf.

    Raises:
        DecodeError: If the bytes are not the one spelling of a known kind.
    """
    if len(data) > MAX_RECORD_BYTES:
        raise DecodeError(f"record of {len(data)} bytes, {MAX_RECORD_BYTES} are allowed")
    reader = Reader(data)
    number, version = reader.uint(1), reader.uint(1)
    layout = _LAYOUTS.get(number)
    if layout is None or version != VERSION:
        raise DecodeError(f"unknown record: kind {number}, version {version}")
    record: Record = layout.read(reader)
    reader.finish(type(record).__name__)
    return record


def record_hash(data: bytes) -> bytes:
    """Return the leaf hash of a record's bytes."""
    return tagged(RECORD_LEAF, data)


def record_sums(record: Record) -> Sums:
    """Return what a record adds to each of `SUM_COLUMNS`.

    Raises:
        EvidenceError: If a register runs backwards or has no direction.
    """
    if isinstance(record, Meter):
        if record.end_wh < record.start_wh:
            raise EvidenceError(
                f"register of {record.meter!r} set back: {record.start_wh} to {record.end_wh} Wh"
            )
        if record.direction > max(Direction):
            raise EvidenceError(f"unknown register: {record.direction}")
        return _one(record.direction, record.end_wh - record.start_wh)
    if isinstance(record, Certificate):
        return _one(4, record.wh)
    if isinstance(record, Payout):
        return _one(5, sum(entry.sat for entry in record.entries))
    return NO_SUMS


def describe_kinds() -> list[tuple[int, str, str, list[tuple[str, str]]]]:
    """Return number, name, meaning and fields of every kind, for the specification."""
    return [
        (number, kind.__name__, (kind.__doc__ or "").strip(), _LAYOUTS[number].describe())
        for number, kind in sorted(KINDS.items())
    ]


def _one(column: int, value: int) -> Sums:
    return (*NO_SUMS[:column], value, *NO_SUMS[column + 1 :])


def unsigned_certificate(certificate: Certificate) -> bytes:
    """Return the bytes that a registry signs: the certificate's leaf without key and signature."""
    return encode_record(msgspec.structs.replace(certificate, registry_key=b"", signature=b""))
