"""A bundle of evidence out of the ledger, written epoch by epoch while the mine goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hashwerk.errors import EvidenceError
from hashwerk.evidence import records
from hashwerk.evidence.bundle import BundleWriter, Claim, Manifest, Stamp
from hashwerk.evidence.epoch import SignedHeader
from hashwerk.evidence.key_files import SiteKeys
from hashwerk.evidence.leaf import decode_record
from hashwerk.evidence.records import Record
from hashwerk.evidence.stamps import recognise
from hashwerk.evidence.tag import ZERO_ROOT
from hashwerk.evidence.verify.energy import not_covered
from hashwerk.store import epochs, logbook
from hashwerk.store.connection import WriterLock, connect_writer
from hashwerk.store.key_changes import finish
from hashwerk.store.migrations import migrate
from hashwerk.store.open_epoch import prepare_epoch
from hashwerk.store.settings import StoreSettings
from hashwerk.store.stamp_book import stamps_beside

#: Jobs name the last closed epoch, so hardly any names one further back than this.
_MAX_PREAMBLE: Final = 1_000


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """What a bundle is to cover. Epochs are whole: all that touch the interval are in it."""

    start_us: int
    end_us: int
    fixed_beforehand: bool
    note: str = ""


def write_bundle(
    connection: sqlite3.Connection,
    stream: BinaryIO,
    key: Ed25519PrivateKey,
    period: Period,
    *,
    now_us: int,
    software: str,
    stamps: Sequence[bytes] = (),
) -> Manifest:
    """Write the closed epochs of a period; return what the bundle says of itself.

    Args:
        connection: To the ledger; a reader's is enough.
        stream: Where to write.
        key: The site's current key, which seals the bundle.
        period: What to cover.
        now_us: The time.
        software: Name and version of this program.
        stamps: External stamps of its epochs, beside those in the ledger.

    Raises:
        EvidenceError: If no epoch of the period is closed, or its shares are gone.
    """
    found = epochs.find_epochs(connection, period.start_us, period.end_us)
    if found is None:
        raise EvidenceError("no epoch of this period is closed yet; closed epochs are what can be proven")
    first, last = found
    rows = list(epochs.read_epochs(connection, first, last))
    beside = stamps_beside(connection, first, last)
    sure = [*epochs.read_stamps(connection, first, last), *_recognise(stamps, rows)]
    sure += [one.stamp for one in beside if not one.waits]
    kept = [*sure, *(one.stamp for one in beside if one.waits)]
    headers = [row.signed.header for row in rows]
    roots: set[bytes] = set()
    # A time for the last epoch holds for all before it; what waits for its block shows none yet.
    claims = Claim.TIME if any(stamp.epoch == last for stamp in sure) else Claim(0)
    anchored, meters = True, list[records.Meter]()
    for row in rows:
        for record in map(decode_record, row.records):
            # A window may reach back before the bundle: what cannot be recomputed from it is not claimed.
            claims |= _claims(record) & ~(Claim.PAYOUT if first > 1 else Claim(0))
            if isinstance(record, records.Meter):
                meters.append(record)
            if isinstance(record, records.Job) and not record.upstream:
                roots.add(record.epoch_root)
                anchored = anchored and record.epoch_root != ZERO_ROOT
    # Meters that were begun later or have fallen silent show what they show, and cover nothing.
    if meters and not not_covered(meters, headers[0].start_us, headers[-1].end_us):
        claims |= Claim.ENERGY
    standing = epochs.read_standing(connection, rows[0].standing)
    site = standing.find(records.Site)
    # A private chain gives no anchor, so none is claimed.
    if anchored and roots and site is not None and not site.private:
        claims |= Claim.ANCHOR
    manifest = Manifest(
        site=headers[0].site,
        start_us=headers[0].start_us,
        end_us=headers[-1].end_us,
        first_epoch=first,
        last_epoch=last,
        claims=int(claims),
        period_fixed=int(period.fixed_beforehand),
        made_us=now_us,
        software=software,
        note=period.note,
    )
    writer = BundleWriter(
        stream,
        manifest,
        keys=epochs.read_key_events(connection),
        preamble=_preamble(connection, first, roots - {row.signed.hash() for row in rows}),
        standing=standing.records,
    )
    for row in rows:
        writer.epoch(epochs.read_epoch(connection, row))
    writer.finish(key, stamps=kept)
    return manifest


def close_stopped(
    path: Path,
    keys: SiteKeys,
    declarations: Sequence[Record],
    now_us: int,
    settings: StoreSettings | None = None,
    *,
    key_folder: Path | None = None,
) -> bool:
    """Close the open epoch of a mine that does not run; return whether there was anything to close.

    With ``key_folder`` a change of the keys that a crash left half done is finished first, and its keys sign.

    Raises:
        StoreError: If the mine runs, or the ledger cannot be written.
        EvidenceError: If the epoch cannot be closed.
    """
    lock = WriterLock(path)
    lock.acquire(0.0)
    try:
        connection = connect_writer(path, settings or StoreSettings())
        try:
            migrate(connection, path)
            if key_folder is not None:
                keys = finish(connection, key_folder)
            return _close_open(connection, keys, declarations, now_us, path.with_name(logbook.NAME))
        finally:
            connection.close()
    finally:
        lock.release()


def _close_open(
    connection: sqlite3.Connection,
    keys: SiteKeys,
    declarations: Sequence[Record],
    now_us: int,
    logbook_file: Path,
) -> bool:
    closer = epochs.open_closer(connection, keys)
    connection.execute("BEGIN IMMEDIATE")
    try:
        if closer.number == 0:
            first = connection.execute(
                "SELECT min(first_position), min(first_time_us) FROM share_groups"
            ).fetchone()
            if first[0] is None:
                return False
            started = min(first[1], now_us)
            epochs.store_epoch(
                connection, epochs.begin(connection, closer, declarations, started, first_position=first[0])
            )
        last = epochs.last_epoch(connection)
        assert last is not None
        waiting = connection.execute(
            "SELECT count(*) FROM share_groups WHERE first_position + count > ?", (last.end_position,)
        ).fetchone()
        if not waiting[0]:
            return False
        epochs.store_epoch(connection, prepare_epoch(connection, closer, now_us, logbook_file))
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")
    return True


def _recognise(stamps: Sequence[bytes], rows: Sequence[epochs.EpochRow]) -> list[Stamp]:
    numbers = {row.signed.hash(): row.signed.header.number for row in rows}
    found = []
    for data in stamps:
        kind, epoch = recognise(data)
        if epoch not in numbers:
            raise EvidenceError(f"a stamp is of epoch {epoch.hex()[:16]}…, which is not in this period")
        found.append(Stamp(epoch=numbers[epoch], kind=kind, data=data))
    return found


def _claims(record: Record) -> Claim:
    if isinstance(record, records.SourceInterval):
        return Claim.SOURCE
    return Claim.PAYOUT if isinstance(record, records.Payout) else Claim(0)


def _preamble(connection: sqlite3.Connection, first: int, wanted: set[bytes]) -> list[SignedHeader]:
    """Return the headers before the first epoch, back to the oldest whose root a job carries."""
    wanted = wanted - {ZERO_ROOT}
    found: list[SignedHeader] = []
    number = first - 1
    while wanted and number >= 0 and len(found) < _MAX_PREAMBLE:
        for row in epochs.read_epochs(connection, number, number):
            found.insert(0, row.signed)
            wanted.discard(row.signed.hash())
        number -= 1
    return found
