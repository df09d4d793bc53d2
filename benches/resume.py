"""Ten thousand machines after a crash of the server: how long until each has its session and a job again.

    python benches/resume.py [--machines 10000]

A whole mine is started (`hashwerk run`), its server is killed with SIGKILL, the supervisor starts it again, and every machine
connects anew with the token of its session.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.mine import RunningMine

AT_ONCE = 400


async def begin(mine: RunningMine, number: int, token: str | None) -> tuple[str, str, asyncio.StreamWriter]:
    """Connect, subscribe and authorise until a job has come; return token, extranonce1 and the open connection."""
    host, port = mine.stratum
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, port)
            subscribe = {
                "id": 1,
                "method": "mining.subscribe",
                "params": ["resume/1", *([token] if token else [])],
            }
            authorize = {"id": 2, "method": "mining.authorize", "params": [f"acc.m{number}", "x"]}
            writer.write(json.dumps(subscribe).encode() + b"\n" + json.dumps(authorize).encode() + b"\n")
            found: list[str] = []
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("id") == 1:
                    found = [message["result"][0][0][1], message["result"][1]]
                if message.get("method") == "mining.notify":
                    return found[0], found[1], writer
            writer.close()
        except OSError:
            await asyncio.sleep(0.05)  # it does not listen yet


async def all_begin(
    mine: RunningMine, tokens: list[str | None]
) -> list[tuple[str, str, asyncio.StreamWriter]]:
    """Let every machine begin, so many at once."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, token: str | None) -> tuple[str, str, asyncio.StreamWriter]:
        async with gate:
            return await begin(mine, number, token)

    return await asyncio.gather(*(one(number, token) for number, token in enumerate(tokens)))


async def main() -> None:
    """Run it and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, default=10_000)
    count = parser.parse_args().machines
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        async with RunningMine(Path(folder), "--no-miner") as mine:
            started = time.monotonic()
            before = await all_begin(mine, [None] * count)
            print(f"{count:,} machines have a job after {time.monotonic() - started:.1f} s")
            mine.child("serve").kill()
            killed = time.monotonic()
            for _, _, writer in before:
                writer.close()
            after = await all_begin(mine, [token for token, _, _ in before])
            same = sum(old[1] == new[1] for old, new in zip(before, after, strict=True))
            print(
                f"kill -9: all have a job again after {time.monotonic() - killed:.1f} s, {same:,} of them with their extranonce"
            )
            for _, _, writer in after:
                writer.close()


if __name__ == "__main__":
    asyncio.run(main())
