"""A full disk, a refusing disk, a locked file: nothing is acknowledged that is not stored, and it goes on by
itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hashwerk.clock import VirtualClock
from hashwerk.errors import StoreError, StoreFullError
from hashwerk.store import LedgerReader, SqliteLedger, StoreSettings
from hashwerk.stratum.ports import BlockRecord
from support.ledger import NOW, eventually, make_job, make_shares, make_template, settle, store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes; making one takes root on Linux."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("NOT TESTED: a full disk, since only root on Linux can mount a small one")
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"NOT TESTED: a full disk, since it cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


async def test_a_full_disk_stores_nothing_of_the_group_and_resumes_when_there_is_room(
    small_disk: Path,
) -> None:
    path = small_disk / "ledger.db"
    ballast = small_disk / "ballast"
    ledger = SqliteLedger(path, asyncio.get_running_loop(), StoreSettings(), VirtualClock(NOW))
    ledger.open()
    assert await store(ledger, make_shares(10)) is None
    fill(ballast)

    refused = await store(ledger, make_shares(20_000, first=10))
    assert isinstance(refused, StoreFullError)
    assert refused.retry
    assert "ledger.db" in str(refused)
    assert ledger.status().healthy is False
    # What is given out now must be durable before the first share that names it, once there is room again.
    account = ledger.account("alice")
    job = make_job(ledger.next_job_id(), account, make_template(transactions=4))
    ledger.put_job(job)
    block = BlockRecord(
        hash=bytes(32), height=1, found_at=NOW, worker_id=1, job_id=job.id, reward_sat=1, state="submitted"
    )
    ledger.put_block(block)
    assert isinstance(await store(ledger, make_shares(20_000, first=10)), StoreFullError)
    assert ledger.pending == 0
    with LedgerReader(path) as reader:
        assert len(reader.shares(0, 100_000)[1]) == 10

    ballast.unlink()
    assert await store(ledger, make_shares(10, first=10, job=job.id)) is None
    assert ledger.status().healthy is True
    with LedgerReader(path) as reader:
        assert reader.shares(0, 100_000)[1]["nonce"].tolist() == list(range(20))
        assert reader.job(job.id) == job
        assert reader.blocks() == (block,)
        assert reader.totals().accepted == ledger.rates.accepted == 20
    ledger.close()


async def test_a_block_found_on_a_full_disk_is_stored_without_any_share_to_push_it(small_disk: Path) -> None:
    path = small_disk / "ledger.db"
    ballast = small_disk / "ballast"
    ledger = SqliteLedger(path, asyncio.get_running_loop())
    ledger.open()
    fill(ballast)
    assert isinstance(await store(ledger, make_shares(20_000)), StoreFullError)
    ledger.event("large", "x" * 1_000_000)
    await eventually(lambda: ledger.status().healthy is False)
    ballast.unlink()
    with LedgerReader(path) as reader:
        await eventually(lambda: [event.kind for event in reader.events(10)] == ["large"])
    await eventually(lambda: ledger.status().healthy)
    ledger.close()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError:
            return


# The limit on the size of files makes every write beyond it fail with EFBIG, which SQLite calls an I/O error.
REFUSING = """
import asyncio, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.ledger import make_shares, store
from hashwerk.errors import StoreFullError
from hashwerk.store import SqliteLedger, StoreSettings

