"""The page *Evidence* in a real browser: what the last hour proves, and a good and a forged file dropped on it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from hashwerk.evidence.receipt import give_receipts, write_receipts
from support.evidence import EvidenceSite, resign, write_bundle

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")
OPTIONS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-sync"
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None, reason="NO CHROMIUM on the PATH: the page Evidence is NOT looked at"
    ),
]
#: A process that hashes starts in a second, and in many on a machine that is busy.
WITHIN_MS = 30_000
expect.set_options(timeout=WITHIN_MS)
#: What a browser hands to the page when a file is dropped on it.
DROP_ALL = """(files) => {
  const carried = new DataTransfer();
  for (const [bytes, name] of files) carried.items.add(new File([new Uint8Array(bytes)], name));
  const event = new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
  document.querySelector(".drop").dispatchEvent(event);
}"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "evidence_site.py"), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
            process.stdout.close()


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=OPTIONS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(WITHIN_MS)
        yield page
        browser.close()


def test_a_good_and_a_forged_file_are_told_apart(url: str, page: Page, tmp_path: Path) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    good = EvidenceSite(shares=12).run(1).bundle()
    forged = bytearray(good)
    forged[-200] ^= 1
    page.goto(f"{url}evidence")
    verdict = page.locator(".verdict")
    for data, name, word in ((good, "good.hwe", "valid"), (bytes(forged), "forged.hwe", "invalid")):
        page.evaluate(DROP_ALL, [[list(data), name]])
        expect(verdict).to_contain_text(name)
        expect(verdict.locator(".verdict-head b")).to_have_text(word)
        assert ("contradicts itself" in verdict.inner_text()) == (word == "invalid")
    # Several at once are held against each other, and against a receipt among them.
    site = EvidenceSite(shares=12).run(1)
    other = resign(site.last, site.key, end_us=site.last.header.end_us + 1)
    leaves = site.last.groups[0].leaves[:1]
    account = site.last.groups[0].account
    receipt = give_receipts(site.key, site=site.id, epoch=1, accounts=[account], leaves=leaves, deadline_us=0)
    three = [[list(site.bundle()), "one.hwe"], [list(write_bundle(site, [site.epochs[0], other])), "two.hwe"]]
    page.evaluate(DROP_ALL, [*three, [list(write_receipts(receipt)), "mine.receipts"]])
    expect(verdict).to_have_count(2)
    expect(verdict.first).to_contain_text("equivocation: two.hwe holds another epoch 1 of this site")
    expect(page.locator(".brought").first).to_contain_text("mine.receipts, receipts: 1 receipt")
    whole = page.locator(".brought").last
    expect(whole).to_contain_text(
        re.compile(r"2 bundles, all in all: (\d+ shares, .* counted once|any sum .* is invalid)")
    )
    expect(page.locator(".evidence-services")).to_contain_text("Nobody is asked")
    # The mine's own last hour was checked meanwhile, and each figure says what it is worth.
    expect(page.locator(".sentence .words")).to_contain_text(
        "Yes, as a simulation: no share yet, in 5 epochs"
    )
    shares = page.locator(".evidence-statement tbody tr").first
    expect(shares).to_contain_text("proven")
    expect(page.locator(".evidence-not-shown")).to_contain_text("who the operator is")
    expect(page.locator(".panel.tall tbody tr")).to_have_count(6)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    taken = tmp_path / "taken.hwe"
    download.value.save_as(taken)
    assert taken.stat().st_size > 500
    assert errors == []
