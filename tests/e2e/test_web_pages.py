"""The pages in a real browser, without any other host: what people see, and that it recovers by itself.

The pages run as a process of their own, fed with snapshots by the test. Skipped, and said so, without Chromium.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

HERE = Path(__file__).parent
CHROMIUM = shutil.which("chromium")
LAUNCH_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM on the PATH: the pages are NOT looked at"),
]
expect.set_options(timeout=15_000)


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


web_site = load("web_site")
Make = Callable[[float], Any]


#: Resolves after the sentence has changed five times, which it does once a second.
FIVE_CHANGES = """() => new Promise((resolve) => {
  let left = 5;
  new MutationObserver(() => --left || resolve()).observe(
    document.querySelector(".sentence .words"), { characterData: true, childList: true, subtree: true });
})"""


class Site:
    """The pages' process, and a thread that reports to it once a second as `serve` would."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "web_site.py"), *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()
        assert self.url.startswith("http://127.0.0.1:"), self.url
        self._make: Make | None = None
        self._ended = threading.Event()
        self._reporter = threading.Thread(target=self._report, daemon=True)
        self._reporter.start()

    def show(self, make: Make | None) -> None:
        """Report what ``make`` returns from now on; None: report nothing, as if `serve` were gone."""
        self._make = make
        if make is not None:
            self._send(make(time.time()))

    def stop(self) -> float:
        """End the process as the supervisor does; return how long its pages and sockets took to close."""
        self._ended.set()
        assert self.process.stdout is not None
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        said = self.process.stdout.readline()
        took_s = time.monotonic() - begun
        try:
            assert said == b"ended\n", said
            assert self.process.wait(timeout=10) == 0
        finally:
            self.process.kill()
            self._reporter.join(timeout=5)
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process.stdout.close()
        return took_s

    def _send(self, snapshot: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(snapshot) + b"\n")
        self.process.stdin.flush()

    def _report(self) -> None:
        while not self._ended.wait(1.0):
            if (make := self._make) is not None:
                try:
                    self._send(make(time.time()))
                except BrokenPipeError:
                    return  # the process has ended; the test says whether it should have


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=LAUNCH_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    site = Site()
    yield site
    if site.process.poll() is None:
        site.stop()


class Visit:
    """A page of one browser context, and all that it asked of hosts other than this computer."""

    def __init__(self, context: BrowserContext) -> None:
        self.elsewhere: list[str] = []
        self.errors: list[str] = []
        context.route("**/*", self._only_here)
        self.page: Page = context.new_page()
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("websocket", lambda socket: self._note(socket.url))

    def _note(self, url: str) -> None:
        if urlsplit(url).hostname != "127.0.0.1":
            self.elsewhere.append(url)

    def _only_here(self, route: Route) -> None:
        self._note(route.request.url)
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            route.abort()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    visit = Visit(context)
    yield visit
    context.close()


def sample(**changes: Any) -> Make:
    return lambda now: web_site.sample(now, **changes)


@pytest.mark.parametrize("path", ["", "work", "log", "api", "login"])
def test_every_page_works_without_any_other_host(site: Site, visit: Visit, path: str) -> None:
    site.show(sample())
    visit.page.goto(site.url + path)
    expect(visit.page.locator("h1")).to_have_count(1)
    if path in ("", "work", "log"):
        expect(visit.page.locator(".sentence .words")).to_contain_text("3 machines hash at 98.2 MH/s")
        expect(visit.page.locator(".panel:not(.none) .live-table tbody tr").first).to_be_visible()
    if path in ("", "work"):
        expect(visit.page.locator(".chart svg")).to_be_visible()
    visit.page.wait_for_load_state("networkidle")
    assert visit.elsewhere == []
    assert visit.errors == []


