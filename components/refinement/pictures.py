"""The pictures that refinement learns from: hard pairs, clean sides degraded anew, and photos without a clean side.

The stored pairs are what training has seen for long. So a share of the pictures is degraded
anew, as neither the training's mixture nor the evaluation does it: chains of steps in any order, a type twice if
chance wills, and single protocols of others. All of them stand under the reasoner's own words, as a user's photo does.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from components.degradations import presets
from components.degradations import recipe as recipes
from components.degradations.light import uniform
from components.diagnosis import Diagnosis
from components.reasoner.reader import Reading, Reasoner, eight_bits
from components.refinement.config import RefineParams
from components.restorer import network
from components.restorer.conditioning import SEVERITIES, condition_vector, told_again
from components.restorer.data import Pairs, as_batch
from components.synthesis.pairs import cut, draw_box

# `evaluate` degrades twice by blur, noise and JPEG, in this order: six steps. No chain has as many.
CHAIN_TYPES, CHAIN_STEPS, CHAIN_LEVELS = ("blur", "noise", "jpeg", "low_light", "haze"), (2, 4), (0.05, 0.6)
# of the published protocols only these: `evaluate` asks for imagecorruptions, whose parameters nobody has seen
PROTOCOLS: tuple[presets.Preset, ...] = ("cdd11", "miori")
# the case of what is degraded anew
ANEW = "anew"
CHAINS = 0.6  # share of chains among what is degraded anew
READ_AT_ONCE = 16
# share of an unlabelled photo's regions that are cut at native size; the others are shrunk views
NATIVE_SHARE = 0.5


class NothingFound(ValueError):
    """The reasoner finds nothing wrong with any of the pictures: there is nothing to refine. One line."""


class Sees(Protocol):
    """All that is asked of the reasoner: the reward's severities, and a diagnosis of what a member painted."""

    def score_severities(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 7) expected severities 0..100 of pictures (B, 3, H, W) in [0, 1]."""
        ...

    def read(self, images: list[np.ndarray]) -> Reading:
        """What it sees in pictures (H, W, 3) uint8."""
        ...

    def diagnoses(self, reading: Reading) -> list[Diagnosis]:
        """What it says of them."""
        ...


@dataclass(frozen=True)
class Pictures:
    """Equally large pictures (H, W, 3) uint8 and what the reasoner says of them.

    `clean[i]` is None for a photo without a clean side. `conditions` (N, CONDITION), `embeddings` (N, D);
    `cases` are those of the pairs, "anew" or "photo".
    """

    cases: list[str]
    degraded: list[np.ndarray]
    clean: list[np.ndarray | None]
    conditions: torch.Tensor
    embeddings: torch.Tensor

    def __len__(self) -> int:
        return len(self.cases)

    def only(self, chosen: list[int]) -> Pictures:
        """Some of them, in the order given."""
        return Pictures(
            [self.cases[i] for i in chosen],
            [self.degraded[i] for i in chosen],
            [self.clean[i] for i in chosen],
            self.conditions[chosen],
            self.embeddings[chosen],
        )

    def joined(self, other: Pictures) -> Pictures:
        """These, then the others."""
        return Pictures(
            self.cases + other.cases,
            self.degraded + other.degraded,
            self.clean + other.clean,
            torch.cat([self.conditions, other.conditions]),
            torch.cat([self.embeddings, other.embeddings]),
        )

    def found(self) -> Pictures:
        """Those of which the reasoner has a finding: it leaves the others alone, whatever the restorer is."""
        return self.only([i for i, told in enumerate(self.conditions) if float(told[SEVERITIES].max()) > 0])

    def clean_sides(self) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1]; the degraded picture itself stands where there is no clean side."""
        return as_batch([b if c is None else c for b, c in zip(self.degraded, self.clean, strict=True)])


