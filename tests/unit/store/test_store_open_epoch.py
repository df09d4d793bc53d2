"""The open epoch is the same whenever and in whatever pieces it was prepared, and after kill -9 at any moment."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from hashwerk.chain.template import Template
from hashwerk.errors import EvidenceError, StoreError
from hashwerk.evidence import records
from hashwerk.evidence.closer import EpochCloser
from hashwerk.evidence.epoch import root_of_accounts, root_of_group
from hashwerk.evidence.key_files import SiteKeys, open_keys
from hashwerk.evidence.keys import public_bytes
from hashwerk.evidence.leaf import decode_record
from hashwerk.evidence.tag import ZERO_ROOT, job_tag, job_tag_preimage
from hashwerk.store import epochs, share_groups
from hashwerk.store.bulk_shares import read_bulk
from hashwerk.store.codec import COLUMNS, RAW, encode_shares
from hashwerk.store.connection import connect_reader, connect_writer
from hashwerk.store.jobs import template_hash, write_job
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.migrations import migrate
from hashwerk.store.open_epoch import OpenEpoch, place_after, prepare_epoch
from hashwerk.store.records import put_record
from hashwerk.store.settings import StoreSettings
from hashwerk.store.writes import Write
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.job import Job
from hashwerk.work.share import SHARE_DTYPE, Verdict
from support.evidence import seeded_key

SECOND_US = 10**6
START_US = 1_790_000_100 * SECOND_US  # a whole minute
END_US = START_US + 60 * SECOND_US
KEYS = SiteKeys(seeded_key("site/key"), seeded_key("site/next"), seeded_key("site/recovery"))
DECLARED = (
    records.Site(name="site", network="testnet4", private=1),
    records.Scale(factor=1, basis="one hash is one hash"),
)
ACCOUNTS, JOBS = 5, 12
HERE = Path(__file__).parent


class Ledger:
    """A ledger with accounts and jobs, whose shares are written group by group."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connection = connect_writer(path, StoreSettings())
        migrate(self.connection, path)
        self.reader = connect_reader(path)
        self.position = 0
        for number in range(1, ACCOUNTS + 1):
            commitment = sha256(bytes([number])).digest()
            self.connection.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, 0.0)",
                (number, f"a{number}", bytes(32), commitment),
            )
        for number in range(1, JOBS + 1):
            self.job(number)

    def job(self, number: int) -> None:
        account = number % ACCOUNTS + 1
        template = Template(
            network="testnet4", height=1, version=0x20000000, prev_hash=bytes(32), nbits=0x1D00FFFF,
            time=START_US // SECOND_US, min_time=0, coinbase_value_sat=1, source="kernel",
        )  # fmt: skip
        commitment = sha256(bytes([account])).digest()
        preimage = job_tag_preimage(public_bytes(KEYS.current), ZERO_ROOT, commitment, number % 4)
        job = Job(
            id=number, account_id=account, work_log2=number % 4, template=template, coinbase1=bytes(50),
            coinbase2=bytes(50), branch=(), version=0x20000000, version_mask=0, ntime=template.time,
            extranonce1_size=4, extranonce2_size=8, tag=job_tag(preimage), tag_preimage=preimage,
            created_at=START_US / 1e6,
        )  # fmt: skip
        write_job(self.connection, job, template_hash(template))

    def begin(self, *more: records.Record) -> EpochCloser:
        closer = epochs.open_closer(self.connection, KEYS)
        epochs.store_epoch(
            self.connection, epochs.begin(self.connection, closer, [*DECLARED, *more], START_US)
        )
        return closer

    def shares(self, rows: ShareRecords, *, encoding: int = RAW) -> None:
        self.connection.execute(
            "INSERT INTO share_groups VALUES (?, ?, 0, 0, ?, ?)",
            (self.position, len(rows), encode_shares(rows, encoding), encoding),
        )
        self.position += len(rows)

    def open_epoch(self) -> OpenEpoch:
        last = epochs.last_epoch(self.reader)
        assert last is not None
        return OpenEpoch(self.reader, epochs.open_closer(self.reader, KEYS), place_after(last))

    def close(self) -> None:
        self.reader.close()
        self.connection.close()


