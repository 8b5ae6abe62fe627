"""Kronecker fusion: every product of a unit of one code with a unit of the other (Pathomic Fusion)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from guidestore.heads.checks import check_number
from guidestore.heads.fusion.common.learnt import LearntFusion, LearntSettings
from guidestore.heads.fusion.common.maths import Fused, Maths

MAX_WIDTH = 64
"""The fused code is (width + 1)^2 wide: 289 at 16, 4,225 at 64."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KroneckerSettings(LearntSettings):
    """Hyper-parameters of `Kronecker`. Pathomic Fusion's width of 32 makes 1,089 products, the default of 16 makes 289:
    there are fewer cases here."""

    kind: ClassVar[str] = "kronecker"

    def __post_init__(self) -> None:
        LearntSettings.__post_init__(self)
        check_number(self.width, f"{self.kind}: width", 1, MAX_WIDTH, integer=True)


class Kronecker(LearntFusion):
    """The outer product of [z_l * h_l, 1] and [z_r * h_r, 1], with h_m = relu(W_m x_m), z_m = sigmoid(W_zm [x_l, x_r]).

    The ones keep the units of each code beside the products. Chen et al. 2020, "Pathomic Fusion: An Integrated
    Framework for Fusing Histopathology and Genomic Features" (IEEE TMI) (gated attention, then tensor fusion,
    Zadeh et al. 2017), for two modalities. (Its released code has a bilinear map in the gate, and further layers.)
    """

    name: ClassVar[str] = "kronecker"
    Settings: ClassVar[type[LearntSettings]] = KroneckerSettings

    def maps(self, d_left: int, d_right: int) -> dict[str, tuple[int, int]]:
        width = self.settings.width
        both = (d_left + d_right, width)
        return {"left": (d_left, width), "right": (d_right, width), "left_gate": both, "right_gate": both}

    @property
    def fused_dim(self) -> int:
        return (self.settings.width + 1) ** 2

    def fuse(self, maths: Maths, left_nd: Any, right_nd: Any) -> Fused:
        both_nd = maths.side_by_side(left_nd, right_nd)
        h_left = maths.relu(maths.linear("left", left_nd))
        h_right = maths.relu(maths.linear("right", right_nd))
        left_nw = maths.with_one(h_left * maths.sigmoid(maths.linear("left_gate", both_nd)))
        right_nw = maths.with_one(h_right * maths.sigmoid(maths.linear("right_gate", both_nd)))
        return (left_nw[:, :, None] * right_nw[:, None, :]).reshape(len(left_nd), -1), h_left, h_right