def test_now_answers_whether_all_is_right(site: Site, visit: Visit) -> None:
    site.show(sample())
    visit.page.goto(site.url)
    main = visit.page.locator("#main")
    sentence = main.locator(".sentence .words")
    expect(sentence).to_contain_text(
        "3 machines hash at 98.2 MH/s on a private testnet4 chain; a block is expected"
    )
    expect(sentence).to_contain_text("every 44 s; the last came 3")
    expect(main.locator(".huge .number")).to_have_text("98.2")
    expect(main.locator(".hero .band")).to_have_text("95 % sure: 95.9 – 101 MH/s, from 7,024 shares")
    expect(visit.page.get_by_text("its coins are worth nothing")).to_be_visible()
    expect(visit.page.get_by_text("No open alerts.")).to_be_visible()
    expect(main.locator(".chart svg path").first).to_be_attached()
    expect(visit.page.get_by_text("Simulation")).not_to_be_visible()


def test_values_change_in_place(site: Site, visit: Visit) -> None:
    site.show(sample(accepted=1_000))
    visit.page.goto(site.url)
    tile = visit.page.locator(".tile", has_text="Shares accepted").locator(".figure")
    expect(tile).to_have_text("1,000")
    visit.page.evaluate("document.querySelectorAll('#main *').forEach((element) => (element.stays = true))")
    site.show(sample(accepted=2_000))
    expect(tile).to_have_text("2,000")
    recreated = "[...document.querySelectorAll('#main *')].filter((element) => !element.stays && !element.closest('svg'))"
    assert visit.page.evaluate(f"{recreated}.length") == 0
    assert visit.errors == []


def test_alerts_and_simulation_are_said(site: Site, visit: Visit) -> None:
    site.show(sample(warnings=["disk is 91 % full"], simulation=True))
    visit.page.goto(site.url)
    expect(visit.page.locator(".alerts")).to_contain_text("disk is 91 % full")
    expect(visit.page.locator(".sentence")).to_contain_text("▲")
    expect(visit.page.get_by_text("Simulation: machines are a scale model.")).to_be_visible()
    site.show(sample())
    expect(visit.page.locator(".alerts")).not_to_be_visible()


def test_a_lost_server_is_said_and_the_page_recovers(site: Site, visit: Visit) -> None:
    site.show(sample())
    visit.page.goto(site.url)
    expect(visit.page.locator(".huge .number")).to_have_text("98.2")
    site.show(None)
    expect(visit.page.locator(".sentence .words")).to_contain_text("The server has not reported for")
    expect(visit.page.locator(".lost")).to_contain_text("This page recovers by itself.")
    expect(visit.page.locator("#main")).to_have_class(re.compile(r"\bstale\b"))
    expect(visit.page.locator(".huge .number")).to_have_text("98.2")
    expect(visit.page.locator(".bar .live")).to_contain_text("old")
    site.show(sample())
    expect(visit.page.locator(".sentence .words")).to_contain_text("3 machines hash")
    expect(visit.page.locator("#main")).not_to_have_class(re.compile(r"\bstale\b"))
    expect(visit.page.locator(".bar .live")).to_have_text("live")


def test_an_empty_mine_says_what_to_do_next(site: Site, visit: Visit) -> None:
    site.show(web_site.empty)
    visit.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.page.goto(site.url)
    expect(
        visit.page.get_by_text("No machine has connected yet; work for a private testnet4 chain")
    ).to_be_visible()
    connect = visit.page.locator(".machines .connect")
    expect(connect.get_by_text("stratum+tcp://127.0.0.1:3333")).to_be_visible()
    connect.get_by_role("button", name="Copy URL").click()
    expect(connect.get_by_role("button", name="Copy URL")).to_have_attribute("data-copied", "")
    assert visit.page.evaluate("navigator.clipboard.readText()") == "stratum+tcp://127.0.0.1:3333"
    site.show(sample())
    expect(connect).not_to_be_visible()
    expect(visit.page.locator(".machines").get_by_text("home.nano-kitchen")).to_be_visible()


