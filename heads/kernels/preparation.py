"""What smoothers read: codes made comparable, fitted on train rows without their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import take_tensor
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.scaling import CONSTANT_SHARE

CLIP_SD = 5.0
"""Standardised values are clipped here, so that one far case does not carry a penalty of its own."""
LEAST_SD = 1e-8
"""A column of less is constant, whatever its size."""
_NAMES = ("mean", "gain", "scale", "offset")


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """Standardise, drop near-constant columns, clip at 5 sd, centre again, mean squared norm 1.

    x -> clip((x - mean) * gain) * scale - offset; all (d,) float64. The gain of a dropped column is 0.
    """

    mean: np.ndarray
    gain: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    @classmethod
    def fit(cls, x_nd: np.ndarray, what: str) -> Preparation:
        """From the train rows, labelled or not. Raises InvalidInputError where no column varies."""
        x64_nd = x_nd.astype(np.float64)
        mean, sd = x64_nd.mean(axis=0), x64_nd.std(axis=0)
        varies = sd > np.maximum(LEAST_SD, CONSTANT_SHARE * np.abs(x64_nd).max(axis=0))
        if not varies.any():
            raise InvalidInputError(
                f"{what}: every column of the {len(x_nd)} train codes is constant, so there is nothing to learn from; "
                "encode the modality again"
            )
        gain = np.where(varies, 1.0 / np.where(varies, sd, 1.0), 0.0)
        clipped_nd = np.clip((x64_nd - mean) * gain, -CLIP_SD, CLIP_SD)
        centre = clipped_nd.mean(axis=0)
        scale = np.full(len(mean), ((clipped_nd - centre) ** 2).sum(axis=1).mean() ** -0.5)
        return cls(mean, gain, scale, centre * scale)

    @classmethod
    def side_by_side(cls, left: Preparation, right: Preparation) -> Preparation:
        """Of [left codes, right codes], each prepared as alone, so that both weigh the same; mean squared norm 1."""
        mean, gain, scale, offset = (np.concatenate([getattr(left, n), getattr(right, n)]) for n in _NAMES)
        return cls(mean, gain, scale * 0.5**0.5, offset * 0.5**0.5)

    def apply(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, d) float64. Rows of NaN, cases without the modality, stay NaN."""
        return np.clip((x_nd.astype(np.float64) - self.mean) * self.gain, -CLIP_SD, CLIP_SD) * self.scale - self.offset

    def onnx(self, x: Value) -> Value:
        """`apply` as a graph."""
        return ((x - self.mean) * self.gain).clip(-CLIP_SD, CLIP_SD) * self.scale - self.offset

    def tensors(self) -> dict[str, np.ndarray]:
        """{input_mean, input_gain, input_scale, input_offset}."""
        return {f"input_{name}": getattr(self, name) for name in _NAMES}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Preparation:
        """The inverse of `tensors`. Raises InvalidInputError."""
        d = len(take_tensor(tensors, "input_mean", (None,), what))
        return cls(*(take_tensor(tensors, f"input_{name}", (d,), what) for name in _NAMES))
