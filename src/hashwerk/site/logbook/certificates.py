"""Certificates that were cancelled for the site, from the operator's file: each is logged once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

from hashwerk.config.site import EvidenceSettings
from hashwerk.errors import EvidenceError
from hashwerk.evidence.records import Certificate, Record, Source, SourceInterval
from hashwerk.site.logbook.state import LogState
from hashwerk.site.logbook.words import plain

_MOST_BYTES: Final = 16 << 20
#: So many are logged at a time.
_MOST: Final = 500


class CertificateEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cancelled certificate as it stands in the file."""

    id: str
    registry: str
    source: str  # hydro, wind, …
    start: datetime
    end: datetime
    wh: Annotated[int, msgspec.Meta(ge=0)]
    beneficiary: str
    registry_key: str = ""  # hexadecimal
    signature: str = ""


def certificate_records(settings: EvidenceSettings, state: LogState) -> tuple[list[Record], LogState]:
    """Return the certificates of the file that are not logged yet, each with the energy that it is of.

    Raises:
        EvidenceError: If the file cannot be read.
    """
    if settings.certificates is None:
        return [], state
    path = Path(settings.certificates)
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise EvidenceError(f"{path}: more than {_MOST_BYTES} bytes of certificates")
        entries = msgspec.json.decode(path.read_bytes(), type=list[CertificateEntry])
    except OSError as error:
        raise EvidenceError(f"{path}: certificates cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise EvidenceError(f"{path}: these are no certificates: {error}") from error
    new = {entry.id: entry for entry in entries if plain(entry.id) not in state.certificates}
    chosen = list(new.values())[:_MOST]
    records = [record for entry in chosen for record in _records(path, entry)]
    known = state.certificates | {plain(entry.id) for entry in chosen}
    return records, msgspec.structs.replace(state, certificates=known)


def _records(path: Path, entry: CertificateEntry) -> list[Record]:
    name = entry.source.upper().replace(" ", "_")
    if name not in Source.__members__:
        raise EvidenceError(f"{path}: certificate {entry.id!r}: unknown source {entry.source!r}")
    start_us, end_us = _us(entry.start), _us(entry.end)
    if not 0 < end_us - start_us <= 3_600_000_000:
        raise EvidenceError(f"{path}: certificate {entry.id!r} is of no interval of at most an hour")
    try:
        key, signature = bytes.fromhex(entry.registry_key), bytes.fromhex(entry.signature)
    except ValueError as error:
        raise EvidenceError(f"{path}: certificate {entry.id!r}: key or signature: {error}") from error
    certificate = Certificate(
        id=plain(entry.id),
        registry=plain(entry.registry),
        source=int(Source[name]),
        start_us=start_us,
        end_us=end_us,
        wh=entry.wh,
        beneficiary=plain(entry.beneficiary),
        registry_key=key,
        signature=signature,
    )
    claimed = SourceInterval(
        name=certificate.registry,
        source=certificate.source,
        start_us=start_us,
        end_us=end_us,
        wh=entry.wh,
        certificate=certificate.id,
        meter="",
    )
    return [certificate, claimed]


def _us(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1e6)
