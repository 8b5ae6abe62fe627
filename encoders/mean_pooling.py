"""The plainest z_S: a linear layer over the mean patch code of a slide. What attention must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import nn

from encoders.attention_pooling import BagBatch, bag_batch, tile_scale
from encoders.checks import check_bags
from encoders.trainable import Items, TrainableEncoder, TrainedEncoder


@dataclass(frozen=True, slots=True)
class MeanPoolingConfig:
    """Size of the network."""

    patch_code_dim: int
    """d of the patch codes."""
    hidden_dim: int = 64
    """d of z_S."""


class MeanPooling(TrainableEncoder):
    """b bags of patch codes -> codes (b, hidden_dim), non-negative. Mean and sd of the train tiles are buffers."""

    encoder_name = "mean_pooling"
    input_kind = "bags"
    encode_batch_size = 1
    mean_d: torch.Tensor
    sd_d: torch.Tensor

    def __init__(self, config: MeanPoolingConfig) -> None:
        super().__init__()
        self._config = config
        self.code_dim = config.hidden_dim
        self.register_buffer("mean_d", torch.zeros(config.patch_code_dim))
        self.register_buffer("sd_d", torch.ones(config.patch_code_dim))
        self.project = nn.Linear(config.patch_code_dim, config.hidden_dim)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(MeanPoolingConfig(**config))

    @property
    def config(self) -> dict[str, Any]:
        return asdict(self._config)

    def forward(self, batch: BagBatch) -> torch.Tensor:
        tiles_nd = (batch.tiles_nd - self.mean_d) / self.sd_d
        sum_bd = tiles_nd.new_zeros(batch.size, tiles_nd.shape[1]).index_add(0, batch.bag_n, tiles_nd)
        count_b = torch.bincount(batch.bag_n, minlength=batch.size)
        return torch.relu(self.project(sum_bd / count_b[:, None]))

    def check(self, data: Items) -> None:
        check_bags(data, self._config.patch_code_dim, self.encoder_name)

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        nn.init.xavier_normal_(self.project.weight, generator=generator)
        nn.init.zeros_(self.project.bias)
        mean_d, sd_d = tile_scale(train_data)
        self.mean_d.copy_(torch.from_numpy(mean_d))
        self.sd_d.copy_(torch.from_numpy(sd_d))

    def batch(self, data: Items, rows: Sequence[int]) -> BagBatch:
        bags: list[Any] = [data[row] for row in rows]
        check_bags(bags, self._config.patch_code_dim, self.encoder_name)
        return bag_batch(bags, self.device)

    def augment(self, batch: BagBatch, generator: torch.Generator) -> BagBatch:
        """Unchanged: the mean of fewer tiles is the same code with noise."""
        return batch


class MeanPoolingEncoder(TrainedEncoder):
    """bags -> (b, hidden_dim) float32, non-negative. See `Encoder`."""

    module_class = MeanPooling
