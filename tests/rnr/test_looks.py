"""The page looked at: on a desk and a phone, in light and dark, in every state; and an audit by axe-core.

To look for yourself: python -m benchmarks.page --looks work/page
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from benchmarks.page import STATES, at_rest
from tests.browser import LOOKS, NARROW, barriers, serving, sticking_out, visiting


@pytest.fixture(scope="module")
def url(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("page")) as (address, _):
        yield address


# of those who asked for reduced motion nothing of ours may move
STILL_MOVING = """() => [...document.querySelectorAll('.contain *')].filter(e => {
  const style = getComputedStyle(e);
  return style.animationName !== 'none' || style.transitionDuration.split(', ').some(time => parseFloat(time) > 0);
}).map(e => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize(("size", "scheme"), LOOKS, ids=[f"{size['width']}-{scheme}" for size, scheme in LOOKS])
def test_every_state_fits_and_is_free_of_barriers(
    browser: Browser, url: str, tmp_path: Path, size: dict[str, int], scheme: str
) -> None:
    with visiting(browser, url, viewport=size, color_scheme=scheme, reduced_motion="reduce") as page:
        for name, arrange in STATES.items():
            arrange(page, tmp_path)
            at_rest(page)
            assert sticking_out(page) == [], name
            assert barriers(page) == [], name
            assert page.evaluate(STILL_MOVING) == [], name
            assert len(page.screenshot(full_page=True)) > 20_000, name


def test_the_audit_can_fail(browser: Browser) -> None:
    """A page with a nameless button, pale words and a line that is cut off."""
    page: Page = browser.new_page()
    page.set_content(
        "<!doctype html><html lang=en><title>x</title><main><h1>x</h1><button></button>"
        "<p style='color:#ccc;background:#fff'>pale</p>"
        "<p style='width:50px;overflow:hidden;white-space:nowrap'>a long line of words</p></main>"
    )
    found = "\n".join(barriers(page))
    assert "button-name" in found
    assert "color-contrast" in found
    assert len(sticking_out(page)) == 1
    page.close()


def test_nothing_is_lost_on_the_narrowest_screen(browser: Browser, url: str, tmp_path: Path) -> None:
    with visiting(browser, url, viewport=NARROW) as page:
        for name, arrange in STATES.items():
            arrange(page, tmp_path)
            at_rest(page)
            assert sticking_out(page) == [], name
        expect(page.locator("#save")).to_be_visible()
