"""A fusion of one's own: a class with `fit(x_nd)` and `transform(x_nd)`, as scikit-learn's transformers.

It is given both codes side by side, (n, d_left + d_right): z_S or G(z_I), and z_I; what it makes of them, (n, d), is
what the decoder reads. `fit` gets val codes and labels too if it takes four arguments, and `n_left` (d_left),
`n_classes` and `seed` if it takes them. Labels are y of another kind of target (embeddings.outcomes), NaN where a label
was not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_seed, not_fitted
from guidestore.heads.fusion.common.checks import check_blocks, check_fusion_fit
from guidestore.heads.fusion.common.protocol import Blocks
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.own.code import Own
from guidestore.heads.own.model import OwnModel
from guidestore.heads.own.torch_module import TorchModule
from guidestore.heads.own.ways import Lesson, Says


class OwnFusion(OwnModel):
    """Contract: heads.fusion.common.protocol.Fusion, of one view."""

    says: ClassVar[Says] = "transform"
    n_views: ClassVar[int] = 1

    def __init__(self, own: Own, params: Mapping[str, Any]) -> None:
        super().__init__(own, params)
        if isinstance(self.way, TorchModule):
            raise InvalidInputError(
                f"{own.kind} {own.name!r} is a torch module, which nothing here trains to make codes; give it fit and "
                "transform in a class around it"
            )
        self._n_left = 0

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
        self._widths, self.facts = None, {}
        both, labels, both_val, labels_val = check_fusion_fit(
            blocks, labels, blocks_val, labels_val, n_classes, self.name, kind
        )
        x_nd, x_val_nd, n_left = np.hstack(both), np.hstack(both_val), both[0].shape[1]
        more = {"n_classes": n_classes, "n_left": n_left}
        facts = self.way.fit(Lesson(x_nd, labels, check_seed(seed), (x_val_nd, labels_val), more))
        made = self._made(x_nd[:2])
        self._widths, self._n_left, self.facts = (x_nd.shape[1], made.shape[1]), n_left, facts
        return self

    def views(self, blocks: Blocks) -> tuple[np.ndarray, ...]:
        both = check_blocks(blocks, self.name)
        d_in, d_out = self.widths
        x_nd = np.hstack(both)
        if (x_nd.shape[1], both[0].shape[1]) != (d_in, self._n_left):
            raise InvalidInputError(
                f"{self.own.kind} {self.name!r}: codes are {both[0].shape[1]} and {both[1].shape[1]} wide, and were "
                f"{self._n_left} and {d_in - self._n_left} when it was fitted; pass codes of the same encoders"
            )
        made = self._made(x_nd)
        if made.shape[1] != d_out:
            raise InvalidInputError(
                f"{self.own.kind} {self.name!r} makes codes of {made.shape[1]} numbers, and of {d_out} when it was "
                "fitted; mend its transform"
            )
        return (made,)

    def _made(self, x_nd: np.ndarray) -> np.ndarray:
        said = self.way.say(x_nd)
        if said.ndim != 2 or len(said) != len(x_nd) or not said.shape[1] or said.dtype.kind != "f":
            raise InvalidInputError(
                f"{self.own.kind} {self.name!r} makes {said.dtype} of shape {said.shape} of {len(x_nd)} cases; it must "
                f"be codes of shape ({len(x_nd)}, d)"
            )
        return np.ascontiguousarray(check_finite_predictions(said, self.name), dtype=np.float32)

    def tensors(self) -> dict[str, np.ndarray]:
        return super().tensors() | {_LEFT: np.array([self._n_left], dtype=np.int64)}

    @classmethod
    def restored(cls, registry: Any, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        """As `OwnModel.stored`. Raises InvalidInputError."""
        left = np.asarray(tensors.get(_LEFT, ()))
        if left.shape != (1,) or left.dtype.kind not in "iu":
            raise not_fitted(str(config.get("name")))
        model = cls.stored(registry, config, {name: of for name, of in tensors.items() if name != _LEFT})
        model._n_left = int(left[0])
        return model


_LEFT = "own_left"
