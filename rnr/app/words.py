"""Everything the page says of an album, as HTML. What comes from a file or a model is escaped here and nowhere else."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from components.diagnosis import FACTORS, TYPES, Diagnosis, Finding
from components.inference import Restored
from rnr.app.album import Album, Saved
from rnr.app.picture import Picture

# photos of docs/gallery that show what this is about: file, what it is called, what it shows
EXAMPLES = (
    ("jpeg-houses-on-the-shore.png", "Houses on the shore", "heavy compression"),
    ("blur-page-out-of-focus.png", "A page", "out of focus"),
    ("night-office-behind-glass.png", "Office at night", "compression in the dark"),
    ("clean-tulips.jpg", "Tulips", "nothing wrong"),
)
EXAMPLE_PX = 280
# a severity below this is not worth a word
LEAST = 1.0


def address(path: Path) -> str:
    """Where the page finds a file that Gradio serves."""
    return f"gradio_api/file={quote(str(path))}"


def plain(kind: str) -> str:
    """low_light -> Low light; jpeg -> JPEG."""
    return "JPEG" if kind == "jpeg" else kind.replace("_", " ").capitalize()


def low(kind: str) -> str:
    """The same inside a sentence."""
    return "JPEG" if kind == "jpeg" else plain(kind).lower()


def examples(folder: Path) -> str:
    """Buttons with the example photos that are there; empty where none is."""
    found = [(name, title, shows) for name, title, shows in EXAMPLES if (folder / name).is_file()]
    if not found:
        return ""
    buttons = "".join(
        f'<li><button type="button" data-example="{escape(name)}">'
        f'<img src="{_inline(folder / name)}" alt="" width="{EXAMPLE_PX}" height="{EXAMPLE_PX * 2 // 3}">'
        f"<span><b>{escape(title)}</b><i>{escape(shows)}</i></span></button></li>"
        for name, title, shows in found
    )
    return f"<p>No photo at hand? Try one of these.</p><ul>{buttons}</ul>"


def _inline(path: Path) -> str:
    """A small copy of a photo as a data URL."""
    with Image.open(path) as image:
        width, height = image.size
        cut = min(width, height * 3 // 2)
        left, top = (width - cut) // 2, (height - cut * 2 // 3) // 2
        part = image.convert("RGB").crop((left, top, left + cut, top + cut * 2 // 3))
        buffer = io.BytesIO()
        part.resize((EXAMPLE_PX, EXAMPLE_PX * 2 // 3), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def faults(album: Album) -> str:
    """The photos that could not be read or restored, each by name and reason."""
    if not album.faults:
        return ""
    items = "".join(f"<li><b>{escape(name)}</b> {escape(told)}</li>" for name, told in album.faults)
    others = " The others are done." if album.pictures else ""
    one = len(album.faults) == 1
    many, it = ("One photo was", "it") if one else (f"{len(album.faults)} photos were", "them")
    return (
        f'<div class="faults" role="alert"><p>{many} left out.{others}</p><ul>{items}</ul>'
        f"<p>Open {it} in another program, save {it} as JPEG, PNG, TIFF or WebP, and drop {it} again.</p>"
        '<button type="button" data-dismiss>Understood</button></div>'
    )


def compare(picture: Picture | None) -> str:
    """Before and after with a divider; one picture alone where there is nothing to compare."""
    if picture is None:
        return ""
    name = escape(picture.name)
    if picture.seen is None:
        return f'<figure class="compare waiting" aria-busy="true"><p>Reading {name} …</p></figure>'
    outcome, before = picture.outcome, address(picture.before)
    if outcome is None or outcome.preview == picture.before:
        # "kept" before anything was restored would be premature
        tag = "Before" if outcome is None else "Unchanged"
        return (
            f'<figure class="compare alone"><img class="before" src="{before}" alt="{name}, {tag.lower()}">'
            f'<span class="tag left">{tag}</span></figure>'
        )
    draft = "After, draft" if outcome.restored is None else "After"
    return (
        f'<figure class="compare"><img class="before" src="{before}" alt="{name}, before">'
        f'<img class="after" src="{address(outcome.preview)}" alt="{name}, {draft.lower()}">'
        f'<span class="line" aria-hidden="true"></span>'
        f'<span class="tag left">Before</span><span class="tag right">{draft}</span>'
        '<input type="range" class="divider" min="0" max="100" step="0.5" value="50" '
        'aria-label="Divider between before and after, in percent from the left"></figure>'
    )


def strip(album: Album) -> str:
    """The photos as buttons, with how far each is."""
    if len(album.pictures) < 2:
        return ""
    done = sum(picture.is_done for picture in album.pictures)
    items = "".join(_thumb(picture, picture is album.chosen) for picture in album.pictures)
    return f'<p role="status">{done} of {len(album.pictures)} done</p><ul>{items}</ul>'


def _thumb(picture: Picture, front: bool) -> str:
    state = "done" if picture.is_done else "waiting" if picture.seen is None else "restoring"
    image = f'<img src="{address(picture.thumb)}" alt="">' if picture.seen else '<span class="blank"></span>'
    share = f' style="--share: {picture.share:.2f}"' if state == "restoring" else ""
    current, name = ' aria-current="true"' if front else "", escape(picture.name)
    return (
        f'<li><button type="button" class="{state}" data-pick="{picture.number}"{current} title="{name}"'
        f' aria-label="{name}, {state}">{image}<span class="state"{share}></span></button></li>'
    )


def verdict(picture: Picture | None) -> str:
    """One or two sentences: what was done with the photo, or why it was not."""
    if picture is None:
        return ""
    mood, head, told = _verdict(picture)
    notes = "".join(f"<p>Note: {escape(note)}.</p>" for note in picture.notes)
    return (
        f'<div class="verdict {mood}" role="status"><h2>{escape(head)}</h2><p>{escape(told)}</p>'
        f'{notes}<p class="facts"><b>{escape(picture.name)}</b> {escape(picture.facts)}</p></div>'
    )


def _verdict(picture: Picture) -> tuple[str, str, str]:
    """Mood ("busy", "good", "calm" or "careful"), headline and reason."""
    if picture.seen is None:
        return "busy", "Looking …", "The photo is being diagnosed."
    if not picture.is_current:
        return "busy", "Restoring …", "The photo is being restored under the diagnosis."
    assert picture.outcome is not None
    restored = picture.outcome.restored
    if restored is None:
        return "busy", "Draft", f"A small copy was restored; the whole photo follows ({picture.share:.0%})."
    if restored.kept is not None:
        if restored.before.is_clean:
            return "calm", "Left as it is", "Nothing to remove: the file you save is the very file you brought."
        if restored.strength == picture.strength:
            return "calm", "Strength 0", "This is the original."
        return "careful", "Kept as it was", f"Not touched because {_reasons(restored.kept)}."
    if restored.weakened:
        return "careful", f"Restored at {restored.strength:.0%}", f"Held back because {_reasons(restored.weakened)}."
    if picture.insist:
        return "careful", "Shown at your wish", "The second look advised against this result."
    obeyed = " Your sliders were obeyed." if picture.edits else ""
    if restored.after.is_clean:
        return "good", "Restored", f"The second look finds nothing more.{obeyed}"
    left = ", ".join(f"{low(kind)} {finding.severity:.0f}" for kind, finding in restored.after.findings.items())
    return "good", "Restored", f"The second look still finds {left}.{obeyed}"


def _reasons(told: str) -> str:
    """The reasons of components.inference in words of the page."""
    for kind in TYPES:
        told = told.replace(kind, low(kind))
    return told


def can_insist(picture: Picture | None) -> bool:
    """Whether something was held back of it, or is shown although it was."""
    if picture is None or not picture.is_done or picture.outcome is None or picture.outcome.restored is None:
        return False
    restored = picture.outcome.restored
    held = restored.weakened or (restored.kept and not restored.before.is_clean and picture.strength > 0)
    return picture.insist or bool(held)


def diagnosis(picture: Picture | None) -> str:
    """Severities as bars with confidence and factors, the scene, and the chain of thought."""
    if picture is None or picture.seen is None:
        return ""
    said = picture.seen.diagnosis
    restored = picture.outcome.restored if picture.is_current and picture.outcome else None
    rows = "".join(_finding(kind, finding, restored) for kind, finding in said.findings.items())
    others = [low(kind) for kind in TYPES if kind not in said.findings]
    absent = f'<p class="absent">Not found: {", ".join(others)}.</p>' if said.findings else ""
    steps = "".join(f"<li>{escape(step)}</li>" for step in said.reasoning)
    return (
        f"<h2>Diagnosis</h2>{_place(said)}"
        + (f"<ul class='findings'>{rows}</ul>" if rows else "<p>No degradation was found.</p>")
        + absent
        + (f"<details open><summary>How it came to this</summary><ol>{steps}</ol></details>" if steps else "")
    )


def _place(said: Diagnosis) -> str:
    scene = said.scene or "not certain"
    objects = ", ".join(said.objects) or "none named for sure"
    return f"<p class='place'>Scene: <b>{escape(scene)}</b>. Objects: <b>{escape(objects)}</b>.</p>"


def _finding(kind: str, finding: Finding, restored: Restored | None) -> str:
    after, mark = "", ""
    if restored is not None and restored.kept is None:
        left = restored.after.findings.get(kind)  # type: ignore[call-overload]
        level = left.severity if left else 0.0
        after = f"after: {level:.0f}" if level >= LEAST else "after: gone"
        mark = f'<span class="left" style="left: {level:.1f}%"></span>'
    factors = " · ".join(_factor(kind, name, value) for name, value in finding.factors.items())
    title = plain(kind)
    return (
        f'<li><p class="head"><b>{title}</b><span class="severity">{finding.severity:.0f}</span>'
        f'<span class="sure">{finding.confidence:.0%} sure</span><span class="then">{after}</span></p>'
        f'<div class="bar" role="meter" aria-label="Severity of {low(kind)}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{finding.severity:.0f}"><span class="fill" style="width: {finding.severity:.1f}%; '
        f'--sure: {finding.confidence:.2f}"></span>{mark}</div>'
        f'<p class="factors">{factors}</p></li>'
    )


def _factor(kind: str, name: str, value: float | str) -> str:
    """transmission 42 %; length 24 px; quality 35 of libjpeg; shot noise in units that nobody can guess with them."""
    if isinstance(value, str):
        return escape(f"{name} {value}")
    unit = FACTORS[kind][name][0]
    label = name.removesuffix("_px").removesuffix("_deg").removesuffix("_ev").replace("_", " ")
    told = {
        "fraction": f"{value:.0%}",
        "intensity": f"{value:.0%} of white",
        "px": f"{value:.1f} px",
        "degree": f"{value:.0f}°",
        "EV": f"{value:+.1f} EV",
        "exponent": f"{value:.2f}",
        "libjpeg": f"{value:.0f} of 100",
    }.get(unit, f"{value:.2g} ({unit})")
    return escape(f"{label} {told}")


def saved(album: Album) -> str:
    """Where the ordered file is; page.js fetches it by itself."""
    if album.order is not None:
        many = len(album.order.pictures)
        done = sum(p.is_done for p in album.pictures if p.number in album.order.pictures)
        return f'<p role="status">Preparing the file … {f"{done} of {many} photos" if many > 1 else ""}</p>'
    return _link(album.saved) if album.saved else ""


def _link(file: Saved) -> str:
    beside = ""
    if file.sidecar is not None:
        beside = f', <a href="{address(file.sidecar)}" download="{escape(file.sidecar.name)}">its diagnosis as JSON</a>'
    return (
        f'<p role="status">Saved: <a href="{address(file.file)}" download="{escape(file.file.name)}" '
        f'data-save="{file.number}">{escape(file.file.name)}</a>{beside}.</p>'
    )
