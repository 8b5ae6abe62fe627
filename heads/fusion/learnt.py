"""Fusions that are small networks: learnt with a linear softmax head of their own, which then makes way for a decoder.

The two codes are standardised on train. Loss: class-balanced cross-entropy, with AdamW, stopped early on that of val.
Each fusion writes its network once, over `Maths`: torch trains it, numpy runs it (float64 over the float32 weights).
Initial weights and the order of rows are keyed as the batched trainer's (heads.training.draws).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np

from guidestore.heads.checks import (
    check_number,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.fusion.checks import check_blocks, check_fusion_fit
from guidestore.heads.fusion.protocol import Blocks
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    import torch

SILENT_SHARE = 0.01
"""Columns of the fused code whose deviation on train is below this share of the largest are left out. The network made
nothing of them (dead units, and the MMO loss silences many), but a decoder that standardises would: of 165 cases of
512 + 1,024 dimensions the orthogonal fusion's own val loss was .0005, that of logistic regression on its code 2.77 with
them and .014 without."""

type Weights = dict[str, tuple[np.ndarray, np.ndarray]]
"""Linear map by name -> weight (d_out, d_in), bias (d_out,)."""
type Fused = tuple[Any, Any, Any]
"""The fused code (n, d) and the embeddings of left and right (n, width) that it is made of."""


class Maths(Protocol):
    """What differs between torch and numpy, over their (n, d) matrices; + * [:, None] reshape are alike."""

    def linear(self, name: str, x_nd: Any) -> Any:
        """The linear map of that name."""
        ...

    def relu(self, x_nd: Any) -> Any: ...

    def tanh(self, x_nd: Any) -> Any: ...

    def sigmoid(self, x_nd: Any) -> Any: ...

    def side_by_side(self, left_nd: Any, right_nd: Any) -> Any:
        """(n, d_left + d_right)."""
        ...

    def with_one(self, x_nd: Any) -> Any:
        """[x, 1]: (n, d + 1)."""
        ...


class NumpyMaths:
    """`Maths` in float64."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def linear(self, name: str, x_nd: np.ndarray) -> np.ndarray:
        weight, bias = self._weights[name]
        return x_nd @ weight.astype(np.float64).T + bias

    def relu(self, x_nd: np.ndarray) -> np.ndarray:
        return np.maximum(x_nd, 0.0)

    def tanh(self, x_nd: np.ndarray) -> np.ndarray:
        return np.tanh(x_nd)

    def sigmoid(self, x_nd: np.ndarray) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(0.5 * x_nd)

    def side_by_side(self, left_nd: np.ndarray, right_nd: np.ndarray) -> np.ndarray:
        return np.hstack([left_nd, right_nd])

    def with_one(self, x_nd: np.ndarray) -> np.ndarray:
        return np.hstack([x_nd, np.ones((len(x_nd), 1))])


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntSettings:
    """What all of them share; codes are always standardised on train."""

    width: int = 16
    """Of the embedding that each code is reduced to first."""
    dropout: float = 0.25
    """Of the fused code, before the softmax head; Pathomic Fusion's."""
    learning_rate: float = 3e-3
    """Of AdamW. At 1e-3 300 epochs ended before the val loss rose (165 cases of 512 + 1,024 dimensions)."""
    weight_decay: float = 1e-2
    """Decoupled, as AdamW has it; its usual default."""
    epochs: int = 200
    """At most."""
    patience: int = 30
    """Epochs without a lower val loss before the fit stops; the best epoch is restored either way."""
    batch_size: int = 50
    """Cases in a step, as the paper's D_c."""
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        check_number(self.width, f"{self.kind}: width", 1, integer=True)
        check_number(self.dropout, f"{self.kind}: dropout", 0, 0.95)
        check_number(self.learning_rate, f"{self.kind}: learning_rate", 0, open_low=True)
        check_number(self.weight_decay, f"{self.kind}: weight_decay", 0)
        check_number(self.epochs, f"{self.kind}: epochs", 1, integer=True)
        check_number(self.patience, f"{self.kind}: patience", 1, integer=True)
        check_number(self.batch_size, f"{self.kind}: batch_size", 1, integer=True)


