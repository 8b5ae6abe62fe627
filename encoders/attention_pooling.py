"""Gated attention pooling over the patch codes of a slide (ABMIL), and what its relatives build on.

Ilse, Tomczak & Welling 2018: Linear d -> hidden, ReLU, attention weights over the tiles, z_S = the weighted sum. z_S is
non-negative because a ReLU precedes the sum. CLAM (`encoders.clam`) adds an instance loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import dropout

from guidestore.embeddings.types import Bag
from guidestore.encoders.bags import DEMO_TRAINING, PAPER_TRAINING, BagBatch, BagModule
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.trainable import Items, Preset, TrainedEncoder

INFO = EncoderInfo(
    name="attention_pooling",
    encoder_class="guidestore.encoders.attention_pooling:AttentionPoolingEncoder",
    takes=("bags",),
    code_dim="64 (demo), 512 (paper)",
    weights="trained",
)


@dataclass(frozen=True, slots=True)
class AttentionPoolingConfig:
    """Size of the network. The defaults suit the 46-d texture codes."""

    patch_code_dim: int
    """d of the patch codes."""
    hidden_dim: int = 64
    """d of z_S."""
    attention_dim: int = 32
    """Width of the gated attention."""
    dropout: float = 0.0
    """After the first layer and in the attention."""
    standardise: bool = True
    """Patch codes by mean and sd of the train tiles; the codes of deep networks need it not."""
    kept_tiles: float = 0.75
    """Share of a bag's tiles that a training step sees: the augmentation, and what keeps attention from one tile."""


def abmil(patch_code_dim: int) -> AttentionPoolingConfig:
    """Of CLAM's size, with a 512-d code."""
    return AttentionPoolingConfig(
        patch_code_dim, hidden_dim=512, attention_dim=256, dropout=0.25, standardise=False, kept_tiles=1.0
    )


@dataclass(frozen=True, slots=True)
class Pooled:
    """hidden_nh (n, h) of the tiles, attention_nj (n, branches) that sums to 1 over each bag, codes_bd (b, d)."""

    hidden_nh: torch.Tensor
    attention_nj: torch.Tensor
    codes_bd: torch.Tensor


class AttentionPooling(BagModule):
    """b bags of patch codes -> codes (b, branches * hidden_dim), non-negative."""

    encoder_name = "attention_pooling"
    config_class = AttentionPoolingConfig
    presets: ClassVar = {
        "demo": Preset(lambda width, _: AttentionPooling(AttentionPoolingConfig(width)), DEMO_TRAINING),
        "paper": Preset(lambda width, _: AttentionPooling(abmil(width)), PAPER_TRAINING),
    }

    def __init__(self, config: AttentionPoolingConfig, branches: int = 1) -> None:
        super().__init__(config, branches)
        self.attend = nn.Linear(config.hidden_dim, config.attention_dim)
        self.gate = nn.Linear(config.hidden_dim, config.attention_dim)
        self.score = nn.Linear(config.attention_dim, branches)

    def pool(self, batch: BagBatch) -> Pooled:
        """Attention and codes of the bags."""
        hidden_nh = self._dropped(torch.relu(self.project(self.scaled(batch))))
        attend_na = self._dropped(torch.tanh(self.attend(hidden_nh)))
        gate_na = self._dropped(torch.sigmoid(self.gate(hidden_nh)))
        # Sums over many tiles in float32, also where a GPU multiplies in bfloat16.
        score_nj, hidden_nh = self.score(attend_na * gate_na).float(), hidden_nh.float()
        # A softmax within each bag; the gate bounds the scores, so the shift is for precision only and has no gradient.
        zeros_bj = score_nj.new_zeros(batch.size, self.branches)
        index_nj = batch.bag_n[:, None].expand_as(score_nj)
        top_bj = zeros_bj.scatter_reduce(0, index_nj, score_nj.detach(), "amax", include_self=False)
        weight_nj = torch.exp(score_nj - top_bj[batch.bag_n])
        total_bj = zeros_bj.index_add(0, batch.bag_n, weight_nj)
        codes = []
        for branch in range(self.branches):
            sum_bh = hidden_nh.new_zeros(batch.size, hidden_nh.shape[1])
            sum_bh = sum_bh.index_add(0, batch.bag_n, hidden_nh * weight_nj[:, branch, None])
            codes.append(sum_bh / total_bj[:, branch, None])
        return Pooled(hidden_nh, weight_nj / total_bj[batch.bag_n], torch.cat(codes, dim=1))

    def _dropped(self, values: torch.Tensor) -> torch.Tensor:
        share = self._config.dropout
        return dropout(values, share) if share and self.training else values

    def forward(self, batch: BagBatch) -> torch.Tensor:
        return self.pool(batch).codes_bd

    def reset(self, train_data: Items, generator: torch.Generator) -> None:
        super().reset(train_data, generator)
        if self._config.standardise:
            self.fit_scale(train_data)

    def augment(self, batch: BagBatch, generator: torch.Generator) -> BagBatch:
        """Each bag keeps about `kept_tiles` of its tiles, and always one."""
        if self._config.kept_tiles >= 1:
            return batch
        draw_n = torch.rand(len(batch.bag_n), generator=generator).to(batch.bag_n.device)
        lowest_b = draw_n.new_ones(batch.size).scatter_reduce(0, batch.bag_n, draw_n, "amin")
        keep_n = (draw_n < self._config.kept_tiles) | (draw_n == lowest_b[batch.bag_n])
        return BagBatch(batch.tiles_nd[keep_n], batch.bag_n[keep_n], batch.size)


class AttentionEncoder(TrainedEncoder):
    """A trained attention network as an `Encoder` that also says where it looked."""

    module: AttentionPooling

    @torch.inference_mode()
    def attention(self, bag: Bag) -> np.ndarray:
        """attention_jn (branches, n) float32 of the tiles of `bag`; each row sums to 1."""
        return self.module.pool(self.module.batch([bag], [0])).attention_nj.T.cpu().numpy()


class AttentionPoolingEncoder(AttentionEncoder):
    """bags -> (b, hidden_dim) float32, non-negative. See `Encoder`."""

    module_class = AttentionPooling
