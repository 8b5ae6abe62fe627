"""C_I of the paper: a 3-D DenseNet whose code is its globally pooled feature map after the last ReLU (MONAI)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.augmentation import AUGMENTATIONS
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.kinds.volumes import Volumes
from guidestore.encoders.monai_parts import DenseNet
from guidestore.encoders.trainable import Items, Preset, TrainableEncoder, TrainedEncoder
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.transfer import uploaded

INFO = EncoderInfo(
    name="densenet3d",
    encoder_class="guidestore.encoders.densenet3d:DenseNet3dEncoder",
    takes=("volumes",),
    code_dim="32 (demo), 1024 (paper)",
    weights="trained",
)

DEMO_TRAINING = TrainingSettings(epochs=60, patience=40, batch_size=8, learning_rate=1e-3, weight_decay=1e-3)
"""For a few dozen phantoms at `DEMO_VOLUMES`: a fold of 24 train cases takes 9 s of CPU. Patience is long because batch
normalisation's running statistics need some ten epochs of three steps before the val loss means anything."""

PAPER_TRAINING = TrainingSettings(epochs=600, patience=50, batch_size=10, learning_rate=2e-4, weight_decay=1e-5)
"""Row R of the paper's protocol, with `densenet121`; the weight decay is the released code's."""


@dataclass(frozen=True, slots=True)
class DenseNet3dConfig:
    """Size of the network. The defaults train on two CPU cores (32-d code)."""

    in_channels: int = 4
    """One per sequence."""
    init_features: int = 16
    growth_rate: int = 8
    block_config: tuple[int, ...] = (2, 2, 2)
    """Layers per dense block."""
    augmentation: str = "light"
    """Of train volumes: a name of `encoders.augmentation.AUGMENTATIONS`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_config", tuple(int(layers) for layers in self.block_config))
        if self.augmentation not in AUGMENTATIONS:
            raise InvalidInputError(
                f"there is no augmentation {self.augmentation!r}; use one of {', '.join(AUGMENTATIONS)}"
            )


def densenet121(in_channels: int) -> DenseNet3dConfig:
    """The paper's, with a 1,024-d code."""
    return DenseNet3dConfig(in_channels, 64, 32, (6, 12, 24, 16), "paper")


class DenseNet3d(TrainableEncoder):
    """volumes (b, c, d, h, w) float32 -> codes (b, code_dim), non-negative."""

    encoder_name = "densenet3d"
    input_kind = "volumes"
    encode_batch_size = 8
    """A full-size volume of four sequences takes some 2 GB in a DenseNet121."""
    presets: ClassVar = {
        "demo": Preset(lambda channels, _: DenseNet3d(DenseNet3dConfig(channels)), DEMO_TRAINING),
        "paper": Preset(lambda channels, _: DenseNet3d(densenet121(channels)), PAPER_TRAINING),
    }

    def __init__(self, config: DenseNet3dConfig | None = None) -> None:
        super().__init__()
        self._config = config or DenseNet3dConfig()
        network = DenseNet(
            spatial_dims=3,
            in_channels=self._config.in_channels,
            out_channels=1,
            init_features=self._config.init_features,
            growth_rate=self._config.growth_rate,
            block_config=self._config.block_config,
        )
        self.features = network.features
        self.code_dim = int(network.class_layers.out.in_features)  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(DenseNet3dConfig(**config))

    @property
    def config(self) -> dict[str, Any]:
        return asdict(self._config) | {"block_config": list(self._config.block_config)}

    def forward(self, volumes_bcdhw: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.features(volumes_bcdhw)).mean(dim=(2, 3, 4))

    def check(self, data: Items) -> None:
        Volumes().check(np.asarray(data), self.encoder_name, self._config.in_channels)

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()

    def batch(self, data: Items, rows: Sequence[int]) -> torch.Tensor:
        volumes_bcdhw = np.stack([np.asarray(data[row]) for row in rows])
        Volumes().check(volumes_bcdhw, self.encoder_name, self._config.in_channels)
        return uploaded(volumes_bcdhw, self.device)

    def augment(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return AUGMENTATIONS[self._config.augmentation](batch, generator)


class DenseNet3dEncoder(TrainedEncoder):
    """volumes_bcdhw float32 -> (b, d) float32, non-negative. See `Encoder`."""

    module_class = DenseNet3d
