"""What a running mine meters, orders and declares is in its evidence, whoever was killed in between."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from hashwerk.evidence import records
from hashwerk.evidence.leaf import decode_record
from hashwerk.store import epochs
from hashwerk.store.connection import connect_reader
from hashwerk.store.logbook import NAME, read_entries
from support.mine import RunningMine, running_mine

MACHINES = 4
BASE = "127.87.3.1"
PORT = 5087
SCALE = 2e8
SITE = f"""
[site]
name = "test site"
[miner]
threads = 1
duty = 0.2
user = "house.cpu"
[twin]
machines = {MACHINES}
models = ["avalon-q"]
base = "{BASE}"
http_port = 0
meter_port = {PORT}
user = "hall"
scale = {SCALE}
share_interval_s = 1.0
haste = 60.0
[fleet]
ranges = ["{BASE}-127.87.3.{MACHINES}"]
control = true
poll_s = 1.0
timeout_s = 4.0
share_scale = {SCALE}
pace = {1 / 60}
[fleet.limits]
min_on_s = 0
min_off_s = 0
wave_s = 1.0
verify_s = 2.0
settle_s = 2.0
[[meter]]
kind = "modbus-tcp"
name = "main meter"
host = "{BASE}"
port = {PORT}
map = "schneider-iem3155"
interval_s = 5
max_power_w = 100000.0
[evidence]
epoch_s = 5
facts = {{ "people employed" = "4" }}
"""
CARBON_G_PER_KWH = 250
FEED = """
[[feed]]
kind = "file"
name = "grid"
path = "{path}"
resolution_s = 3600
published = "day ahead"
columns = [
 {{ column = "price", signal = "price", unit = "EUR/MWh", currency = "EUR" }},
 {{ column = "carbon", signal = "carbon average", unit = "g/kWh" }},
]
"""
ROOT = Path(__file__).resolve().parents[2]


async def command(*arguments: str, code: int = 0) -> Any:
    """Return what a program prints as JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, "--json", stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == code, output.decode()
    return json.loads(output)


class Evidence:
    """What has become evidence of a running mine, looked at from beside it."""

    def __init__(self, folder: Path) -> None:
        self.ledger = folder / "testnet4" / "ledger.sqlite"
        self.logbook = folder / "testnet4" / NAME

    def leaves(self) -> list[bytes]:
        """Return the records of all closed epochs."""
        reader = connect_reader(self.ledger)
        try:
            return [data for row in epochs.read_epochs(reader, 0, 100_000) for data in row.records]
        finally:
            reader.close()

    def of(self, kind: type[records.Record]) -> list[Any]:
        return [record for record in map(decode_record, self.leaves()) if isinstance(record, kind)]

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        try:
            async with asyncio.timeout(60):
                while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other processes write it
                    await asyncio.sleep(0.3)
        except TimeoutError:
            raise AssertionError(f"not within 60 s: {what}") from None

    async def meters(self, count: int) -> None:
        """Wait for so many readings of the import register."""
        await self.until(
            f"{count} readings", lambda: sum(m.direction == 0 for m in self.of(records.Meter)) >= count
        )


async def killed(mine: RunningMine, verb: str) -> None:
    """Kill a process of the mine, and wait for its successor."""
    pid = mine.child(verb).pid
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(40):
        while not mine.has_other(verb, pid) or await mine.status_or_none() is None:  # noqa: ASYNC110
            await asyncio.sleep(0.2)


@pytest.mark.slow
async def test_meters_commands_and_machines_are_leaves_of_a_running_mine(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    grid = tmp_path / "grid.csv"
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    grid.write_text("time,price,carbon\n" + "".join(
        f"{(hour + timedelta(hours=n)).isoformat()},35,{CARBON_G_PER_KWH}\n" for n in range(-24, 25)
    ))  # fmt: skip
    site.write_text(SITE + FEED.format(path=grid))
    data = tmp_path / "mine" / "data"
    evidence = Evidence(data)
    async with running_mine(tmp_path / "mine", str(site)) as mine:
        if "hall" not in mine.urls:
            pytest.skip(f"NO ADDRESSES at {BASE} for a hall: the evidence of a running mine is NOT tested")
        async with httpx.AsyncClient(trust_env=False, base_url=f"{mine.urls['web']}api/v1") as http:

            async def hashing() -> int:
                answer = await http.get("/fleet")
                return int(answer.json()["by_state"].get("hashing", 0))

            async with asyncio.timeout(60):
                while await hashing() < MACHINES:  # noqa: ASYNC110 - it happens in another process
                    await asyncio.sleep(0.3)
        address = ("--url", mine.urls["web"], "--data-dir", str(data))
        curtail = ("fleet", "curtail", "--to", "2", "--must", "--why", "test", *address)
        await command("-m", "hashwerk", *curtail)
        await evidence.meters(1)
        await killed(mine, "site")
        await evidence.until("the order's effect", lambda: bool(evidence.of(records.Command)))
        await killed(mine, "serve")
        await evidence.meters(3)

        # Nothing that was logged is lost or doubled, whoever was killed.
        leaves = evidence.leaves()
        logged = [entry.record for entry in read_entries(evidence.logbook, 0, 2**62)]
        taken = [leaf for leaf in leaves if leaf in set(logged)]
        assert taken == logged[: len(taken)]
        assert len(taken) >= len(logged) - 12, "but for what belongs to the epochs that are open"

        bundle = str(tmp_path / "hour.hwe")
        await command("-m", "hashwerk", "prove", "--data-dir", str(data), "--from", "-1h", "-o", bundle)
    report = await command("-m", "hashwerk", "verify", bundle)
    assert (report["verdict"], report["subject"]) == ("valid", "simulation"), report["checks"]
    statement = report["statement"]
    energy = statement["energy"]
    assert energy["metered"]["value"] > 0
    assert energy["by_source"][0]["value"] > 0
    assert {row["source"] for row in energy["by_source"]} == {"unknown"}, "no source is claimed"
    assert sum(hour["load_wh"] for hour in energy["hours"]) == energy["metered"]["value"]
    # What the grid was made of is the feed's word, and in the statement as such.
    grid_based = statement["emissions"]["location_based"]
    assert 0 < grid_based["value"] <= energy["metered"]["value"] * CARBON_G_PER_KWH / 1000
    assert grid_based["label"] == "asserted"
    assert any("location: file" in name and "price: file" in name for name in grid_based["factors"])
    # The model's hashes stand for more, the house's own for themselves.
    assert [row["value"] for row in statement["account_scales"]] == [int(SCALE)]
    work = statement["work"]
    scaled = {row["account"]: row.get("scale", 1) for row in work["accounts"]}
    assert sorted(scaled.values())[-1] == int(SCALE)
    assert int(work["hashes_at_scale"]["value"]) > int(work["hashes"]["value"])
    # The curtailment as the meter saw it.
    down = next(row for row in statement["commands"] if row["command"] == "reduce power")
    assert down["ordered_w"] == 2_000
    assert down["before_w"] > 4_000
    assert down["after_w"] <= 2_100
    assert statement["curtailment"]["delivered"]["value"] == down["before_w"] - down["after_w"]
    assert statement["local"][0]["name"] == "people employed"
    # A stranger's own verifier says the same.
    other = await command(str(ROOT / "contrib" / "verifier" / "verify_bundle.py"), bundle)
    text = json.dumps(other)
    assert '"valid"' in text
    assert '"simulation"' in text
