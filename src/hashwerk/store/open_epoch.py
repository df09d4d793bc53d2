"""The open epoch, prepared while it is open: what was committed is taken in every moment, so that closing it is short.

Only what is committed counts, in the order of the ledger, up to the first share or record of a later time. That makes the epoch
the same whenever it was prepared, in whatever pieces, and after any crash: nothing here is kept but in memory.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from hashwerk.errors import DecodeError, EvidenceError, StoreError
from hashwerk.evidence import records, tree
from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.epoch import RecordLeaf, leaf_of_bytes, record_leaf
from hashwerk.evidence.open_shares import warm_up as warm_up_shares
from hashwerk.store import epochs
from hashwerk.store.blocks import STATES
from hashwerk.store.bulk_shares import read_bulk
from hashwerk.store.bulk_shares import warm_up as warm_up_bulk
from hashwerk.store.epochs import PreparedEpoch
from hashwerk.store.logbook import MOST_ENTRIES, read_entries

log = logging.getLogger(__name__)

#: Shares read at a time: less than a millisecond's work.
_READ_SHARES: Final = 1 << 12
#: Jobs read at a time: about a millisecond's work.
_READ_JOBS: Final = 16


def warm_up() -> None:
    """Load the compiled code, so that it is not loaded while machines wait: about a quarter of a second, once."""
    warm_up_shares()
    warm_up_bulk()


class Place(msgspec.Struct, frozen=True):
    """Where an epoch begins in the ledger."""

    position: int  # of its first share
    records: int  # the last number of a record that is in an epoch before
    logbook: int  # …and of an entry of the logbook


class OpenEpoch:
    """What was taken in of the open epoch. After an error it is of no use any more: begin another.

    Owned by one task. Memory: some kilobytes an account and its jobs' and other records, whatever the number of shares.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        closer: EpochCloser,
        place: Place,
        logbook: Path | None = None,
        pause: Callable[[], None] = tree.go_on,
    ) -> None:
        """Begin with nothing.

        Args:
            connection: To the ledger; a reader's is enough.
            closer: Of a site that has begun; its open epoch is taken in.
            place: Where the epoch begins.
            logbook: What other processes log, if anything.
            pause: Called between pieces of work of about a millisecond.
        """
        self._connection = connection
        self._logbook = logbook
        self._pause = pause
        self._begin = place
        self._shares = closer.open_shares()
        self._position = place.position
        self._held_us: int | None = (
            None  # receive time of the share at this position, which belongs to a later epoch
        )
        self._own: list[RecordLeaf] = []
        self._records_through = place.records
        self._told: list[RecordLeaf] = []
        self._logbook_through = place.logbook

    def take_in(self, until_us: int, most: int | None = None) -> None:
        """Take in what is committed and was received before ``until_us``, a time that never runs backwards.

        Args:
            until_us: At latest the end of the epoch.
            most: So many shares and a few more; None: all.

        Raises:
            StoreError: If shares were removed from the ledger, or it cannot be read.
            EvidenceError: If a job is missing or a record is not possible.
            DecodeError: If a row is damaged.
        """
        self._take_shares(until_us, most)
        self._take_own_records(until_us)
        self._take_logbook(until_us)

    def close(self, closer: EpochCloser, end_us: int) -> PreparedEpoch:
        """Return the epoch that ends at ``end_us``, from what is committed now.

        Raises:
            EvidenceError: If the site has not begun, or it would end before its begin.
            StoreError: As `take_in`.
        """
        start_us = closer.start_us
        if start_us is None:
            raise EvidenceError("the site has not begun")
        self.take_in(end_us)
        logged = [*self._own, *self._told, *self._found_blocks(start_us, end_us)]
        standing = closer.standing
        epoch = closer.seal(self._shares, logged, end_us, self._pause)
        return PreparedEpoch(
            epoch,
            standing,
            closer.events,
            self._begin.position,
            self._position,
            self._records_through,
            self._logbook_through,
        )

    def _take_shares(self, until_us: int, most: int | None) -> None:
        last = None if most is None else self._position + most
        while (last is None or self._position < last) and not self._is_held(until_us):
            found = read_bulk(self._connection, self._position, _READ_SHARES)
            if found is None:
                return
            position, shares = found
            if position != self._position:
                raise StoreError(
                    f"shares {self._position} … {position - 1} were removed before they became evidence"
                )
            late = np.flatnonzero(shares["time_us"] >= until_us)
            if len(late):
                self._held_us = int(shares["time_us"][late[0]])
                shares = shares[: late[0]]
            self._shares.add(shares, self._fetch_jobs, self._pause)
            self._position += len(shares)

    def _is_held(self, until_us: int) -> bool:
        return self._held_us is not None and self._held_us >= until_us

    def _fetch_jobs(self, numbers: Sequence[int]) -> Iterator[records.Job]:
        for start in range(0, len(numbers), _READ_JOBS):
            yield from epochs.read_job_records(self._connection, numbers[start : start + _READ_JOBS]).values()
            self._pause()

    def _take_own_records(self, until_us: int) -> None:
        """Take in the ledger's own records up to the first of the next epoch: a number once passed was taken."""
        rows = self._connection.execute(
            "SELECT at_us, id, record FROM evidence_records WHERE id > ? ORDER BY id",
            (self._records_through,),
        ).fetchall()
        for _, number, data in takewhile(lambda row: row[0] < until_us, rows):
            self._own.append(leaf_of_bytes(data))
            self._records_through = number
            self._pause()

    def _take_logbook(self, until_us: int) -> None:
        """Take in what other processes logged.

        A logbook that cannot be read keeps no epoch open: its entries are taken once it can.
        """
        if self._logbook is None:
            return
        try:
            for entry in read_entries(self._logbook, self._logbook_through, until_us):
                if len(self._told) == MOST_ENTRIES:
                    return
                self._told.append(leaf_of_bytes(entry.record))
                self._logbook_through = entry.id
                self._pause()
        except (StoreError, DecodeError) as error:
            log.warning("the epoch goes on without what waits in the logbook: %s", error)

    def _found_blocks(self, start_us: int, end_us: int) -> list[RecordLeaf]:
        rows = self._connection.execute(
            "SELECT hash, height, found_at, reward_sat, job, state FROM blocks WHERE found_at >= ? AND found_at < ?"
            " ORDER BY found_at, hash",
            (start_us / 1e6, end_us / 1e6),
        )
        return [
            record_leaf(
                records.Block(
                    hash=row[0],
                    height=row[1],
                    found_us=int(row[2] * 1e6),
                    reward_sat=row[3],
                    job=row[4],
                    state=STATES.index(row[5]),
                )
            )
            for row in rows
        ]


def place_after(epoch: epochs.EpochRow | PreparedEpoch) -> Place:
    """Return where the epoch after a closed one begins."""
    return Place(epoch.end_position, epoch.records_through, epoch.logbook_through)


def prepare_epoch(
    connection: sqlite3.Connection, closer: EpochCloser, end_us: int, logbook: Path | None = None
) -> PreparedEpoch:
    """Return the epoch that ends at ``end_us``, from what is committed; reads only.

    A share that is committed later goes to the next epoch, whatever its receive time. Records are taken in their order up to the
    first that was logged at or after ``end_us``, those of the ``logbook`` behind the ledger's own.

    Raises:
        EvidenceError: If the site has not begun or a job is missing.
        StoreError: If shares were removed from the ledger.
    """
    last = epochs.last_epoch(connection)
    if last is None:
        raise EvidenceError("the site has not begun")
    return OpenEpoch(connection, closer, place_after(last), logbook).close(closer, end_us)
