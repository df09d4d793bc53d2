"""A ledger with two days of work for a pool, and that pool's books of it: an export, and its API on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

from hashwerk.clock import VirtualClock
from hashwerk.store import SqliteLedger
from hashwerk.work.fate import Fate
from support.fates import make_fates, make_met, make_upstream_job
from support.ledger import NOW, settle, store

DAY_1, DAY_2 = 1_750_032_000, 1_750_118_400  # 16 and 17 June 2025, 0:00 UTC
KEY = "k3y-that-nobody-may-see"


async def fill(path: Path) -> None:
    """Two machines, 65,536 a share: 40 shares on the first day, two of them stale and one lost, and 20 on the second."""
    ledger = SqliteLedger(path, asyncio.get_running_loop(), None, VirtualClock(NOW))
    ledger.open()
    try:
        account = ledger.account("hall")
        workers = [ledger.worker(account.id, name) for name in ("m1", "m2")]
        pool = ledger.upstream("braiins", "stratum+tcp://pool.example:3333", "hall")
        stale = ledger.fate_reason("stale")
        job = make_upstream_job(ledger.next_job_id(), account, pool, difficulty="65536")
        ledger.put_job(job)
        first = 0
        for at, worker, count in (
            (DAY_1 + 40_000, workers[0], 30),
            (DAY_1 + 50_000, workers[1], 10),
            (DAY_2 + 40_000, workers[0], 20),
        ):
            shares = make_met(count, first=first, worker=worker, job=job.id, at=at)
            first += count
            assert await store(ledger, shares) is None
            fates = [Fate.ACCEPTED] * count
            if count == 30:
                fates[:3] = [Fate.REJECTED, Fate.REJECTED, Fate.LOST]
            made = make_fates(shares, fates, upstream=pool)
            made["reason"] = [stale if fate == Fate.REJECTED else 0 for fate in fates]
            ledger.put_fates(made)
        await settle(ledger)
    finally:
        ledger.close()


def export(folder: Path, first: int, second: int, sat: tuple[int, int] = (0, 0)) -> Path:
    path = folder / "rewards.csv"
    path.write_text(
        "date,total_shares,mining_reward (sat)\n"
        f"2025-06-16,{first * 65_536},{sat[0]}\n2025-06-17,{second * 65_536},{sat[1]}\n"
    )
    return path


@contextmanager
def braiins_api() -> Iterator[str]:
    """Braiins' API as far as this command asks it, for the right key only; every request opens a new connection."""
    replies: dict[str, Any] = {
        "/accounts/rewards/json/btc": {
            "btc": {
                "daily_rewards": [
                    {"date": DAY_1, "mining_reward": "0.00011331", "total_reward": "0.00011331"}
                ]
            }
        },
        "/accounts/hash_rate_daily/json/group/btc": {"btc": [{"date": DAY_1, "total_shares": 37 * 65_536}]},
        "/accounts/workers/json/btc": {"btc": {"workers": {}, "x": 1}},
        "/accounts/payouts/json/btc": {"onchain": [], "lightning": []},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Pool-Auth-Token"] == KEY
            body = json.dumps(replies[self.path.partition("?")[0]]).encode() if allowed else b"no"
            self.send_response(200 if allowed else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
