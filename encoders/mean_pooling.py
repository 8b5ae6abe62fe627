"""The plainest z_S: a linear layer over the mean patch code of a slide. What attention must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from guidestore.encoders.bags import DEMO_TRAINING, PAPER_TRAINING, BagBatch, BagModule
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.trainable import Items, Preset, TrainedEncoder

INFO = EncoderInfo(
    name="mean_pooling",
    encoder_class="guidestore.encoders.mean_pooling:MeanPoolingEncoder",
    takes=("bags",),
    code_dim="64 (demo), 512 (paper)",
    weights="trained",
)


@dataclass(frozen=True, slots=True)
class MeanPoolingConfig:
    """Size of the network."""

    patch_code_dim: int
    """d of the patch codes."""
    hidden_dim: int = 64
    """d of z_S."""


class MeanPooling(BagModule):
    """b bags of patch codes -> codes (b, hidden_dim), non-negative."""

    encoder_name = "mean_pooling"
    config_class = MeanPoolingConfig
    presets: ClassVar = {
        "demo": Preset(lambda width, _: MeanPooling(MeanPoolingConfig(width)), DEMO_TRAINING),
        "paper": Preset(lambda width, _: MeanPooling(MeanPoolingConfig(width, 512)), PAPER_TRAINING),
    }

    def forward(self, batch: BagBatch) -> torch.Tensor:
        tiles_nd = self.scaled(batch)
        sum_bd = tiles_nd.new_zeros(batch.size, tiles_nd.shape[1]).index_add(0, batch.bag_n, tiles_nd)
        count_b = torch.bincount(batch.bag_n, minlength=batch.size)
        return torch.relu(self.project(sum_bd / count_b[:, None]))

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        super().reset(train_data, generator)
        self.fit_scale(train_data)

    def augment(self, batch: BagBatch, generator: torch.Generator) -> BagBatch:
        """Unchanged: the mean of fewer tiles is the same code with noise."""
        return batch


class MeanPoolingEncoder(TrainedEncoder):
    """bags -> (b, hidden_dim) float32, non-negative. See `Encoder`."""

    module_class = MeanPooling
