"""*Now* and *Energy* in a real browser, with recorded days behind every figure: read, ordered, light, dark and on a phone.

Skipped, and said so, without Chromium or the recorded series.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

HERE = Path(__file__).parent
DATA = HERE.parents[1].parent / "shared" / "data"
CHROMIUM = shutil.which("chromium")
LAUNCH_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="NO CHROMIUM on the PATH: the pages are NOT looked at"),
    pytest.mark.skipif(not DATA.is_dir(), reason="NO ../shared/data: no recorded day to show"),
]
expect.set_options(timeout=20_000)

#: What a reader of the screen would be told nothing about: controls and pictures without words, doubled ids, lost targets.
UNNAMED = """() => {
  const seen = (e) => e.checkVisibility();
  const named = (e) => e.ariaLabel || e.textContent.trim() || e.title || e.labels?.length || e.closest("label");
  const controls = [...document.querySelectorAll("a[href], button, input, select, summary, [role=img], [role=region]")];
  const ids = [...document.querySelectorAll("#main [id]")].map((e) => e.id);
  const lost = [...document.querySelectorAll("a[href^='#']")].filter((e) => seen(e) && !document.querySelector(e.hash));
  return [
    ...controls.filter((e) => seen(e) && !named(e)).map((e) => e.outerHTML.slice(0, 120)),
    ...ids.filter((id, index) => ids.indexOf(id) !== index),
    ...lost.map((e) => e.hash),
  ];
}"""
#: Contrast of text on its panel (WCAG 2.2, 1.4.3), for each of the selectors.
CONTRASTS = """(selectors) => {
  const rgb = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const light = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
  const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05); };
  const panel = rgb(getComputedStyle(document.querySelector('.tile')).backgroundColor);
  return selectors.map((selector) => [selector, contrast(rgb(getComputedStyle(document.querySelector(selector)).color), panel)]);
}"""


class EnergySite:
    """The pages' process with the energy of one case."""

    def __init__(self, case: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "energy_site.py"), "--case", case], stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        said = json.loads(self.process.stdout.readline())
        self.url, self.token = said["url"], said["token"]

    def stop(self) -> None:
        """End the process as the supervisor does."""
        self.process.send_signal(signal.SIGTERM)
        try:
            out, _ = self.process.communicate(timeout=30)
            assert out == b"ended\n"
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=LAUNCH_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site() -> Iterator[EnergySite]:
    site = EnergySite("rich")
    yield site
    site.stop()


