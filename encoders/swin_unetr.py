"""The Swin transformer of MONAI's SwinUNETR: codes are its globally averaged deepest features."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import nn
from torch.nn.functional import pad

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.frozen_volumes import FrozenVolumeEncoder, State
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.monai_parts import SwinTransformer

INFO = EncoderInfo(
    name="swin_unetr",
    encoder_class="guidestore.encoders.swin_unetr:SwinUnetrEncoder",
    takes=("volumes",),
    code_dim="by the file",
    weights="file",
)

_STAGES = ("layers1", "layers2", "layers3", "layers4")
_PARTS = ("patch_embed.", *(f"{stage}." for stage in _STAGES), *(f"{stage}c." for stage in _STAGES))


class SwinUnetrEncoder(FrozenVolumeEncoder):
    """volumes_bcdhw float32 -> (b, 768 c) float32 at feature size 48. See `FrozenVolumeEncoder`.

    Reads MONAI's pre-trained encoder (``model_swinvit.pt``) and whole SwinUNETR checkpoints, version 2 as well. Sizes
    that are no multiple of 32 voxels are padded with zeros, evenly on both sides; the padding counts in the average.
    """

    encoder_name = "swin_unetr"
    first = "patch_embed.proj.weight"

    def relevant(self, state: State) -> State:
        if any(name.startswith("swinViT.") for name in state):
            state = {name.removeprefix("swinViT."): value for name, value in state.items() if "swinViT." in name}
        return {
            name.replace(".mlp.fc", ".mlp.linear"): value for name, value in state.items() if name.startswith(_PARTS)
        }

    def width(self, state: State) -> int:
        return 2 ** len(_STAGES) * _feature_size(state)

    def build(self, state: State) -> nn.Module:
        if find_spec("einops") is None:  # MONAI's Swin transformer calls it and does not require it
            raise InvalidInputError(
                f"encoder {self.encoder_name} needs the package einops, which is missing; run `pip install einops`"
            )
        tables = [state[f"{stage}.0.blocks.0.attn.relative_position_bias_table"] for stage in _STAGES]
        hidden = state["layers1.0.blocks.0.mlp.linear1.weight"].shape[0]
        window = (round(tables[0].shape[0] ** (1 / 3)) + 1) // 2  # the table has (2 window - 1)^3 rows
        network = SwinTransformer(
            in_chans=state[self.first].shape[1],
            embed_dim=_feature_size(state),
            window_size=(window,) * 3,
            patch_size=tuple(state["patch_embed.proj.weight"].shape[2:]),
            depths=[len({name.split(".")[3] for name in state if name.startswith(f"{s}.0.blocks.")}) for s in _STAGES],
            num_heads=[table.shape[1] for table in tables],
            mlp_ratio=hidden / _feature_size(state),
            qkv_bias="layers1.0.blocks.0.attn.qkv.bias" in state,
            patch_norm="patch_embed.norm.weight" in state,
            use_v2=any(name.startswith("layers1c.") for name in state),
        )
        for name, value in network.named_buffers():  # places of a window's voxels, which some files leave out
            state.setdefault(name, value)
        return network

    def pooled(self, network: Any, images_bcdhw: torch.Tensor) -> torch.Tensor:
        steps = [size * 2 ** len(_STAGES) for size in network.patch_size]
        missing = [-size % step for size, step in zip(images_bcdhw.shape[2:], steps, strict=True)]
        margins = [margin for size in reversed(missing) for margin in (size // 2, size - size // 2)]
        return network(pad(images_bcdhw, margins))[-1].mean(dim=(2, 3, 4))


def _feature_size(state: State) -> int:
    return state["patch_embed.proj.weight"].shape[0]
