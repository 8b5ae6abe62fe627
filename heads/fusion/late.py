"""Late fusion: one decoder per code, the mean of what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_seed, take_tensor
from guidestore.heads.fusion.common.checks import check_blocks, check_fusion_fit
from guidestore.heads.fusion.common.protocol import Blocks
from guidestore.heads.model import Model, Tensors
from guidestore.heads.onnx_graph.graph import Value


@dataclass(frozen=True, slots=True, kw_only=True)
class LateSettings:
    """There is nothing to choose."""


class Late(Model[tuple[int, int]]):
    """The codes as they are, a view each. Contract: heads.fusion.common.protocol.Fusion. The seed is not used."""

    name: ClassVar[str] = "late"
    n_views: ClassVar[int] = 2
    Settings = LateSettings

    def fit(
        self,
        blocks: Blocks,
        labels: np.ndarray,
        blocks_val: Blocks,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
        kind: TargetKind = "classes",
    ) -> Self:
        self.forget()
        check_seed(seed)
        (left_nd, right_nd), *_ = check_fusion_fit(blocks, labels, blocks_val, labels_val, n_classes, self.name, kind)
        self._fitted = (left_nd.shape[1], right_nd.shape[1])
        return self

    def views(self, blocks: Blocks) -> tuple[np.ndarray, ...]:
        return check_blocks(blocks, self.name, widths=self.fitted)

    def pack(self, fitted: tuple[int, int]) -> dict[str, np.ndarray]:
        return {"widths": np.array(fitted, dtype=np.float64)}

    def unpack(self, tensors: Tensors) -> tuple[int, int]:
        left, right = take_tensor(tensors, "widths", (2,), self.name)
        return int(left), int(right)

    def onnx(self, left: Value, right: Value) -> tuple[Value, ...]:
        return left, right
