"""The restorer: one network for all degradations, conditioned on the diagnosis and the reasoner's hidden state.

Two branches that match the physics: from the deepest level a map of local affine colour transforms (haze,
darkness and casts are smooth), and from the half-resolution U of plain 3x3 convolutions a residual (noise,
rain, snow, compression, blur are local). Convolutions run on the pixel-unshuffled picture, which a processor
likes. A survey of the whole photo, shrunk, tells every tile what none can see for itself: the airlight, the
exposure, what the scene is lit like elsewhere. Every block is modulated by a zero-initialised map of the
diagnosis; at severity 0 the network is the identity by construction.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import nn
from torch.nn import functional as F

from components import storage
from components.diagnosis import TYPES
from components.restorer import deblur
from components.restorer.conditioning import CONDITION, KNOWN, SEVERITIES

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
# the deepest level sees 1/8 of the size
STRIDE = 8
CODE = 64
SURVEY_PX = 64
# the strongest severity (of 1, i.e. 100) from which the network acts with its full force
FULL_GATE = 0.08
# how a try of refinement may differ: a factor on each severity that the network hears, and one on its whole effect
ACTIONS = len(TYPES) + 1
# what the policy chooses from after a restoration: how much of a second one is taken. All of it is seldom worth what
# it costs (docs/experiments.md)
SHARES = (0.0, 0.6)
# its log-odds before it has learnt anything: a restorer that was only supervised stops
STOPS = (2.0, 0.0)


class RestorerError(ValueError):
    """A restorer cannot be loaded; the message is one line."""


@dataclass(frozen=True)
class Shape:
    """Channels and blocks at 1/2, 1/4 and 1/8 of the size, and the width of the reasoner's hidden state."""

    widths: tuple[int, int, int]
    blocks: tuple[int, int, int]
    embedding: int


class Block(nn.Module):
    """x + conv(relu(modulated conv(x))); scale and shift per channel come from the code of the diagnosis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.modulation = nn.Linear(CODE, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        scale, shift = self.modulation(code)[:, :, None, None].chunk(2, 1)
        if torch.is_grad_enabled():
            return x + self.second(F.relu(self.first(x) * (1 + scale) + shift))
        # the same numbers without memory of their own for each step
        return self.second(self.first(x).mul_(1 + scale).add_(shift).relu_()).add_(x)


@dataclass(frozen=True)
class Whole:
    """Whole photos, shrunk to (B, 3, SURVEY_PX, SURVEY_PX) in [0, 1], and where in them the pictures lie.

    `window` (B, 4): top, left, bottom and right as shares of the photo's height and width. `prints`
    (B, PRINTS): what their spectra tell of blur, see deblur.py.
    """

    photo: torch.Tensor
    window: torch.Tensor
    prints: torch.Tensor

    @staticmethod
    def of(images: torch.Tensor) -> Whole:
        """Pictures (B, 3, H, W) that are photos of their own."""
        window = torch.tensor([0.0, 0.0, 1.0, 1.0], device=images.device).expand(len(images), 4)
        return Whole(shrunk(images), window, torch.stack([deblur.prints(image) for image in images]).to(images.device))


def shrunk(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, SURVEY_PX, SURVEY_PX) of photos (B, 3, H, W) by area averaging, their shape ignored."""
    return F.interpolate(images, size=(SURVEY_PX, SURVEY_PX), mode="area")


