"""Pictures of the page: the one in docs/app.md, and every state of it to be looked at.

    .venv/bin/python -m benchmarks.page                      # takes docs/app.png anew, after new weights or looks
    .venv/bin/python -m benchmarks.page --looks work/page    # every state at desk and phone size, light and dark

Needs Debian's Chromium (apt-get install chromium). The photo is one that no training saw, put in haze by a recipe.
"""

from __future__ import annotations

import argparse
import io
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from tests.browser import CHROMIUM, DESK, GALLERY, LOOKS, PATIENCE_MS, degraded, drop, serving, start, visiting

TARGET = Path("docs/app.png")
# of docs/app.png: two thirds of the desk, so that it is sharp where it is shown
WIDTH = 960
COLOURS = 128
LONG = "-".join(["a-name-as-cameras-and-clouds-make-them"] * 3)


def at_rest(page: Page) -> None:
    """Until all that was asked for is computed and drawn."""
    if page.locator("#desk").is_visible():
        busy = "Looking …|Restoring …|Draft"
        page.wait_for_function(
            "busy => !busy.split('|').includes(document.querySelector('#verdict h2')?.innerText)", arg=busy
        )
        page.wait_for_function(
            "() => [...document.querySelectorAll('#strip button')].every(b => b.className === 'done')"
        )
    # Gradio's own sign that an answer is on its way
    page.wait_for_function("() => !document.querySelector('.eta-bar')")
    page.wait_for_function("() => [...document.images].every(image => image.complete)")
    page.evaluate("() => Promise.all(document.getAnimations().map(one => one.finished.catch(() => 0)))")


def welcome(page: Page, folder: Path) -> None:
    """The empty page."""
    expect(page.get_by_role("button", name="Tulips")).to_be_visible(timeout=PATIENCE_MS)


def hazy(page: Page, folder: Path) -> None:
    """One photo, diagnosed and restored."""
    drop(page, degraded(folder / "hikers in the haze.png", "haze"))
    expect(page.locator(".findings")).to_be_visible(timeout=PATIENCE_MS)


def many(page: Page, folder: Path) -> None:
    """Three photos, a long name, and two files that are none."""
    long = folder / f"{LONG}.jpg"
    torn, letter = folder / "torn.jpg", folder / "letter.jpg"
    long.write_bytes((GALLERY / "clean-tulips.jpg").read_bytes())
    torn.write_bytes((GALLERY / "clean-tulips.jpg").read_bytes()[:3000])
    letter.write_text("Dear Sir", encoding="utf-8")
    drop(
        page,
        degraded(folder / "grainy.png", "noise", like=folder / "hikers in the haze.png"),
        torn,
        letter,
        long,
        where="#more",
    )
    expect(page.get_by_role("alert")).to_contain_text("2 photos", timeout=PATIENCE_MS)


def overruled(page: Page, folder: Path) -> None:
    """A slider moved, and the file saved."""
    page.get_by_role("slider", name="Noise").fill("100")
    expect(page.locator("#verdict")).to_contain_text("Your sliders were obeyed", timeout=PATIENCE_MS)
    with page.expect_download(timeout=PATIENCE_MS):
        page.click("#save")
    expect(page.locator("#saved")).to_contain_text("JSON")


def calm(page: Page, folder: Path) -> None:
    """A photo that is left as it is."""
    page.locator("#strip button").last.click()
    expect(page.locator(".compare img").first).to_have_attribute("alt", re.compile(LONG), timeout=PATIENCE_MS)


# one after the other on one page
STATES: dict[str, Callable[[Page, Path], None]] = {
    "welcome": welcome,
    "hazy": hazy,
    "many": many,
    "overruled": overruled,
    "calm": calm,
}


def looks(out: Path) -> None:
    """Every state as STATE-WIDTH-SCHEME.png, as tall as it is."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder, browser = Path(place), start(playwright)
        with serving(folder) as (url, _):
            for size, scheme in LOOKS:
                with visiting(browser, url, viewport=size, color_scheme=scheme) as page:
                    for name, arrange in STATES.items():
                        arrange(page, folder)
                        at_rest(page)
                        path = out / f"{name}-{size['width']}-{scheme}.png"
                        page.screenshot(path=path, full_page=True)
                        print(path, flush=True)
        browser.close()


def picture(target: Path) -> None:
    """docs/app.png: the hazy photo on a desk, in few colours."""
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder, browser = Path(place), start(playwright)
        with serving(folder) as (url, _), visiting(browser, url) as page:
            welcome(page, folder)
            hazy(page, folder)
            drop(page, GALLERY / "clean-tulips.jpg", GALLERY / "jpeg-houses-on-the-shore.png", where="#more")
            expect(page.locator("#strip button")).to_have_count(3, timeout=PATIENCE_MS)
            page.locator("#strip button").first.click()
            expect(page.locator("#strip button").first).to_have_attribute("aria-current", "true")
            at_rest(page)
            shot = page.screenshot()
        browser.close()
    with Image.open(io.BytesIO(shot)) as image:
        small = image.convert("RGB").resize((WIDTH, WIDTH * DESK["height"] // DESK["width"]), Image.Resampling.LANCZOS)
    small.quantize(COLOURS, dither=Image.Dither.FLOYDSTEINBERG).save(target, optimize=True)
    print(target)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--looks", type=Path, metavar="DIR", help="pictures of every state, into this folder")
    args = parser.parse_args()
    if CHROMIUM is None:
        raise SystemExit("page: no chromium on this machine; on Debian: apt-get install chromium")
    if args.looks:
        looks(args.looks)
    else:
        picture(TARGET)


if __name__ == "__main__":
    main()
