"""Boosted regression trees (Chen & Guestrin 2016, "XGBoost"), stopped early on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.embeddings.outcomes import TargetKind
from guidestore.heads.checks import check_number, take_tensor
from guidestore.heads.decoders.common.boosting import Boosted, boosted_from_tensors, boosted_to_tensors, kept
from guidestore.heads.decoders.common.foretelling import ChosenForeteller
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.onnx_graph.trees import boosted
from guidestore.heads.protocol import DecoderProblem

type _State = tuple[Boosted, np.ndarray]
"""Trees of standardised values, and their mean and deviation (2,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoostingSettings:
    """Hyper-parameters of boosted trees of outcomes that are no class; as those of classes (heads.decoders.xgboost)."""

    max_depth: int = 2
    """Of a tree."""
    learning_rate: float = 0.1
    """What a tree's values are multiplied by."""
    columns: int = 64
    """Drawn for each tree; all, where codes have fewer."""
    row_share: float = 0.8
    """Of the train rows, drawn without replacement for each tree."""
    rounds: int = 300
    """Trees at most."""
    patience: int = 20
    """Trees without a lower val loss before the fit stops; those up to the best are kept either way."""

    def __post_init__(self) -> None:
        check_number(self.max_depth, "xgboost: max_depth", 1, integer=True)
        check_number(self.learning_rate, "xgboost: learning_rate", 0, 1, open_low=True)
        check_number(self.columns, "xgboost: columns", 1, integer=True)
        check_number(self.row_share, "xgboost: row_share", 0, 1, open_low=True)
        check_number(self.rounds, "xgboost: rounds", 1, integer=True)
        check_number(self.patience, "xgboost: patience", 1, integer=True)

    def params(self, n_dims: int, seed: int) -> dict[str, object]:
        """As the package calls them; on one thread."""
        return {
            "max_depth": self.max_depth,
            "learning_rate": self.learning_rate,
            "colsample_bytree": min(1.0, self.columns / n_dims),
            "subsample": self.row_share,
            "tree_method": "hist",
            "seed": seed,
            "nthread": 1,
            "verbosity": 0,
        }


class Xgboost(ChosenForeteller[_State]):
    """Boosted trees of squared error, on codes as they are."""

    name: ClassVar[str] = "xgboost"
    kinds: ClassVar[frozenset[TargetKind]] = frozenset({"value"})
    Settings = BoostingSettings
    settings: BoostingSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        from xgboost import DMatrix, train

        use, moments = self.settings, np.array([problem.labels.mean(), problem.labels.std()])
        rows = [
            DMatrix(codes_nd, label=(y_n - moments[0]) / moments[1], nthread=1)
            for codes_nd, y_n in ((problem.x_nd, problem.labels), (problem.x_val_nd, problem.labels_val))
        ]
        booster = train(
            use.params(problem.x_nd.shape[1], problem.seed) | {"objective": "reg:squarederror", "base_score": 0.0},
            rows[0],
            use.rounds,
            evals=[(rows[1], "val")],
            early_stopping_rounds=use.patience,
            verbose_eval=False,
        )
        rounds = booster.best_iteration + 1
        facts = {"rounds": float(rounds), "val_loss": float(booster.best_score * moments[1]) ** 2}
        yield (kept(booster[:rounds]), moments), facts

    def say(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        (booster, _), (mean, sd) = fitted
        return booster.inplace_predict(x_nd, predict_type="margin").astype(np.float64) * sd + mean

    def code_dim(self, fitted: _State) -> int:
        return fitted[0][0].num_features()

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        trees, moments = fitted
        return boosted_to_tensors(trees) | {"moments": moments}

    def unpack(self, tensors: Tensors) -> _State:
        return boosted_from_tensors(tensors, self.name), take_tensor(tensors, "moments", (2,), self.name)

    def onnx(self, x: Value) -> Value:
        (booster, _), (mean, sd) = self.fitted
        return boosted(x, booster) * np.array([sd]) + np.array([mean])
