"""Renames the tensors of transformers' ViT and DINOv2 models to timm's, whose networks are the same."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.fc1",
    "mlp.weights_out": "mlp.fc2",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_OUTSIDE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.register_tokens": "reg_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "layernorm.weight": "norm.weight",
    "layernorm.bias": "norm.bias",
}
_UNUSED = ("embeddings.mask_token", "pooler.")
"""Of pre-training and of heads."""

_BLOCK_KEY = re.compile(r"encoder\.layer\.(\d+)\.(.+?)(\.weight|\.bias)?\Z")
_QKV_KEY = re.compile(r"attention\.attention\.(query|key|value)\Z")


def to_timm(state: Mapping[str, Tensor], grid_px: int) -> dict[str, Tensor]:
    """`state` under timm's names. Keys that no rule knows stay as they are, so that loading names them.

    grid_px: patches along an edge of the input; position embeddings of another grid are interpolated as transformers
    does it at run time. With registers timm keeps no position for the class token: it is added to the token here.
    """
    renamed: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        block = _BLOCK_KEY.match(key)
        if key.startswith(_UNUSED):
            continue
        if block is None:
            renamed[_OUTSIDE.get(key, key)] = value
            continue
        number, part, kind = block[1], block[2], block[3] or ""
        if qkv := _QKV_KEY.match(part):
            attention.setdefault(f"blocks.{number}.attn.qkv{kind}", {})[qkv[1]] = value
        else:
            renamed[f"blocks.{number}.{_BLOCK[part]}{kind}" if part in _BLOCK else key] = value
    for key, parts in attention.items():
        renamed[key] = torch.cat([parts[part] for part in ("query", "key", "value") if part in parts])
    if "pos_embed" in renamed:
        renamed["pos_embed"] = _resized(renamed["pos_embed"], grid_px)
    if {"pos_embed", "reg_token", "cls_token"} <= renamed.keys():
        renamed["cls_token"] = renamed["cls_token"] + renamed["pos_embed"][:, :1]
        renamed["pos_embed"] = renamed["pos_embed"][:, 1:]
    return renamed


def _resized(positions_1nd: Tensor, grid_px: int) -> Tensor:
    """Position embeddings (1, 1 + grid², d) for a grid of grid_px x grid_px."""
    old_px = round((positions_1nd.shape[1] - 1) ** 0.5)
    if old_px == grid_px or old_px**2 != positions_1nd.shape[1] - 1:
        return positions_1nd
    grid_1dhw = positions_1nd[:, 1:].float().reshape(1, old_px, old_px, -1).permute(0, 3, 1, 2)
    grid_1dhw = torch.nn.functional.interpolate(grid_1dhw, size=(grid_px, grid_px), mode="bicubic")
    return torch.cat([positions_1nd[:, :1].float(), grid_1dhw.flatten(2).transpose(1, 2)], dim=1)