def test_work_counts_every_hash(site: Site, visit: Visit) -> None:
    site.show(sample())
    visit.page.goto(site.url + "work")
    machine = visit.page.get_by_role("region", name="Machines with their hash rates").get_by_role("row")
    expect(machine.nth(3)).to_contain_text("home.bitaxe-shed")
    expect(machine.nth(3)).to_contain_text("11 (6.6 %)")
    expect(visit.page.get_by_role("region", name="Blocks found")).to_contain_text("✕ orphaned: another block")
    expect(visit.page.get_by_text("the tip had moved on")).to_be_visible()
    expect(visit.page.get_by_text("0.41 ms")).to_be_visible()


def test_tables_are_sorted_by_keyboard(site: Site, visit: Visit) -> None:
    site.show(sample())
    visit.page.goto(site.url + "work")
    region = visit.page.get_by_role("region", name="Machines with their hash rates")
    heading = region.get_by_role("button", name="Machine")
    heading.focus()
    visit.page.keyboard.press("Enter")
    expect(region.get_by_role("columnheader", name="Machine")).to_have_attribute("aria-sort", "descending")
    expect(region.get_by_role("row").nth(1)).to_contain_text("home.nano-kitchen")
    visit.page.keyboard.press("Enter")
    expect(region.get_by_role("row").nth(1)).to_contain_text("demo.cpu")


def test_the_log_is_filtered_and_goes_back(site: Site, visit: Visit) -> None:
    site.show(sample())
    visit.page.goto(site.url + "log")
    rows = visit.page.locator(".panel:not(.none) .live-table tbody tr")
    expect(rows).to_have_count(100)
    visit.page.get_by_role("button", name="Show older").click()
    expect(rows).to_have_count(200)
    visit.page.get_by_role("button", name="Show older").click()
    expect(rows).to_have_count(240)
    expect(visit.page.get_by_role("button", name="Show older")).not_to_be_visible()
    visit.page.get_by_label("Filter").fill("nano-kitchen")
    expect(rows).to_have_count(60)
    visit.page.get_by_label("Filter").fill("no such thing")
    expect(rows).to_have_text(["Nothing matches the filter."])


def test_the_span_of_a_chart_is_chosen(site: Site, visit: Visit) -> None:
    site.show(sample())
    visit.page.goto(site.url)
    day = visit.page.get_by_role("button", name="24 h")
    expect(visit.page.get_by_role("button", name="1 h", exact=True)).to_have_attribute("aria-pressed", "true")
    before = visit.page.locator(".chart svg").inner_html()
    day.click()
    expect(day).to_have_attribute("aria-pressed", "true")
    expect(visit.page.get_by_role("button", name="1 h", exact=True)).to_have_attribute(
        "aria-pressed", "false"
    )
    visit.page.wait_for_function(
        "(html) => document.querySelector('.chart svg').innerHTML !== html", arg=before
    )


def test_everything_is_reached_by_keyboard(site: Site, visit: Visit) -> None:
    site.show(sample())
    visit.page.goto(site.url)
    expect(visit.page.locator(".panel:not(.none) .live-table tbody tr").first).to_be_visible()
    focusable = visit.page.locator("a[href]:visible, button:visible, [tabindex='0']:visible").count()
    reached = set()
    for _ in range(focusable + 10):
        visit.page.keyboard.press("Tab")
        focused = visit.page.evaluate(
            "(() => { const e = document.activeElement;"
            " return e === document.body ? null : e.textContent || e.ariaLabel || e.id; })()"
        )
        reached.add(focused)
    assert {"Skip to content", "Work", "Log", "24 h", "source"} <= reached
    assert len(reached) > 10


def test_themes_follow_the_system_and_the_toggle(site: Site, browser: Browser) -> None:
    site.show(sample())
    for scheme, other in (("light", "dark"), ("dark", "light")):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(site.url)
        expect(page.locator(".huge .number")).to_have_text("98.2")
        background = "getComputedStyle(document.body).backgroundColor"
        system = page.evaluate(background)
        toggle = page.locator("[data-theme-toggle]")
        while page.evaluate("document.documentElement.dataset.theme") != other:
            toggle.click()
        assert page.evaluate(background) != system
        page.reload()
        expect(page.locator(".huge .number")).to_have_text("98.2")
        assert page.evaluate("document.documentElement.dataset.theme") == other
        assert page.evaluate(background) != system
        context.close()


