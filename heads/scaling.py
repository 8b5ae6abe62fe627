"""Per-column standardising, fitted on train rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from guidestore.heads.checks import take_tensor
from guidestore.heads.networks import Layers

CONSTANT_SHARE = 1e-6
"""A column whose standard deviation is below this share of its largest magnitude is constant: float32 resolves about
6e-8, so what varies there is rounding, and dividing by it would make noise of unit size."""


@dataclass(frozen=True, slots=True, eq=False)
class Standardiser:
    """x -> (x - mean) / scale. mean, scale: (d,) float64; scale is 1 for constant columns."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def fit(cls, x_nd: np.ndarray) -> Standardiser:
        """Mean and population standard deviation of the columns of (n, d)."""
        x64_nd = x_nd.astype(np.float64)
        mean, scale = x64_nd.mean(axis=0), x64_nd.std(axis=0)
        scale[scale <= CONSTANT_SHARE * np.abs(x64_nd).max(axis=0)] = 1.0
        return cls(mean, scale)

    @classmethod
    def identity(cls, code_dim: int) -> Standardiser:
        """Leaves codes as they are."""
        return cls(np.zeros(code_dim), np.ones(code_dim))

    def apply(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, d) float64."""
        return (x_nd.astype(np.float64) - self.mean) / self.scale

    def invert(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) -> (n, d) float64, the way back."""
        return x_nd * self.scale + self.mean

    def into_layers(self, layers: Layers) -> Layers:
        """The network that does to codes as they come what `layers` do to standardised ones; float64."""
        (weight, bias), *rest = [(weight.astype(np.float64), bias.astype(np.float64)) for weight, bias in layers]
        weight = weight / self.scale
        return [(weight, bias - weight @ self.mean), *rest]

    def tensors(self, prefix: str) -> dict[str, np.ndarray]:
        """{prefix_mean, prefix_scale}, each (d,) float64."""
        return {f"{prefix}_mean": self.mean, f"{prefix}_scale": self.scale}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, np.ndarray], prefix: str, code_dim: int, what: str) -> Standardiser:
        """The inverse of `tensors`, for codes of `code_dim` dimensions."""
        mean = take_tensor(tensors, f"{prefix}_mean", (code_dim,), what)
        return cls(mean, take_tensor(tensors, f"{prefix}_scale", (code_dim,), what))
