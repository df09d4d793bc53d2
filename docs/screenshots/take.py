"""Takes the screenshots of the documentation from a running mine.

    python docs/screenshots/take.py http://127.0.0.1:8080 [FOLDER] [PAGE …]

Needs Chromium on the PATH. Every page is taken light and dark, on a desktop and on a phone.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

LAUNCH_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1280, 800, 1), "phone": (390, 844, 1.5)}
PAGES = {
    "now": "/",
    "hall": "/hall",
    "work": "/work",
    "energy": "/energy",
    "evidence": "/evidence",
    "settings": "/settings",
    "log": "/log",
}
#: What has to stand on a page before it is taken; others need a chart.
READY = {
    "hall": ".hall-map[data-drawn], .hall-empty",
    "energy": ".energy-chart svg text:visible",
    "evidence": ".evidence-statement td + td",
    "settings": ".settings td",
    "machine": ".truths .figure",
}
FULL = ("now", "hall", "machine", "work", "energy", "evidence")


def take(browser: Browser, url: str, folder: Path, scheme: str, size: str, *, only: list[str]) -> None:
    """Take every page, or only some, in one colour scheme and size."""
    width, height, scale = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        device_scale_factor=scale,
        color_scheme="dark" if scheme == "dark" else "light",
        is_mobile=size == "phone",
    )
    page = context.new_page()
    for name, place in (PAGES | machine_page(page, url)).items():
        if only and name not in only:
            continue
        page.goto(url.rstrip("/") + place)
        page.wait_for_selector("#main .panel:not(.none)")
        if name in READY:
            page.wait_for_selector(READY[name])
        elif name != "log":
            page.wait_for_selector(".chart svg path", state="attached")
        path = folder / f"{name}-{size}-{scheme}.png"
        page.screenshot(path=path, full_page=name in FULL)
        shrink(path)
    context.close()


def shrink(path: Path) -> None:
    """Keep the 256 most frequent colours as they are: the others are shades on the edges of letters."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    found = sorted(picture.getcolors(1 << 24) or [], reverse=True)[:256]
    palette = Image.new("P", (1, 1))
    palette.putpalette(b"".join(bytes(colour) for _, colour in found if isinstance(colour, tuple)))
    picture.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def machine_page(page: Page, url: str) -> dict[str, str]:
    """Return the page of the first machine of the fleet, if there is one."""
    answer = page.request.get(f"{url.rstrip('/')}/api/v1/machines?limit=1")
    machines = answer.json()["machines"] if answer.ok else []
    return {"machine": f"/machine/{machines[0]['id']}"} if machines else {}


def main() -> None:
    """Take all of them."""
    url = sys.argv[1]
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=LAUNCH_OPTIONS)
        for scheme in ("light", "dark"):
            for size in SIZES:
                take(browser, url, folder, scheme, size, only=sys.argv[3:])
        browser.close()


if __name__ == "__main__":
    main()
