"""Does the split between two pools hold? An hour of virtual machines that really hash, for two pools of other processes.

    python benches/split.py [--minutes 60] [--machines 60] [--shares 70:30]

One mine is the pool, and has two accounts of ours: to us these are two pools on the same chain. Another mine stands between it
and a simulated hall, machines of four sizes. Every minute it prints what each account had accepted so far, by difficulty, and
the share of the first. One machine in ten reboots, so that the hash rate to be split does not stand still.

Shares are luck: with N of them the share of the first is known to about sqrt(p (1 - p) / N), which is printed beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HASHWERK = [sys.executable, "-m", "hashwerk"]


@contextlib.contextmanager
def mine(folder: Path, site: str) -> Iterator[dict[str, str]]:
    """Run a mine and give its addresses."""
    folder.mkdir()
    (folder / "site.toml").write_text(site)
    command = [*HASHWERK, "run", str(folder / "site.toml"), "--data-dir", str(folder / "data"), "--no-miner"]
    command += ["--stratum", "127.0.0.1:0", "--web", "127.0.0.1:0", "--json"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["ready"]
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def upstreams(web: str) -> dict[str, dict[str, Any]]:
    """Return the upstream pools of a mine by name."""
    with urllib.request.urlopen(web.rstrip("/") + "/api/v1/upstreams", timeout=30) as reply:
        return {one["name"]: one for one in json.load(reply)["upstreams"]}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--machines", type=int, default=60)
    parser.add_argument("--shares", default="70:30")
    parser.add_argument("--base", default="127.90.0.1", help="address of the first machine")
    options = parser.parse_args()
    weights = [float(part) for part in options.shares.split(":")]
    stratum = "[stratum]\nstart_difficulty = 1e-3\nmin_difficulty = 1e-6\nshares_per_minute = {}\n"
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        pool = stack.enter_context(mine(folder / "pool", stratum.format(600)))
        site = stratum.format(30)
        for one, weight in zip(("first", "second"), weights, strict=True):
            site += (
                f'[[upstream]]\nname = "{one}"\nurl = "{pool["stratum"]}"\nuser = "{one}"\nshare = {weight}\n'
            )
        urls = stack.enter_context(mine(folder / "between", site))
        command = [
            *HASHWERK,
            "twin",
            "--machines",
            str(options.machines),
            "--pool",
            urls["stratum"],
            "--json",
        ]
        command += [
            "--model",
            "avalon-q,avalon-nano3s,avalon-a1566,avalon-mini3",
            "--base",
            options.base,
            "--http-port",
            "0",
        ]
        command += ["--scale", "1e9", "--fault", f"reboot={max(1, options.machines // 10)}"]
        with (folder / "hall.log").open("w") as log:
            hall = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(hall.wait, 30)
        stack.callback(hall.terminate)
        began = time.monotonic()
        aim = weights[0] / sum(weights)
        while (left_s := options.minutes * 60 - (time.monotonic() - began)) > 0:
            time.sleep(min(60.0, left_s))
            if hall.poll() is not None:
                raise SystemExit((folder / "hall.log").read_text()[-2_000:])
            seen = upstreams(urls["web"])
            work = [float(seen[one]["accepted_difficulty"]) for one in ("first", "second")]
            shares = [int(seen[one]["accepted"]) for one in ("first", "second")]
            if not sum(shares):
                continue
            share, luck = work[0] / sum(work), math.sqrt(aim * (1 - aim) / sum(shares))
            print(
                f"{(time.monotonic() - began) / 60:5.1f} min: {shares[0]:,} and {shares[1]:,} shares accepted; "
                f"the first has {share:.2%} of the work, {share - aim:+.2%} (one sigma of luck {luck:.2%})",
                flush=True,
            )


if __name__ == "__main__":
    main()
