"""Renames the image encoder of a SigLIP file, as transformers writes it, to timm's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_PREFIX = "vision_model."
_OUTSIDE = {
    "embeddings.patch_embedding": "patch_embed.proj",
    "post_layernorm": "norm",
    "head.attention.out_proj": "attn_pool.proj",
    "head.layernorm": "attn_pool.norm",
    "head.mlp.fc1": "attn_pool.mlp.fc1",
    "head.mlp.fc2": "attn_pool.mlp.fc2",
}
_BLOCK = {"layer_norm1": "norm1", "layer_norm2": "norm2", "self_attn.out_proj": "attn.proj"}
_BLOCK_KEY = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)\Z")
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_HEAD = "head.attention.in_proj_"


def siglip_to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the image encoder and its pooling by attention under timm's names; of the text encoder none.

    A file without ``vision_model.`` stays as it is, so that loading names what is odd.
    """
    images = {name.removeprefix(_PREFIX): value for name, value in state.items() if name.startswith(_PREFIX)}
    if not images:
        return dict(state)
    renamed: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    for key, value in images.items():
        stem, _, kind = key.rpartition(".")
        if block := _BLOCK_KEY.match(key):
            number, part, kind = block.groups()
            if part in _QKV:
                attention.setdefault(f"blocks.{number}.attn.qkv.{kind}", {})[part] = value
            else:
                renamed[f"blocks.{number}.{_BLOCK.get(part, part)}.{kind}"] = value
        elif key.startswith(_HEAD):  # of the query, the key and the value, one below the other
            kind = key.removeprefix(_HEAD)
            width = len(value) // 3
            renamed[f"attn_pool.q.{kind}"], renamed[f"attn_pool.kv.{kind}"] = value[:width], value[width:]
        elif key == "head.probe":
            renamed["attn_pool.latent"] = value
        elif key == "embeddings.position_embedding.weight":
            renamed["pos_embed"] = value[None]
        elif key != "embeddings.position_ids":
            renamed[f"{_OUTSIDE.get(stem, stem)}.{kind}"] = value
    for key, parts in attention.items():
        renamed[key] = torch.cat([parts[part] for part in _QKV if part in parts])
    return renamed
