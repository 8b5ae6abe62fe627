"""Renames the image encoder of a CLIP file, as OpenAI or transformers write it, to timm's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_OPENAI = {
    "visual.conv1.weight": "patch_embed.proj.weight",
    "visual.class_embedding": "cls_token",
    "visual.positional_embedding": "pos_embed",
    "visual.ln_pre": "norm_pre",
    "visual.ln_post": "norm",
}
_TRANSFORMERS = {
    "vision_model.embeddings.patch_embedding.weight": "patch_embed.proj.weight",
    "vision_model.embeddings.class_embedding": "cls_token",
    "vision_model.embeddings.position_embedding.weight": "pos_embed",
    "vision_model.pre_layrnorm": "norm_pre",  # as it is spelt there
    "vision_model.post_layernorm": "norm",
}
_BLOCK = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "attn.out_proj": "attn.proj",
    "self_attn.out_proj": "attn.proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "attn.in_proj": "attn.qkv",
}
_BLOCK_KEY = re.compile(
    r"(?:visual\.transformer\.resblocks|vision_model\.encoder\.layers)\.(\d+)\.(.+?)[._](weight|bias)\Z"
)
_QKV = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
_OTHERS = ("visual.proj", "vision_model.embeddings.position_ids")


def clip_to_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of the image encoder, without its projection, under timm's names; of the text encoder none.

    A file that holds neither layout stays as it is, so that loading names what is odd.
    """
    images = {name: value for name, value in state.items() if name.startswith(("visual.", "vision_model."))}
    if not images:
        return dict(state)
    renamed: dict[str, Tensor] = {}
    attention: dict[str, dict[str, Tensor]] = {}
    for key, value in images.items():
        if block := _BLOCK_KEY.match(key):
            number, part, kind = block.groups()
            if part in _QKV:
                attention.setdefault(f"blocks.{number}.attn.qkv.{kind}", {})[part] = value
            else:
                renamed[f"blocks.{number}.{_BLOCK[part]}.{kind}" if part in _BLOCK else key] = value
        elif key not in _OTHERS:
            renamed[_outside(key)] = value
    for key, parts in attention.items():
        renamed[key] = torch.cat([parts[part] for part in _QKV if part in parts])
    for name in renamed.keys() & {"cls_token", "pos_embed"}:  # (d,) and (n, d); timm's are (1, n, d)
        renamed[name] = torch.atleast_2d(renamed[name])[None]
    return renamed


def _outside(key: str) -> str:
    names = _OPENAI | _TRANSFORMERS
    stem, _, kind = key.rpartition(".")
    return names.get(key) or (f"{names[stem]}.{kind}" if stem in names else key)
