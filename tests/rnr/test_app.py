"""`rnr app` as people use it: the real command with the pretrained models, and Debian's Chromium.

Where there is no Chromium these tests are skipped, but on machines that set RNR_BROWSER_REQUIRED, as .ci/run does,
they fail: there a page nobody looked at must not pass for one that works.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from components.degradations.recipe import apply_recipe, make_step
from components.photos.decode import Photo, decode
from components.photos.encode import encode
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
GALLERY = REPOSITORY / "docs" / "gallery" / "photos"
PYRAMID, CLEAN, PACKED = (
    GALLERY / name for name in ("haze-bent-pyramid.jpg", "clean-tulips.jpg", "jpeg-houses-on-the-shore.png")
)
PATIENCE_MS = 60_000
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


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


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        told = "no chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get(REQUIRED):
            pytest.fail(f"{told}, and {REQUIRED} is set: the page must be looked at")
        pytest.skip(told)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def url(browser: Browser, folder: Path) -> Iterator[str]:
    with serving(folder) as (address, _):
        yield address


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
    try:
        page.goto(url)
        yield page
        assert abroad == []
        assert broken == []
    finally:
        context.close()


def drop(page: Page, *photos: Path, where: str = "#drop") -> None:
    page.set_input_files(f"{where} input[type=file]", photos)


def headline(page: Page, told: str) -> None:
    expect(page.locator("#verdict h2")).to_have_text(told, timeout=PATIENCE_MS)


def after(page: Page) -> np.ndarray:
    """The pixels of the restored photo as the page shows them."""
    source = page.locator(".compare .after").get_attribute("src")
    with Image.open(io.BytesIO(page.request.get(f"{page.url.rstrip('/')}/{source}").body())) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def saved(page: Page, button: str, folder: Path) -> Path:
    """Press a button and receive the file, under the name that the browser would give it."""
    with page.expect_download(timeout=3 * PATIENCE_MS) as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def test_an_example_a_slider_and_a_download(browser: Browser, url: str) -> None:
    """A newcomer's way: one click shows a diagnosis and both pictures; a slider restores anew."""
    with visiting(browser, url) as page:
        page.get_by_role("button", name="Houses on the shore").click()
        headline(page, "Restored")
        expect(page.locator(".findings")).to_contain_text("JPEG")
        expect(page.locator("#diagnosis ol li").first).to_be_visible()
        expect(page.get_by_role("meter", name="Severity of JPEG")).to_be_visible()
        restored = after(page)
        found = int(page.get_by_role("slider", name="JPEG").input_value())
        page.get_by_role("slider", name="Strength").fill("30")
        expect(page.locator("#verdict")).to_contain_text("Restored")
        page.wait_for_function("() => document.querySelector('.compare .after').src.includes('after-1.')")
        assert np.abs(after(page) - restored).mean() > 0.2
        page.get_by_role("slider", name="JPEG").fill(str(max(found - 50, 0)))
        page.wait_for_function("() => document.querySelector('.compare .after').src.includes('after-2.')")
        expect(page.locator("#verdict")).to_contain_text("Your sliders were obeyed")
        page.get_by_role("button", name="As diagnosed").click()
        page.wait_for_function("() => document.querySelector('.compare .after').src.includes('after-3.')")
        expect(page.get_by_role("slider", name="JPEG")).to_have_value(str(found))
        expect(page.get_by_role("slider", name="Strength")).to_have_value("100")
        assert np.array_equal(after(page), restored)