class Level(nn.ModuleList):
    """Blocks in a row."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__(Block(width) for _ in range(count))

    def forward(self, x: torch.Tensor, code: torch.Tensor) -> torch.Tensor:
        for block in self:
            x = block(x, code)
        return x


class Survey(nn.Module):
    """What is global in a photo: features on a grid of 1/4 of SURVEY_PX, and what they add to the code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(12, width, 3, padding=1)
        self.first = Level(width, 1)
        self.down = nn.Conv2d(width, width, 2, 2)
        self.second = Level(width, 2)
        self.summary = nn.Linear(2 * width, CODE)
        nn.init.zeros_(self.summary.weight)
        nn.init.zeros_(self.summary.bias)

    def forward(self, photo: torch.Tensor, code: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, width, g, g) features of photos (B, 3, SURVEY_PX, SURVEY_PX), and the code (B, CODE) with them."""
        x = self.first(self.enter(F.pixel_unshuffle(photo * 2 - 1, 2)), code)
        x = self.second(self.down(x), code)
        return x, code + self.summary(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


def at_window(features: torch.Tensor, window: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(B, C, *size): features (B, C, g, g) of whole photos, bilinear, in windows (B, 4) of them."""
    top, left, bottom, right = window.to(features.dtype).unbind(1)
    none = torch.zeros_like(top)
    scales = torch.stack([right - left, none, left + right - 1, none, bottom - top, top + bottom - 1], 1)
    grid = F.affine_grid(scales.view(-1, 2, 3), [len(window), 1, *size], align_corners=False)
    return F.grid_sample(features, grid, padding_mode="border", align_corners=False)


