"""C_S of the paper: CLAM, gated attention pooling with an instance clustering loss (Lu et al. 2021).

CLAM-SB has one attention branch and a code of `hidden_dim`; CLAM-MB one branch for each class, its code is the branches
side by side, and the decoder of a class sees the class's own branch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from guidestore.embeddings.errors import InvalidInputError
from guidestore.encoders.attention_pooling import AttentionEncoder, AttentionPooling, AttentionPoolingConfig
from guidestore.encoders.bags import DEMO_TRAINING, PAPER_TRAINING, BagBatch
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.trainable import Preset

SB = EncoderInfo(
    name="clam_sb",
    encoder_class="guidestore.encoders.clam:ClamSBEncoder",
    takes=("bags",),
    code_dim="64 (demo), 512 (paper)",
    weights="trained",
)

MB = EncoderInfo(
    name="clam_mb",
    encoder_class="guidestore.encoders.clam:ClamMBEncoder",
    takes=("bags",),
    code_dim="64 k (demo), 512 k (paper)",
    weights="trained",
)


@dataclass(frozen=True, slots=True)
class ClamConfig(AttentionPoolingConfig):
    """Size of the network and its instance loss."""

    n_classes: int = 2
    """Of the target: one instance classifier each."""
    k_sample: int = 25
    """Tiles of highest and of lowest attention that the instance loss looks at; at most half a bag each."""
    bag_weight: float = 0.7
    """Share of the bag loss; the rest is the instance loss."""

    def __post_init__(self) -> None:
        if self.n_classes < 2 or self.k_sample < 1 or not 0 <= self.bag_weight <= 1:
            raise InvalidInputError(
                f"{self} is no CLAM: n_classes must be at least 2, k_sample at least 1, bag_weight between 0 and 1"
            )


def clam_small(patch_code_dim: int, n_classes: int) -> ClamConfig:
    """The paper's: CLAM small, 1,024 -> 512, attention 256, dropout .25 and k_sample 25 as in the released code."""
    return ClamConfig(
        patch_code_dim,
        hidden_dim=512,
        attention_dim=256,
        dropout=0.25,
        standardise=False,
        kept_tiles=1.0,
        n_classes=n_classes,
    )


def _clam_demo(patch_code_dim: int, n_classes: int) -> ClamConfig:
    return ClamConfig(patch_code_dim, n_classes=n_classes, k_sample=4)


class ClamSB(AttentionPooling):
    """b bags of patch codes -> codes (b, hidden_dim), non-negative."""

    encoder_name = "clam_sb"
    config_class = ClamConfig
    presets: ClassVar = {
        "demo": Preset(lambda width, k: ClamSB(_clam_demo(width, k)), DEMO_TRAINING),
        "paper": Preset(lambda width, k: ClamSB(clam_small(width, k)), PAPER_TRAINING),
    }

    def __init__(self, config: ClamConfig, branches: int = 1) -> None:
        super().__init__(config, branches)
        self.instance = nn.Linear(config.hidden_dim, 2 * config.n_classes)
        """Logits (not of the class, of the class) of a tile, for each class in turn. Used in training alone."""

    def training_loss(
        self, batch: BagBatch, y: torch.Tensor, decode: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """bag_weight * bag loss + (1 - bag_weight) * instance loss, both cross-entropy.

        The instance loss is of each bag's own class: the k_sample tiles of highest attention are of the class, those
        of lowest are not (CLAM without its option for subtyping, as the paper trained it).
        """
        pooled = self.pool(batch)
        bag_loss = cross_entropy(decode(pooled.codes_bd), y)
        losses = []
        for bag, label in enumerate(y.tolist()):
            rows = torch.nonzero(batch.bag_n == bag)[:, 0]
            k = min(self._config.k_sample, len(rows) // 2)
            if k:  # a bag of one tile has no lowest beside its highest
                order = pooled.attention_nj[rows, label if self.branches > 1 else 0].argsort(descending=True)
                chosen = rows[torch.cat([order[:k], order[-k:]])]
                logits = self.instance(pooled.hidden_nh[chosen])[:, 2 * label : 2 * label + 2]
                losses.append(cross_entropy(logits, torch.arange(2 * k, device=y.device).lt(k).long()))
        share = self._config.bag_weight
        instance_loss = torch.stack(losses).mean() if losses else bag_loss.new_zeros(())
        return share * bag_loss + (1 - share) * instance_loss


class ClamMB(ClamSB):
    """b bags of patch codes -> codes (b, n_classes * hidden_dim), non-negative."""

    encoder_name = "clam_mb"
    presets: ClassVar = {
        "demo": Preset(lambda width, k: ClamMB(_clam_demo(width, k)), DEMO_TRAINING),
        "paper": Preset(lambda width, k: ClamMB(clam_small(width, k)), PAPER_TRAINING),
    }

    def __init__(self, config: ClamConfig) -> None:
        super().__init__(config, branches=config.n_classes)

    def decoder_mask(self, n_classes: int) -> torch.Tensor:
        return torch.eye(n_classes).repeat_interleave(self._config.hidden_dim, dim=1)


class ClamSBEncoder(AttentionEncoder):
    """bags -> (b, hidden_dim) float32, non-negative. See `Encoder`."""

    module_class: Any = ClamSB


class ClamMBEncoder(AttentionEncoder):
    """bags -> (b, n_classes * hidden_dim) float32, non-negative. See `Encoder`."""

    module_class: Any = ClamMB
