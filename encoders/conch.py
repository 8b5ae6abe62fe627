"""CONCH v1.5: a ViT-L/16 at 448 px whose tokens one learnt query pools by cross-attention (Ding et al. 2024, TITAN).

Names of modules are those of the published file, so that it loads as it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, scaled_dot_product_attention

POSITIONS = "trunk.pos_embed"


class AttentionalPooler(nn.Module):
    """tokens (b, n, context_dim) -> (b, queries, code_dim) by `heads` heads of cross-attention, without biases."""

    def __init__(self, code_dim: int, context_dim: int, heads: int = 8, queries: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(queries, code_dim))
        self.ln_k = nn.LayerNorm(context_dim)
        self.ln_q = nn.LayerNorm(code_dim)
        self.to_q = nn.Linear(code_dim, code_dim, bias=False)
        self.to_kv = nn.Linear(context_dim, 2 * code_dim, bias=False)
        self.to_out = nn.Linear(code_dim, code_dim, bias=False)

    def forward(self, tokens_bnd: Tensor) -> Tensor:
        query_bqd = self.to_q(self.ln_q(self.query)).expand(len(tokens_bnd), -1, -1)
        key_bnd, value_bnd = self.to_kv(self.ln_k(tokens_bnd)).chunk(2, dim=-1)
        by_head = [part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query_bqd, key_bnd, value_bnd)]
        return self.to_out(scaled_dot_product_attention(*by_head).transpose(1, 2).flatten(2))


class ConchVision(nn.Module):
    """images_bchw, normalised -> codes (b, code_dim). trunk: parameters of timm's vision transformer."""

    def __init__(self, code_dim: int = 768, heads: int = 8, **trunk: Any) -> None:
        super().__init__()
        import timm

        self.trunk = timm.create_model("vit_large_patch16_224", pretrained=False, num_classes=0, **trunk)
        self.attn_pool_contrast = AttentionalPooler(code_dim, self.trunk.num_features, heads)  # pyright: ignore
        self.ln_contrast = nn.LayerNorm(code_dim)

    def forward(self, images_bchw: Tensor) -> Tensor:
        tokens_bnd = self.trunk.forward_features(images_bchw)  # pyright: ignore[reportCallIssue]
        return self.ln_contrast(self.attn_pool_contrast(tokens_bnd)[:, 0])


def with_positions(state: Mapping[str, Tensor], grid: int) -> dict[str, Tensor]:
    """`state` with its position embedding on grid x grid patches, as the published code interpolates it.

    The file holds that of 224 px (14 x 14); bicubic, by a scale that is .1 of a patch larger, as in DINO. Other
    embeddings than square ones stay as they are, and do not fit.
    """
    state = dict(state)
    old = state.get(POSITIONS)
    if old is None or old.ndim != 3 or old.shape[1] == grid**2 + 1:
        return state
    edge = math.isqrt(old.shape[1] - 1)
    if edge**2 + 1 != old.shape[1]:
        return state
    patches = old[:, 1:].float().reshape(1, edge, edge, -1).permute(0, 3, 1, 2)
    scale = (grid + 0.1) / edge
    patches = interpolate(patches, scale_factor=(scale, scale), mode="bicubic").permute(0, 2, 3, 1)
    state[POSITIONS] = torch.cat([old[:, :1].float(), patches.reshape(1, grid**2, -1)], dim=1)
    return state
