"""Debian's Chromium under Playwright: what the tests of the page and of the report share, and benchmarks/page.py.

The fixture `browser` stands in tests/conftest.py. Where there is no Chromium its tests are skipped, but on machines
that set RNR_BROWSER_REQUIRED, as .ci/run does, they fail: there a page nobody looked at must not pass for one that
works.

The photos are degraded here, by a recipe so strong that any reasoner worth serving names it: no test of the page may
depend on what the weights of the day make of a borderline photo.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image
from playwright.sync_api import Browser, Page, Playwright, expect

from components.degradations.recipe import apply_recipe, make_step
from components.photos.decode import decode
from tests.tiny import REPOSITORY, environment

REQUIRED = "RNR_BROWSER_REQUIRED"
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000
# five seconds, Playwright's own, are short beside a training
expect.set_options(timeout=PATIENCE_MS)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
# narrow phones and, by WCAG 1.4.10, a desk at 400%
NARROW = {"width": 320, "height": 640}
LOOKS = [(size, scheme) for size in (DESK, PHONE) for scheme in ("light", "dark")]
GALLERY = REPOSITORY / "docs" / "gallery" / "photos"
HILLS = REPOSITORY / "data" / "photos" / "rhyolite-hills-hikers.jpg"


def start(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


def degraded(path: Path, kind: str, like: Path = HILLS, level: float = 0.8) -> Path:
    """A photo with so much of one degradation that nobody takes it for a good one, losslessly in `path`."""
    step = make_step(kind, level, torch.Generator().manual_seed(1))
    Image.fromarray(apply_recipe(decode(like).pixels, [step])).save(path)
    return path


@contextlib.contextmanager
def serving(folder: Path, *options: str, **variables: str) -> Iterator[tuple[str, subprocess.Popen]]:
    """The address of a page and its process, whose temporary files lie in `folder`; ended as Ctrl+C ends it."""
    command = [sys.executable, "-m", "rnr.cli", "app", "--port", "0", "--model", "pretrained", "--json", *options]
    with open(folder / "stderr.txt", "w", encoding="utf-8") as said:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment() | {"TMPDIR": str(folder)} | variables,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (folder / "stderr.txt").read_text(encoding="utf-8")
            yield json.loads(line)["url"], process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def visiting(browser: Browser, url: str, **looks) -> Iterator[Page]:
    """A page in a browser of its own. Requests to anywhere else and errors of scripts fail the test at the end."""
    context = browser.new_context(**({"viewport": DESK} | looks))
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    abroad: list[str] = []
    broken: list[str] = []
    page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else abroad.append(r.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    # from the first listener on, dialogs for files are Playwright's to answer; a loaded browser that hears of it only
    # with the key that opens one would open its own, which nobody ever closes
    page.on("filechooser", lambda _: None)
    try:
        page.goto(url)
        yield page
        assert abroad == []
        assert broken == []
    finally:
        context.close()


def drop(page: Page, *photos: Path, where: str = "#drop") -> None:
    page.set_input_files(f"{where} input[type=file]", photos)


# what sticks out of the screen to the right, and words that their own box cuts off without a way to scroll
STICKS_OUT = """() => [...document.body.querySelectorAll('*')].filter(e => {
  const box = e.getBoundingClientRect(), style = getComputedStyle(e);
  if (!box.width || !box.height || style.clipPath !== 'none' || !e.checkVisibility()) return false;
  for (let up = e.parentElement; up; up = up.parentElement)
    if (/auto|scroll/.test(getComputedStyle(up).overflowX)) return false;
  const words = [...e.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  const cut = words && /hidden|clip/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 1;
  return box.right > innerWidth + 1 || box.left < -1 || cut;
}).map(e => e.outerHTML.slice(0, 160))"""


def sticking_out(page: Page) -> list[str]:
    """The elements that do not fit; also when the document as a whole could be scrolled sideways."""
    wide = page.evaluate("() => document.documentElement.scrollWidth > innerWidth")
    return [*page.evaluate(STICKS_OUT), *(["the document is wider than the screen"] if wide else [])]


def barriers(page: Page) -> list[str]:
    """What axe-core (WCAG 2.2 A and AA, and its best practices) finds, a line each; the page must be at rest."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:200]} {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]
