"""Layout and events of the page.

Every event tells the album and is followed by `follow`, which alone draws: it shows what has changed until the album
has nothing left to do. So a moved slider returns at once, and nothing that was slow overwrites what came later.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr

from components.diagnosis import TYPES
from rnr.app import words
from rnr.app.album import Album
from rnr.app.visitors import Visitors

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "docs" / "gallery" / "photos"
TITLE = "Reason and Restore"
# how often the page asks an album at work what is new
BEAT_S = 0.08
# the theme's own fonts would be files of Gradio's; the system's are nicer to the eye and take no time
FONT = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONO = ("ui-monospace", "Menlo", "Consolas", "monospace")
WELCOME = """<header><h2>What is wrong with this photo?</h2>
<p>Drop photos taken in haze, rain, snow or darkness, shaken, noisy or heavily compressed. Each is diagnosed in words
and numbers, restored under that diagnosis, and looked at once more before you get it.</p></header>"""
# what a component says with its own events, for events that are not of its own
CLICKS = """element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button) trigger('select', {...button.dataset});
});"""
# a file that is ready is fetched once, without a further click; the link stays
FETCH = """watch('value', () => {
  const link = element.querySelector('[data-save]');
  if (link && element.dataset.fetched !== link.dataset.save) {
    element.dataset.fetched = link.dataset.save;
    link.click();
  }
});"""


def theme() -> gr.themes.Base:
    """Colours of page.css where Gradio's own parts need them."""
    teal = gr.themes.Color("#effaf8", "#d6f2ed", "#aee4db", "#7ccfc3", "#45b1a4", "#1f9488", "#0f766e", "#115e59",
                           "#134e4a", "#123f3c", "#0a2422")  # fmt: skip
    return gr.themes.Base(
        primary_hue=teal, secondary_hue=teal, neutral_hue="stone", radius_size="lg", font=FONT, font_mono=MONO
    ).set(
        body_background_fill="#faf9f6",
        body_background_fill_dark="#141413",
        body_text_color="#22211f",
        body_text_color_dark="#ecebe7",
        body_text_color_subdued="#5f5c56",
        body_text_color_subdued_dark="#b0ada6",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_title_text_weight="500",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_400",
        button_primary_background_fill_hover_dark="*primary_300",
        button_primary_text_color="white",
        button_primary_text_color_dark="#0b1f1d",
        button_secondary_background_fill="transparent",
        button_secondary_background_fill_dark="transparent",
        button_secondary_background_fill_hover="#eceae4",
        button_secondary_background_fill_hover_dark="#2b2a28",
        button_secondary_border_color="#c9c5bc",
        button_secondary_border_color_dark="#4b4945",
    )


def _named(payload: Any) -> list[tuple[str, Path]]:
    """(Name on the visitor's machine, where the upload lies) of what gr.File received; itself it forgets the names."""
    files = getattr(payload, "root", None) or ([] if payload is None else [payload])
    return [(file.orig_name or Path(file.path).name, Path(file.path)) for file in files]


class Drawing:
    """What was last sent to a page, so that only what differs is sent again."""

    def __init__(self) -> None:
        self.last: dict[str, Any] = {}
        self.following = False
        self.revision = -1

    def changes(self, album: Album) -> dict[str, Any]:
        """Component -> update, of all that Page.parts names."""
        return {name: self._new(name, now) for name, now in _state(album).items()}

    def _new(self, name: str, now: dict[str, Any]) -> Any:
        # a slider is moved by its visitor, and by us only when another picture comes to the front
        told = now.pop("of", now)
        if name in self.last and self.last[name] == told:
            return gr.skip()
        self.last[name] = told
        return gr.update(**now)


