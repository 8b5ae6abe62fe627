"""What `train_classifier` trains: a torch module image -> code that knows how to batch its own kind of data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import NEVER_TRAINED, Bag, EncoderSpec, FoldScope
from guidestore.encoders.arithmetic import Arithmetic
from guidestore.encoders.training_settings import TrainingSettings
from guidestore.encoders.weights import load_tensors

type Items = np.ndarray | Sequence[np.ndarray] | Sequence[Bag]
"""Data of n cases: item i is volume_cdhw (c, d, h, w) float32, photograph_hwc (h, w, 3) uint8, or a bag. A sequence may
read its items when asked."""


@dataclass(frozen=True, slots=True)
class Preset:
    """How to make an untrained network of one size, and to train it."""

    build: Callable[[int, int], TrainableEncoder]
    """Of input width (channels, or d of the patch codes) and number of classes of the first target."""
    training: TrainingSettings
    photograph_px: int = 0
    """Edge of the photographs that it is trained on."""


class TrainableEncoder(nn.Module, ABC):
    """A module whose `forward(batch)` gives codes (b, code_dim), and what a trainer asks of it."""

    encoder_name: ClassVar[str]
    """Under which `build_encoder` rebuilds it."""

    input_kind: ClassVar[str]

    presets: ClassVar[dict[str, Preset]]
    """demo: for two CPU cores; paper: as published."""

    encode_batch_size: ClassVar[int]
    """Items per forward pass when it encodes."""

    code_dim: int

    @classmethod
    @abstractmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        """The module again, with weights of no meaning. Raises TypeError on a config that is not its own."""

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON-able; with the tensors enough to rebuild the module."""

    def start_from(self, path: Path, saw: Literal["none", "unknown"]) -> None:
        """Lets `reset` take the weights of a file for those that it draws; `saw`: whether they saw the cohort's cases.

        Raises InvalidInputError for a file that does not fit, and where the module knows no published weights.
        """
        raise InvalidInputError(
            f"encoder {self.encoder_name} is trained from weights of its own, not from {path}; leave --weights out"
        )

    @abstractmethod
    def check(self, data: Items) -> None:
        """Raises InvalidInputError where `data` is not what the module takes. Reads every item."""

    @abstractmethod
    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        """Draws all weights anew from `generator`, and fits what the module keeps of the train data (its scale).

        A module with start weights (`start_from`) takes those.
        """

    @abstractmethod
    def batch(self, data: Items, rows: Sequence[int]) -> Any:
        """The tensors of those rows, checked, on the module's device, as `forward` takes them. Runs in a thread."""

    @abstractmethod
    def augment(self, batch: Any, generator: torch.Generator) -> Any:
        """A lightly changed copy of a train batch; `generator` lives on the CPU."""

    def training_loss(self, batch: Any, y: torch.Tensor, decode: Callable[[torch.Tensor], torch.Tensor]) -> Any:
        """Scalar loss of a train batch with labels y (b,) int64 of one target; `decode`: codes -> logits (b, k)."""
        return cross_entropy(decode(self(batch)), y)

    def decoder_mask(self, n_classes: int) -> torch.Tensor | None:
        """(k, code_dim) of 0 and 1: what the decoder of each class may see of a code; None: all of it."""
        return None

    def graph(self) -> nn.Module:
        """The module from pixels, as the encoder's input kind has them, to codes: what is written as ONNX."""
        return self

    @property
    def device(self) -> torch.device:
        return next((tensor.device for tensor in (*self.parameters(), *self.buffers())), torch.device("cpu"))


class TrainedEncoder:
    """A trained module as an `Encoder`: volumes, photographs or a sequence of bags -> (b, code_dim) float32.

    config, tensors: of a `TrainedClassifier`. preprocessing: `VolumeSettings.as_dict()` of the volumes,
    `PhotographSettings.as_dict()` of the photographs, or which patch codes the bags hold:
    ``{"patch_encoder": name, "patch_encoder_digest": digest}``; and `Arithmetic.as_dict()`.
    """

    module_class: ClassVar[type[TrainableEncoder]]

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
        kind = self.module_class
        try:
            self.module = kind.of_config(config)
        except TypeError as error:
            raise InvalidInputError(f"this is no config of encoder {kind.encoder_name}: {error}") from error
        load_tensors(self.module, tensors, kind.encoder_name)
        self.module.eval().to(device)
        self._arithmetic = Arithmetic.of(preprocessing)
        self.spec = EncoderSpec(
            kind.encoder_name,
            "1",
            kind.input_kind,
            self.module.code_dim,
            weights_sha256,
            dict(preprocessing or {}),
            trained_on,
        )

    @torch.inference_mode()
    def encode(self, batch: Any, /) -> np.ndarray:
        """codes_bd of the batch, a few items at a time."""
        self.module.check(batch)
        codes_bd = np.empty((len(batch), self.spec.code_dim), np.float32)
        for start in range(0, len(batch), self.module.encode_batch_size):
            rows = range(start, min(start + self.module.encode_batch_size, len(batch)))
            with self._arithmetic.on(self.module.device):
                codes = self.module(self.module.batch(batch, rows)).float()
            codes_bd[rows.start : rows.stop] = codes.cpu().numpy()
        return codes_bd
