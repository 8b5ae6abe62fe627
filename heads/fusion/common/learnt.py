"""Fusions that are small networks: learnt with a linear head of their own, which then makes way for a decoder.

The two codes are standardised on train. Loss: class-balanced cross-entropy, or what lesson.py has for another kind of
target, with AdamW, stopped early on that of val.
Each fusion writes its network once, over `Maths` (maths.py); numpy runs it in float64 over the float32 weights.
Initial weights and the order of rows are keyed as the batched trainer's (heads.training.draws).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_number, check_seed, take_tensor
from guidestore.heads.fusion.common.checks import check_blocks, check_fusion_fit
from guidestore.heads.fusion.common.maths import Fused, GraphMaths, Maths, NumpyMaths, Weights
from guidestore.heads.fusion.common.protocol import Blocks
from guidestore.heads.model import Model, Tensors
from guidestore.heads.networks import check_finite_predictions
from guidestore.heads.onnx_graph.graph import Value, standardised
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    import torch

SILENT_SHARE = 0.01
"""Columns of the fused code whose deviation on train is below this share of the largest are left out. The network made
nothing of them (dead units, and the MMO loss silences many), but a decoder that standardises would: of 165 cases of
512 + 1,024 dimensions the orthogonal fusion's own val loss was .0005, that of logistic regression on its code 2.77 with
them and .014 without."""

type _State = tuple[Standardiser, Standardiser, Weights, np.ndarray]
"""Scale of left and right, the maps, and (fused_dim,) bool: the columns that are kept."""


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


class LearntFusion(Model[_State]):
    """Contract: heads.fusion.common.protocol.Fusion; one view, the fused code (its columns that vary on train). It is
    trained on the CPU.

    facts: best_epoch, val_loss, and overlap: of the embeddings of train, ||H_l H_r^T|| / (||H_l|| ||H_r||) in
    Frobenius norms, which is 0 where every left one is orthogonal to every right one, and 1 at most.
    """

    n_views: ClassVar[int] = 1

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
        from guidestore.heads.fusion.common.learning import FusionFit, train
        from guidestore.heads.fusion.common.lesson import lesson_of
        from guidestore.heads.training.descent import Schedule

        self.forget()
        blocks, labels, blocks_val, labels_val = check_fusion_fit(
            blocks, labels, blocks_val, labels_val, n_classes, self.name, kind
        )
        scales = [Standardiser.fit(block_nd) for block_nd in blocks]
        left_nd, right_nd = (scale.apply(block_nd) for scale, block_nd in zip(scales, blocks, strict=True))
        left_val_nd, right_val_nd = (scale.apply(block_nd) for scale, block_nd in zip(scales, blocks_val, strict=True))
        use = self.settings
        fit = FusionFit(
            what=self.name,
            left_nd=left_nd,
            right_nd=right_nd,
            lesson=lesson_of(kind, labels, labels_val, n_classes),
            left_val_nd=left_val_nd,
            right_val_nd=right_val_nd,
            seed=check_seed(seed),
            maps=self.maps(left_nd.shape[1], right_nd.shape[1]),
            fused_dim=self.fused_dim,
            fuse=self.fuse,
            penalty=self.penalty,
            dropout=use.dropout,
            schedule=Schedule(
                learning_rate=use.learning_rate,
                weight_decay=use.weight_decay,
                epochs=use.epochs,
                batch_size=use.batch_size,
                patience=use.patience,
            ),
        )
        weights, facts = train(fit)
        fused_nd, *embeddings = self.fuse(NumpyMaths(weights), left_nd, right_nd)
        deviation = fused_nd.std(axis=0)
        self._fitted = (scales[0], scales[1], weights, deviation >= SILENT_SHARE * deviation.max())
        self.facts = facts | {"overlap": _overlap(*embeddings)}
        return self

    def views(self, blocks: Blocks) -> tuple[np.ndarray, ...]:
        left, right, weights, kept = self.fitted
        left_nd, right_nd = check_blocks(blocks, self.name, widths=(len(left.mean), len(right.mean)))
        with np.errstate(over="ignore", invalid="ignore"):
            fused_nd, *_ = self.fuse(NumpyMaths(weights), left.apply(left_nd), right.apply(right_nd))
            fused_nd = np.ascontiguousarray(fused_nd[:, kept], dtype=np.float32)
        return (check_finite_predictions(fused_nd, self.name),)

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        left, right, weights, kept = fitted
        tensors = left.tensors("left_input") | right.tensors("right_input") | {"kept": kept.astype(np.float64)}
        for name, (weight, bias) in weights.items():
            tensors |= {f"{name}_weight": weight, f"{name}_bias": bias}
        return tensors

    def unpack(self, tensors: Tensors) -> _State:
        sides = ("left_input", "right_input")
        widths = [len(take_tensor(tensors, f"{side}_mean", (None,), self.name)) for side in sides]
        left, right = (
            Standardiser.from_tensors(tensors, side, width, self.name)
            for side, width in zip(sides, widths, strict=True)
        )
        weights: Weights = {
            name: (
                take_tensor(tensors, f"{name}_weight", (d_out, d_in), self.name),
                take_tensor(tensors, f"{name}_bias", (d_out,), self.name),
            )
            for name, (d_in, d_out) in self.maps(*widths).items()
        }
        return left, right, weights, take_tensor(tensors, "kept", (self.fused_dim,), self.name) > 0

    def onnx(self, left: Value, right: Value) -> tuple[Value, ...]:
        tensors = self.tensors()
        scaled = (standardised(left, tensors, "left_input"), standardised(right, tensors, "right_input"))
        fused, *_ = self.fuse(GraphMaths(tensors), *scaled)
        return (fused.graph.node("Gather", fused, np.flatnonzero(self.fitted[3]), axis=1).rounded(),)


def _overlap(left_nd: np.ndarray, right_nd: np.ndarray) -> float:
    sizes = float(np.linalg.norm(left_nd) * np.linalg.norm(right_nd))
    return float(np.linalg.norm(left_nd @ right_nd.T)) / sizes if sizes else 0.0