def _state(album: Album) -> dict[str, dict[str, Any]]:
    """The page as the album wants it: component -> properties."""
    front = album.chosen
    full, ready = bool(album.pictures), front is not None and front.seen is not None
    of = (front.number, ready, front.resets) if front else None
    insisting = front is not None and front.insist
    state: dict[str, dict[str, Any]] = {
        "welcome": {"visible": not full},
        "faults": {"value": words.faults(album), "visible": bool(album.faults) or "hidden"},
        "desk": {"visible": full},
        "compare": {"value": words.compare(front)},
        "strip": {"value": words.strip(album)},
        "verdict": {"value": words.verdict(front)},
        "insist": {
            "visible": words.can_insist(front),
            "value": "Back to the careful result" if insisting else "Show the full result anyway",
        },
        "save": {"interactive": ready},
        "save_all": {"visible": len(album.pictures) > 1},
        "saved": {"value": words.saved(album), "visible": bool(album.order or album.saved) or "hidden"},
        "diagnosis": {"value": words.diagnosis(front)},
        "strength": {"value": round(100 * front.strength) if front else 100, "interactive": ready, "of": of},
    }
    levels = front.levels() if front else dict.fromkeys(TYPES, 0)
    for kind in TYPES:
        state[kind] = {"value": levels[kind], "interactive": ready, "of": of}
    return state