def some_shares(count: int, at_us: int, seed: int, jobs: int = JOBS) -> ShareRecords:
    rng = np.random.default_rng(seed)
    rows = np.zeros(count, SHARE_DTYPE)
    rows["job"] = rng.integers(1, jobs + 1, count)
    rows["nonce"] = rng.integers(0, 2**32, count)
    rows["extranonce2"] = rng.integers(0, 2**63, count)
    rows["hash_key"] = np.frombuffer(rng.bytes(16 * count), "V16")
    rows["time_us"] = at_us + np.arange(count)
    rows["verdict"] = rng.choice([Verdict.ACCEPTED] * 5 + [Verdict.STALE], count)
    return rows


@pytest.mark.parametrize("thinned", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whenever_it_was_prepared_it_is_the_same(tmp_path: Path, seed: int, *, thinned: bool) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    closer = ledger.begin(*((records.Thinning(work_log2=2),) if thinned else ()))
    chance = random.Random(seed)
    prepared = [ledger.open_epoch()]
    written: list[ShareRecords] = []
    for second in range(60):
        at_us = START_US + second * SECOND_US
        for group in range(chance.randrange(4)):
            rows = some_shares(
                chance.randrange(1, 40), at_us + 1000 * group, 100 * second + group, 1 + second // 5
            )
            ledger.shares(rows, encoding=chance.choice([RAW, RAW, RAW, COLUMNS]))
            written.append(rows)
        if second % 9 == 0:
            put_record(ledger.connection, records.LocalFact(name="n", value=str(second)), at_us)
        for each in prepared:
            if chance.random() < 0.3:
                each.take_in(END_US, chance.choice([None, 1, 500]))
        if chance.random() < 0.1:  # as after a restart
            prepared.append(ledger.open_epoch())
    ledger.shares(some_shares(20, END_US - 10, 7))  # ten of the next epoch, and whatever follows them
    ledger.shares(some_shares(20, END_US - 1000, 8))
    written.append(some_shares(20, END_US - 10, 7)[:10])
    found = [each.close(epochs.open_closer(ledger.reader, KEYS), END_US) for each in prepared]
    found.append(prepare_epoch(ledger.reader, epochs.open_closer(ledger.reader, KEYS), END_US))
    assert len({epochs.rows_of(each) for each in found}) == 1
    # And it is the epoch that is closed with all of it at hand.
    jobs = epochs.read_job_records(ledger.reader, range(1, JOBS + 1))
    logged = [records.LocalFact(name="n", value=str(second)) for second in range(0, 60, 9)]
    plain = closer.close(np.concatenate(written), jobs, logged, END_US)
    assert (found[0].epoch.signed, found[0].epoch.records) == (plain.signed, plain.records)
    assert found[0].end_position == sum(map(len, written))
    ledger.close()


def test_bulk_reading_is_reading(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    chance = random.Random(1)
    for number in range(60):
        ledger.shares(
            some_shares(chance.randrange(1, 30), number, number), encoding=RAW if number < 40 else COLUMNS
        )
    for first in range(0, ledger.position, 37):
        found = read_bulk(ledger.reader, first, 100)
        assert found is not None
        position, shares = found
        assert position == first
        whole = np.concatenate([rows for _, rows in share_groups.read(ledger.reader, first, len(shares))])
        assert shares.tobytes() == whole.tobytes()
    assert read_bulk(ledger.reader, ledger.position, 100) is None
    ledger.connection.execute("DELETE FROM share_groups WHERE first_position > 0 AND first_position < 300")
    position, _ = read_bulk(ledger.reader, 250, 10) or (0, None)
    assert position >= 300, "what was removed is passed over, and that is told"
    ledger.close()


def test_what_went_wrong_is_begun_anew(tmp_path: Path) -> None:
    """Nothing that was half taken in is in an epoch."""
    ledger = Ledger(tmp_path / "ledger.sqlite")

    def write(entry: Write) -> None:
        entry.apply(ledger.connection)
        if entry.committed is not None:
            entry.committed()

    keeper = EpochKeeper(ledger.path, KEYS, write, declarations=DECLARED, interval_s=60.0)
    keeper.open(START_US / 1e6)
    ledger.shares(some_shares(50, START_US, 1))
    keeper.take_in(START_US / 1e6 + 10)
    ledger.shares(some_shares(50, START_US + 1000, 2, JOBS + 1))  # one of a job that is not there
    for _ in range(2):
        with pytest.raises(EvidenceError, match=f"job {JOBS + 1} is not in the ledger"):
            keeper.take_in(START_US / 1e6 + 20)
    with pytest.raises(EvidenceError, match="not in the ledger"):
        keeper.close_epoch(START_US / 1e6 + 63)
    ledger.job(JOBS + 1)
    keeper.take_in(START_US / 1e6 + 61)
    assert keeper.close_epoch(START_US / 1e6 + 63) == keeper.root
    (row,) = epochs.read_epochs(ledger.reader, 1, 9)
    assert row.end_position == 100
    check(ledger.reader, row)
    # Shares that are gone before they became evidence keep the epoch open, and are named.
    ledger.shares(some_shares(50, END_US, 3))
    ledger.shares(some_shares(50, END_US, 4))
    ledger.connection.execute("DELETE FROM share_groups WHERE first_position = 100")
    with pytest.raises(StoreError, match=r"shares 100 … 149 were removed"):
        keeper.close_epoch(END_US / 1e6 + 63)
    keeper.close()
    with pytest.raises(StoreError, match="not open"):
        keeper.take_in(END_US / 1e6 + 64)
    ledger.close()


def check(reader: sqlite3.Connection, row: epochs.EpochRow) -> None:
    """Recompute a closed epoch from its shares."""
    epoch = epochs.read_epoch(reader, row)
    jobs = [record for record in map(decode_record, row.records) if isinstance(record, records.Job)]
    work = {job.id: job.work_log2 for job in jobs}
    root = root_of_accounts([(group.account, root_of_group(group, work)) for group in epoch.groups])
    assert (root.hash, root.count) == (row.signed.header.accounts_root, row.signed.header.shares)
    assert row.signed.is_signed()


MINE = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[2:]
from hashwerk.evidence.key_files import open_keys
from hashwerk.store import share_groups
from hashwerk.store.connection import connect_writer
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.settings import StoreSettings
from test_store_open_epoch import DECLARED, Ledger, some_shares
folder = Path(sys.argv[1])
path = folder / "ledger.sqlite"
ledger = Ledger.__new__(Ledger)
ledger.connection = connect_writer(path, StoreSettings())
ledger.position = share_groups.end(ledger.connection)
def write(entry):
    entry.apply(ledger.connection)
    entry.committed and entry.committed()
keeper = EpochKeeper(path, open_keys(folder), write, declarations=DECLARED, interval_s=0.05)
keeper.open(time.time())
root, number = b"", 0
while True:
    number += 1
    ledger.shares(some_shares(1 + number % 60, int(time.time() * 1e6), number))
    keeper.take_in(time.time() + 2.0)
    if root != (root := keeper.close_epoch(time.time() + 2.0)):
        print(root.hex(), flush=True)
"""


def test_kill_9_at_any_moment_leaves_one_gapless_history(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.close()
    open_keys(tmp_path)
    shown: list[str] = []
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", MINE, str(tmp_path), str(HERE), str(HERE.parents[1])],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        for _ in range(4 + 3 * round_):
            line = process.stdout.readline()
            assert line, "it ended by itself"
            shown.append(line.strip())
        process.send_signal(signal.SIGKILL)  # in the midst of whatever it does
        rest, _ = process.communicate(timeout=20)
        shown += [line for line in rest.splitlines() if len(line) == 64]
    reader = connect_reader(tmp_path / "ledger.sqlite")
    rows = list(epochs.read_epochs(reader, 0, 10**6))
    assert [row.signed.header.number for row in rows] == list(range(len(rows)))
    hashes = [row.signed.hash().hex() for row in rows]
    assert set(shown) <= set(hashes), "what was shown is what is stored"
    for before, row in pairwise(rows):
        assert row.signed.header.previous == before.signed.hash()
        assert row.first_position == before.end_position
        check(reader, row)
    assert rows[-1].end_position > 0
    reader.close()
