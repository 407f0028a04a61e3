"""Two places where transformers' Qwen3-VL is slow on a processor, done otherwise with the same result.

The patch embedding is a 3-d convolution whose stride is its kernel: a matrix product, but oneDNN's convolution takes
three times as long. The attention of the vision tower goes through the pictures one by one: pictures of equal size
are done together here. Weights, names and saved files stay as they are.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision


def quicken(model) -> None:
    """Change how the vision tower of a Qwen3-VL computes, in place."""
    core = model.get_base_model() if hasattr(model, "get_base_model") else model
    tower = core.model.visual
    tower.patch_embed.forward = MethodType(_embed, tower.patch_embed)
    for block in tower.blocks:
        block.attn.forward = MethodType(_attend, block.attn)


def _embed(self, hidden_states: Tensor) -> Tensor:
    """(N, embed_dim) of flattened patches (N, 3 * 2 * 16 * 16)."""
    weight = self.proj.weight
    return F.linear(hidden_states.reshape(-1, weight[0].numel()).to(weight.dtype), weight.flatten(1), self.proj.bias)


def _attend(self, hidden_states: Tensor, cu_seqlens: Tensor, position_embeddings, **kwargs) -> Tensor:
    """Attention within each picture; hidden states (N, D) of all pictures, one after another."""
    count = hidden_states.shape[0]
    qkv = self.qkv(hidden_states).reshape(count, 3, self.num_heads, -1)
    query, key, value = qkv.unbind(1)
    query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    states = torch.stack([query, key, value.to(query.dtype)])  # (3, N, heads, head_dim)
    starts = cu_seqlens[:-1]
    lengths = cu_seqlens[1:] - starts
    out = torch.zeros_like(states[0])
    for length in lengths.unique().tolist():
        rows = starts[lengths == length][:, None] + torch.arange(length, device=starts.device)
        own = (
            states[:, rows.flatten()].unflatten(1, rows.shape).transpose(2, 3)
        )  # (3, pictures, heads, length, head_dim)
        done = F.scaled_dot_product_attention(own[0], own[1], own[2], scale=self.scaling)
        out = out.index_copy(0, rows.flatten(), done.transpose(1, 2).flatten(0, 1))
    return self.proj(out.flatten(1))