class Page:
    """The blocks of the page, wired to the albums of its visitors."""

    def __init__(self, visitors: Visitors) -> None:
        self.visitors = visitors
        self._drawings: WeakKeyDictionary[Album, Drawing] = WeakKeyDictionary()
        with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as self.blocks:
            self._lay_out()
            self._wire()
        self.blocks.queue(default_concurrency_limit=None, api_open=False)

    def _lay_out(self) -> None:
        parts: dict[str, Any] = {}
        with gr.Row(elem_id="top"):
            gr.HTML(f"<h1>{TITLE}</h1>", elem_id="mark")
            gr.HTML("<p>No photo leaves the machine that runs this page.</p>", elem_id="promise")
        with gr.Column(elem_id="welcome") as parts["welcome"]:
            gr.HTML(WELCOME, elem_id="hello")
            self.drop = self._drop("drop", "Photos to diagnose and restore")
            self.examples = gr.HTML(words.examples(EXAMPLES), js_on_load=CLICKS, elem_id="examples")
        parts["faults"] = gr.HTML("", js_on_load=CLICKS, visible="hidden", elem_id="faults")
        with gr.Row(elem_id="desk", visible=False) as parts["desk"]:
            with gr.Column(elem_id="easel", scale=3, min_width=320):
                script = (HERE / "page.js").read_text(encoding="utf-8")
                parts["compare"] = gr.HTML("", js_on_load=script, elem_id="compare")
                with gr.Row(elem_id="shelf"):
                    parts["strip"] = gr.HTML("", js_on_load=CLICKS, elem_id="strip")
                    self.more = self._drop("more", "More photos")
            with gr.Column(elem_id="notes", scale=2, min_width=320):
                parts["verdict"] = gr.HTML("", elem_id="verdict")
                parts["insist"] = gr.Button("Show the full result anyway", visible=False, size="md", elem_id="insist")
                with gr.Row(elem_id="actions"):
                    parts["save"] = gr.Button("Save photo", variant="primary", size="md", elem_id="save")
                    parts["save_all"] = gr.Button("Save all", visible=False, size="md", elem_id="save-all")
                    self.clear = gr.Button("Clear", size="md", elem_id="clear")
                parts["saved"] = gr.HTML("", js_on_load=FETCH, visible="hidden", elem_id="saved")
                parts["strength"] = self._slider("Strength, %", 100, "strength")
                parts["diagnosis"] = gr.HTML("", elem_id="diagnosis")
                with gr.Accordion("Overrule the diagnosis", open=True, elem_id="overrule"):
                    gr.HTML("<p>Severity from 0 (not there) to 100. The restorer obeys.</p>")
                    with gr.Row(elem_id="severities"):
                        for kind in TYPES:
                            parts[kind] = self._slider(words.plain(kind), 0, f"severity-{kind}")
                    self.reset = gr.Button("As diagnosed", size="sm", elem_id="reset")
        self.parts = parts

    @staticmethod
    def _drop(elem_id: str, label: str) -> gr.File:
        made = gr.File(label=label, file_count="multiple", show_label=True, elem_id=elem_id, elem_classes="drop")
        # not a subclass: Gradio would write a .pyi file beside this one
        made.preprocess = _named  # type: ignore[method-assign,assignment]
        return made

    @staticmethod
    def _slider(label: str, value: int, elem_id: str) -> gr.Slider:
        return gr.Slider(0, 100, value, step=1, label=label, elem_id=elem_id, min_width=140, buttons=[])

    def _wire(self) -> None:
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        outputs = list(self.parts.values())

        def follow(event: Any) -> None:
            # never dropped while another runs: that one may just have been about to stop
            event.then(self.follow, None, outputs, trigger_mode="multiple", **quiet)

        for drop in (self.drop, self.more):
            follow(drop.upload(self.add, drop, drop, trigger_mode="multiple", **quiet))
        follow(self.examples.select(self.example, None, None, **quiet))
        follow(self.parts["strip"].select(self.choose, None, None, trigger_mode="multiple", **quiet))
        follow(self.parts["faults"].select(self._tell(Album.dismiss), None, None, **quiet))
        sliders = [self.parts[name] for name in ("strength", *TYPES)]
        moved = [slider.input for slider in sliders]
        follow(gr.on(moved, self.adjust, sliders, None, trigger_mode="always_last", **quiet))
        buttons = {
            self.parts["insist"]: Album.insist,
            self.parts["save"]: lambda album: album.want(everything=False),
            self.parts["save_all"]: lambda album: album.want(everything=True),
            self.clear: Album.clear,
            self.reset: Album.reset,
        }
        for button, action in buttons.items():
            follow(button.click(self._tell(action), None, None, **quiet))
        self.blocks.unload(self.leave)

    def _album(self, request: gr.Request) -> Album:
        return self.visitors.album(str(request.session_hash))

    def _tell(self, action: Callable[[Album], None]) -> Callable[[gr.Request], None]:
        def told(request: gr.Request) -> None:
            action(self._album(request))

        return told

    def add(self, files: list[tuple[str, Path]], request: gr.Request) -> None:
        """Photos were dropped; the drop zone is emptied again."""
        self._album(request).add(files)

    def example(self, event: gr.EventData, request: gr.Request) -> None:
        """An example was clicked."""
        name = event.example
        if name in {file for file, _, _ in words.EXAMPLES}:
            folder = Path(tempfile.mkdtemp(dir=self.visitors.root))
            self._album(request).add([(name, Path(shutil.copy(EXAMPLES / name, folder)))])
            folder.rmdir()

    def choose(self, event: gr.EventData, request: gr.Request) -> None:
        """A thumbnail was clicked."""
        self._album(request).choose(int(event.pick))

    def adjust(self, request: gr.Request, strength: float | None, *levels: float | None) -> None:
        """A slider was moved."""
        given = [level for level in levels if level is not None]
        if strength is None or len(given) < len(levels):
            # the number beside a slider was emptied, to be written anew
            return
        self._album(request).adjust(dict(zip(TYPES, given, strict=True)), strength / 100)

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self.visitors.leave(str(request.session_hash))

    async def follow(self, request: gr.Request) -> AsyncIterator[list[Any]]:
        """Draw what has changed until the album is at rest; one at a time for each page."""
        album = self._album(request)
        drawing = self._drawings.setdefault(album, Drawing())
        # Gradio empties the outputs of a generator that ends without having yielded
        yield [gr.skip() for _ in self.parts]
        if drawing.following:
            return
        drawing.following = True
        try:
            while True:
                busy, revision = album.busy, album.revision
                if revision != drawing.revision:
                    drawing.revision = revision
                    changes = drawing.changes(album)
                    yield [changes[name] for name in self.parts]
                elif not busy:
                    # no await between this look and the end: whoever comes next finds nobody following
                    return
                await asyncio.sleep(BEAT_S if busy else 0)
        finally:
            drawing.following = False
