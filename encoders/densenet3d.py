"""C_I of the paper: a 3-D DenseNet whose code is its globally pooled feature map after the last ReLU (MONAI)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from monai.networks.nets.densenet import DenseNet
from torch import nn

from embeddings.errors import InvalidInputError
from embeddings.types import NEVER_TRAINED, EncoderSpec, FoldScope
from encoders.checks import check_volumes
from encoders.trainable import Items, TrainableEncoder
from encoders.weights import load_tensors

ENCODE_BATCH_SIZE = 8
"""Volumes per forward pass: a full-size volume of four sequences takes some 2 GB in a DenseNet121."""

FLIP_AXIS = -1
"""Left-right, the only flip that leaves a head a head."""


@dataclass(frozen=True, slots=True)
class DenseNet3dConfig:
    """Size of the network. The defaults train on two CPU cores (32-d code)."""

    in_channels: int = 4
    """One per sequence."""
    init_features: int = 16
    growth_rate: int = 8
    block_config: tuple[int, ...] = (2, 2, 2)
    """Layers per dense block."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_config", tuple(int(layers) for layers in self.block_config))


DENSENET121 = DenseNet3dConfig(init_features=64, growth_rate=32, block_config=(6, 12, 24, 16))
"""The paper's, with a 1,024-d code."""


class DenseNet3d(TrainableEncoder):
    """volumes (b, c, d, h, w) float32 -> codes (b, code_dim), non-negative."""

    encoder_name = "densenet3d"

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

    @property
    def config(self) -> dict[str, Any]:
        return asdict(self._config) | {"block_config": list(self._config.block_config)}

    def forward(self, volumes_bcdhw: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.features(volumes_bcdhw)).mean(dim=(2, 3, 4))

    def check(self, data: Items) -> None:
        check_volumes(data, self._config.in_channels, self.encoder_name)

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm3d):
                module.reset_parameters()

    def batch(self, data: Items, rows: Sequence[int]) -> torch.Tensor:
        return torch.from_numpy(np.asarray(data)[list(rows)]).to(self.device)

    def augment(self, batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Left-right flips of half the volumes; each sequence scaled by 1 +- 0.1 and shifted by 0.1 sd."""
        b, c = batch.shape[:2]
        flip_b = torch.rand(b, generator=generator) < 0.5
        scale_bc = 1 + 0.1 * torch.randn(b, c, generator=generator)
        shift_bc = 0.1 * torch.randn(b, c, generator=generator)
        flip, scale, shift = (
            value[..., *(None,) * (5 - value.ndim)].to(batch.device) for value in (flip_b, scale_bc, shift_bc)
        )
        flipped = torch.where(flip, batch.flip(FLIP_AXIS), batch)
        # The background is exactly 0 and stays so.
        return torch.where(flipped == 0, flipped, flipped * scale + shift)


class DenseNet3dEncoder:
    """volumes_bcdhw float32 -> (b, d) float32, non-negative. See `Encoder`.

    config, tensors: of a `TrainedClassifier`. preprocessing: `VolumeSettings.as_dict()` of the volumes.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any],
        tensors: Mapping[str, np.ndarray],
        weights_sha256: str = "",
        trained_on: FoldScope = NEVER_TRAINED,
        preprocessing: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ) -> None:
        try:
            self._module = DenseNet3d(DenseNet3dConfig(**config))
        except TypeError as error:
            raise InvalidInputError(f"this is no config of encoder densenet3d: {error}") from error
        load_tensors(self._module, tensors, DenseNet3d.encoder_name)
        self._module.eval().to(device)
        self.spec = EncoderSpec(
            DenseNet3d.encoder_name,
            "1",
            "volumes",
            self._module.code_dim,
            weights_sha256,
            dict(preprocessing or {}),
            trained_on,
        )

    @torch.inference_mode()
    def encode(self, batch: np.ndarray, /) -> np.ndarray:
        self._module.check(batch)
        codes_bd = np.empty((len(batch), self.spec.code_dim), np.float32)
        for start in range(0, len(batch), ENCODE_BATCH_SIZE):
            rows = range(start, min(start + ENCODE_BATCH_SIZE, len(batch)))
            codes_bd[rows.start : rows.stop] = self._module(self._module.batch(batch, rows)).cpu().numpy()
        return codes_bd