@dataclass
class Visit:
    """A page, what went wrong on it, and whom it asked beside this computer."""

    page: Page
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, context: BrowserContext) -> Visit:
        visit = cls(context.new_page())
        visit.page.on("pageerror", lambda error: visit.errors.append(str(error)))
        visit.page.on(
            "console", lambda said: visit.errors.append(said.text) if said.type == "error" else None
        )
        visit.page.route("**/*", visit.only_here)
        return visit

    def only_here(self, route: Route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.elsewhere.append(route.request.url)
            route.abort()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    visit = Visit.of(context)
    yield visit
    errors = [error for error in visit.errors if "401" not in error]  # a token is asked for by that answer
    context.close()
    assert errors == []
    assert visit.elsewhere == []


def test_now_says_what_it_earns_and_burns(site: EnergySite, visit: Visit) -> None:
    page = visit.page
    page.goto(site.url)
    sentences = page.locator(".sentence .words")
    expect(sentences.first).to_contain_text(re.compile(r"machines (run|sleep): price .* €/MWh"))
    expect(sentences.nth(1)).to_contain_text("3 machines hash at 98.2 MH/s")
    tiles = page.locator(".now-tiles .panel")
    expect(tiles.nth(0)).to_contain_text(re.compile(r"98.2.*95 % sure.*Machines reported .*PH/s", re.DOTALL))
    expect(tiles.nth(1)).to_contain_text(re.compile(r"[kM]?W.*set-point", re.DOTALL))
    expect(tiles.nth(2)).to_contain_text(re.compile(r"EUR/h.*earns .*burns ", re.DOTALL))
    tiles.nth(2).get_by_text("How this is computed").click()
    expect(tiles.nth(2).get_by_text("44.12 EUR per PH/s and day")).to_be_visible()
    expect(page.locator(".energy-chart svg path").first).to_be_attached()
    chart = page.locator(".energy-chart")
    expect(chart.get_by_text("Machines on, as planned")).to_be_visible()
    chart.scroll_into_view_if_needed()
    for x in range(80, 680, 100):
        chart.hover(position={"x": x, "y": 80})
        expect(chart.locator(".tip-row").first).to_contain_text(re.compile("(Price|Price forecast).*EUR/MWh"))
    brief = page.locator(".brief a")
    expect(brief).to_contain_text(re.compile(r"▲ \d+ open alerts"))
    brief.click()
    expect(page.locator("#alerts tbody tr").first).to_contain_text("Feed carbon is stale")
    assert page.evaluate(UNNAMED) == []


def test_energy_says_when_and_why(site: EnergySite, visit: Visit) -> None:
    page = visit.page
    page.goto(site.url + "energy")
    chart = page.locator(".energy-plan .energy-chart")
    for title in ("Price, EUR/MWh", "Carbon of the grid, g/kWh", "Plan by group", "Power from the grid"):
        expect(chart.get_by_text(title)).to_be_visible()
    assert chart.locator("svg rect, svg path[fill='var(--violet)']").count() > 3
    groups = page.get_by_role("region", name="Groups of like machines")
    expect(groups.get_by_role("row")).to_have_count(5)
    expect(groups.get_by_role("row").nth(1)).to_contain_text(re.compile(r"128.00 EUR/MWh.*price .* €/MWh is"))
    summary = page.get_by_text("The plan hour by hour, as a table")
    summary.focus()
    page.keyboard.press("Enter")
    expect(
        page.get_by_role("region", name="The plan hour by hour").get_by_role("row").nth(20)
    ).to_be_visible()
    expect(page.get_by_text("demand peak of the month 1.412 MW")).to_be_visible()
    expect(page.get_by_text("rule own-first/1, declared before the period")).to_be_visible()
    feeds = page.get_by_role("region", name="Feeds")
    expect(feeds.get_by_role("row", name="carbon")).to_contain_text("the typical day of the month")
    expect(page.get_by_text("hashwerk backtest site.toml")).to_be_visible()
    chart.scroll_into_view_if_needed()
    # Wherever the pointer stands, it is told what was, or will be, in force then.
    for x in range(100, 1000, 75):
        chart.hover(position={"x": x, "y": 80})
        expect(chart.locator(".tip-row").first).to_contain_text(re.compile("(Price|Price forecast).*EUR/MWh"))
    assert page.evaluate(UNNAMED) == []


def test_an_order_is_previewed_then_given_and_ended(site: EnergySite, visit: Visit) -> None:
    page = visit.page
    page.goto(site.url + "energy")
    order = page.locator(".energy-order")
    act = order.get_by_role("button", name="Give the order")
    order.get_by_role("spinbutton", name="kW").fill("300")
    order.get_by_label("Minutes").fill("45")
    expect(act).to_be_disabled()
    order.get_by_role("button", name="Preview").click()
    order.get_by_label("Access token").fill(site.token)
    page.keyboard.press("Enter")
    expect(order.locator(".result")).to_contain_text(
        re.compile(
            r"machines would be told to sleep or draw less: .* kW less, from .* by the meter, for 45 min"
        )
    )
    order.get_by_role("spinbutton", name="kW").fill("250")
    expect(act).to_be_disabled()  # what was previewed is not what would be ordered
    order.get_by_role("button", name="Preview").click()
    with page.expect_request("**/api/v1/energy/orders") as asked:
        act.click()
    body = asked.value.post_data_json
    assert (body["kind"], body["amount_kw"]) == ("reduce to", 250)
    expect(order.locator(".result")).to_contain_text("is taken and on disk")
    open_orders = page.get_by_role("list", name="Orders in force or ahead").get_by_role("listitem")
    expect(open_orders.first).to_contain_text(
        re.compile("Reduce to 900 kW.*Reached after 48 s.*switch it off", re.DOTALL)
    )
    page.get_by_text("All orders and what they delivered").click()
    expect(page.get_by_role("region", name="Orders, the newest first")).to_contain_text("delivered kwh 241.2")
    open_orders.first.get_by_role("button", name="End it").click()
    expect(page.get_by_text("No order is in force.")).to_be_visible()


def test_words_can_be_read_and_fit_on_every_screen(site: EnergySite, browser: Browser) -> None:
    for width, scheme in ((320, "light"), (390, "dark"), (768, "light")):
        context = browser.new_context(
            viewport={"width": width, "height": 844},
            is_mobile=True,
            color_scheme="dark" if scheme == "dark" else "light",
        )
        visit = Visit.of(context)
        for path in ("", "energy"):
            visit.page.goto(site.url + path)
            expect(visit.page.locator(".energy-chart svg path").first).to_be_attached()
            expect(visit.page.locator(".energy-figure .number").first).not_to_be_empty()
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
            selectors = [
                ".words",
                ".tile .small",
                ".tile .muted",
                ".power-bar .what",
                ".legend .key",
                ".how summary",
            ]
            for selector, contrast in visit.page.evaluate(CONTRASTS, selectors):
                assert contrast >= 4.5, (scheme, path, selector, contrast)
        assert visit.errors == []
        context.close()


def test_without_feeds_it_says_what_to_do_next(site: EnergySite, visit: Visit) -> None:
    """The last one: feeds, meters and tariff go away while the page is open, and it follows."""
    page = visit.page
    page.goto(site.url + "energy")
    expect(page.locator(".energy-order")).to_be_visible()
    site.process.send_signal(signal.SIGUSR1)
    expect(page.locator(".sentence .words")).to_contain_text("There is no plan: no price is known")
    expect(page.get_by_text("No price feed. Add one to the site's file")).to_be_visible()
    expect(page.locator(".energy-plan code").first).to_contain_text('kind = "energy-charts"')
    expect(page.get_by_text("No hashprice: what a hash earns is not known.")).to_be_visible()
    expect(page.get_by_text("set controls = true in [dispatch]")).to_be_visible()
    expect(page.locator(".energy-order")).not_to_be_visible()
    expect(page.locator(".energy-plan .energy-chart").get_by_text("Price, EUR/MWh")).not_to_be_attached()
    page.goto(site.url)
    expect(page.locator(".energy-now").get_by_text("No price feed.")).to_be_visible()
    expect(page.locator(".hero .chart svg")).to_be_visible()
