"""The whole mine in a real browser: blocks arrive on the page, and it ends in time while somebody looks."""

import asyncio
import re
import shutil
import signal
from pathlib import Path

import psutil
import pytest
from playwright.async_api import async_playwright, expect

from support.mine import running_mine

CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="NO CHROMIUM on the PATH: the page of the whole mine is NOT looked at"
    ),
]


async def test_it_ends_within_five_seconds_with_a_page_open_and_blocks_arriving(tmp_path: Path) -> None:
    async with running_mine(tmp_path / "mine", "--miner-threads", "1") as mine, async_playwright() as play:
        browser = await play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS.split())
        page = await browser.new_page()
        await page.goto(mine.urls["web"])
        # The page tells of the private chain, and its blocks become more while it is open.
        await expect(page.get_by_text("its coins are worth nothing")).to_be_visible()
        await mine.until(lambda s: s["blocks"]["accepted"] >= 3)
        await expect(page.locator("body")).to_contain_text(
            re.compile(r"last \d+\s\w+ ago|last just now"), timeout=15_000
        )
        # The service manager asks it to end.
        children = mine.children()
        started = asyncio.get_running_loop().time()
        assert await mine.stop(signal.SIGTERM) == 0
        assert asyncio.get_running_loop().time() - started < 5
        assert not psutil.wait_procs(children, timeout=0.1)[1]
        await browser.close()
