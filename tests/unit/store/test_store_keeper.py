"""A running mine's epochs: closed when due, never signed twice, shown only when durable."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from hashwerk.errors import StoreError
from hashwerk.evidence import records
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.verify import verify_bundle
from hashwerk.evidence.verify.run import Options
from hashwerk.store import SqliteLedger, epochs
from hashwerk.store.bundles import Period, write_bundle
from hashwerk.store.connection import connect_reader
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.writes import Write

DECLARED = (
    records.Site(name="site", network="testnet4", private=1),
    records.Scale(factor=1, basis="one hash is one hash"),
)
NOW = 1_790_000_140.0  # forty seconds into a minute


def keeper(path: Path, enqueue: object, **changes: object) -> EpochKeeper:
    options = {"declarations": DECLARED, "interval_s": 60.0, **changes}
    return EpochKeeper(path, open_keys(path.parent), enqueue, **options)  # type: ignore[arg-type]


async def test_epochs_are_closed_when_due_and_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    kept = keeper(path, ledger._put)
    roots = [await asyncio.to_thread(kept.open, NOW)]
    assert not kept.due(NOW)
    assert not kept.due(NOW + 21.9), "shares have two seconds to reach the disk"
    for later in (22.0, 82.0, 400.0):
        assert kept.due(NOW + later)
        roots.append(await asyncio.to_thread(kept.close_epoch, NOW + later))
        assert kept.root == roots[-1]
        assert not kept.due(NOW + later)
    assert len(set(roots)) == 4
    assert await asyncio.to_thread(kept.close_epoch, NOW + 401) == roots[-1], "none is due"
    kept.close()
    # The next program declares another scale: the open epoch ends there, so that it holds before the next share.
    other = (DECLARED[0], records.Scale(factor=1000, basis="a model"))
    again = keeper(path, ledger._put, declarations=other)
    begun = await asyncio.to_thread(again.open, NOW + 402)
    assert begun not in roots
    reader = connect_reader(path)
    last = epochs.last_epoch(reader)
    assert last is not None
    assert last.signed.hash() == begun
    assert epochs.open_closer(reader, open_keys(tmp_path)).standing.find(records.Scale) == other[1]
    reader.close()
    again.close()
    again = keeper(path, ledger._put, declarations=other)
    assert await asyncio.to_thread(again.open, NOW + 403) == begun, "nothing new is declared"
    ledger.upstream("pool", "stratum+tcp://pool", "me")
    for later in (500, 560, 620):
        await asyncio.to_thread(again.close_epoch, NOW + later)
    reader = connect_reader(path)
    numbers = [
        (row.signed.header.number, row.signed.header.end_us // 10**6)
        for row in epochs.read_epochs(reader, 0, 99)
    ]
    assert [number for number, _ in numbers] == list(range(len(numbers)))
    standing = epochs.open_closer(reader, open_keys(tmp_path)).standing
    assert standing.find(records.Scale) == other[1]
    assert [table.upstream for table in standing.all(records.PrefixTable)] == ["pool"]
    out = io.BytesIO()
    period = Period(start_us=int(NOW * 1e6), end_us=int((NOW + 400) * 1e6), fixed_beforehand=True)
    keys = open_keys(tmp_path)
    write_bundle(reader, out, keys.current, period, now_us=int((NOW + 600) * 1e6), software="test")
    report = verify_bundle(io.BytesIO(out.getvalue()), Options(threads=1))
    assert report.ok, report.failures()
    again.close()
    reader.close()
    ledger.close()


async def test_no_number_is_signed_twice_while_the_disk_is_in_trouble(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    held: list[Write] = []
    stuck = False

    def enqueue(write: Write) -> None:
        if stuck:
            held.append(write)
        else:
            ledger._put(write)

    kept = keeper(path, enqueue, store_timeout_s=5.0)
    first = await asyncio.to_thread(kept.open, NOW)
    stuck = True
    kept._store_timeout_s = 0.01
    for _ in range(2):
        with pytest.raises(StoreError, match="epoch 1 waits for the disk"):
            await asyncio.to_thread(kept.close_epoch, NOW + 100)
    assert kept.root == first, "what is not durable is shown to nobody"
    assert len(held) == 1, "and closed once"
    # The disk comes back.
    stuck = False
    kept._store_timeout_s = 5.0
    done = asyncio.Event()
    ledger._put(Write(held[0].apply, lambda: (held[0].committed and held[0].committed(), done.set())))
    async with asyncio.timeout(10):
        await done.wait()
    second = await asyncio.to_thread(kept.close_epoch, NOW + 200)
    reader = connect_reader(path)
    assert [row.signed.header.number for row in epochs.read_epochs(reader, 0, 9)] == [0, 1, 2]
    assert second == kept.root != first
    kept.close()
    with pytest.raises(StoreError, match="not open"):
        kept.close_epoch(NOW + 300)
    reader.close()
    ledger.close()
