"""A Qwen3-VL's forward pass over the sequences of one layout: only what its answers need, without the wrapper.

Every sequence of a layout has the same length and the same pictures, so positions, rotary angles, masks and the words'
embeddings are computed once. What transformers' modules do in between is done here with the same weights: a model
of this size waits for Python and small operations more than for arithmetic. `transformers` stays the reference, to
1e-5 of a probability (tests/reasoner/test_speed.py).
"""

from __future__ import annotations

import math
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
)

from components.reasoner import pictures

# per text layer (keys, values), each (V, heads, L, head_dim): of all positions, as far as they were run
Cache = list[tuple[Tensor, Tensor]]

# x / 2 * (1 + tanh(y)) = x * sigmoid(2 y), y = sqrt(2 / pi) * (x + 0.044715 * x^3)
GELU_LINE = 2 * math.sqrt(2 / math.pi)
GELU_CUBE = 0.044715 * GELU_LINE


def _turned(states: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """States (..., D) rotated; the sine's first half is negated beforehand."""
    return torch.addcmul(states * cosine, states.roll(states.shape[-1] // 2, -1), sine)


def _angles(cosine: Tensor, sine: Tensor) -> tuple[Tensor, Tensor]:
    first, second = sine.chunk(2, -1)
    return cosine, torch.cat([-first, second], -1)


class Passes:
    """The tower and the text model of a reasoner, for views of one grid and sequences of one template."""

    def __init__(self, model, template: Tensor, positions: Tensor, grid: list[list[int]]) -> None:
        """`template` (L,) token ids, `positions` (3, 1, L) their rotary positions, `grid` that of a view's pictures."""
        self.tower, self.text = model.model.visual, model.model.language_model
        self.device = positions.device
        self.length = len(template)
        self.images = torch.nonzero(template == model.config.image_token_id).flatten().to(self.device)
        layers = self.text.layers
        # what a tower adds after the last layer, at the pictures' places, nobody reads
        self.added = [place for place in range(len(self.tower.deepstack_visual_indexes)) if place < len(layers) - 1]
        with torch.no_grad():
            self._prepare_tower(torch.tensor(grid, device=self.device))
            words = self.text.embed_tokens(template.to(self.device))
            cosine, sine = self.text.rotary_emb(words[None], positions)
            self.angles = _angles(cosine[0], sine[0])
            places = torch.arange(self.length, device=self.device)
            self.hidden = places[None] > places[:, None]

    def _prepare_tower(self, grid: Tensor) -> None:
        tower = self.tower
        indices, weights = get_vision_interpolation_indices_and_weights(
            grid,
            num_grid_per_side=tower.num_grid_per_side,
            mode=tower.interpolation_mode,
            align_corners=tower.interpolation_align_corners,
            spatial_merge_size=tower.config.spatial_merge_size,
            kwargs={},
        )
        weight = tower.patch_embed.proj.weight
        # both frames of a still picture are the same
        self.frame_weight = weight.sum(2).flatten(1)
        places = (tower.pos_embed(indices) * weights[:, :, None]).sum(1).to(weight.dtype)
        self.places = places + tower.patch_embed.proj.bias
        cosine, sine = tower.rotary_pos_emb(
            self.places, get_vision_position_ids(grid, tower.spatial_merge_size, kwargs={})
        )
        self.tower_angles = _angles(*(field.to(weight.dtype)[:, None, None] for field in (cosine, sine)))
        # pictures of equal size that follow one another attend together: (patches each, first, end)
        self.runs, start = [], 0
        for patches, equal in groupby(int(size) for size in grid.prod(1)):
            end = start + patches * len(list(equal))
            self.runs.append((patches, start, end))
            start = end

    def see(self, views: pictures.Views) -> list[Tensor]:
        """What the text model gets of V views: the merged features (V, M, D), and those added after its layers."""
        tower = self.tower
        patches = pictures.look(views, frames=1).to(self.device, self.frame_weight.dtype)
        states = F.linear(patches, self.frame_weight) + self.places
        batch, count, width = states.shape
        added = {}
        for number, block in enumerate(tower.blocks):
            own = block.attn
            qkv = own.qkv(block.norm1(states)).view(batch, count, 3, own.num_heads, own.head_dim)
            query, key = _turned(qkv[:, :, :2], *self.tower_angles).unbind(2)
            value = qkv[:, :, 2]
            seen = []
            for patches_each, start, end in self.runs:
                asked, keys, values = (
                    part[:, start:end].reshape(-1, patches_each, own.num_heads, own.head_dim).transpose(1, 2)
                    for part in (query, key, value)
                )
                done = F.scaled_dot_product_attention(asked, keys, values, scale=own.scaling)
                seen.append(done.transpose(1, 2).reshape(batch, end - start, width))
            states = states + own.proj(torch.cat(seen, 1))
            states = states + self._wide(block.mlp, block.norm2(states))
            if number in tower.deepstack_visual_indexes:
                place = tower.deepstack_visual_indexes.index(number)
                if place in self.added:
                    added[place] = tower.deepstack_merger_list[place](states.view(-1, width)).view(batch, -1, width)
        merged = [tower.merger(states.view(-1, width)), *(added[place] for place in self.added)]
        return [features.reshape(batch, len(self.images), -1) for features in merged]

    def _wide(self, mlp, states: Tensor) -> Tensor:
        """The tower's two layers; its GELU as a sigmoid, which takes half the time of a hyperbolic tangent."""
        states = mlp.linear_fc1(states)
        if self.tower.config.hidden_act != "gelu_pytorch_tanh":
            return mlp.linear_fc2(mlp.act_fn(states))
        inner = (states * states).mul_(GELU_CUBE).add_(GELU_LINE).mul_(states)
        return mlp.linear_fc2(inner.sigmoid_().mul_(states))

    def cache(self, batch: int) -> Cache:
        """Room for keys and values of `batch` sequences."""
        own = self.text.layers[0].self_attn
        shape = (batch, own.config.num_attention_heads, self.length, own.head_dim)
        like = self.places
        return [(like.new_empty(shape), like.new_empty(shape)) for _ in self.text.layers]

    def run(
        self, ids: Tensor, begin: int, end: int, cache: Cache, features: list[Tensor] | None, read: Tensor
    ) -> Tensor:
        """Hidden states (V, n, D) at the places `read` (n,), of begin..end, of sequences ids (V, L).

        Positions before `begin` are taken from the cache, into which begin..end are written; `features` are what
        `see` gave, if the pictures lie in begin..end.
        """
        states = self.text.embed_tokens(ids[:, begin:end].to(self.device))
        if features is not None:
            states[:, self.images - begin] = features[0].to(states.dtype)
        cosine, sine = (field[begin:end] for field in self.angles)
        read = read.to(self.device)
        last = len(self.text.layers) - 1
        every = torch.arange(begin, end, device=self.device)
        for number, (layer, (keys, values)) in enumerate(zip(self.text.layers, cache, strict=True)):
            asked = read if number == last else every
            states = self._layer(layer, states, (cosine, sine), keys, values, begin, end, asked)
            if features is not None and number + 1 < len(features):
                states[:, self.images - begin] += features[number + 1].to(states.dtype)
        return _rms(states, self.text.norm)

    def _layer(self, layer, states, angles, keys, values, begin: int, end: int, asked: Tensor) -> Tensor:
        """One decoder layer: keys and values of begin..end are stored, states (V, n, D) of `asked` returned."""
        own = layer.self_attn
        batch, size, _ = states.shape
        group = own.num_key_value_groups
        normed = _rms(states, layer.input_layernorm)
        cosine, sine = (field[:, None] for field in angles)
        key = _turned(_rms(own.k_proj(normed).view(batch, size, -1, own.head_dim), own.k_norm), cosine, sine)
        value = own.v_proj(normed).view(batch, size, -1, own.head_dim)
        for kept, fresh in ((keys, key), (values, value)):
            kept.view(batch, -1, group, *kept.shape[2:])[..., begin:end, :] = fresh.transpose(1, 2)[:, :, None]
        if len(asked) < size:
            own_places = asked - begin
            states, normed, cosine, sine = (
                states[:, own_places],
                normed[:, own_places],
                cosine[own_places],
                sine[own_places],
            )
        query = _turned(_rms(own.q_proj(normed).view(batch, len(asked), -1, own.head_dim), own.q_norm), cosine, sine)
        whole = begin == 0 and len(asked) == end
        mask = None if whole else self._mask(asked, end, query.dtype)
        seen = F.scaled_dot_product_attention(
            query.transpose(1, 2), keys[:, :, :end], values[:, :, :end], mask, is_causal=whole, scale=own.scaling
        )
        states = states + own.o_proj(seen.transpose(1, 2).reshape(batch, len(asked), -1))
        return states + layer.mlp(_rms(states, layer.post_attention_layernorm))

    def _mask(self, asked: Tensor, end: int, dtype: torch.dtype) -> Tensor:
        """(n, end): minus infinity for what comes after each place that is asked for."""
        hidden = self.hidden[asked, :end]
        return torch.zeros(hidden.shape, dtype=dtype, device=self.device).masked_fill_(hidden, float("-inf"))


def _rms(states: Tensor, norm) -> Tensor:
    return F.rms_norm(states, norm.weight.shape, norm.weight, norm.variance_epsilon)
