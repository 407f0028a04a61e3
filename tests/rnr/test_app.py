"""`rnr app` as people use it: the real command with the pretrained models, and Debian's Chromium.

What is looked at more than used stands in tests/rnr/test_looks.py.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image
from playwright.sync_api import Browser, Page, expect

from components.photos.decode import Photo, decode
from components.photos.encode import encode
from tests.browser import GALLERY, HILLS, PATIENCE_MS, PHONE, degraded, drop, serving, sticking_out, visiting

CLEAN = GALLERY / "clean-tulips.jpg"
# whatever the models of the day make of a photo, in the end one of these stands there
SETTLED = re.compile(r"Restored|Restored at \d+%|Left as it is|Kept as it was|Strength 0|Shown at your wish")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def url(browser: Browser, folder: Path) -> Iterator[str]:
    with serving(folder) as (address, _):
        yield address


def headline(page: Page, told: str | re.Pattern[str] = SETTLED) -> None:
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


def drawn(page: Page, version: int) -> None:
    """Wait until the restored photo of these wishes is shown; the diagnosis itself is version 0."""
    script = "version => document.querySelector('.compare .after')?.src.includes(`after-${version}.`)"
    page.wait_for_function(script, arg=version)


def test_an_example_is_one_click_away(browser: Browser, url: str) -> None:
    with visiting(browser, url) as page:
        page.get_by_role("button", name="Houses on the shore").click()
        headline(page)
        expect(page.locator(".compare .before")).to_have_attribute("alt", re.compile("houses"))
        expect(page.locator("#diagnosis ol li").first).to_be_visible()


def test_a_photo_a_slider_and_back(browser: Browser, url: str, tmp_path: Path) -> None:
    """A newcomer's way: what is wrong stands there with its steps; a slider restores anew, and all can be undone."""
    with visiting(browser, url) as page:
        drop(page, degraded(tmp_path / "grainy.png", "noise"))
        headline(page)
        expect(page.locator(".findings")).to_contain_text("Noise")
        expect(page.locator("#diagnosis ol li").first).to_be_visible()
        meter = page.get_by_role("meter", name="Severity of noise")
        expect(meter).to_be_visible()
        found = page.get_by_role("slider", name="Noise").input_value()
        assert meter.get_attribute("aria-valuenow") == found
        page.get_by_role("slider", name="Noise").fill("100")
        drawn(page, 1)
        expect(page.locator("#verdict")).to_contain_text("Your sliders were obeyed")
        restored = after(page)
        page.get_by_role("slider", name="Strength").fill("30")
        drawn(page, 2)
        assert np.abs(after(page) - restored).mean() > 2
        page.get_by_role("button", name="As diagnosed").click()
        expect(page.get_by_role("slider", name="Noise")).to_have_value(found)
        expect(page.get_by_role("slider", name="Strength")).to_have_value("100")
        expect(page.locator("#verdict")).not_to_contain_text("Your sliders were obeyed")
        # the same wishes, the same picture
        page.get_by_role("slider", name="Noise").fill("100")
        drawn(page, 4)
        assert np.array_equal(after(page), restored)


