"""Late fusion: one decoder per code, the mean of their probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import (
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.fusion.checks import check_blocks, check_fusion_fit
from guidestore.heads.fusion.protocol import Blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class LateSettings:
    """There is nothing to choose."""


class Late:
    """The codes as they are, a view each. Contract: heads.fusion.protocol.Fusion. The seed is not used."""

    name: ClassVar[str] = "late"
    n_views: ClassVar[int] = 2
    Settings = LateSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(LateSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._widths: tuple[int, int] | None = None

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(
        self,
        blocks: Blocks,
        labels: np.ndarray,
        blocks_val: Blocks,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        self._widths = None
        check_seed(seed)
        (left_nd, right_nd), *_ = check_fusion_fit(blocks, labels, blocks_val, labels_val, n_classes, self.name)
        self._widths = (left_nd.shape[1], right_nd.shape[1])
        return self

    def views(self, blocks: Blocks) -> tuple[np.ndarray, ...]:
        if self._widths is None:
            raise not_fitted(self.name)
        return check_blocks(blocks, self.name, widths=self._widths)

    def tensors(self) -> dict[str, np.ndarray]:
        if self._widths is None:
            raise not_fitted(self.name)
        return {"widths": np.array(self._widths, dtype=np.float64)}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(LateSettings, config, cls.name)
        left, right = take_tensor(tensors, "widths", (2,), cls.name)
        model._widths = (int(left), int(right))
        return model
