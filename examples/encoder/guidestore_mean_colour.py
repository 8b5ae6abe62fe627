"""Mean and spread of red, green and blue: the least that a picture says."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.types import EncoderSpec
from guidestore.encoders.info import EncoderInfo

INFO = EncoderInfo(
    name="mean_colour",
    encoder_class="guidestore_mean_colour:MeanColour",
    takes=("photographs", "tiles"),
    code_dim="6",
    weights="none",
)


class MeanColour:
    """(b, h, w, 3) uint8 RGB -> (b, 6) float32."""

    def __init__(self, preprocessing: Mapping[str, Any] | None = None, input_kind: str = "photographs") -> None:
        self.spec = EncoderSpec("mean_colour", "1", input_kind, 6, preprocessing=dict(preprocessing or {}))

    def encode(self, batch: Any, /) -> np.ndarray:
        if not isinstance(batch, np.ndarray) or batch.dtype != np.uint8 or batch.ndim != 4 or batch.shape[3] != 3:
            raise InvalidInputError("encoder mean_colour takes (b, h, w, 3) uint8 pictures; read them as RGB")
        pixels_bnc = batch.reshape(len(batch), batch.shape[1] * batch.shape[2], 3) / 255
        return np.hstack([pixels_bnc.mean(axis=1), pixels_bnc.std(axis=1)]).astype(np.float32)
