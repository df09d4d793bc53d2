"""Strangers in great numbers, or with great persistence, at a real server, while a good machine works and is timed."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor

import pytest

from support import floods
from support.strangers import HostileMine

pytestmark = pytest.mark.asyncio(loop_scope="module")

Story = Callable[[tuple[str, int]], None]


@pytest.fixture(scope="module")
def strangers() -> Iterator[ProcessPoolExecutor]:
    """A process that strangers live in."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        executor.submit(floods.leave).result()  # it has started
        yield executor


@pytest.mark.parametrize(
    "story",
    [
        floods.garbage,
        floods.megabyte_lines,
        floods.cheap_requests,
        floods.worthless_shares,
        floods.thousand_connects,
        floods.silent,
    ],
)
async def test_strangers_harm_nobody(
    hostile: HostileMine, strangers: ProcessPoolExecutor, story: Story
) -> None:
    async with hostile.unharmed(story.__name__):
        await asyncio.get_running_loop().run_in_executor(strangers, story, hostile.server)


@pytest.mark.parametrize("story", [floods.deaf_to_jobs, floods.deaf_to_answers, floods.deaf_to_errors])
async def test_who_never_reads_harms_nobody(
    hostile: HostileMine, strangers: ProcessPoolExecutor, story: Story
) -> None:
    loop = asyncio.get_running_loop()
    async with hostile.unharmed(story.__name__):
        await loop.run_in_executor(strangers, story, hostile.server)
        # The server gives them up although they neither read nor go.
        await hostile.mine.until(lambda s: s["sessions"] == 1)
        await loop.run_in_executor(strangers, floods.leave)


async def test_the_server_never_ended(hostile: HostileMine) -> None:
    assert hostile.serve.is_running()
    assert "Traceback" not in hostile.mine.log.read_text()
