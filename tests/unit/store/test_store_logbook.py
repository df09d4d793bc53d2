"""What other processes log becomes leaves once each, whoever is killed, and whatever the clock does."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hashwerk.errors import EvidenceError, StoreError
from hashwerk.evidence import records
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.leaf import decode_record
from hashwerk.store import epochs
from hashwerk.store.connection import connect_reader, connect_writer
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.logbook import MOST_ENTRIES, NAME, THROUGH, Logbook, logged_through, read_entries
from hashwerk.store.migrations import migrate
from hashwerk.store.records import put_record
from hashwerk.store.settings import StoreSettings
from hashwerk.store.writes import Write

SECOND_US = 10**6
START_US = 1_790_000_100 * SECOND_US  # a whole minute


def fact(number: int) -> records.LocalFact:
    return records.LocalFact(name="n", value=str(number))


def numbers(rows: list[bytes]) -> list[int]:
    """Return the numbers of facts, in order."""
    found = [decode_record(row) for row in rows]
    return [int(record.value) for record in found if isinstance(record, records.LocalFact)]


def in_epochs(path: Path) -> list[list[int]]:
    reader = connect_reader(path)
    try:
        return [numbers(list(row.records)) for row in epochs.read_epochs(reader, 0, 10_000)]
    finally:
        reader.close()


class Kept:
    """A keeper of epochs whose writes are done at once."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.sqlite"
        self.connection = connect_writer(self.path, StoreSettings())
        migrate(self.connection, self.path)
        declared = (
            records.Site(name="site", network="testnet4", private=1),
            records.Scale(factor=1, basis=""),
        )
        self.keeper = EpochKeeper(
            self.path, open_keys(folder), self.write, declarations=declared, interval_s=60.0
        )
        self.keeper.open(START_US / 1e6)

    def write(self, write: Write) -> None:
        self.connection.execute("BEGIN IMMEDIATE")
        write.apply(self.connection)
        self.connection.execute("COMMIT")
        if write.committed is not None:
            write.committed()

    def close_epoch(self, minute: int) -> None:
        self.keeper.close_epoch(START_US / 1e6 + 60 * minute + 3)

    def close(self) -> None:
        self.keeper.close()
        self.connection.close()


