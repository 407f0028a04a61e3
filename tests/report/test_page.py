"""The report says what was measured, the same every time, and needs nothing beside itself."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, ViewportSize

from components.promotion.gate import CASES
from components.report import evidence, page, write
from components.tracking.run import flatten
from tests.browser import LOOKS, barriers, sticking_out
from tests.report.made_up import HOSTILE, lay_out, verdict
from tests.tiny import stage

ORIGIN = {"MLflow run": "7068841e59df4df6abcc7543f5b85438", "git_sha": "700e2d87a2e0793f18c8858d3dbf43cb4c0ffee0"}


class Figures(HTMLParser):
    """What the page shows as a figure: (attributes, text) of every element with a data-value."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.shown: list[tuple[dict[str, str | None], str]] = []
        self.pictures: list[str] = []
        self._open: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        told = dict(attributes)
        self._open = told if "data-value" in told else None
        if tag == "img":
            self.pictures.append(told["src"] or "")

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self.shown.append((self._open, data.strip()))
            self._open = None


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with evidence in it."""
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pages(place: Path) -> str:
    write.write(write.PAGE)
    return write.PAGE.read_text(encoding="utf-8")


def test_every_figure_is_that_of_the_metrics(place: Path) -> None:
    metrics = json.loads((place / "reports/metrics.json").read_text(encoding="utf-8"))
    expected = {path: float(json.loads(value)) for path, value in flatten(metrics).items()}
    figures = Figures(pages(place)).shown
    seen: dict[str, int] = {}
    for told, text in figures:
        value = float(str(told["data-value"]))
        if path := told.get("data-metric"):
            assert value == expected[path], path
            seen[path] = seen.get(path, 0) + 1
        else:
            scores = metrics["restoration"][told["data-gain"]]
            assert value == pytest.approx(scores["psnr_restored"] - scores["psnr_degraded"], abs=1e-9)
        # the text is that value, rounded
        digits = len(text.partition(".")[2])
        assert float(text.replace("−", "-")) == pytest.approx(value, abs=0.5 * 10**-digits + 1e-9), (told, text)
    assert set(seen) == set(expected)
    # and not only in the table of everything
    assert all(seen[f"restoration.{case}.psnr_restored"] >= 2 for case in (*CASES, "all", "clean"))
    assert {told["data-gain"] for told, _ in figures if "data-gain" in told} == {*CASES, "all", "clean"}


def test_the_same_evidence_gives_the_same_bytes(place: Path, tmp_path_factory, monkeypatch) -> None:
    first = pages(place)
    assert write.PAGE.stat().st_size < page.MAX_BYTES
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    lay_out(elsewhere)
    # by the command of the stage, in another process and place
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}/mlflow.db")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    stage(elsewhere, "components.report.write")
    assert (elsewhere / "reports/index.html").read_text(encoding="utf-8") == first


def test_it_needs_nothing_from_outside_and_takes_no_word_for_markup(place: Path) -> None:
    text = pages(place)
    assert "<script" not in text
    assert HOSTILE.replace("<", "&lt;").replace(">", "&gt;").replace('"', "&#34;") in text
    words = re.sub(r"data:image/webp;base64,[\w+/=]+", "", text)
    assert not re.findall(r"//|url\(|@import|<link|<iframe|\son\w+=", words.replace("http://127.0.0.1:8000/v1", ""))
    pictures = Figures(text).pictures
    # two of best, median and worst cases, three pictures each
    assert len(pictures) == 18
    assert all(picture.startswith("data:image/webp;base64,") for picture in pictures)
    assert "default-src 'none'" in text


def test_without_a_run_it_says_so_and_with_one_it_compares(place: Path) -> None:
    alone = pages(place)
    assert "Not compared with a champion" in alone
    assert "0123456789ab" in alone  # the digest of data/pairs in dvc.lock
    changes = {"haze": -0.35, "rain": 1.25}
    standing = page.Standing(
        verdict(changes), {"evaluate": ("executed", 12.34), "report": ("skipped", 0.0)}, {"MLflow run": "abc123"}
    )
    found = evidence.read()
    told = page.render(found, standing)
    assert "Version 3: promoted" in told
    # five pairs of each of nine cases
    mean = (-0.35 + 1.25 + 7 * 0.1) / 9
    assert page.weighted_change(found, standing.verdict) == pytest.approx(mean)
    assert f"+{mean:.3f} dB" in told
    assert "haze −0.35 dB" in told  # the worst case of the guards
    assert "1.25 s" in told and "12.3" in told and "abc123" in told
    refused = page.Standing(verdict(changes, accepted=False, action="refused", reasons=("haze: too bad",)), {}, {})
    assert "haze: too bad" in page.render(found, refused)
    first = page.Standing(verdict({}, champion=None, figures={}), {}, {})
    assert "There was no champion to compare with" in page.render(found, first)


def test_what_is_missing_is_one_line(tmp_path: Path) -> None:
    done = stage(tmp_path, "components.report.write", check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("report: reports/metrics.json: not found; run `dvc repro")


def test_a_page_too_large_to_mail_is_refused(place: Path, monkeypatch) -> None:
    monkeypatch.setattr(page, "MAX_BYTES", 1000)
    with pytest.raises(evidence.ReportError, match=r"lower evaluate\.gallery_pairs"):
        write.write(write.PAGE)
    assert not write.PAGE.exists()


@pytest.mark.parametrize(("size", "scheme"), LOOKS, ids=[f"{size['width']}-{scheme}" for size, scheme in LOOKS])
def test_a_browser_shows_it_without_network_and_an_audit_finds_nothing(
    browser: Browser, place: Path, size: ViewportSize, scheme: Literal["light", "dark"]
) -> None:
    changes = {"haze": -0.35, "rain": 1.25}
    stages = {"evaluate": ("executed", 12.34)}
    standing = page.Standing(verdict(changes, accepted=False, action="refused", reasons=("haze: bad",)), stages, ORIGIN)
    write.write(write.PAGE, standing)
    shown = browser.new_page(viewport=size, color_scheme=scheme)
    trouble: list[str] = []
    shown.on("console", lambda message: trouble.append(message.text))
    shown.on("request", lambda request: trouble.append(request.url) if "data:" not in request.url[:5] else None)
    shown.goto(write.PAGE.absolute().as_uri())
    # nothing but the page itself was asked for, and nothing sticks out of it
    assert trouble == [write.PAGE.absolute().as_uri()]
    assert sticking_out(shown) == []
    loaded = "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
    assert shown.evaluate(loaded)
    dark = shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 20, 23)"
    assert dark == (scheme == "dark")
    assert len(shown.screenshot(full_page=True)) > 50_000
    # the details too
    for closed in shown.locator("summary").all():
        closed.click()
    assert sticking_out(shown) == []
    assert barriers(shown) == []
    shown.close()
