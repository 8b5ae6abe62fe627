"""What encoders of bags share: bags laid end to end as a batch, and the scale of their tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from guidestore.embeddings.types import Bag
from guidestore.encoders.kinds.bags import Bags
from guidestore.encoders.trainable import Items, TrainableEncoder
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.transfer import uploaded

DEMO_TRAINING = TrainingSettings(epochs=100, patience=30, batch_size=8, learning_rate=2e-3, weight_decay=1e-3)
"""For a few dozen phantoms: a fold in about a second."""

PAPER_TRAINING = TrainingSettings(epochs=200, patience=20, batch_size=1, learning_rate=1e-4, weight_decay=1e-5)
"""Row P of the paper's protocol, with `clam_small`; the weight decay is the released code's."""

MIN_SD = 1e-3
"""A component with less spread over the train tiles is constant; it is centred, not blown up."""


@dataclass(frozen=True, slots=True)
class BagBatch:
    """b bags laid end to end: tiles_nd (n, d) float32 and for each tile its bag, bag_n (n,) int64, ascending."""

    tiles_nd: torch.Tensor
    bag_n: torch.Tensor
    size: int
    """b."""


def bag_batch(bags: Sequence[Bag], device: torch.device) -> BagBatch:
    """The bags laid end to end on `device`."""
    tiles_nd = uploaded(np.concatenate([bag.features_nd for bag in bags]), device)
    bag_n = torch.repeat_interleave(torch.arange(len(bags)), torch.tensor([len(bag) for bag in bags]))
    # float16 travels to a GPU in half the time.
    return BagBatch(tiles_nd.float(), uploaded(bag_n.numpy(), device), len(bags))


class BagModule(TrainableEncoder):
    """A trainable encoder of b bags. Mean and sd of the train tiles, which bring the codes to one scale, are buffers.

    Its config is a frozen dataclass with the fields patch_code_dim and hidden_dim.
    """

    input_kind = "bags"
    encode_batch_size = 1
    config_class: ClassVar[type]
    mean_d: torch.Tensor
    sd_d: torch.Tensor

    def __init__(self, config: Any, branches: int = 1) -> None:
        super().__init__()
        self._config = config
        self.branches = branches
        self.code_dim = branches * config.hidden_dim
        self.register_buffer("mean_d", torch.zeros(config.patch_code_dim))
        self.register_buffer("sd_d", torch.ones(config.patch_code_dim))
        self.project = nn.Linear(config.patch_code_dim, config.hidden_dim)

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(cls.config_class(**config))

    @property
    def config(self) -> dict[str, Any]:
        return asdict(self._config)

    def scaled(self, batch: BagBatch) -> torch.Tensor:
        """(n, d) the tiles at unit scale."""
        return (batch.tiles_nd - self.mean_d) / self.sd_d

    def check(self, data: Items) -> None:
        Bags().check(data, self.encoder_name, self._config.patch_code_dim)

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)

    def fit_scale(self, train_data: Items) -> None:
        """Mean and sd of the train tiles."""
        mean_d, sd_d = tile_scale(train_data)
        self.mean_d.copy_(torch.from_numpy(mean_d))
        self.sd_d.copy_(torch.from_numpy(sd_d))

    def batch(self, data: Items, rows: Sequence[int]) -> BagBatch:
        bags: list[Any] = [data[row] for row in rows]
        Bags().check(bags, self.encoder_name, self._config.patch_code_dim)
        return bag_batch(bags, self.device)

    def graph(self) -> nn.Module:
        return _OneBag(self)


class _OneBag(nn.Module):
    """tiles_nd float32 of one slide -> its code (1, d)."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tiles_nd: torch.Tensor) -> torch.Tensor:
        return self.module(BagBatch(tiles_nd, torch.zeros(tiles_nd.shape[0], dtype=torch.int64), 1))


def tile_scale(bags: Any) -> tuple[np.ndarray, np.ndarray]:
    """mean_d, sd_d (d,) float64 of the tiles; every slide counts the same, however many tiles it has."""
    means, squares = [], []
    for bag in bags:
        means.append(bag.features_nd.mean(axis=0, dtype=np.float64))
        squares.append(np.square(bag.features_nd, dtype=np.float64).mean(axis=0))
    mean_d = np.mean(means, axis=0)
    sd_d = np.sqrt(np.maximum(np.mean(squares, axis=0) - mean_d**2, 0))
    return mean_d, np.where(sd_d < MIN_SD, 1.0, sd_d)
