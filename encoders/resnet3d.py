"""3-D ResNets of MONAI, with weights as MedicalNet or MONAI publish them: codes are globally averaged features."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from guidestore.encoders.frozen_volumes import FrozenVolumeEncoder, State
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.monai_parts import ResNet

INFO = EncoderInfo(
    name="resnet3d",
    encoder_class="guidestore.encoders.resnet3d:ResNet3dEncoder",
    takes=("volumes",),
    code_dim="by the file",
    weights="file",
)

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class ResNet3dEncoder(FrozenVolumeEncoder):
    """volumes_bcdhw float32 -> (b, 512 c) float32, of ResNet-50 (b, 2048 c), non-negative. See `FrozenVolumeEncoder`.

    Reads ResNet-10, 18, 34 and 50, also of other widths, with both kinds of shortcut. What no shape tells is as in
    MedicalNet: the first convolution has stride 2 and a max pooling follows it.
    """

    encoder_name = "resnet3d"
    first = "conv1.weight"

    def relevant(self, state: State) -> State:
        heads = ("fc.", "conv_seg.")
        return {name: value for name, value in state.items() if not name.startswith(heads)}

    def width(self, state: State) -> int:
        last = "conv3" if _is_bottleneck(state) else "conv2"
        return state[f"layer4.0.{last}.weight"].shape[0]

    def build(self, state: State) -> nn.Module:
        with torch.device("meta"):
            return ResNet(
                "bottleneck" if _is_bottleneck(state) else "basic",
                [len({name.split(".")[1] for name in state if name.startswith(f"{stage}.")}) for stage in _STAGES],
                [state[f"{stage}.0.conv1.weight"].shape[0] for stage in _STAGES],
                n_input_channels=state[self.first].shape[1],
                conv1_t_size=tuple(state["conv1.weight"].shape[2:]),  # pyright: ignore[reportArgumentType]
                conv1_t_stride=2,
                shortcut_type="B" if any(".downsample." in name for name in state) else "A",
                bias_downsample=any(name.endswith(".downsample.0.bias") for name in state),
                feed_forward=False,
            )

    def pooled(self, network: Any, images_bcdhw: torch.Tensor) -> torch.Tensor:
        return network(images_bcdhw)


def _is_bottleneck(state: State) -> bool:
    return "layer1.0.conv3.weight" in state