def test_entries_become_leaves_of_the_epoch_they_were_logged_in(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    kept.close_epoch(1)  # there is no logbook yet
    logbook = Logbook(tmp_path / NAME)
    logbook.open()
    logbook.append([fact(1), fact(2)], START_US + 61 * SECOND_US, {"where": b"2"})
    logbook.append([fact(3)], START_US + 120 * SECOND_US)  # the next epoch's
    logbook.append([fact(4)], START_US + 90 * SECOND_US)  # the clock was set back: it waits behind it
    kept.close_epoch(2)
    assert in_epochs(kept.path) == [[], [], [1, 2]]
    kept.close_epoch(3)
    kept.close_epoch(4)
    assert in_epochs(kept.path) == [[], [], [1, 2], [3, 4], []]
    logbook.close()
    again = Logbook(tmp_path / NAME)
    again.open()
    assert again.kept() == {"where": b"2"}
    again.append([fact(5)], START_US)  # far back
    again.close()
    kept.close_epoch(5)
    assert in_epochs(kept.path)[-1] == [5]
    # The file is lost: a new one's numbers go on above.
    for part in (NAME, f"{NAME}-wal", f"{NAME}-shm"):
        (tmp_path / part).unlink(missing_ok=True)
    again.open()
    assert again.kept() == {}
    again.append([fact(6)], START_US + 330 * SECOND_US)
    again.close()
    kept.close_epoch(6)
    assert in_epochs(kept.path)[-1] == [6]
    kept.close()


def test_a_record_of_the_ledger_is_never_passed_over(tmp_path: Path) -> None:
    """One with a later time that was logged first must not take those behind it out of all epochs."""
    kept = Kept(tmp_path)
    kept.connection.execute("BEGIN")
    put_record(kept.connection, fact(1), START_US + 30 * SECOND_US)
    put_record(kept.connection, fact(2), START_US + 61 * SECOND_US)
    put_record(kept.connection, fact(3), START_US + 40 * SECOND_US)
    kept.connection.execute("COMMIT")
    kept.close_epoch(1)
    kept.close_epoch(2)
    assert in_epochs(kept.path) == [[], [1], [2, 3]]
    kept.close()


def test_a_logbook_that_cannot_be_read_keeps_no_epoch_open(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept(tmp_path)
    (tmp_path / NAME).write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="logbook"):
        read_entries(tmp_path / NAME, 0, START_US)
    kept.close_epoch(1)
    assert "without what waits in the logbook" in caplog.text
    assert len(in_epochs(kept.path)) == 2
    kept.close()


def test_what_no_epoch_could_be_closed_with_is_refused(tmp_path: Path) -> None:
    logbook = Logbook(tmp_path / NAME)
    with pytest.raises(StoreError, match="not open"):
        logbook.append([fact(1)], START_US)
    logbook.open()
    back = records.Meter(
        meter="m", serial="1", multiplier_ppm=10**6, direction=0, start_us=0, end_us=1, start_wh=5, end_wh=4,
        quality=0, signed_by="", signed_data=b"", signer_key=b"",
    )  # fmt: skip
    for record in (back, records.LocalFact(name="a\nb", value="")):
        with pytest.raises(EvidenceError):
            logbook.append([fact(1), record], START_US)
    assert read_entries(tmp_path / NAME, 0, 2**62) == []
    logbook.close()


def test_an_epoch_waits_a_little_for_what_is_said_of_its_end(tmp_path: Path) -> None:
    """What a meter counted up to the end is known seconds later, and is in the epoch that it is of."""
    kept = Kept(tmp_path)
    logbook = Logbook(tmp_path / NAME)
    logbook.open()
    assert logged_through(tmp_path / NAME) is None

    def through(minute: int) -> dict[str, bytes]:
        return {THROUGH: str(START_US + 60 * minute * SECOND_US).encode()}

    logbook.append([fact(1)], START_US + 59 * SECOND_US, through(1))
    kept.close_epoch(1)
    kept.close_epoch(2)  # a moment after its end: it is not told yet
    assert in_epochs(kept.path) == [[], [1]]
    logbook.append([fact(2)], START_US + 120 * SECOND_US - 1, through(2))
    kept.close_epoch(2)
    assert in_epochs(kept.path) == [[], [1], [2]]
    kept.keeper.close_epoch(START_US / 1e6 + 60 * 3 + 15)  # long enough waited
    assert in_epochs(kept.path) == [[], [1], [2], []]
    kept.close_epoch(4)  # whoever fell silent is not waited for again
    assert in_epochs(kept.path) == [[], [1], [2], [], []]
    logbook.close()
    kept.close()


WRITER = """
import sys, time
from pathlib import Path
from hashwerk.evidence.records import LocalFact
from hashwerk.store.logbook import Logbook, NAME
logbook = Logbook(Path(sys.argv[1]) / NAME)
logbook.open()
number = int(logbook.kept().get("next", b"0"))
while True:
    pair = [LocalFact(name="n", value=str(number)), LocalFact(name="n", value=str(number + 1))]
    number += 2
    logbook.append(pair, int(time.time() * 1e6), {"next": str(number).encode()})
    print(number, flush=True)
"""
CLOSER = """
import sys, time
from pathlib import Path
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.records import Scale, Site
from hashwerk.store.connection import connect_writer
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.migrations import migrate
from hashwerk.store.settings import StoreSettings
folder = Path(sys.argv[1])
path = folder / "ledger.sqlite"
connection = connect_writer(path, StoreSettings())
migrate(connection, path)
def write(job):
    connection.execute("BEGIN IMMEDIATE")
    job.apply(connection)
    connection.execute("COMMIT")
    job.committed and job.committed()
declared = (Site(name="site", network="testnet4", private=1), Scale(factor=1, basis=""))
keeper = EpochKeeper(path, open_keys(folder), write, declarations=declared, interval_s=0.01)
keeper.open(time.time())
root = b""
while True:
    if root != (root := keeper.close_epoch(time.time() + 2.0)):
        print("closed", flush=True)
"""


def test_kill_9_of_either_process_loses_and_doubles_nothing(tmp_path: Path) -> None:
    for _ in range(3):
        started = [
            subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
            for script in (WRITER, CLOSER)
        ]
        for process in started:
            assert process.stdout is not None
            for _ in range(8):
                assert process.stdout.readline(), "it ended by itself"
        for process in started:  # in the midst of whatever it does
            process.send_signal(signal.SIGKILL)
        for process in started:
            process.communicate(timeout=20)
    entries = read_entries(tmp_path / NAME, 0, 2**62)
    while more := read_entries(
        tmp_path / NAME, entries[-1].id, 2**62
    ):  # a loaded machine lets many come together
        entries += more
    logged = numbers([entry.record for entry in entries])
    assert logged == list(range(len(logged)))
    assert len(logged) >= 3 * 16
    kept = Kept.__new__(Kept)
    kept.path = tmp_path / "ledger.sqlite"
    kept.connection = connect_writer(kept.path, StoreSettings())
    kept.keeper = EpochKeeper(kept.path, open_keys(tmp_path), kept.write, declarations=(), interval_s=1.0)
    kept.keeper.open(time.time())
    for later in range(len(entries) // MOST_ENTRIES + 1):
        kept.keeper.close_epoch(time.time() + 5 + later)
    taken = [number for epoch in in_epochs(kept.path) for number in epoch]
    assert taken == logged
    with sqlite3.connect(kept.path) as connection:
        assert connection.execute("SELECT count(*) FROM epochs").fetchone()[0] >= 3 * 8
    connection.close()
    kept.close()