def test_words_can_be_read_in_both_themes(site: Site, browser: Browser) -> None:
    """Contrast of text on its panel is at least 4.5 : 1 (WCAG 2.2, 1.4.3)."""
    measure = """() => {
      const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
      const light = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
      const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
      const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
        return (x + 0.05) / (y + 0.05); };
      const panel = rgb(getComputedStyle(document.querySelector('.tile')).backgroundColor);
      return ['.words', '.tile .small', '.live-table th', '.live-table td', '.violet', '.windows th']
        .map((selector) => [selector, contrast(rgb(getComputedStyle(document.querySelector(selector)).color), panel)]);
    }"""
    site.show(sample())
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(site.url)
        expect(page.locator(".live-table .violet").first).to_be_visible()
        for selector, contrast in page.evaluate(measure):
            assert contrast >= 4.5, (scheme, selector, contrast)
        context.close()


@pytest.mark.parametrize("width", [320, 390, 768])
def test_now_fits_on_a_phone(site: Site, browser: Browser, width: int) -> None:
    site.show(
        sample(warnings=["the node's clock is 12 s off from ours, and this warning is rather a long one"])
    )
    context = browser.new_context(viewport={"width": width, "height": 800}, is_mobile=True)
    page = context.new_page()
    page.goto(site.url)
    expect(page.locator(".huge .number")).to_have_text("98.2")
    expect(page.locator(".chart svg")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_three_browsers_cost_little(site: Site, browser: Browser) -> None:
    """With three pages open for five seconds the process uses less than a fifth of one core."""
    found_at = time.time()
    site.show(lambda now: web_site.sample(now, recent_blocks=web_site.blocks(found_at)))
    contexts = [browser.new_context() for _ in range(3)]
    for context in contexts:
        page = context.new_page()
        page.goto(site.url)
        expect(page.locator(".chart svg")).to_be_visible()
    ticks = os.sysconf("SC_CLK_TCK")

    def used_s() -> float:
        fields = Path(f"/proc/{site.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    if not Path("/proc/self/stat").exists():
        pytest.skip("no /proc here: the processor time of the pages is NOT measured")
    before, begun = used_s(), time.monotonic()
    page.evaluate(FIVE_CHANGES)
    share = (used_s() - before) / (time.monotonic() - begun)
    print(f"three open pages: {100 * share:.1f} % of one core")
    assert share < 0.2
    for context in contexts:
        context.close()


def test_a_password_is_asked_for(browser: Browser) -> None:
    from hashwerk.web.auth import hash_password

    site = Site("--password-hash", hash_password("correct horse"))
    site.show(sample())
    context = browser.new_context()
    try:
        page = context.new_page()
        page.goto(site.url + "work")
        expect(page).to_have_url(re.compile("/login"))
        page.get_by_label("Password or access token").fill("wrong horse")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_have_text("That is neither the password nor a token.")
        page.get_by_label("Password or access token").fill("correct horse")
        page.keyboard.press("Enter")
        expect(page).to_have_url(site.url + "work")
        expect(page.locator(".sentence .words")).to_contain_text("3 machines hash")
    finally:
        context.close()
        site.stop()


def test_it_ends_within_a_second_with_pages_open_and_they_come_back(browser: Browser) -> None:
    site = Site()
    site.show(sample())
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.url)
    expect(page.locator(".bar .live")).to_have_text("live")
    took_s = site.stop()
    assert took_s < 1.0, took_s
    expect(page.locator("#popup")).to_have_attribute("aria-hidden", "false")
    again = Site("--port", str(urlsplit(site.url).port))
    try:
        again.show(sample(accepted=777))
        expect(page.locator(".tile", has_text="Shares accepted").locator(".figure")).to_have_text(
            "777", timeout=30_000
        )
    finally:
        context.close()
        again.stop()
