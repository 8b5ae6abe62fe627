"""C_S of the paper: gated attention pooling over the patch codes of a slide.

Ilse, Tomczak & Welling 2018 (gated attention), as in CLAM-SB without its clustering loss: Linear d -> hidden, ReLU,
attention weights over the tiles, z_S = the weighted sum. z_S is non-negative because a ReLU precedes the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from embeddings.errors import InvalidInputError
from embeddings.types import NEVER_TRAINED, Bag, EncoderSpec, FoldScope
from encoders.checks import check_bags
from encoders.trainable import Items, TrainableEncoder
from encoders.weights import load_tensors

KEPT_TILES = 0.75
"""Share of a bag's tiles that a training step sees: the augmentation, and what keeps attention from one tile."""

MIN_SD = 1e-3
"""A component with less spread over the train tiles is constant; it is centred, not blown up."""


@dataclass(frozen=True, slots=True)
class AttentionPoolingConfig:
    """Size of the network. The defaults suit the 46-d texture codes."""

    patch_code_dim: int
    """d of the patch codes."""
    hidden_dim: int = 64
    """d of z_S."""
    attention_dim: int = 32
    """Width of the gated attention."""


def clam_small(patch_code_dim: int = 1024) -> AttentionPoolingConfig:
    """The paper's: CLAM-SB small, with a 512-d code."""
    return AttentionPoolingConfig(patch_code_dim, hidden_dim=512, attention_dim=256)


@dataclass(frozen=True, slots=True)
class BagBatch:
    """b bags laid end to end: tiles_nd (n, d) float32 and for each tile its bag, bag_n (n,) int64, ascending."""

    tiles_nd: torch.Tensor
    bag_n: torch.Tensor
    size: int
    """b."""


class AttentionPooling(TrainableEncoder):
    """b bags of patch codes -> codes (b, hidden_dim), non-negative. The train tiles' mean and sd are buffers."""

    encoder_name = "attention_pooling"
    mean_d: torch.Tensor
    sd_d: torch.Tensor

    def __init__(self, config: AttentionPoolingConfig) -> None:
        super().__init__()
        self._config = config
        self.code_dim = config.hidden_dim
        self.register_buffer("mean_d", torch.zeros(config.patch_code_dim))
        self.register_buffer("sd_d", torch.ones(config.patch_code_dim))
        self.project = nn.Linear(config.patch_code_dim, config.hidden_dim)
        self.attend = nn.Linear(config.hidden_dim, config.attention_dim)
        self.gate = nn.Linear(config.hidden_dim, config.attention_dim)
        self.score = nn.Linear(config.attention_dim, 1)

    @property
    def config(self) -> dict[str, Any]:
        return asdict(self._config)

    def forward(self, batch: BagBatch) -> torch.Tensor:
        hidden_nh = torch.relu(self.project((batch.tiles_nd - self.mean_d) / self.sd_d))
        score_n = self.score(torch.tanh(self.attend(hidden_nh)) * torch.sigmoid(self.gate(hidden_nh)))[:, 0]
        # A softmax within each bag; the gate bounds the scores, so the shift is for precision only and has no gradient.
        zeros_b = score_n.new_zeros(batch.size)
        top_b = zeros_b.scatter_reduce(0, batch.bag_n, score_n.detach(), "amax", include_self=False)
        weight_n = torch.exp(score_n - top_b[batch.bag_n])
        total_b = zeros_b.index_add(0, batch.bag_n, weight_n)
        pooled_bh = hidden_nh.new_zeros(batch.size, self.code_dim)
        pooled_bh = pooled_bh.index_add(0, batch.bag_n, hidden_nh * weight_n[:, None])
        return pooled_bh / total_b[:, None]

    def check(self, data: Items) -> None:
        check_bags(data, self._config.patch_code_dim, self.encoder_name)

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_normal_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
        # Every slide counts the same, however many tiles it has.
        means = np.stack([bag.features_nd.mean(axis=0, dtype=np.float64) for bag in train_data])
        squares = np.stack([np.square(bag.features_nd, dtype=np.float64).mean(axis=0) for bag in train_data])
        mean_d = means.mean(axis=0)
        sd_d = np.sqrt(np.maximum(squares.mean(axis=0) - mean_d**2, 0))
        self.mean_d.copy_(torch.from_numpy(mean_d))
        self.sd_d.copy_(torch.from_numpy(np.where(sd_d < MIN_SD, 1.0, sd_d)))

    def batch(self, data: Items, rows: Sequence[int]) -> BagBatch:
        bags: list[Bag] = [data[row] for row in rows]
        tiles_nd = torch.from_numpy(np.concatenate([bag.features_nd.astype(np.float32) for bag in bags]))
        bag_n = torch.repeat_interleave(torch.arange(len(bags)), torch.tensor([len(bag) for bag in bags]))
        return BagBatch(tiles_nd.to(self.device), bag_n.to(self.device), len(bags))

    def augment(self, batch: BagBatch, generator: torch.Generator) -> BagBatch:
        """Each bag keeps about three quarters of its tiles, and always one."""
        draw_n = torch.rand(len(batch.bag_n), generator=generator).to(batch.bag_n.device)
        lowest_b = draw_n.new_ones(batch.size).scatter_reduce(0, batch.bag_n, draw_n, "amin")
        keep_n = (draw_n < KEPT_TILES) | (draw_n == lowest_b[batch.bag_n])
        return BagBatch(batch.tiles_nd[keep_n], batch.bag_n[keep_n], batch.size)


class AttentionPoolingEncoder:
    """bags -> (b, hidden_dim) float32, non-negative. See `Encoder`; bags go through one at a time.

    config, tensors: of a `TrainedClassifier`. preprocessing: which patch codes the bags hold, for instance
    ``{"patch_encoder": name, "patch_encoder_digest": digest}``.
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
            self._module = AttentionPooling(AttentionPoolingConfig(**config))
        except TypeError as error:
            raise InvalidInputError(f"this is no config of encoder attention_pooling: {error}") from error
        load_tensors(self._module, tensors, AttentionPooling.encoder_name)
        self._module.eval().to(device)
        self.spec = EncoderSpec(
            AttentionPooling.encoder_name,
            "1",
            "bags",
            self._module.code_dim,
            weights_sha256,
            dict(preprocessing or {}),
            trained_on,
        )

    @torch.inference_mode()
    def encode(self, batch: Sequence[Bag], /) -> np.ndarray:
        self._module.check(batch)
        codes_bd = np.empty((len(batch), self.spec.code_dim), np.float32)
        for row in range(len(batch)):
            codes_bd[row] = self._module(self._module.batch(batch, [row]))[0].cpu().numpy()
        return codes_bd
