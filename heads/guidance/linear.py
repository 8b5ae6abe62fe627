"""Linear guidance without a penalty: least squares z_I -> z_S, of all solutions the shortest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number
from guidestore.heads.guidance.common.affine import Affine
from guidestore.heads.presets.preset import Preset
from guidestore.heads.scaling import CONSTANT_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearSettings:
    """Hyper-parameters of `Linear`."""

    resolution: float = CONSTANT_SHARE
    """Directions of z_I whose singular value is a smaller share of the largest are left out: they are the rounding of
    float32, as columns are in heads.scaling."""

    def __post_init__(self) -> None:
        check_number(self.resolution, "linear: resolution", 0, 1)


class Linear(Affine):
    """min ||Y - XW||^2, and where more than one W reaches it (n <= d_I) the one of least norm over standardised codes.

    With about as many cases as dimensions it fits the noise; ridge does not, and costs the same.
    """

    name: ClassVar[str] = "linear"
    Settings = LinearSettings
    settings: LinearSettings

    def solve(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
        weight_nd, _, rank, _ = np.linalg.lstsq(x_nd, y_nd, rcond=self.settings.resolution)
        return weight_nd, {"rank": float(rank)}


PRESETS: dict[str, Preset] = {"lupts": Preset("linear")}
"""The G of LuPTS, whose D_S is the decoder least_squares (heads.decoders.least_squares)."""
