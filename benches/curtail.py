"""From a grid operator's order to the meter: 5,000 virtual machines are put to sleep by one call of the API.

    python benches/curtail.py [--machines 5000] [--kind all]

The hall runs in a process of its own, fleet and energy in another, true to life (no haste). Told apart are the moment the last
machine was told, and the moment the meter shows 5 % of what it showed before. Budget: 60 s.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import uvloop

BASE = "127.92.0.1"
MODELS = "luxos-s19kpro"
PROCESS = Path(__file__).parent.parent / "tests" / "support" / "energy_process.py"


async def first_line(*command: str) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """Run a process and return it with the first line that it prints."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, limit=1 << 24)
    assert process.stdout is not None
    return process, json.loads(await asyncio.wait_for(process.stdout.readline(), 120))


def orders_of(folder: str, machines: int, control_port: int) -> dict[str, Any]:
    """Return what the process of fleet and energy is told."""
    rows, last = divmod(machines - 1, 254)
    return {
        "folder": folder,
        "control_port": control_port,
        "fleet": {
            "ranges": [f"{BASE}-127.92.{rows}.{last + 1}"],
            "control": True,
            "poll_s": 20.0,
            "timeout_s": 4.0,
            "concurrency": 512,
            "limits": {"verify_s": 10.0},
        },
        "parts": {"dispatch": {"controls": True, "policy": "always on"}},
    }


async def run(machines: int, kind: str) -> dict[str, Any]:
    """Return what was measured."""
    hall, said = await first_line(
        sys.executable, "-m", "hashwerk", "twin", "--json", "--base", BASE, "--machines", str(machines),
        "--model", MODELS, "--control-port", "0",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        orders = orders_of(folder, machines, said["control_port"])
        site, ready = await first_line(sys.executable, str(PROCESS), json.dumps(orders))
        try:
            headers = {"authorization": f"Bearer {ready['token']}"}
            async with httpx.AsyncClient(
                base_url=f"{ready['url']}api/v1", headers=headers, timeout=60
            ) as api:
                return await measure(api, said["control_port"], machines, kind)
        finally:
            for process in (site, hall):
                process.kill()
                await process.wait()


async def measure(api: httpx.AsyncClient, control_port: int, machines: int, kind: str) -> dict[str, Any]:
    """Wait for the fleet, give the order, and watch the meter."""
    began = time.perf_counter()
    while True:
        by_state = (await api.get("/fleet")).json()["by_state"]
        if by_state.get("hashing", 0) >= machines:
            break
        if time.perf_counter() - began > 240:
            raise SystemExit(f"the fleet was not found: {by_state}")
        await asyncio.sleep(1.0)
    found_s = time.perf_counter() - began
    power = f"http://127.0.0.1:{control_port}/power"
    before_w = (await api.get(power)).json()["power_w"]
    given = time.perf_counter()
    (await api.post("/energy/orders", json={"kind": kind, "id": "bench", "who": "grid"})).raise_for_status()
    answered_s = time.perf_counter() - given
    marks: dict[str, float] = {}
    while time.perf_counter() - given < 180 and "5 %" not in marks:
        share = (await api.get(power)).json()["power_w"] / before_w
        for name, level in (("50 %", 0.5), ("10 %", 0.1), ("5 %", 0.05)):
            if share <= level:
                marks.setdefault(name, round(time.perf_counter() - given, 1))
        await asyncio.sleep(0.25)
    reached = None
    for _ in range(60):
        order = (await api.get("/energy/orders/bench")).json()
        if order["reached_s"] is not None:
            reached = round(order["reached_s"] - order["start_s"], 1)
            break
        await asyncio.sleep(0.5)
    return {
        "machines": machines,
        "found_s": round(found_s, 1),
        "before_kw": round(before_w / 1e3),
        "answered_ms": round(answered_s * 1e3, 1),
        "meter_after_s": marks,
        "reached_s_by_our_meter": reached,
    }


def main() -> None:
    """Run the bench and print its figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--machines", type=int, default=5_000)
    parser.add_argument("--kind", default="all")
    options = parser.parse_args()
    print(json.dumps(uvloop.run(run(options.machines, options.kind)), indent=1))


if __name__ == "__main__":
    main()