def test_many_photos_one_of_them_unreadable_are_saved_with_all_that_was_in_them(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Ada Lovelace"
    grainy, deep, torn = tmp_path / "Wüste, früh (1).jpg", tmp_path / "deep.png", tmp_path / "torn.jpg"
    with Image.open(degraded(tmp_path / "noisy.png", "noise")) as image:
        size = image.size
        image.save(grainy, exif=exif, quality=95)
    pixels = decode(grainy).pixels[100:400, 100:500].astype(np.uint16) * 257
    encode(deep, pixels, Photo(pixels, None, None, exif.tobytes(), "PNG", 16))
    torn.write_bytes(HILLS.read_bytes()[:5000])
    out = tmp_path / "out"
    with visiting(browser, url) as page:
        drop(page, grainy, torn, deep)
        expect(page.locator("#strip p")).to_have_text("2 of 2 done", timeout=PATIENCE_MS)
        expect(page.get_by_role("alert")).to_contain_text("One photo was left out. The others are done.")
        expect(page.get_by_role("alert")).to_contain_text("torn.jpg cannot be read")
        page.get_by_role("button", name="Understood").click()
        expect(page.get_by_role("alert")).to_have_count(0)
        # obeyed, and so held back by nothing
        page.get_by_role("slider", name="Noise").fill("100")
        expect(page.locator("#verdict")).to_contain_text("Your sliders were obeyed")
        file = saved(page, "#save", out)
        assert file.name == grainy.name
        with Image.open(file) as image:
            assert (image.format, image.size) == ("JPEG", size)
            assert image.getexif()[ExifTags.Base.Artist] == "Ada Lovelace"
        assert np.abs(decode(file).pixels.astype(int) - decode(grainy).pixels).mean() > 5
        # a second photo, added to the first two
        drop(page, CLEAN, where="#more")
        expect(page.locator(".compare img").first).to_have_attribute("alt", re.compile(CLEAN.name))
        headline(page)
        page.get_by_role("slider", name="Strength").fill("0")
        headline(page, re.compile("Left as it is|Strength 0"))
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


def test_nothing_but_unreadable_files_leaves_a_clear_message_and_the_way_back(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    letter, empty = tmp_path / "letter.jpg", tmp_path / "<b>empty.png"
    letter.write_text("Dear Sir", encoding="utf-8")
    empty.write_bytes(b"")
    with visiting(browser, url) as page:
        drop(page, letter, empty)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("2 photos were left out.", timeout=PATIENCE_MS)
        expect(alert.get_by_role("listitem")).to_have_count(2)
        expect(alert).to_contain_text("letter.jpg")
        expect(alert).to_contain_text("<b>empty.png")
        expect(alert).not_to_contain_text("The others are done")
        expect(page.get_by_role("heading", name="What is wrong with this photo?")).to_be_visible()
        drop(page, CLEAN)
        headline(page)
        expect(alert).to_have_count(0)


def test_keyboard_alone_on_a_phone_in_the_dark(browser: Browser, url: str, tmp_path: Path) -> None:
    """From the place for files to the saved one without a pointer; nothing is wider than the screen, dark is dark."""
    grainy = degraded(tmp_path / "grainy.png", "noise")
    with visiting(browser, url, viewport=PHONE, color_scheme="dark", has_touch=True) as page:
        expect(page.get_by_role("button", name="Houses on the shore")).to_be_visible(timeout=PATIENCE_MS)
        walk_to(page, "Click to upload or drop files")
        with page.expect_file_chooser(timeout=PATIENCE_MS) as choosing:
            page.keyboard.press("Enter")
        choosing.value.set_files(grainy)
        headline(page)
        walk_to(page, "range slider for Noise")
        page.keyboard.press("End")
        expect(page.get_by_role("slider", name="Noise")).to_have_value("100")
        expect(page.locator("#verdict")).to_contain_text("Your sliders were obeyed")
        walk_to(page, "Divider between before and after")
        page.keyboard.press("Home")
        assert page.evaluate("() => document.activeElement.value") == "0"
        page.keyboard.press("ArrowRight")
        assert page.evaluate("() => getComputedStyle(document.querySelector('.compare .line')).left") not in ("0px", "")
        walk_to(page, "range slider for Strength")
        for _ in range(3):
            page.keyboard.press("ArrowLeft")
        expect(page.get_by_role("slider", name="Strength")).to_have_value("97")
        page.wait_for_function("() => /after-[2-4]\\./.test(document.querySelector('.compare .after').src)")
        walk_to(page, "Save photo")
        with page.expect_download(timeout=PATIENCE_MS) as coming:
            page.keyboard.press("Enter")
        assert coming.value.suggested_filename == grainy.name
        assert sticking_out(page) == []
        colours = page.evaluate("() => getComputedStyle(document.body).backgroundColor").strip("rgb()").split(",")
        assert max(int(colour) for colour in colours) < 40
        walk_to(page, "Clear")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="What is wrong with this photo?")).to_be_visible()


# an outline around what has the focus, or around the picture that it is laid over
FOCUS_IS_SEEN = """() => [document.activeElement, document.activeElement.closest('.compare')].some(
  e => e && getComputedStyle(e).outlineStyle !== 'none' && parseFloat(getComputedStyle(e).outlineWidth) >= 2)"""


def walk_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called so."""
    # where nothing has the focus, the body is said to have it
    told = "() => { const e = document.activeElement; return e === document.body ? '' : e.ariaLabel || e.innerText }"
    for _ in range(40):
        page.keyboard.press("Tab")
        if name in (page.evaluate(told) or ""):
            assert page.evaluate(FOCUS_IS_SEEN), f"nothing shows that {name} has the focus"
            return
    raise AssertionError(f"{name} cannot be reached with the Tab key")


@pytest.mark.slow
def test_a_large_photo_is_drafted_then_restored_whole(browser: Browser, url: str, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with Image.open(HILLS) as image:
        image.resize((2000, 1500), Image.Resampling.LANCZOS).save(large)
    degraded(large, "noise", like=large)
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
    grainy = degraded(tmp_path / "grainy.png", "noise")
    with visiting(browser, url) as mine, visiting(browser, url) as yours:
        drop(mine, grainy)
        drop(yours, CLEAN)
        for page, own, other in ((mine, grainy, CLEAN), (yours, CLEAN, grainy)):
            headline(page)
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
            drop(page, degraded(tmp_path / "grainy.png", "noise"))
            headline(page)
            picture = f"{here}/{page.locator('.compare .before').get_attribute('src')}"
            stranger = browser.new_context()
            assert stranger.request.get(picture).status == 401
            stranger.close()
        assert list(tmp_path.glob("rnr-app-*/served/*/*/before.jpg"))
    assert process.returncode == 0
    assert list(tmp_path.glob("rnr-app-*")) == []