class Restorer(nn.Module):
    """(B, 3, H, W) in [0, 1] and a diagnosis in, the restored picture out; H and W are any multiples of 8."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        half, quarter, eighth = shape.widths
        self.condition = nn.Sequential(nn.Linear(CONDITION, 128), nn.ReLU(), nn.Linear(128, CODE))
        hear = nn.Linear(shape.embedding, CODE)
        nn.init.zeros_(hear.weight)
        nn.init.zeros_(hear.bias)
        self.hear_embedding = nn.Sequential(nn.LayerNorm(shape.embedding), hear)
        self.enter = nn.Conv2d(12, half, 3, padding=1)
        self.guesser = deblur.Guesser()
        self.enter_sharpened = nn.Conv2d(4 * deblur.SHARPENED, half, 3, padding=1, bias=False)
        self.down1, self.down2 = nn.Conv2d(half, quarter, 2, 2), nn.Conv2d(quarter, eighth, 2, 2)
        self.encode1, self.encode2 = Level(half, shape.blocks[0]), Level(quarter, shape.blocks[1])
        self.deep = Level(eighth, shape.blocks[2])
        self.survey, self.place = Survey(half), nn.Conv2d(half, eighth, 1)
        self.up2, self.up1 = nn.Conv2d(eighth, 4 * quarter, 1), nn.Conv2d(quarter, 4 * half, 1)
        self.decode2, self.decode1 = Level(quarter, shape.blocks[1]), Level(half, shape.blocks[0])
        self.affine, self.residual = nn.Conv2d(eighth, 12, 3, padding=1), nn.Conv2d(half, 12, 3, padding=1)
        # what refinement learns: from what was said before and is said now, whether to go on; zero means to stop
        self.policy = nn.Linear(2 * CONDITION, len(SHARES))
        for layer in (self.affine, self.residual, self.policy):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.enter_sharpened.weight)

    @property
    def may_go_on(self) -> bool:
        """Whether anything was ever learnt of when to restore a second time."""
        return bool(self.policy.weight.any() or self.policy.bias.any())

    def choices(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        """(B, SHARES) log-probabilities of how much of a second restoration is to be taken.

        `before`, `now` (B, CONDITION): what the reasoner said of the photos and says of the restored ones.
        """
        learnt = self.policy(torch.cat([before, now], 1))
        return (learnt + learnt.new_tensor(STOPS)).log_softmax(1)

    def share(self, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
        """(B,) the likeliest of SHARES; 0 where `now` finds nothing, for nothing would change."""
        likeliest = now.new_tensor(SHARES)[self.choices(before, now).argmax(1)]
        return likeliest * (now[:, SEVERITIES].amax(1) > 0)

    def forward(
        self,
        image: torch.Tensor,
        condition: torch.Tensor,
        embedding: torch.Tensor | None = None,
        action: torch.Tensor | None = None,
        whole: Whole | None = None,
        sharpened: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Restore. `condition` (B, CONDITION); `embedding` (B, D) or None; rows of zeros count as not given.

        `action` (B, ACTIONS): relative changes of the severities that are heard and of the whole effect. Without
        `whole` the pictures are whole photos. What `sharpen` would make of the pictures may be given, if it was made
        with their surroundings. Values are not clipped.
        """
        heard = condition
        if action is not None:
            heard = condition.clone()
            heard[:, SEVERITIES] = (condition[:, SEVERITIES] * (1 + action[:, : len(TYPES)])).clamp(0, 1)
        code = self.condition(heard)
        if embedding is not None:
            given = (embedding.abs().amax(1, keepdim=True) > 0).float()
            code = code + given * self.hear_embedding(embedding)
        whole = whole or Whole.of(image)
        if sharpened is None:
            sharpened = self.sharpen(image, condition, whole.prints)
        effect = self.effect(image, sharpened, code, whole)
        if action is not None:
            effect = effect * (1 + action[:, -1])[:, None, None, None]
        return image + self.gate(condition)[:, None, None, None] * effect

    def sharpen(
        self,
        image: torch.Tensor,
        condition: torch.Tensor,
        prints: torch.Tensor,
        inside: tuple[slice, slice] | None = None,
    ) -> torch.Tensor:
        """(B, SHARPENED, H, W): what filters under the guessed kernel would add; nothing is learnt through it.

        `inside`: the rows and columns that are wanted, where not all of them.
        """
        with torch.autocast(image.device.type, enabled=False), torch.no_grad():
            return deblur.sharpened(image, self.guesser(condition, prints), inside)

    def gate(self, condition: torch.Tensor) -> torch.Tensor:
        """(B,) 0 for a clean photo, 1 from FULL_GATE on and where no diagnosis is given."""
        strongest = condition[:, SEVERITIES].amax(1)
        known = condition[:, KNOWN]
        return torch.where(known > 0.5, (strongest / FULL_GATE).clamp(0, 1), torch.ones_like(known))

    def effect(self, image: torch.Tensor, sharpened: torch.Tensor, code: torch.Tensor, whole: Whole) -> torch.Tensor:
        """(B, 3, H, W): what is to be added to the picture."""
        seen, code = self.survey(whole.photo, code)
        x1 = self.enter(F.pixel_unshuffle(image * 2 - 1, 2))
        # of nothing it makes nothing
        if self.training or sharpened.any():
            x1 = x1 + self.enter_sharpened(F.pixel_unshuffle(sharpened, 2))
        x1 = self.encode1(x1, code)
        x2 = self.encode2(self.down1(x1), code)
        x3 = self.down2(x2)
        x3 = self.deep(x3 + self.place(at_window(seen, whole.window, (x3.shape[-2], x3.shape[-1]))), code)
        y2 = self.decode2(x2 + F.pixel_shuffle(self.up2(x3), 2), code)
        y1 = self.decode1(x1 + F.pixel_shuffle(self.up1(y2), 2), code)
        local = F.pixel_shuffle(self.residual(y1), 2)
        maps = F.interpolate(self.affine(x3), size=image.shape[-2:], mode="bilinear", align_corners=False)
        matrix, offset = maps[:, :9].unflatten(1, (3, 3)), maps[:, 9:]
        return (matrix * image[:, None]).sum(2) + offset + local


def save_state(state: dict, path: Path) -> None:
    """A checkpoint of a training, whole or not at all. A full disk is an OSError, which torch's own writer hides."""
    content = io.BytesIO()
    torch.save(state, content)
    with storage.whole_file(path) as part:
        part.write_bytes(content.getbuffer())


def save(restorer: Restorer, folder: str | Path) -> None:
    """config.json and model.safetensors; the same weights give the same bytes."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    storage.write_json(folder / CONFIG_FILE, asdict(restorer.shape))
    with storage.whole_file(folder / WEIGHTS_FILE) as part:
        part.write_bytes(to_bytes({k: v.contiguous() for k, v in sorted(restorer.state_dict().items())}))


def load(folder: str | Path, device: str = "cpu") -> Restorer:
    """A saved restorer in eval mode. Raises RestorerError in one line."""
    folder = Path(folder)
    try:
        shape = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        restorer = Restorer(Shape(tuple(shape["widths"]), tuple(shape["blocks"]), shape["embedding"]))
        restorer.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except Exception as error:  # safetensors raises its own types for torn files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise RestorerError(f"{folder}: not a restorer: {reason}") from error
    return restorer.eval().to(device).to(memory_format=torch.channels_last)
