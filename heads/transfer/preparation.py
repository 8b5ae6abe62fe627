"""What teachers and students read: codes made comparable, fitted on train rows without their labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import take_tensor
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.scaling import CONSTANT_SHARE

CLIP_SD = 4.0
"""Standardised values are clipped here: a single far case would else turn a principal axis towards itself."""
MAX_DIMS = 60
"""Principal components kept at most: with tens of labels, more only add noise."""
NEGLIGIBLE_SHARE = 1e-6
"""A component whose singular value is below this share of the largest is rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Preparation:
    """Standardise, drop near-constant columns, clip at 4 sd, PCA to at most 60, mean squared norm 1.

    x -> clip((x - mean) * gain) @ components - offset; all float64: mean, gain (d,), components (d, r), offset (r,).
    The gain of a dropped column is 0.
    """

    mean: np.ndarray
    gain: np.ndarray
    components: np.ndarray
    offset: np.ndarray

    @classmethod
    def fit(cls, x_nd: np.ndarray, what: str) -> Preparation:
        """From the train rows, labelled or not. Raises InvalidInputError where no column varies."""
        x64_nd = x_nd.astype(np.float64)
        mean, sd = x64_nd.mean(axis=0), x64_nd.std(axis=0)
        varies = sd > CONSTANT_SHARE * np.abs(x64_nd).max(axis=0)
        if not varies.any():
            raise InvalidInputError(
                f"{what}: every column of the {len(x_nd)} train codes is constant, so there is nothing to learn from; "
                "encode the modality again"
            )
        gain = np.where(varies, 1.0 / np.where(varies, sd, 1.0), 0.0)
        clipped_nd = np.clip((x64_nd - mean) * gain, -CLIP_SD, CLIP_SD)
        centre = clipped_nd.mean(axis=0)
        _, s_r, vt_rd = np.linalg.svd(clipped_nd - centre, full_matrices=False)
        kept = min(MAX_DIMS, int((s_r > NEGLIGIBLE_SHARE * s_r[0]).sum()))
        norm = np.sqrt((s_r[:kept] ** 2).sum() / len(x_nd))
        components = np.ascontiguousarray(vt_rd[:kept].T) / norm
        return cls(mean, gain, components, centre @ components)

    @classmethod
    def side_by_side(cls, left: Preparation, right: Preparation) -> Preparation:
        """Of [left codes, right codes]: each prepared as alone, so that both weigh the same."""
        components = np.zeros((len(left.mean) + len(right.mean), len(left.offset) + len(right.offset)))
        components[: len(left.mean), : len(left.offset)] = left.components
        components[len(left.mean) :, len(left.offset) :] = right.components
        mean, gain, offset = (
            np.concatenate([getattr(left, name), getattr(right, name)]) for name in ("mean", "gain", "offset")
        )
        return cls(mean, gain, components, offset)

    def apply(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, r) float64. Rows of NaN, cases without the modality, stay NaN."""
        clipped_nd = np.clip((x_nd.astype(np.float64) - self.mean) * self.gain, -CLIP_SD, CLIP_SD)
        return clipped_nd @ self.components - self.offset

    def onnx(self, x: Value) -> Value:
        """`apply` as a graph."""
        clipped = ((x - self.mean) * self.gain).clip(-CLIP_SD, CLIP_SD)
        return clipped @ self.components - self.offset

    def tensors(self) -> dict[str, np.ndarray]:
        """{input_mean, input_gain, input_components, input_offset}."""
        return {f"input_{name}": getattr(self, name) for name in ("mean", "gain", "components", "offset")}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], what: str) -> Preparation:
        """The inverse of `tensors`. Raises InvalidInputError."""
        components = take_tensor(tensors, "input_components", (None, None), what)
        d, r = components.shape
        mean, gain = (take_tensor(tensors, f"input_{name}", (d,), what) for name in ("mean", "gain"))
        return cls(mean, gain, components, take_tensor(tensors, "input_offset", (r,), what))
