"""Gated fusion: a gate that reads both codes mixes their embeddings, unit by unit and case by case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from guidestore.heads.fusion.common.learnt import LearntFusion, LearntSettings
from guidestore.heads.fusion.common.maths import Fused, Maths


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedSettings(LearntSettings):
    """Hyper-parameters of `Gated`."""

    width: int = 32
    """Of the embedding of each code and of the fused code."""
    kind: ClassVar[str] = "gated"


class Gated(LearntFusion):
    """h = z * h_l + (1 - z) * h_r with h_m = tanh(W_m x_m) and z = sigmoid(W_z [x_l, x_r]).

    The bimodal Gated Multimodal Unit of Arevalo, Solorio, Montes-y-Gómez & González 2017 ("Gated Multimodal Units for
    Information Fusion", section 3.1), with biases.
    """

    name: ClassVar[str] = "gated"
    Settings = GatedSettings
    settings: GatedSettings

    def maps(self, d_left: int, d_right: int) -> dict[str, tuple[int, int]]:
        width = self.settings.width
        return {"left": (d_left, width), "right": (d_right, width), "gate": (d_left + d_right, width)}

    @property
    def fused_dim(self) -> int:
        return self.settings.width

    def fuse(self, maths: Maths, left_nd: Any, right_nd: Any) -> Fused:
        h_left = maths.tanh(maths.linear("left", left_nd))
        h_right = maths.tanh(maths.linear("right", right_nd))
        gate = maths.sigmoid(maths.linear("gate", maths.side_by_side(left_nd, right_nd)))
        return gate * h_left + (1.0 - gate) * h_right, h_left, h_right
