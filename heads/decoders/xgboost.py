"""Boosted trees (Chen & Guestrin 2016, "XGBoost"), stopped early on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number
from guidestore.heads.decoders.common.boosting import Boosted, boosted_from_tensors, boosted_to_tensors, kept
from guidestore.heads.decoders.common.class_weights import ClassWeights, check_class_weights, class_weights_k
from guidestore.heads.decoders.common.fitted import FittedDecoder
from guidestore.heads.model import Tensors
from guidestore.heads.networks import check_finite_predictions, softmax
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.onnx_graph.trees import boosted
from guidestore.heads.protocol import DecoderProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class XgboostSettings:
    """Hyper-parameters of `Xgboost`, for a few hundred cases of 512 to 1,536 dimensions: there, deeper trees and more
    columns take several times as long and predict no better."""

    max_depth: int = 2
    """Of a tree."""
    learning_rate: float = 0.1
    """What a tree's values are multiplied by. 0.3, the package's default, is 2 times as fast and a little worse."""
    columns: int = 64
    """Drawn for each tree; all, where codes have fewer."""
    row_share: float = 0.8
    """Of the train rows, drawn without replacement for each round."""
    rounds: int = 300
    """At most; a round is one tree per class."""
    patience: int = 20
    """Rounds without a lower val loss before the fit stops; the trees up to the best round are kept either way."""
    class_weights: ClassWeights = "balanced"
    """Of the cross-entropy, on val alike; see heads.decoders.common.class_weights."""

    def __post_init__(self) -> None:
        check_number(self.max_depth, "xgboost: max_depth", 1, integer=True)
        check_number(self.learning_rate, "xgboost: learning_rate", 0, 1, open_low=True)
        check_number(self.columns, "xgboost: columns", 1, integer=True)
        check_number(self.row_share, "xgboost: row_share", 0, 1, open_low=True)
        check_number(self.rounds, "xgboost: rounds", 1, integer=True)
        check_number(self.patience, "xgboost: patience", 1, integer=True)
        check_class_weights(self.class_weights, "xgboost")


class Xgboost(FittedDecoder[Boosted]):
    """Boosted trees with a softmax over the classes, on codes as they are, on one thread. Contract:
    heads.protocol.Decoder."""

    name: ClassVar[str] = "xgboost"
    Settings = XgboostSettings
    settings: XgboostSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[Boosted, dict[str, float]]]:
        from xgboost import DMatrix, train

        use, labels, n_classes = self.settings, problem.labels, problem.n_classes
        weights_k = class_weights_k(use.class_weights, labels, n_classes, self.name)
        train_rows, val_rows = (
            DMatrix(codes_nd, label=own, weight=weights_k[own], nthread=1)
            for codes_nd, own in ((problem.x_nd, labels), (problem.x_val_nd, problem.labels_val))
        )
        params = {
            "objective": "multi:softprob",
            "num_class": n_classes,
            "max_depth": use.max_depth,
            "learning_rate": use.learning_rate,
            "colsample_bytree": min(1.0, use.columns / problem.x_nd.shape[1]),
            "subsample": use.row_share,
            "tree_method": "hist",
            "seed": problem.seed,
            "nthread": 1,
            "verbosity": 0,
        }
        booster = train(
            params,
            train_rows,
            use.rounds,
            evals=[(val_rows, "val")],
            early_stopping_rounds=use.patience,
            verbose_eval=False,
        )
        rounds = booster.best_iteration + 1
        yield kept(booster[:rounds]), {"rounds": float(rounds), "val_loss": float(booster.best_score)}

    def probabilities(self, fitted: Boosted, x_nd: np.ndarray) -> np.ndarray:
        logits_nk = fitted[0].inplace_predict(x_nd, predict_type="margin")
        return softmax(check_finite_predictions(logits_nk.astype(np.float64), self.name))

    def code_dim(self, fitted: Boosted) -> int:
        return fitted[0].num_features()

    def pack(self, fitted: Boosted) -> dict[str, np.ndarray]:
        return boosted_to_tensors(fitted)

    def unpack(self, tensors: Tensors) -> Boosted:
        return boosted_from_tensors(tensors, self.name)

    def onnx(self, x: Value) -> Value:
        return boosted(x, self.fitted[0]).softmax()
