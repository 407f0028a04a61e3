"""A narrower restorer out of a trained one: most of what it knows for a fraction of the time.

    python -m components.restorer.narrow --base FOLDER --widths 32 64 128 --out FOLDER [--batches 60]

What flows from block to block is linear, so its basis is free: of every level the directions stay in which activations
and what the loss feels of them are large together (balanced truncation, Moore 1981, with second moments of activations
and of their gradients for the Gramians). Behind a ReLU the basis is fixed: there channels stay or go, by their first
order effect on the loss (Molchanov et al. 2019). The moments come from training batches of section `restorer` of
params.yaml; the narrow restorer is then trained on (`base`, `widths`).
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import torch
from torch import nn

from components import params
from components.restorer import network
from components.restorer.config import RestorerParams
from components.restorer.data import load_split
from components.restorer.network import Block, Level, Restorer, Shape
from components.restorer.samples import Batch
from components.restorer.train import batches, loss_of

# of the mean of the eigenvalues: what never moved must not be divided by
RIDGE = 1e-6
# the streams of a restorer, by what holds their blocks; the survey's end in a maximum, so their basis is fixed too
STREAMS = {"half": ("encode1", "decode1"), "quarter": ("encode2", "decode2"), "eighth": ("deep",)}
SURVEYED = ("survey.first", "survey.second")


class Moments:
    """Sums over training batches: second moments of streams and their gradients, effects of single channels."""

    def __init__(self, restorer: Restorer) -> None:
        self.restorer = restorer
        self.forward: dict[str, torch.Tensor | int] = defaultdict(int)
        self.backward: dict[str, torch.Tensor | int] = defaultdict(int)
        self.effects: dict[str, torch.Tensor | int] = defaultdict(int)
        self._seen: list[tuple[str, torch.Tensor]] = []
        of_level = {level: stream for stream, levels in STREAMS.items() for level in levels}
        for name, module in restorer.named_modules():
            if isinstance(module, Level):
                self._watch(module, of_level.get(name, name))
            if isinstance(module, Block):
                module.second.register_forward_pre_hook(self._keeper(name))

    def _watch(self, level: Level, stream: str) -> None:
        for block in level:
            block.register_forward_pre_hook(self._keeper(stream))
        level.register_forward_hook(lambda _, __, out: self._keep(stream, out))

    def _keeper(self, name: str):
        return lambda _, inputs: self._keep(name, inputs[0])

    def _keep(self, name: str, x: torch.Tensor) -> None:
        # the restorer may be at work between two batches
        if not x.requires_grad:
            return
        x.retain_grad()
        self._seen.append((name, x))

    def take(self, batch: Batch) -> None:
        """One batch more."""
        self._seen.clear()
        sharpened = batch.cropped(self.restorer.sharpen(batch.picture, batch.condition, batch.prints))
        restored = self.restorer(
            batch.degraded, batch.condition, batch.embedding, whole=batch.whole, sharpened=sharpened
        )
        loss_of(restored, batch.clean).backward()
        for name, x in self._seen:
            assert x.grad is not None
            value, grad = (each.detach().transpose(0, 1).flatten(1) for each in (x, x.grad))
            self.effects[name] += (value * grad).unflatten(1, (len(x), -1)).sum(2).square().sum(1)
            if name in STREAMS:
                self.forward[name] += value @ value.T
                self.backward[name] += grad @ grad.T

    def directions(self, stream: str, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """How a stream x of C channels is read and written by `width` numbers z: (C, width) each, x = read z.

        z = written' x. The columns of `read` are orthonormal.
        """
        roots = [_root(moments[stream]) for moments in (self.forward, self.backward)]
        left, _, right = torch.linalg.svd(roots[1] @ roots[0])
        kept = left[:, :width], right[:width].T
        read, _ = torch.linalg.qr(roots[0] @ kept[1])
        felt = roots[1] @ kept[0]
        # what is written must be what is read, whatever basis the felt directions came in
        written = felt @ torch.linalg.inv(felt.T @ read).T
        return read.float(), written.float()

    def channels(self, name: str, width: int) -> torch.Tensor:
        """(width,) numbers of the channels whose loss would be felt most, in their order."""
        effects = self.effects[name]
        assert isinstance(effects, torch.Tensor)
        return effects.topk(width).indices.sort().values


def _root(moments: torch.Tensor | int) -> torch.Tensor:
    """(C, C) symmetric square root of a positive matrix."""
    assert isinstance(moments, torch.Tensor)
    values, vectors = torch.linalg.eigh(moments.double())
    values = values.clamp(min=0) + RIDGE * values.clamp(min=0).mean()
    return vectors * values.sqrt() @ vectors.T


@torch.no_grad()
def narrowed(restorer: Restorer, moments: Moments, widths: tuple[int, int, int]) -> Restorer:
    """A restorer of these widths that acts as nearly as this one as its moments can tell."""
    new = Restorer(Shape(widths, restorer.shape.blocks, restorer.shape.embedding))
    stream = {name: moments.directions(name, width) for name, width in zip(STREAMS, widths, strict=True)}
    for name in SURVEYED:
        chosen = torch.eye(restorer.shape.widths[0])[:, moments.channels(name, widths[0])]
        stream[name] = chosen, chosen
    for name in ("condition", "hear_embedding", "guesser", "policy"):
        new.get_submodule(name).load_state_dict(restorer.get_submodule(name).state_dict())

    def convolution(name: str, source: str | None, target: str | None, places: int = 1) -> None:
        old, made = restorer.get_submodule(name), new.get_submodule(name)
        assert isinstance(old, nn.Conv2d) and isinstance(made, nn.Conv2d)
        # of a convolution whose outputs are shuffled into `places` px each, a channel's places lie side by side
        weight = old.weight.unflatten(0, (-1, places))
        bias = None if old.bias is None else old.bias.unflatten(0, (-1, places))
        if source:
            weight = torch.einsum("opihw,ia->opahw", weight, stream[source][0])
        if target:
            weight = torch.einsum("opihw,ob->bpihw", weight, stream[target][1])
            bias = None if bias is None else torch.einsum("op,ob->bp", bias, stream[target][1])
        made.weight.copy_(weight.flatten(0, 1))
        if bias is not None and made.bias is not None:
            made.bias.copy_(bias.flatten())

    for name, source, target in (
        ("enter", None, "half"), ("enter_sharpened", None, "half"), ("down1", "half", "quarter"),
        ("down2", "quarter", "eighth"), ("place", "survey.second", "eighth"), ("affine", "eighth", None),
        ("residual", "half", None), ("survey.enter", None, "survey.first"),
        ("survey.down", "survey.first", "survey.second"),
    ):  # fmt: skip
        convolution(name, source, target)
    convolution("up2", "eighth", "quarter", 4)
    convolution("up1", "quarter", "half", 4)
    kept = moments.channels("survey.second", widths[0])
    summary, width = restorer.survey.summary, restorer.shape.widths[0]
    new.survey.summary.weight.copy_(summary.weight[:, torch.cat([kept, width + kept])])
    new.survey.summary.bias.copy_(summary.bias)
    of_level = {level: name for name, levels in STREAMS.items() for level in levels}
    for level, module in new.named_modules():
        if isinstance(module, Level):
            read, written = stream[of_level.get(level, level)]
            for number, block in enumerate(module):
                name = f"{level}.{number}"
                _narrow_block(restorer.get_submodule(name), block, moments, name, read, written)
    return new.eval().to(memory_format=torch.channels_last)


def _narrow_block(
    old: nn.Module, new: nn.Module, moments: Moments, name: str, read: torch.Tensor, written: torch.Tensor
) -> None:
    assert isinstance(old, Block) and isinstance(new, Block)
    width = old.first.out_channels
    kept = moments.channels(name, new.first.out_channels)
    new.first.weight.copy_(torch.einsum("oihw,ia->oahw", old.first.weight[kept], read))
    new.second.weight.copy_(torch.einsum("oihw,ob->bihw", old.second.weight[:, kept], written))
    new.first.bias.copy_(old.first.bias[kept])  # type: ignore[union-attr,index]
    new.second.bias.copy_(written.T @ old.second.bias)  # type: ignore[union-attr,operator]
    both = torch.cat([kept, width + kept])
    new.modulation.weight.copy_(old.modulation.weight[both])
    new.modulation.bias.copy_(old.modulation.bias[both])


def main() -> None:
    parser = argparse.ArgumentParser(description="Narrow a trained restorer")
    parser.add_argument("--base", type=Path, required=True, help="folder of the trained restorer")
    parser.add_argument("--widths", type=int, nargs=3, required=True, help="channels at 1/2, 1/4 and 1/8 of the size")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batches", type=int, default=60, help="training batches that tell what matters")
    args = parser.parse_args()
    config = params.load("restorer", RestorerParams)
    restorer = network.load(args.base)
    if any(new > old for new, old in zip(args.widths, restorer.shape.widths, strict=True)):
        raise network.RestorerError(f"--widths {args.widths}: {args.base} has {list(restorer.shape.widths)}, not more")
    moments = Moments(restorer)
    for number, batch in zip(range(args.batches), batches(config, load_split("train"), 0), strict=False):
        moments.take(batch)
        print(f"narrow: batch {number + 1}/{args.batches}", flush=True)
    network.save(narrowed(restorer, moments, tuple(args.widths)), args.out)


if __name__ == "__main__":
    try:
        main()
    except (network.RestorerError, params.ParamsError, FileNotFoundError) as error:
        sys.exit(f"narrow: {error}")