async def main():
    ledger = SqliteLedger(Path(sys.argv[1]), asyncio.get_running_loop(), StoreSettings())
    ledger.open()
    assert await store(ledger, make_shares(100)) is None
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    refused = [await store(ledger, make_shares(10_000, first=100)) for _ in range(3)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    stored = await store(ledger, make_shares(10_000, first=100))
    ledger.close()
    print([type(error).__name__ for error in refused], stored, ledger.rates.accepted)

asyncio.run(main())
"""


def test_a_disk_that_refuses_is_as_good_as_full(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    tests = Path(__file__).parents[2]
    child = subprocess.run(
        [sys.executable, "-c", REFUSING, str(path), str(tests)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.stdout.strip() == "['StoreFullError', 'StoreFullError', 'StoreFullError'] None 10100", (
        child.stderr
    )
    with LedgerReader(path) as reader:
        assert reader.shares(0, 100_000)[1]["nonce"].tolist() == list(range(10_100))


async def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first = SqliteLedger(path, asyncio.get_running_loop())
    first.open()
    second = SqliteLedger(path, asyncio.get_running_loop(), StoreSettings(lock_timeout_s=0.05))
    with pytest.raises(StoreError, match=rf"ledger\.db: the ledger is locked by process {os.getpid()}"):
        second.open()
    first.close()
    second.open()
    second.close()


async def test_a_successor_waits_for_its_predecessor(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first = SqliteLedger(path, asyncio.get_running_loop())
    first.open()
    second = SqliteLedger(path, asyncio.get_running_loop(), StoreSettings(lock_timeout_s=20))
    opening = asyncio.get_running_loop().run_in_executor(None, second.open)
    assert await store(first, make_shares(5)) is None
    first.close()
    await opening
    assert second.status().stored == 5
    second.close()


async def test_another_programs_lock_is_named_and_waited_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, asyncio.get_running_loop(), StoreSettings(lock_timeout_s=0.05))
    ledger.open()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    error = await store(ledger, make_shares(1))
    assert isinstance(error, StoreError)
    assert "ledger.db" in str(error)
    assert "locked by another process" in str(error)
    other.execute("ROLLBACK")
    other.close()
    assert await store(ledger, make_shares(1)) is None
    ledger.close()


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="missing"):
        SqliteLedger(tmp_path / "missing" / "ledger.db", asyncio.get_running_loop()).open()
    with pytest.raises(StoreError, match="no ledger here"):
        LedgerReader(tmp_path / "ledger.db")


async def test_a_full_queue_refuses_and_says_so(tmp_path: Path) -> None:
    settings = StoreSettings(max_pending_shares=100)
    ledger = SqliteLedger(tmp_path / "ledger.db", asyncio.get_running_loop(), settings)
    ledger.open()
    waiting = asyncio.ensure_future(store(ledger, make_shares(90)))
    refused = asyncio.ensure_future(store(ledger, make_shares(20, first=90)))
    await asyncio.wait([waiting, refused])
    assert waiting.result() is None
    assert isinstance(refused.result(), StoreError)
    assert "90 shares waiting" in str(refused.result())
    assert await store(ledger, make_shares(20, first=90)) is None
    ledger.close()


async def test_a_closed_ledger_acknowledges_nothing(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", asyncio.get_running_loop())
    ledger.open()
    await settle(ledger)
    ledger.close()
    assert isinstance(await store(ledger, make_shares(1)), StoreError)
    with pytest.raises(StoreError, match="closed"):
        ledger.event("late", "too late")
    ledger.close()  # closing twice is closing once


async def test_one_failing_caller_does_not_keep_the_others_from_their_answers(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    reported: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: reported.append(context))
    ledger = SqliteLedger(tmp_path / "ledger.db", loop)
    ledger.open()

    def fail(error: BaseException | None) -> None:
        raise RuntimeError("caller's own")

    ledger.append(make_shares(1), fail)
    assert await store(ledger, make_shares(1, first=1)) is None
    assert [str(context["exception"]) for context in reported] == ["caller's own"]
    ledger.close()


async def test_what_cannot_be_stored_at_all_is_loud_and_acknowledges_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db", asyncio.get_running_loop())
    ledger.open()
    block = BlockRecord(
        hash=bytes(32), height=2**70, found_at=NOW, worker_id=1, job_id=1, reward_sat=1, state="submitted"
    )
    ledger.put_block(block)
    assert isinstance(await store(ledger, make_shares(1)), StoreError)
    assert not ledger.status().healthy
    with pytest.raises(StoreError, match="rows could not be written"):
        ledger.close()
    assert "cannot store" in caplog.text
