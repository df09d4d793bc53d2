"""Everything the reader says agrees with the shares themselves, before and after rollup, packing and
removal."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from hashwerk.clock import VirtualClock
from hashwerk.store import LedgerReader, SqliteLedger, StoreSettings
from hashwerk.store.connection import connect_reader
from hashwerk.stratum.ports import ShareRecords
from hashwerk.work.poisson import rate_interval
from hashwerk.work.share import Verdict
from support.ledger import NOW, eventually, make_job, make_shares, make_template, settle, store

DAY_S = 86_400.0
START = NOW - NOW % DAY_S  # a midnight


class Mine:
    """A ledger under a clock that can be turned, and all that was ever stored in it."""

    def __init__(self, path: Path, **settings: float) -> None:
        self.path = path
        self.clock = VirtualClock(START)
        self.settings = StoreSettings(**settings)  # type: ignore[arg-type]
        self.all: list[ShareRecords] = []
        self.random = np.random.default_rng(5)
        self.ledger = self.open()
        self.count = 0

    def open(self) -> SqliteLedger:
        ledger = SqliteLedger(self.path, asyncio.get_running_loop(), self.settings, self.clock)
        ledger.open()
        return ledger

    async def run(self, duration_s: float, step_s: float, count: int) -> None:
        """Store ``count`` shares of several workers, targets and verdicts every ``step_s``."""
        end = self.clock.time() + duration_s
        while self.clock.time() < end:
            self.clock.advance(step_s)
            shares = make_shares(count, first=self.count, at=self.clock.time() - 0.5)
            shares["worker"] = self.random.integers(1, 5, count)
            shares["work_log2"] = self.random.integers(38, 41, count)
            shares["verdict"] = self.random.choice([0, 0, 0, Verdict.STALE, Verdict.DUPLICATE], count)
            self.count += count
            self.all.append(shares)
            assert await store(self.ledger, shares) is None

    async def rolled_up(self) -> None:
        """Wait until every share is in the tables of counts."""
        self.clock.advance(62)
        connection = connect_reader(self.path)
        query = "SELECT value FROM meta WHERE key = 'rolled_up_to'"
        await eventually(lambda: connection.execute(query).fetchone() == (self.count,))
        connection.close()

    @property
    def shares(self) -> ShareRecords:
        return np.concatenate(self.all)


MakeMine = Callable[..., Mine]


@pytest.fixture
async def make_mine(tmp_path: Path) -> AsyncIterator[MakeMine]:
    made: list[Mine] = []

    def make(**settings: float) -> Mine:
        made.append(Mine(tmp_path / "ledger.db", **settings))
        return made[-1]

    yield make
    for mine in made:
        mine.ledger.close()


@pytest.fixture
async def mine(make_mine: MakeMine) -> Mine:
    mine = make_mine(maintenance_interval_s=3_600.0)
    alice, bob = mine.ledger.account("alice"), mine.ledger.account("bob")
    for worker in range(1, 5):
        assert mine.ledger.worker((alice, bob)[worker % 2].id, f"m{worker}") == worker
    return mine


def counted(shares: ShareRecords) -> dict[tuple[int, int, int], int]:
    keys = zip(
        shares["worker"].tolist(), shares["work_log2"].tolist(), shares["verdict"].tolist(), strict=True
    )
    found: dict[tuple[int, int, int], int] = {}
    for key in keys:
        found[key] = found.get(key, 0) + 1
    return found


def check(mine: Mine, reader: LedgerReader) -> None:
    """Compare the reader's every number with one computed from the shares."""
    shares = mine.shares
    seconds = shares["time_us"] / 1e6
    accepted = shares["verdict"] == 0
    totals = reader.totals()
    assert totals.accepted == accepted.sum()
    assert totals.accepted_work == sum(1 << int(w) for w in shares["work_log2"][accepted])
    assert totals.rejected == {
        "stale": (shares["verdict"] == 1).sum(),
        "duplicate": (shares["verdict"] == 3).sum(),
    }
    now = mine.clock.time()
    for since, until in (
        (START, now + 60),
        (START + 3_600, START + 7_200),
        (START + 600, START + 840),
        (0, START),
    ):
        rollup = reader.rollup(since, until)
        rows = {(int(r["worker"]), int(r["work_log2"]), int(r["verdict"])): int(r["count"]) for r in rollup}
        end = until - until % 60
        assert rows == counted(shares[(seconds >= since) & (seconds < end)])
    for window_s in (60.0, 600.0, 3_600.0, DAY_S):
        start = now - window_s if window_s <= 120 else -(-(now - window_s) // 60) * 60
        start = max(start, START)
        for worker, account, mask in (
            (None, None, shares["worker"] > 0),
            (2, None, shares["worker"] == 2),
            (None, 1, shares["worker"] % 2 == 0),
        ):
            recent = shares[mask & accepted & (seconds >= start)]
            rate = reader.hashrate(window_s, now, worker=worker, account=account)
            targets, numbers = np.unique(recent["work_log2"], return_counts=True)
            assert rate is not None
            if len(recent):
                assert rate == rate_interval(
                    dict(zip(targets.tolist(), numbers.tolist(), strict=True)), now - start
                )
            else:
                assert (rate.hs, rate.high_hs) == (0.0, float("inf"))
    for step_s in (60, 900, 3_600, 7_200):
        series = reader.series(step_s, START, now)
        assert [point.start_s for point in series] == list(range(int(START), int(now), step_s))
        assert sum(point.rejected for point in series) == (~accepted).sum()
        assert sum(p.rate.shares for p in series if p.rate) == accepted.sum()


async def test_numbers_agree_before_and_after_rollup(mine: Mine) -> None:
    await mine.run(1_200, 20, 5)
    with LedgerReader(mine.path) as reader:
        check(mine, reader)
        await mine.rolled_up()
        check(mine, reader)
        await mine.run(120, 20, 5)
        check(mine, reader)


async def test_numbers_agree_over_hours_and_days(mine: Mine) -> None:
    await mine.run(3 * 3_600, 300, 20)
    await mine.rolled_up()
    await mine.run(DAY_S, 4_000, 20)
    await mine.rolled_up()
    with LedgerReader(mine.path) as reader:
        check(mine, reader)
        steps = connect_reader(mine.path)
        kinds = dict(steps.execute("SELECT step_s, count(*) FROM rollups GROUP BY step_s"))
        steps.close()
        assert kinds[86_400] == 1
        assert kinds[3_600] > 20
        assert len([point for point in reader.series(60, START, START + 3_600) if point.rate is None]) > 40


async def test_numbers_agree_after_a_restart(mine: Mine) -> None:
    await mine.run(5_000, 50, 7)
    await mine.rolled_up()
    await mine.run(300, 10, 7)
    before = mine.ledger.rates
    now = mine.clock.time()
    mine.ledger.close()
    mine.ledger = mine.open()
    after = mine.ledger.rates
    with LedgerReader(mine.path) as reader:
        check(mine, reader)
        for rates in (after, reader.hashrates(now)):
            assert (rates.accepted, rates.accepted_work, rates.rejected) == (
                before.accepted,
                before.accepted_work,
                before.rejected,
            )
            assert [rates.shares_of(worker) for worker in range(6)] == [before.shares_of(w) for w in range(6)]
            for name in ("1h", "24h"):
                old, new = before.total(now)[name], rates.total(now)[name]
                assert old is not None
                assert new is not None
                assert new.shares == pytest.approx(old.shares, rel=0.02)
                assert new.hs == pytest.approx(old.hs, rel=0.03)


async def test_packing_loses_nothing(mine: Mine) -> None:
    await mine.run(3_600, 30, 9)
    await mine.rolled_up()
    mine.clock.advance(3 * DAY_S)
    await mine.run(600, 60, 9)
    before = await stored_bytes(mine.path)
    mine.ledger.maintain()
    with LedgerReader(mine.path) as reader:
        assert reader.shares(0, 10**6)[1].tobytes() == mine.shares.tobytes()
        first, some = reader.shares(500, 700)
        assert (first, some.tobytes()) == (500, mine.shares[500:1200].tobytes())
        assert reader.shares(10**6, 5) == (10**6, pytest.approx(np.empty(0)))
    groups = connect_reader(mine.path)
    assert groups.execute("SELECT encoding, count(*) FROM share_groups GROUP BY encoding").fetchall() == [
        (0, 10),
        (1, 1),
    ]
    groups.close()
    assert await stored_bytes(mine.path) < 0.6 * before


async def stored_bytes(path: Path) -> int:
    connection = connect_reader(path)
    size = connection.execute("SELECT sum(length(shares)) FROM share_groups").fetchone()[0]
    connection.close()
    return int(size)


async def test_retention_removes_shares_and_keeps_counts_and_record(make_mine: MakeMine) -> None:
    mine = make_mine(keep_shares_days=10.0, keep_minutes_days=2.0, keep_events=3)
    account = mine.ledger.account("alice")
    mine.ledger.put_job(make_job(1, account, make_template(), at=START))
    mine.ledger.worker(account.id, "m1")
    for number in range(8):
        mine.ledger.event("number", str(number))
    await mine.run(600, 20, 3)
    first_part = mine.count
    await mine.rolled_up()
    mine.clock.advance(12 * DAY_S)
    await mine.run(600, 20, 3)
    await mine.rolled_up()
    mine.ledger.maintain()
    with LedgerReader(mine.path) as reader:
        first, kept = reader.shares(0, 10**6)
        assert first == first_part
        assert kept.tobytes() == mine.shares[first_part:].tobytes()
        assert reader.totals().accepted == (mine.shares["verdict"] == 0).sum()
        assert reader.rollup(START, START + 3_600)["count"].sum() == first_part
        assert reader.job(1) is None
        assert [event.message for event in reader.events(10)] == ["7", "6", "5"]
    look = connect_reader(mine.path)
    removed = look.execute("SELECT first_position, count, reason FROM removals").fetchall()
    assert removed == [(0, first_part, "retention")]
    assert look.execute("SELECT min(start_s) FROM rollups WHERE step_s = 60").fetchone()[0] > START + DAY_S
    assert look.execute("SELECT count(*) FROM jobs").fetchone()[0] == 0
    look.close()
    mine.ledger.close()
    mine.ledger = mine.open()
    assert mine.ledger.status().stored == mine.count
    assert await store(mine.ledger, make_shares(1)) is None


async def test_positions_go_on_after_everything_was_removed(make_mine: MakeMine) -> None:
    mine = make_mine(keep_shares_days=1.0)
    await mine.run(60, 20, 3)
    await mine.rolled_up()
    mine.clock.advance(5 * DAY_S)
    mine.ledger.maintain()
    mine.ledger.close()
    mine.ledger = mine.open()
    assert await store(mine.ledger, make_shares(1)) is None
    with LedgerReader(mine.path) as reader:
        assert reader.shares(0, 10)[0] == mine.count


async def test_old_transactions_go_and_come_back_with_their_template(make_mine: MakeMine) -> None:
    mine = make_mine(keep_transactions_h=1.0)
    account = mine.ledger.account("alice")
    old, new = make_template(100, 20), make_template(110, 20)
    mine.clock.now = NOW
    mine.ledger.put_job(make_job(1, account, old))
    await settle(mine.ledger)
    mine.clock.advance(7_200)
    fresh = type(new)(
        **{name: getattr(new, name) for name in new.__struct_fields__} | {"received_at": NOW + 7_200}
    )
    mine.ledger.put_job(make_job(2, account, fresh))
    await settle(mine.ledger)
    mine.ledger.maintain()
    look = connect_reader(mine.path)
    assert look.execute("SELECT count(*) FROM template_transactions").fetchone()[0] == 20
    with LedgerReader(mine.path) as reader:
        assert reader.job(1) is None
        assert reader.job(2) == make_job(2, account, fresh)
        mine.ledger.put_job(make_job(3, account, old))
        await settle(mine.ledger)
        assert reader.job(3) == make_job(3, account, old)
    look.close()


async def test_free_pages_are_given_back(make_mine: MakeMine) -> None:
    mine = make_mine(keep_shares_days=1.0, compact_after_h=1e9, checkpoint_pages=100)
    for number in range(40):
        assert (
            await store(mine.ledger, make_shares(1_500, first=1_500 * number, at=mine.clock.time())) is None
        )
    mine.count = 60_000
    await mine.rolled_up()
    mine.clock.advance(3 * DAY_S)
    mine.ledger.maintain()
    look = connect_reader(mine.path)
    assert look.execute("PRAGMA freelist_count").fetchone()[0] <= 256
    assert look.execute("PRAGMA page_count").fetchone()[0] < 400
    look.close()


OTHER_PROCESS = """
import sys
from pathlib import Path
from hashwerk.store import LedgerReader
with LedgerReader(Path(sys.argv[1])) as reader:
    print(reader.totals().accepted, len(reader.workers()), reader.workers()[0].machine, len(reader.events(9)))
"""


async def test_another_process_reads_while_this_one_writes(mine: Mine) -> None:
    mine.ledger.event("one", "message")
    await mine.run(60, 20, 4)
    child = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-c", OTHER_PROCESS, str(mine.path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    accepted = (mine.shares["verdict"] == 0).sum()
    assert child.stdout.split() == [str(accepted), "4", "m1", "1"]


async def test_a_reader_alone_reads_a_closed_ledger(make_mine: MakeMine) -> None:
    mine = make_mine()
    await mine.run(60, 20, 4)
    mine.ledger.close()
    with LedgerReader(mine.path) as reader:
        assert reader.shares(0, 100)[1].tobytes() == mine.shares.tobytes()
        assert len(reader.shares_since(mine.clock.time() - 1)) == 4
        assert reader.hashrate(60, START) is None
        with pytest.raises(ValueError, match="whole minutes"):
            reader.series(90, START, START + 100)


async def test_events_page_back(mine: Mine) -> None:
    for number in range(10):
        mine.ledger.event("number", str(number), number=number)
    await settle(mine.ledger)
    with LedgerReader(mine.path) as reader:
        newest = reader.events(4)
        assert [event.details["number"] for event in newest] == [9, 8, 7, 6]
        assert [event.details["number"] for event in reader.events(3, before=newest[-1].id)] == [5, 4, 3]
