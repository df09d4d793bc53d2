"""What becomes of a block is evidence: found, mature and taken out again are records of the epochs in which they happened."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hashwerk.evidence import records
from hashwerk.evidence.key_files import open_keys
from hashwerk.evidence.leaf import decode_record
from hashwerk.store import SqliteLedger, blocks, epochs
from hashwerk.store.connection import connect_reader
from hashwerk.store.keeper import EpochKeeper
from hashwerk.store.writes import Write
from hashwerk.stratum.ports import BlockRecord

NOW = 1_790_000_140.0
HASH = bytes(range(32))


async def on_disk(ledger: SqliteLedger) -> None:
    """Wait until everything written before is durable."""
    done = asyncio.Event()
    ledger.put(Write(lambda _: None, done.set))
    async with asyncio.timeout(20):
        await done.wait()


async def test_a_change_of_a_blocks_state_is_a_record_of_its_epoch(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    declared = (records.Scale(factor=1, basis="one hash is one hash"),)
    keeper = EpochKeeper(path, open_keys(tmp_path), ledger.put, declarations=declared, interval_s=60.0)
    await asyncio.to_thread(keeper.open, NOW)
    found = BlockRecord(
        hash=HASH,
        height=7,
        found_at=NOW + 1,
        worker_id=1,
        job_id=1,
        reward_sat=5,
        state="accepted",
        confirmations=1,
    )
    ledger.put_block(found)
    await on_disk(ledger)
    await asyncio.to_thread(keeper.close_epoch, NOW + 60)
    for later, depth in ((120, 2), (180, 1_000), (240, None)):
        ledger.update_blocks({HASH: depth})
        await on_disk(ledger)
        await asyncio.to_thread(keeper.close_epoch, NOW + later)
    keeper.close()
    ledger.close()
    reader = connect_reader(path)
    logged = [
        (row.signed.header.number, record.state, record.found_us, record.height, record.reward_sat)
        for row in epochs.read_epochs(reader, 0, 9)
        for record in map(decode_record, row.records)
        if isinstance(record, records.Block) and record.hash == HASH
    ]
    reader.close()
    at = int((NOW + 1) * 1e6)
    accepted, mature, orphaned = (blocks.STATES.index(name) for name in ("accepted", "mature", "orphaned"))
    # A look that finds it deeper, but not mature, changes nothing.
    assert logged == [(1, accepted, at, 7, 5), (3, mature, at, 7, 5), (4, orphaned, at, 7, 5)]
