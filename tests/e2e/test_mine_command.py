"""`hashwerk mine` as a user meets it: against our own server, in a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from support.pool import RunningPool, running_pool

DEADLINE_S = 60.0
#: A million hashes a share: several a second, even on a slow machine at low priority.
SHARE_DIFFICULTY = 2.0**-12


@asynccontextmanager
async def mine(*arguments: str, **options: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `hashwerk mine`; it is killed if it does not end by itself."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hashwerk",
        "mine",
        *arguments,
        **{"stdout": asyncio.subprocess.PIPE, "stderr": asyncio.subprocess.PIPE} | options,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read_stats(process: asyncio.subprocess.Process, accepted: int) -> dict[str, Any]:
    """Return the first line of JSON that tells of so many accepted shares."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        while line := await process.stdout.readline():
            stats: dict[str, Any] = json.loads(line)
            if stats["accepted"] >= accepted:
                return stats
    assert process.stderr is not None
    raise AssertionError(f"the miner ended: {(await process.stderr.read()).decode()}")


async def test_shares_of_the_json_view_are_those_on_disk(tmp_path: Path) -> None:
    async with running_pool(tmp_path, start_difficulty=SHARE_DIFFICULTY) as pool:
        async with mine(pool.url, "-u", "me.rig", "--threads", "1", "--json") as process:
            stats = await read_stats(process, accepted=5)
            assert stats["hashrate_hs"] > 0
            assert stats["server"] == pool.url
            assert stats["difficulty"] == SHARE_DIFFICULTY
            assert stats["latency_ms_p50"] <= stats["latency_ms_p99"]
            # SIGTERM ends it cleanly, with a last line that is the summary.
            process.send_signal(signal.SIGTERM)
            assert process.stdout is not None
            async with asyncio.timeout(DEADLINE_S):
                *_, last = (await process.stdout.read()).splitlines()
                assert await process.wait() == 0
        stats = json.loads(last)
        # What the miner calls accepted the ledger has; of what it calls unknown nobody knows.
        assert stats["accepted"] <= pool.accepted <= stats["accepted"] + stats["unknown"]
        assert stats["accepted_work"] == stats["accepted"] * SHARE_DIFFICULTY * 2**32
        assert stats["rejected"] == {}
        assert pool.rejected == {}
        assert stats["faulty"] == 0
        (worker,) = pool.server.statistics.workers()
        assert worker.accepted == pool.accepted


async def test_blocks_are_found_and_the_engine_accepts_them(tmp_path: Path) -> None:
    # On regtest every share is a block, and every block is new work.
    async with (
        running_pool(tmp_path, network="regtest", start_difficulty=SHARE_DIFFICULTY) as pool,
        mine(pool.url, "-u", "me.rig", "--threads", "1", "--json"),
    ):
        await pool.until(lambda pool: pool.node.status().height >= 3, DEADLINE_S)
        assert pool.accepted >= 3


async def test_plain_lines_go_to_a_pipe_and_ctrl_c_prints_a_summary(tmp_path: Path) -> None:
    async with running_pool(tmp_path, start_difficulty=SHARE_DIFFICULTY) as pool:
        async with mine(pool.url, "-u", "me.rig", "--threads", "1", "--duty", "0.5") as process:
            await pool.until(lambda pool: pool.accepted >= 3, DEADLINE_S)
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(DEADLINE_S):
                output, errors = await process.communicate()
        assert process.returncode == 0
        assert errors == b""
        text = output.decode()
        assert f"connected to {pool.url}" in text
        assert "accepted" in text.splitlines()[-1]
        assert "\x1b" not in text


async def test_the_live_view_shows_the_work_and_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    async with running_pool(tmp_path, start_difficulty=SHARE_DIFFICULTY) as pool:
        screen, terminal = pty.openpty()
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
        shown = asyncio.Queue[bytes]()
        loop = asyncio.get_running_loop()
        loop.add_reader(screen, lambda: shown.put_nowait(os.read(screen, 65_536)))
        try:
            async with mine(
                pool.url, "-u", "me.rig", "--threads", "1",
                stdin=terminal, stdout=terminal, stderr=terminal, env=environment,
            ) as process:  # fmt: skip
                seen, wanted = (
                    "",
                    ("hashwerk mine", re.escape(pool.url), r"\d [kM]?H/s", r"[1-9]\d* accepted"),
                )
                async with asyncio.timeout(DEADLINE_S):
                    while not all(re.search(word, seen) for word in wanted):
                        seen = (seen + (await shown.get()).decode(errors="replace"))[-40_000:]
                    asked_at = loop.time()
                    process.send_signal(signal.SIGINT)
                    assert await process.wait() == 0
                # One second is promised; the tests' machines may be slower.
                assert loop.time() - asked_at < 3
        finally:
            loop.remove_reader(screen)
            os.close(screen)
            os.close(terminal)


async def test_with_once_a_server_nobody_listens_at_is_exit_code_6() -> None:
    async with mine("stratum+tcp://127.0.0.1:1", "-u", "me.rig", "--threads", "1", "--once") as process:
        async with asyncio.timeout(DEADLINE_S):
            _, errors = await process.communicate()
    assert process.returncode == 6
    assert "nobody listens" in errors.decode()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["http://127.0.0.1:1", "-u", "me"], "scheme"),
        (["stratum+tcp://127.0.0.1:1"], "--user"),
        (["stratum+tcp://127.0.0.1:1", "-u", "me", "--width", "3"], "width"),
        (["stratum+tcp://127.0.0.1:1", "-u", "me", "--duty", "0"], "duty"),
        ([], "URL"),
    ],
)
async def test_a_wrong_command_line_is_exit_code_2(arguments: list[str], said: str) -> None:
    async with mine(*arguments) as process, asyncio.timeout(DEADLINE_S):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert said in errors.decode()


async def test_when_a_server_goes_the_next_one_gets_the_shares(tmp_path: Path) -> None:
    def serves(pool: RunningPool) -> bool:
        return pool.accepted >= 2

    async with (
        running_pool(tmp_path / "second", start_difficulty=SHARE_DIFFICULTY) as second,
        running_pool(tmp_path / "first", start_difficulty=SHARE_DIFFICULTY) as first,
        mine(first.url, second.url, "-u", "me.rig", "--threads", "1", "--json") as process,
    ):
        await first.until(serves, DEADLINE_S)
        assert second.accepted == 0
        # The first server ends, with all its connections.
        await first.server.close()
        await second.until(serves, DEADLINE_S)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_S):
            *_, last = (await process.stdout.read()).splitlines()
            assert await process.wait() == 0
    stats = json.loads(last)
    assert stats["connections"] == 2
    assert stats["accepted"] >= 4
    assert stats["rejected"] == {}