def test_many_photos_one_of_them_unreadable_are_saved_with_all_that_was_in_them(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada Lovelace"
    grainy, deep, torn = tmp_path / "Wüste, früh (1).jpg", tmp_path / "deep.png", tmp_path / "torn.jpg"
    with Image.open(noisy(tmp_path / "noisy.png")) as image:
        image.save(grainy, exif=exif, quality=95)
    pixels = decode(grainy).pixels[100:400, 100:500].astype(np.uint16) * 257
    encode(deep, pixels, Photo(pixels, None, None, exif.tobytes(), "PNG", 16))
    torn.write_bytes(PYRAMID.read_bytes()[:5000])
    out = tmp_path / "out"
    with visiting(browser, url) as page:
        drop(page, grainy, torn, deep)
        expect(page.locator("#strip p")).to_have_text("2 of 2 done", timeout=PATIENCE_MS)
        expect(page.get_by_role("alert")).to_contain_text("One photo was left out. The others are done.")
        expect(page.get_by_role("alert")).to_contain_text("torn.jpg cannot be read")
        page.get_by_role("button", name="Understood").click()
        expect(page.get_by_role("alert")).to_have_count(0)
        file = saved(page, "#save", out)
        assert file.name == grainy.name
        with Image.open(file) as image:
            assert (image.format, image.size) == ("JPEG", (800, 600))
            assert image.getexif()[ExifTags.Base.Artist] == "Ada Lovelace"
        assert np.abs(decode(file).pixels.astype(int) - decode(grainy).pixels).mean() > 5
        # a second photo, added to the first two
        drop(page, CLEAN, where="#more")
        headline(page, "Left as it is")
        assert saved(page, "#save", out).read_bytes() == CLEAN.read_bytes()
        with zipfile.ZipFile(saved(page, "#save-all", out)) as archive:
            assert sorted(name for name in archive.namelist() if not name.endswith(".json")) == sorted(
                [grainy.name, deep.name, CLEAN.name]
            )
            assert archive.read(grainy.name) == file.read_bytes()
            told = json.loads(archive.read(f"{deep.name}.diagnosis.json"))
            (out / "deep.png").write_bytes(archive.read(deep.name))
        assert told["strength_asked"] == 1
        assert decode(out / "deep.png", deep=True).bits == 16
        page.get_by_role("button", name="Clear").click()
        expect(page.get_by_role("heading", name="What is wrong with this photo?")).to_be_visible()


def test_keyboard_alone_on_a_phone_in_the_dark(browser: Browser, url: str) -> None:
    """Everything can be reached and has a name, nothing is wider than the screen, dark is dark."""
    with visiting(browser, url, viewport=PHONE, color_scheme="dark", has_touch=True) as page:
        expect(page.get_by_role("button", name="Houses on the shore")).to_be_visible(timeout=PATIENCE_MS)
        walk_to(page, "Houses on the shore")
        page.keyboard.press("Enter")
        headline(page, "Restored")
        walk_to(page, "Divider between before and after")
        page.keyboard.press("Home")
        assert page.evaluate("() => document.activeElement.value") == "0"
        page.keyboard.press("ArrowRight")
        assert page.evaluate("() => getComputedStyle(document.querySelector('.compare .line')).left") not in ("0px", "")
        walk_to(page, "range slider for Strength")
        for _ in range(3):
            page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("slider", name="Strength")).to_have_value("97")
        page.wait_for_function("() => /after-[1-3]\\./.test(document.querySelector('.compare .after').src)")
        nameless = """() => [...document.querySelectorAll('input, button')].filter(e => e.offsetParent
            && !(e.ariaLabel || e.labels?.length || e.innerText.trim())).map(e => e.outerHTML)"""
        assert page.evaluate(nameless) == []
        assert page.evaluate("() => document.documentElement.scrollWidth") <= PHONE["width"]
        colours = page.evaluate("() => getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")
        assert max(int(colour) for colour in colours) < 40


def noisy(path: Path, like: Path = PYRAMID) -> Path:
    """A photo of the gallery with so much noise that nobody takes it for a good one, losslessly in `path`."""
    step = make_step("noise", 0.8, torch.Generator().manual_seed(1))
    Image.fromarray(apply_recipe(decode(like).pixels, [step])).save(path)
    return path


def walk_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called so."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = page.evaluate("() => document.activeElement.ariaLabel || document.activeElement.innerText || ''")
        if name in focused:
            return
    raise AssertionError(f"{name} cannot be reached with the Tab key")


@pytest.mark.slow
def test_a_large_photo_is_drafted_then_restored_whole(browser: Browser, url: str, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with Image.open(PYRAMID) as image:
        image.resize((2000, 1500), Image.Resampling.LANCZOS).save(large)
    noisy(large, like=large)
    with visiting(browser, url) as page:
        drop(page, large)
        headline(page, "Draft")
        expect(page.locator(".compare .after")).to_have_attribute("alt", "large.png, after, draft")
        # wishes that come while the whole photo is at work are not kept waiting by it
        page.get_by_role("slider", name="Strength").fill("40")
        page.wait_for_function("() => document.querySelector('.compare .after').src.includes('after-1-draft.')")
        file = saved(page, "#save", tmp_path / "out")
        assert decode(file).pixels.shape == (1500, 2000, 3)


@pytest.mark.slow
def test_visitors_do_not_see_each_other(browser: Browser, url: str, tmp_path: Path) -> None:
    grainy = noisy(tmp_path / "grainy.png")
    with visiting(browser, url) as mine, visiting(browser, url) as yours:
        drop(mine, grainy)
        drop(yours, PACKED)
        for page, own, other in ((mine, grainy, PACKED), (yours, PACKED, grainy)):
            headline(page, "Restored")
            expect(page.locator("body")).to_contain_text(own.name)
            expect(page.locator("body")).not_to_contain_text(other.name)


@pytest.mark.slow
def test_behind_a_password_and_nothing_is_left(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path, "--host", "0.0.0.0", RNR_TOKEN="geheim") as (address, process):
        here = address.replace("0.0.0.0", "127.0.0.1")
        with visiting(browser, here) as page:
            for password in ("wrong", "geheim"):
                page.get_by_label("username").fill("ada")
                page.get_by_label("password").fill(password)
                with page.expect_response(lambda response: "login" in response.url) as answer:
                    page.get_by_role("button", name="Login").click()
                assert answer.value.ok == (password == "geheim")
            expect(page.locator("#drop")).to_be_visible(timeout=PATIENCE_MS)
            drop(page, noisy(tmp_path / "grainy.png"))
            headline(page, "Restored")
            picture = f"{here}/{page.locator('.compare .after').get_attribute('src')}"
            stranger = browser.new_context()
            assert stranger.request.get(picture).status == 401
            stranger.close()
        assert list(tmp_path.glob("rnr-app-*/served/*/*/before.jpg"))
    assert process.returncode == 0
    assert list(tmp_path.glob("rnr-app-*")) == []