class LearntFusion(ABC):
    """Contract: heads.fusion.protocol.Fusion; one view, the fused code (its columns that vary on train). It is trained
    on the CPU.

    facts: best_epoch, val_loss, and overlap: of the embeddings of train, ||H_l H_r^T|| / (||H_l|| ||H_r||) in
    Frobenius norms, which is 0 where every left one is orthogonal to every right one, and 1 at most.
    """

    name: ClassVar[str]
    n_views: ClassVar[int] = 1
    Settings: ClassVar[type[LearntSettings]]
    settings: Any

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(self.Settings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, Standardiser, Weights, np.ndarray] | None = None
        """Scale of left and right, the maps, and (fused_dim,) bool: the columns that are kept."""

    @abstractmethod
    def maps(self, d_left: int, d_right: int) -> dict[str, tuple[int, int]]:
        """Name -> (d_in, d_out) of each linear map."""

    @property
    @abstractmethod
    def fused_dim(self) -> int:
        """Width of the fused code, all columns."""

    @abstractmethod
    def fuse(self, maths: Maths, left_nd: Any, right_nd: Any) -> Fused:
        """From standardised codes."""

    def penalty(self, left_bd: torch.Tensor, right_bd: torch.Tensor) -> torch.Tensor | float:
        """() what is to be small besides the cross-entropy, of the embeddings of a step's b cases."""
        return 0.0

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
        from guidestore.heads.fusion.learning import Task, train

        self._fitted, self.facts = None, {}
        blocks, labels, blocks_val, labels_val = check_fusion_fit(
            blocks, labels, blocks_val, labels_val, n_classes, self.name
        )
        scales = [Standardiser.fit(block_nd) for block_nd in blocks]
        left_nd, right_nd = (scale.apply(block_nd) for scale, block_nd in zip(scales, blocks, strict=True))
        left_val_nd, right_val_nd = (scale.apply(block_nd) for scale, block_nd in zip(scales, blocks_val, strict=True))
        task = Task(
            left_nd, right_nd, labels, left_val_nd, right_val_nd, labels_val, n_classes=n_classes, seed=check_seed(seed)
        )
        weights, facts = train(self, task)
        fused_nd, *embeddings = self.fuse(NumpyMaths(weights), left_nd, right_nd)
        deviation = fused_nd.std(axis=0)
        self._fitted = (scales[0], scales[1], weights, deviation >= SILENT_SHARE * deviation.max())
        self.facts = facts | {"overlap": _overlap(*embeddings)}
        return self

    def views(self, blocks: Blocks) -> tuple[np.ndarray, ...]:
        if self._fitted is None:
            raise not_fitted(self.name)
        left, right, weights, kept = self._fitted
        left_nd, right_nd = check_blocks(blocks, self.name, widths=(len(left.mean), len(right.mean)))
        with np.errstate(over="ignore", invalid="ignore"):
            fused_nd, *_ = self.fuse(NumpyMaths(weights), left.apply(left_nd), right.apply(right_nd))
            fused_nd = np.ascontiguousarray(fused_nd[:, kept], dtype=np.float32)
        return (check_finite_predictions(fused_nd, self.name),)

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        left, right, weights, kept = self._fitted
        tensors = left.tensors("left_input") | right.tensors("right_input") | {"kept": kept.astype(np.float64)}
        for name, (weight, bias) in weights.items():
            tensors |= {f"{name}_weight": weight, f"{name}_bias": bias}
        return tensors

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(cls.Settings, config, cls.name)
        sides = ("left_input", "right_input")
        widths = [len(take_tensor(tensors, f"{side}_mean", (None,), cls.name)) for side in sides]
        left, right = (
            Standardiser.from_tensors(tensors, side, width, cls.name) for side, width in zip(sides, widths, strict=True)
        )
        weights: Weights = {
            name: (
                take_tensor(tensors, f"{name}_weight", (d_out, d_in), cls.name),
                take_tensor(tensors, f"{name}_bias", (d_out,), cls.name),
            )
            for name, (d_in, d_out) in model.maps(*widths).items()
        }
        model._fitted = (left, right, weights, take_tensor(tensors, "kept", (model.fused_dim,), cls.name) > 0)
        return model


def _overlap(left_nd: np.ndarray, right_nd: np.ndarray) -> float:
    sizes = float(np.linalg.norm(left_nd) * np.linalg.norm(right_nd))
    return float(np.linalg.norm(left_nd @ right_nd.T)) / sizes if sizes else 0.0
