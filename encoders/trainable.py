"""What `train_classifier` trains: a torch module image -> code that knows how to batch its own kind of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from embeddings.types import Bag

type Items = np.ndarray | Sequence[Bag]
"""Data of n cases: volumes_bcdhw (n, c, d, h, w) float32, or n bags."""


class TrainableEncoder(nn.Module, ABC):
    """A module whose `forward(batch)` gives codes (b, code_dim), and what a trainer asks of it."""

    encoder_name: ClassVar[str]
    """Under which `build_encoder` rebuilds it."""

    code_dim: int

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON-able; with the tensors enough to rebuild the module."""

    @abstractmethod
    def check(self, data: Items) -> None:
        """Raises InvalidInputError where `data` is not what the module takes."""

    @abstractmethod
    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        """Draws all weights anew from `generator`, and fits what the module keeps of the train data (its scale)."""

    @abstractmethod
    def batch(self, data: Items, rows: Sequence[int]) -> Any:
        """The tensors of those rows, on the module's device, as `forward` takes them."""

    @abstractmethod
    def augment(self, batch: Any, generator: torch.Generator) -> Any:
        """A lightly changed copy of a train batch; `generator` lives on the CPU."""

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
