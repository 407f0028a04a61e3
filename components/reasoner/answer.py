"""The answer's form: a chain of thought whose structure is given and whose values alone are decoded.

Three blocks follow one another: what is seen and measured (scene, objects, evidence), the findings (one digit
of severity per type), the physical factors. Every value is one token out of a few options, so an answer
always parses. Within a block the values are read side by side: the slot itself holds `#` until it is decided,
and later blocks see the decided values of earlier ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn.utils.rnn import pad_sequence

from components.diagnosis import BLUR_KINDS, EVIDENCE, SCENES, TYPES, Diagnosis

BLANK = "#"
DIGITS = tuple("0123456789")
NOTHING = "nothing"
OBJECT_SLOTS = 3
VERDICTS = ("clean", "degraded")
THOUGHT, FINDINGS, FACTORS_BLOCK = 0, 1, 2
# the words that open the second and the third block
BLOCK_WORDS = ("; findings", "; factors")
PROMPT_WORDS = "diagnose this photo"

# Physical factors as digits 0..9: (low, high, logarithmic); the ranges span what the degradations produce.
FACTOR_SCALES: dict[tuple[str, str], tuple[float, float, bool]] = {
    ("haze", "transmission"): (0.05, 1.0, False),
    ("haze", "airlight"): (0.5, 1.0, False),
    ("rain", "density"): (0.0, 0.25, False),
    ("rain", "length_px"): (4.0, 40.0, False),
    ("rain", "angle_deg"): (-45.0, 45.0, False),
    ("snow", "density"): (0.0, 0.25, False),
    ("snow", "flake_px"): (1.0, 8.0, False),
    ("low_light", "exposure_ev"): (-5.0, 0.0, False),
    ("low_light", "gamma"): (1.0, 1.6, False),
    ("blur", "extent_px"): (2.0, 26.0, False),
    ("blur", "angle_deg"): (-90.0, 90.0, False),
    ("noise", "shot"): (1e-5, 0.03, True),
    ("noise", "read"): (1e-7, 0.05, True),
    ("jpeg", "quality"): (5.0, 75.0, False),
}
LEVELS = len(DIGITS) - 1


@dataclass(frozen=True)
class Slot:
    """One value to decode: its name, the options (one token each) and the block it belongs to."""

    name: str
    options: tuple[str, ...]
    block: int


def severity_level(severity: float) -> float:
    """Severity 1..100 as a level in 1..9; 0 stays 0 (absent)."""
    return 0.0 if severity < 1 else 1 + (severity - 1) * (LEVELS - 1) / 99


def level_severity(level: float | torch.Tensor):
    """The inverse of `severity_level` for levels 1..9."""
    return 1 + (level - 1) * 99 / (LEVELS - 1)


def factor_level(kind: str, name: str, value: float) -> float:
    """A factor as a level in 0..9."""
    low, high, logarithmic = FACTOR_SCALES[kind, name]
    if logarithmic:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return LEVELS * min(1.0, max(0.0, (value - low) / (high - low)))


def level_factor(kind: str, name: str, level: float) -> float:
    """The inverse of `factor_level`."""
    low, high, logarithmic = FACTOR_SCALES[kind, name]
    if logarithmic:
        return math.exp(math.log(low) + level / LEVELS * (math.log(high) - math.log(low)))
    return low + level / LEVELS * (high - low)


class Layout:
    """The token layout of prompt and answer for one tokenizer, one object vocabulary and one picture size.

    Every sequence has the same length: `template` holds it with `#` in each slot, `positions` (S,) the places
    of the slots, `options` their token ids. `image_tokens` are the merged tokens of each picture of a view.
    Raises ValueError in one line when the tokenizer reads two options of a slot alike; `nameable` objects are safe.
    """

    def __init__(self, tokenizer, objects: list[str], image_tokens: list[int]) -> None:
        self.objects = list(objects)
        self.pieces = _pieces(objects)
        self.slots = [piece for piece in self.pieces if isinstance(piece, Slot)]
        self.blank = _one_token(tokenizer, BLANK)
        ids: list[int] = _encode(tokenizer, "<|im_start|>") + _encode(tokenizer, "user")
        for count in image_tokens:
            image = _one_token(tokenizer, "<|image_pad|>")
            ids += _encode(tokenizer, "<|vision_start|>") + [image] * count + _encode(tokenizer, "<|vision_end|>")
        ids += _encode(tokenizer, PROMPT_WORDS) + _encode(tokenizer, "<|im_end|>")
        ids += _encode(tokenizer, "<|im_start|>") + _encode(tokenizer, "assistant")
        self.answer_start = len(ids)
        positions = []
        # where each block begins, and the end of the last
        self.starts = [self.answer_start]
        for piece in self.pieces:
            if piece in BLOCK_WORDS:
                self.starts.append(len(ids))
            if isinstance(piece, Slot):
                positions.append(len(ids))
                ids.append(self.blank)
            else:
                ids += _encode(tokenizer, piece)
        self.starts.append(len(ids))
        ids += _encode(tokenizer, "<|im_end|>")
        self.template = torch.tensor(ids)
        self.positions = torch.tensor(positions)
        self.blocks = torch.tensor([slot.block for slot in self.slots])
        self.options = [torch.tensor(_tell_apart(tokenizer, slot)) for slot in self.slots]
        # the same padded to (S, most options), and which of them there are
        self.table = pad_sequence(self.options, batch_first=True)
        self.offered = pad_sequence([torch.ones_like(own, dtype=torch.bool) for own in self.options], batch_first=True)
        self.index = {slot.name: i for i, slot in enumerate(self.slots)}
        self.findings = torch.tensor([self.index[kind] for kind in TYPES])
        self.digits = self.options[int(self.findings[0])]

    def levels(self, diagnosis: Diagnosis) -> list[float]:
        """Per slot the true option as a number (fractions lie between two digits); -1 where nothing is asked."""
        known = [name for name in diagnosis.objects if name in self.objects][:OBJECT_SLOTS]
        # a photo that nobody described does not show nothing
        described = bool(diagnosis.scene or diagnosis.objects)
        levels = []
        for slot in self.slots:
            kind, _, name = slot.name.partition(".")
            if slot.name == "scene":
                levels.append(float(SCENES.index(diagnosis.scene)) if diagnosis.scene in SCENES else -1.0)
            elif kind == "object":
                place = int(name)
                option = slot.options.index(known[place] if place < len(known) else NOTHING)
                levels.append(float(option) if described else -1.0)
            elif kind == "evidence":
                levels.append(LEVELS * diagnosis.evidence[name] if name in diagnosis.evidence else -1.0)
            elif slot.name == "overall":
                levels.append(float(not diagnosis.is_clean))
            elif slot.block == FINDINGS:
                levels.append(severity_level(diagnosis.severities()[TYPES.index(kind)]))  # type: ignore[arg-type]
            else:
                finding = diagnosis.findings.get(kind)  # type: ignore[call-overload]
                value = finding.factors.get(name) if finding else None
                # only a motion has a direction
                aimless = slot.name == "blur.angle_deg" and finding and finding.factors.get("kind") != "motion"
                if value is None or aimless:
                    levels.append(-1.0)
                elif name == "kind":
                    levels.append(float(BLUR_KINDS.index(value)))
                else:
                    levels.append(factor_level(kind, name, float(value)))
        return levels


def sequence(layout: Layout, levels: torch.Tensor, revealed: int, generator: torch.Generator):
    """One training sequence: (input ids (L,), option chosen per slot (S,) or -1).

    Numbers between two digits go to either at random, so that the mean of what is learnt is unbiased. The
    blocks before `revealed` are shown as decided; the others stay blank, as they are when they are read.
    """
    dither = torch.rand(levels.shape, generator=generator)
    chosen = torch.floor(levels + dither * (levels >= 0)).long()
    # a present degradation never rounds to absent
    present = (levels >= 1) & (layout.blocks == FINDINGS)
    chosen = torch.where(present, chosen.clamp(min=1), chosen)
    sizes = torch.tensor([len(options) for options in layout.options])
    chosen = torch.minimum(chosen, sizes - 1)
    ids = layout.template.clone()
    for slot in torch.nonzero((layout.blocks < revealed) & (chosen >= 0)).flatten().tolist():
        ids[layout.positions[slot]] = layout.options[slot][chosen[slot]]
    return ids, chosen


def _pieces(objects: list[str]) -> list[str | Slot]:
    pieces: list[str | Slot] = ["scene", Slot("scene", SCENES, THOUGHT), "with"]
    names = (NOTHING, *objects)
    pieces += [Slot(f"object.{i}", names, THOUGHT) for i in range(OBJECT_SLOTS)]
    pieces.append("; evidence")
    for name in EVIDENCE:
        pieces += [name, Slot(f"evidence.{name}", DIGITS, THOUGHT)]
    pieces += [BLOCK_WORDS[0], "overall", Slot("overall", VERDICTS, FINDINGS)]
    for kind in TYPES:
        pieces += [kind, Slot(kind, DIGITS, FINDINGS)]
    pieces.append(BLOCK_WORDS[1])
    for owner, name in FACTOR_SCALES:
        pieces += [f"{owner} {name}", Slot(f"{owner}.{name}", DIGITS, FACTORS_BLOCK)]
    pieces += ["blur kind", Slot("blur.kind", BLUR_KINDS, FACTORS_BLOCK)]
    return pieces


def training_text(objects: list[str]) -> str:
    """Every word an answer can hold: what a scratch tokenizer is trained on."""
    words = [PROMPT_WORDS, BLANK, "user assistant", " ".join(DIGITS)]
    for piece in _pieces(objects):
        words.append(" ".join(piece.options) if isinstance(piece, Slot) else piece)
    return " ".join(words)


def _encode(tokenizer, text: str) -> list[int]:
    return tokenizer.encode(text, add_special_tokens=False)


def _one_token(tokenizer, word: str) -> int:
    """The first token of a word: options of a slot differ there, which `Layout` relies on."""
    return _encode(tokenizer, word)[0]


def _tell_apart(tokenizer, slot: Slot) -> list[int]:
    tokens = [_one_token(tokenizer, word) for word in slot.options]
    for place, token in enumerate(tokens):
        first = tokens.index(token)
        if first < place:
            alike = f"'{slot.options[first]}' and '{slot.options[place]}'"
            raise ValueError(f"its tokenizer cannot tell {alike} of the slot {slot.name} apart by their first token")
    return tokens


def nameable(tokenizer, names: list[str]) -> list[str]:
    """The object names that a slot can tell apart: a known first token that no other option before it has."""
    taken = {_one_token(tokenizer, NOTHING), tokenizer.unk_token_id}
    kept = []
    for name in names:
        token = _one_token(tokenizer, name)
        if token not in taken:
            taken.add(token)
            kept.append(name)
    return kept
