"""The pages as a process of their own, fed with snapshots over standard input: one JSON line each.

Tests build the snapshots; nothing here depends on the other processes of a mine. The page's URL is printed
once it listens, and "ended" once every page and socket is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hashwerk.clock import SystemClock
from hashwerk.config.web_settings import WebSettings
from hashwerk.errors import StoreError
from hashwerk.site.messages import AccountView, BlockView, NodeView, Snapshot, TemplateView, WorkerView
from hashwerk.store.reader import EventRow, SeriesPoint, WorkerRow
from hashwerk.stratum.ports import BlockRecord
from hashwerk.web.app import create_app
from hashwerk.web.server import serve_web
from hashwerk.web.state import MineView
from hashwerk.work.poisson import Rate, poisson_interval

TIP = "00000000a3f1c9be4d8c5e11f7b2d0936c4e8a7712fd5b9e0c61d2f8a4b7e3c5"
WORK_LOG2 = 28


def block_hash(height: int) -> str:
    return f"00000000{random.Random(height).getrandbits(224):056x}"


def rate(hashrate_hs: float, window_s: float, work_log2: int = WORK_LOG2) -> Rate:
    """Return the rate that the expected number of shares would show."""
    shares = round(hashrate_hs * window_s / 2**work_log2)
    low, high = poisson_interval(shares)
    unit = 2.0**work_log2 / window_s
    return Rate(shares * unit, low * unit, high * unit, shares)


def rates(hashrate_hs: float, work_log2: int = WORK_LOG2) -> dict[str, Rate | None]:
    spans = {"1m": 60, "10m": 600, "1h": 3_600, "24h": 86_400}
    return {name: rate(hashrate_hs, span, work_log2) for name, span in spans.items()}


def workers(now: float) -> list[WorkerView]:
    rows = [
        ("demo", "cpu", 1, "hashwerk/0.1.0", 24, 61e6, 2.0, {}),
        ("home", "nano-kitchen", 1, "cgminer/4.12.0 AvalonNano3s", 23, 31e6, 5.0, {"stale": 3}),
        ("home", "bitaxe-shed", 1, "bitaxe/BM1370/v2.9.0", 22, 6.2e6, 1.0, {"stale": 2, "low_difficulty": 9}),
        ("home", "nano-garage", 0, "cgminer/4.12.0 AvalonNano3s", None, None, 5_040.0, {}),
    ]
    return [
        WorkerView(
            id=number,
            account=account,
            machine=machine,
            sessions=sessions,
            user_agent=agent,
            remote=f"127.0.0.{number}",
            work_log2=work_log2,
            hashrate={} if hs is None or work_log2 is None else rates(hs, work_log2),
            accepted=0 if hs is None else int(hs // 4e4),
            rejected=rejected,
            last_share_at=now - age_s,
        )
        for number, (account, machine, sessions, agent, work_log2, hs, age_s, rejected) in enumerate(rows, 1)
    ]


def blocks(now: float, count: int = 34) -> list[BlockView]:
    chance = random.Random(7)
    found, at = [], now - 31.0
    for number in range(count):
        lost = number == 12
        found.append(
            BlockView(
                hash=block_hash(412 - number),
                height=412 - number,
                found_at=at,
                worker="demo.cpu" if number % 3 else "home.nano-kitchen",
                reward_sat=5_000_000_000,
                state="orphaned" if lost else "accepted" if number < 100 else "mature",
                reason="another block at this height won" if lost else None,
                confirmations=0 if lost else number + 1,
            )
        )
        at -= chance.expovariate(1 / 80.0)
    return found


def sample(now: float, **changes: Any) -> Snapshot:
    """Return a mine with three machines at work on a private chain."""
    snapshot = Snapshot(
        at=now,
        started_at=now - 93_000,
        version="0.1.0",
        node=NodeView(
            kind="kernel",
            network="testnet4",
            height=412,
            tip=TIP,
            healthy=True,
            private=True,
            difficulty=1.0,
            expected_block_s=43.8,
        ),
        template=TemplateView(
            height=413,
            prev_hash=TIP,
            nbits="1d00ffff",
            transactions=0,
            coinbase_value_sat=5_000_000_000,
            received_at=now - 31,
            template_to_job_ms=0.9,
        ),
        serving=True,
        hashrate=rates(98.2e6, 23),
        accepted=41_207,
        rejected={"stale": 58, "low_difficulty": 9, "duplicate": 0},
        accepted_work=str(41_207 << WORK_LOG2),
        blocks={"accepted": 100, "mature": 311, "orphaned": 1},
        recent_blocks=blocks(now),
        sessions=3,
        workers=workers(now),
        workers_total=4,
        accounts=[
            AccountView(
                name="home",
                sessions=3,
                hashrate=dict.fromkeys(("1m", "10m", "1h", "24h"), Rate(98e6, 70e6, 130e6, 120)),
            )
        ],
        accounts_total=1,
        submit_ms_p50=0.41,
        submit_ms_p99=1.2,
        commit_ms_p99=0.9,
        jobs=4,
        stratum_url="stratum+tcp://127.0.0.1:3333",
        simulation=False,
        warnings=[],
    )
    return msgspec.structs.replace(snapshot, **changes)


def empty(now: float) -> Snapshot:
    """Return a mine that has just started: no machine, no share, no block."""
    snapshot = sample(
        now,
        started_at=now - 4,
        hashrate=dict.fromkeys(("1m", "10m", "1h", "24h")),
        accepted=0,
        rejected={},
        accepted_work="0",
        blocks={},
        recent_blocks=[],
        sessions=0,
        workers=[],
        workers_total=0,
        accounts=[],
        accounts_total=0,
        submit_ms_p50=None,
        submit_ms_p99=None,
        commit_ms_p99=None,
    )
    node = msgspec.structs.replace(snapshot.node, height=0, expected_block_s=None)
    return msgspec.structs.replace(snapshot, node=node)


@dataclass
class SampleLedger:
    """Stands in for the ledger's reader: hash rates that wander, a gap in the middle, and some events."""

    started_at: float
    known_s: float = 40_000.0
    fails: bool = False
    reads: list[str] = field(default_factory=list)

    def series(self, step_s: int, since_s: float, until_s: float) -> list[SeriesPoint]:
        self._read("series")
        first = int(since_s // step_s) * step_s
        return [self._point(start, step_s) for start in range(first, int(until_s), step_s)]

    def events(self, limit: int, before: int | None = None) -> list[EventRow]:
        self._read("events")
        kinds = [
            ("block_accepted", "block 412 was accepted", {"height": 412, "worker": "demo.cpu"}),
            (
                "session",
                "home.bitaxe-shed connected",
                {"remote": "127.0.0.3", "agent": "bitaxe/BM1370/v2.9.0"},
            ),
            ("template", "new work for block 413", {"transactions": 0}),
            ("vardiff", "difficulty of home.nano-kitchen set to 1/512", {"from": "1/1,024"}),
        ]
        newest = 240 if before is None else before - 1
        rows = []
        for number in range(newest, max(0, newest - limit), -1):
            kind, message, details = kinds[number % len(kinds)]
            rows.append(EventRow(number, self.started_at - (240 - number) * 37.0, kind, message, details))
        return rows

    def blocks(self, limit: int | None = None) -> tuple[BlockRecord, ...]:
        self._read("blocks")
        rows = [
            BlockRecord(
                hash=bytes.fromhex(block.hash)[::-1],
                height=block.height,
                found_at=block.found_at,
                worker_id=1,
                job_id=block.height,
                reward_sat=block.reward_sat,
                state=block.state,
                reason=block.reason,
                confirmations=block.confirmations,
            )
            for block in blocks(self.started_at)
        ]
        return tuple(rows[:limit])

    def workers(self) -> list[WorkerRow]:
        return [WorkerRow(1, 1, "demo", "cpu", self.started_at)]

    def _read(self, name: str) -> None:
        self.reads.append(name)
        if self.fails:
            raise StoreError("the ledger is locked")

    def _point(self, start: int, step_s: int) -> SeriesPoint:
        age_s = self.started_at - start
        if age_s > self.known_s or 1_380 < age_s < 1_680:
            return SeriesPoint(start, None, 0)
        chance = random.Random(start)
        mean = (
            98e6 * (1 + 0.06 * math.sin(start / 900)) * step_s / 2**WORK_LOG2 * (0.62 if age_s > 2_500 else 1)
        )
        shares = max(0, round(chance.gauss(mean * 8, math.sqrt(mean * 8))))
        low, high = poisson_interval(shares)
        unit = 2.0**WORK_LOG2 / 8 / step_s
        known = Rate(shares * unit, low * unit, high * unit, shares)
        return SeriesPoint(start, known, chance.choice((0, 0, 0, 1, 2)))


async def serve(settings: WebSettings) -> None:
    loop = asyncio.get_running_loop()
    shutdown = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, shutdown.set)
    clock = SystemClock()
    view = MineView(SampleLedger(time.time()), clock)
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    feeding = asyncio.create_task(feed(reader, view))
    app = create_app(view, settings, clock, session_key=bytes(32))
    await serve_web(app, settings, shutdown, lambda url: print(url, flush=True))
    print("ended", flush=True)
    feeding.cancel()


async def feed(reader: asyncio.StreamReader, view: MineView) -> None:
    while line := await reader.readline():
        view.receive(msgspec.json.decode(line, type=Snapshot))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--password-hash")
    options = parser.parse_args()
    settings = WebSettings(port=options.port, password_hash=options.password_hash, title="Demonstration mine")
    asyncio.run(serve(settings))


if __name__ == "__main__":
    main()
