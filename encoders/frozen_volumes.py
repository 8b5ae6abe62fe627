"""Frozen 3-D networks whose weights others trained: a weights file and volumes -> codes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import NEVER_TRAINED, EncoderSpec, FoldScope
from guidestore.encoders.arithmetic import Arithmetic
from guidestore.encoders.hub import file_sha256, read_weights
from guidestore.encoders.kinds.volumes import Volumes
from guidestore.encoders.transfer import uploaded
from guidestore.encoders.weights import fit_state

State = dict[str, torch.Tensor]
"""Tensors of a network by name."""

FORWARD_IMAGES = 4
"""Images pushed through at a time: four of 96 x 96 x 96 voxels take some 2 GB in a Swin transformer."""


class FrozenVolumeEncoder(ABC):
    """volumes_bcdhw float32 -> codes (b, code_dim) float32 of a frozen network. See `Encoder`.

    weights: its file, see `encoders.hub.read_weights`; the architecture is read from the shapes of its tensors.
    channels: c of the volumes, one per sequence. A network of one channel encodes each sequence on its own, and the c
    codes are concatenated in the order of the channels; any other network must have c channels.
    preprocessing: `VolumeSettings.as_dict()` of the volumes, and `Arithmetic.as_dict()`. device: of the network.

    trained_on: none where the network never saw the cohort, else unknown (BraTS and RadPath may share patients).

    Raises InvalidInputError for weights that cannot be read, are of another architecture, or have another number of
    channels.
    """

    encoder_name: ClassVar[str]
    first: ClassVar[str]
    """Name of the first convolution's weights, (out, in, kd, kh, kw)."""

    def __init__(
        self,
        *,
        weights: Path,
        channels: int,
        preprocessing: Mapping[str, Any] | None = None,
        device: str = "cpu",
        trained_on: FoldScope = NEVER_TRAINED,
    ) -> None:
        path = Path(weights)
        state = self.relevant(read_weights(path))
        other = f"weights file {path} holds no {self.encoder_name}"
        if self.first in state and state[self.first].ndim != 5:
            shape = tuple(state[self.first].shape)
            raise InvalidInputError(f"{other}: tensor {self.first} is {shape}; give the file of a 3-D network")
        try:
            in_channels = state[self.first].shape[1]
            network = self.build(state)
        except KeyError as error:
            raise InvalidInputError(
                f"{other}: tensor {error.args[0]} is missing; give the file of such a network"
            ) from error
        fit_state(network, state, self.encoder_name, path)
        if in_channels not in (1, channels):
            raise InvalidInputError(
                f"weights file {path} takes {in_channels} channels and the volumes have {channels}; give as many "
                "sequences, or weights of one channel, which encode each sequence on its own"
            )
        self._in_channels = in_channels
        self._channels = channels
        self._device, self._arithmetic = torch.device(device), Arithmetic.of(preprocessing)
        self._network = network.eval().requires_grad_(False).to(self._device)
        self.spec = EncoderSpec(
            self.encoder_name,
            "1",
            "volumes",
            self.width(state) * channels // in_channels,
            file_sha256(path),
            dict(preprocessing or {}),
            trained_on,
        )

    @abstractmethod
    def relevant(self, state: State) -> State:
        """The tensors of the network itself under its own names: without heads and decoders."""

    @abstractmethod
    def width(self, state: State) -> int:
        """Code dimensions of one image."""

    @abstractmethod
    def build(self, state: State) -> nn.Module:
        """A network of the shapes of `state`. Raises KeyError, naming a tensor that it cannot do without."""

    @abstractmethod
    def pooled(self, network: Any, images_bcdhw: torch.Tensor) -> torch.Tensor:
        """codes (b, width)."""

    @torch.inference_mode()
    def encode(self, batch: Any, /) -> np.ndarray:
        """codes_bd of the batch, a few images at a time."""
        Volumes().check(batch, self.spec.name, self._channels)
        codes_bd = np.empty((len(batch), self.spec.code_dim), np.float32)
        if len(batch):
            images_bcdhw = batch.reshape(-1, self._in_channels, *batch.shape[2:])
            starts = range(0, len(images_bcdhw), FORWARD_IMAGES)
            parts = [self._codes(images_bcdhw[start : start + FORWARD_IMAGES]) for start in starts]
            codes_bd[:] = np.concatenate(parts).reshape(codes_bd.shape)
        return codes_bd

    def _codes(self, images_bcdhw: np.ndarray) -> np.ndarray:
        images = uploaded(images_bcdhw, self._device)
        with self._arithmetic.on(self._device):
            return self.pooled(self._network, images).float().cpu().numpy()
