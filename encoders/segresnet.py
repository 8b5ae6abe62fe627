"""Encoders of MONAI's SegResNet and SegResNetDS: codes are their globally averaged deepest features."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from guidestore.encoders.frozen_volumes import FrozenVolumeEncoder, State
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.monai_parts import SegResEncoder, SegResNet

INFO = EncoderInfo(
    name="segresnet",
    encoder_class="guidestore.encoders.segresnet:SegResNetEncoder",
    takes=("volumes",),
    code_dim="by the file",
    weights="file",
)
INFO_DS = EncoderInfo(
    name="segresnet_ds",
    encoder_class="guidestore.encoders.segresnet:SegResNetDsEncoder",
    takes=("volumes",),
    code_dim="by the file",
    weights="file",
)


class SegResNetEncoder(FrozenVolumeEncoder):
    """volumes_bcdhw float32 -> (b, 8 f c) float32 of f filters and four levels. See `FrozenVolumeEncoder`.

    Reads checkpoints of MONAI's SegResNet, also with a VAE, such as its bundle for gliomas of BraTS, which takes
    volumes that are z-scored as ours are. What no shape tells is as in MONAI: ReLU, and normalisation over 8 groups
    where there are no running means.
    """

    encoder_name = "segresnet"
    first = "convInit.conv.weight"

    def relevant(self, state: State) -> State:
        return {name: value for name, value in state.items() if name.startswith(("convInit.", "down_layers."))}

    def width(self, state: State) -> int:
        return len(state[self.first]) * 2 ** (len(_blocks(state, "conv1.conv.weight")) - 1)

    def build(self, state: State) -> nn.Module:
        with torch.device("meta"):
            network = SegResNet(
                spatial_dims=3,
                init_filters=len(state[self.first]),
                in_channels=state[self.first].shape[1],
                norm="batch" if _has_means(state) else ("group", {"num_groups": 8}),
                blocks_down=_blocks(state, "conv1.conv.weight"),
            )
        network.up_layers = network.up_samples = nn.ModuleList()
        network.conv_final = nn.Sequential()
        return network

    def pooled(self, network: Any, images_bcdhw: torch.Tensor) -> torch.Tensor:
        return network.encode(images_bcdhw)[0].mean(dim=(2, 3, 4))


class SegResNetDsEncoder(FrozenVolumeEncoder):
    """volumes_bcdhw float32 -> (b, 2^(l-1) f c) float32 of f filters and l levels. See `FrozenVolumeEncoder`.

    Reads checkpoints of MONAI's SegResNetDS, as Auto3DSeg trains it, and of its encoder alone. What no shape tells is
    as in MONAI: ReLU, steps of 2 along each axis, and normalisation of each channel where there are no running means.
    """

    encoder_name = "segresnet_ds"
    first = "conv_init.weight"

    def relevant(self, state: State) -> State:
        prefix = next((name.removesuffix(self.first) for name in state if name.endswith(f".{self.first}")), "")
        own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        return {name: value for name, value in own.items() if name.startswith(("conv_init.", "layers."))}

    def width(self, state: State) -> int:
        return len(state[self.first]) * 2 ** (len(_blocks(state, "conv1.weight")) - 1)

    def build(self, state: State) -> nn.Module:
        with torch.device("meta"):
            return SegResEncoder(
                init_filters=len(state[self.first]),
                in_channels=state[self.first].shape[1],
                norm="batch" if _has_means(state) else "instance",
                blocks_down=_blocks(state, "conv1.weight"),
            )

    def pooled(self, network: Any, images_bcdhw: torch.Tensor) -> torch.Tensor:
        return network(images_bcdhw)[-1].mean(dim=(2, 3, 4))


def _blocks(state: State, convolution: str) -> tuple[int, ...]:
    """How many blocks each level has, by the names of the first convolution of each."""
    levels = [name.split("layers.")[1].split(".")[0] for name in state if name.endswith(f".{convolution}")]
    return tuple(levels.count(level) for level in sorted(set(levels), key=int))


def _has_means(state: State) -> bool:
    return any(name.endswith("running_mean") for name in state)
