"""The mean of a case's patch codes, without weights: what every pooling of a slide must beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from guidestore.embeddings.types import Bag, EncoderSpec
from guidestore.encoders.info import EncoderInfo
from guidestore.encoders.kinds.bags import Bags

INFO = EncoderInfo(
    name="tile_mean",
    encoder_class="guidestore.encoders.tile_mean:TileMeanEncoder",
    takes=("bags",),
    code_dim="that of the patch codes",
    weights="none",
    one_thread=True,
)


class TileMeanEncoder:
    """b bags of (n, d) patch codes -> (b, d) float32, the mean over all tiles of all slides of the case. See `Encoder`.

    code_dim: d. preprocessing: the patch encoder's name and digest.
    """

    def __init__(self, code_dim: int = 3, preprocessing: Mapping[str, Any] | None = None) -> None:
        self.spec = EncoderSpec("tile_mean", "1", "bags", code_dim, preprocessing=dict(preprocessing or {}))

    def encode(self, batch: Sequence[Bag], /) -> np.ndarray:
        Bags().check(batch, self.spec.name, self.spec.code_dim)
        codes_bd = np.empty((len(batch), self.spec.code_dim), np.float32)
        for row, bag in enumerate(batch):
            codes_bd[row] = bag.features_nd.mean(axis=0, dtype=np.float64)
        return codes_bd