def of_pairs(pairs: Pairs, chosen: list[int]) -> Pictures:
    """Stored pairs with their priors."""
    return Pictures(
        [pairs.cases[i] for i in chosen],
        [pairs.degraded[i] for i in chosen],
        [pairs.clean[i] for i in chosen],
        pairs.predicted[chosen],
        pairs.embeddings[chosen],
    )


def read(reasoner: Sees, cases: list[str], degraded: list[np.ndarray], clean: list) -> Pictures:
    """Pictures that nobody has diagnosed yet."""
    conditions, embeddings = [], []
    for start in range(0, len(degraded), READ_AT_ONCE):
        reading = reasoner.read(degraded[start : start + READ_AT_ONCE])
        conditions += [condition_vector(diagnosis) for diagnosis in reasoner.diagnoses(reading)]
        embeddings.append(reading.embedding)
    return Pictures(cases, degraded, clean, torch.stack(conditions), torch.cat(embeddings))


def heard_by(reasoner: Sees, pairs: Pairs) -> Pairs:
    """Stored pairs under what another reasoner than that of their priors says of them."""
    told = read(reasoner, pairs.cases, pairs.degraded, list(pairs.clean))
    return replace(pairs, predicted=told.conditions, embeddings=told.embeddings)


def degrade_anew(clean: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """(H, W, 3) uint8 degraded by a chain of steps, or by a protocol of others."""
    if uniform(generator, 0, 1) < CHAINS:
        count = int(torch.randint(CHAIN_STEPS[0], CHAIN_STEPS[1] + 1, (), generator=generator))
        drawn = [CHAIN_TYPES[int(torch.randint(len(CHAIN_TYPES), (), generator=generator))] for _ in range(count)]
        recipe = [recipes.make_step(kind, uniform(generator, *CHAIN_LEVELS), generator) for kind in drawn]
    else:
        which, case = torch.randint(1 << 20, (2,), generator=generator).tolist()
        recipe = presets.draw(PROTOCOLS[which % len(PROTOCOLS)], case, generator)[1]
    return recipes.apply_recipe(clean, recipe)


def anew(reasoner: Reasoner, clean: list[np.ndarray], seed: int) -> Pictures:
    """Clean pictures degraded anew, each by a generator of its own, as the reasoner sees them."""
    degraded = [
        degrade_anew(picture, torch.Generator().manual_seed(seed * 1_000_003 + number))
        for number, picture in enumerate(clean)
    ]
    return read(reasoner, [ANEW] * len(clean), degraded, list(clean))


def from_folder(reasoner: Reasoner, folder: str | Path, size: int, count: int, seed: int) -> Pictures:
    """`count` regions of `size` px of the photos of a folder, whose clean sides nobody knows.

    A photo that cannot be read or is smaller than a region is named on stderr and left out. Raises
    FileNotFoundError when none is left.
    """
    from components.photos.decode import PhotoError, decode, find_photos

    regions: list[np.ndarray] = []
    try:
        paths = find_photos([Path(folder)])
    except PhotoError as error:
        raise FileNotFoundError(f"refine.photos: {error}") from None
    photos = []
    for path in paths:
        try:
            pixels = decode(path).pixels
            if min(pixels.shape[:2]) < size:
                raise PhotoError(f"{path}: smaller than {size} px")
            photos.append(pixels)
        except PhotoError as error:
            print(f"refine: left out: {error}", file=sys.stderr, flush=True)
    if not photos:
        raise FileNotFoundError(f"refine.photos: {folder} holds no photo that can be read and has {size} px")
    generator = torch.Generator().manual_seed(seed)
    for number in range(count):
        pixels = photos[number % len(photos)]
        height, width = pixels.shape[:2]
        region = cut(pixels, draw_box(height, width, size, NATIVE_SHARE, generator), size)
        regions.append(np.ascontiguousarray(region))
    return read(reasoner, ["photo"] * count, regions, [None] * count)


def look_again(reasoner: Sees, restored: torch.Tensor) -> Pictures:
    """Restored pictures (N, 3, H, W) as they would be saved, and what a second restoration is told of them."""
    found = read(reasoner, [""] * len(restored), eight_bits(restored), [None] * len(restored))
    return replace(found, conditions=told_again(found.conditions))


@torch.no_grad()
def restore(restorer: network.Restorer, reasoner: Sees, pictures: Pictures) -> torch.Tensor:
    """(N, 3, H, W) restored pictures, clipped to [0, 1]; twice where the restorer's policy goes on."""
    once = one_by_one(restorer, pictures)
    if not restorer.may_go_on:
        return once
    now = look_again(reasoner, once)
    share = restorer.share(pictures.conditions, now.conditions)
    going = share.nonzero()[:, 0].tolist()
    if going:
        first = as_batch(now.degraded)[going]
        once[going] = first + share[going, None, None, None] * (one_by_one(restorer, now.only(going)) - first)
    return once


def one_by_one(restorer: network.Restorer, pictures: Pictures) -> torch.Tensor:
    """(N, 3, H, W) restored once, clipped to [0, 1]."""
    rows = [
        restorer(as_batch([picture]), pictures.conditions[i : i + 1], pictures.embeddings[i : i + 1])
        for i, picture in enumerate(pictures.degraded)
    ]
    return torch.cat(rows).clamp(0, 1)


def hardest(pictures: Pictures, left: torch.Tensor, share: float) -> list[int]:
    """Indices of the `share` of each case in which most severity is left (N,), at least one of each.

    Ranked within their case: over all of them the hardest are the deepest mixtures alone. Ranked by what the reasoner
    still sees, not by the error towards the clean side: the worst errors are those of pictures that could as well have
    been brighter or darker, and whoever learns from them alone learns to err to the other side.
    """
    chosen = []
    for case in sorted(set(pictures.cases)):
        own = [i for i, name in enumerate(pictures.cases) if name == case]
        own.sort(key=lambda i: -float(left[i]))
        chosen += own[: max(1, round(share * len(own)))]
    return sorted(chosen)


def gather(
    config: RefineParams, pairs: Pairs, reasoner: Reasoner, supervised: network.Restorer
) -> tuple[Pictures, Pictures]:
    """The hard pictures of a training, those without a clean side last; and all candidates that have one.

    Raises NothingFound when the reasoner finds nothing to restore.
    """
    generator = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(pairs.ids), generator=generator).tolist()
    new = round(config.anew_share * config.candidates)
    stored = [i for i in order if pairs.cases[i] != "clean"][: config.candidates - new]
    ordinary = of_pairs(pairs, stored).found()
    if new:
        # the clean sides of pairs that are not among the stored ones, as far as there are enough
        sides = [pairs.clean[i] for i in (order[::-1] * (1 + new // len(order)))[:new]]
        ordinary = ordinary.joined(anew(reasoner, sides, config.seed).found())
    if not len(ordinary):
        raise NothingFound("the reasoner finds nothing in any of the candidates; train it first")
    hard = ordinary.only(hardest(ordinary, severity_left(reasoner, supervised, ordinary), config.hard_share))
    if config.photos:
        size, count = pairs.clean[0].shape[0], max(1, round(config.hard_share * config.candidates))
        found = from_folder(reasoner, config.photos, size, count, config.seed).found()
        if not len(found):
            raise ValueError(f"refine.photos: the reasoner finds nothing to restore in {config.photos}")
        hard = hard.joined(found)
    return hard, ordinary


def severity_left(reasoner: Reasoner, restorer: network.Restorer, pictures: Pictures) -> torch.Tensor:
    """(N,) summed expected severity that the reasoner still sees in the restored pictures."""
    rows = []
    for start in range(0, len(pictures), READ_AT_ONCE):
        some = pictures.only(list(range(start, min(start + READ_AT_ONCE, len(pictures)))))
        rows.append(reasoner.score_severities(restore(restorer, reasoner, some)).sum(1))
    return torch.cat(rows)
