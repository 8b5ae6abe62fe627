"""Boosted trees of accelerated failure times (Barnwal, Cho & Hocking, JCGS 31, 2022), stopped early on val."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from guidestore.heads.checks import check_choice, check_number
from guidestore.heads.cox import Baseline
from guidestore.heads.decoders.common.boosting import Boosted, boosted_from_tensors, boosted_to_tensors, kept
from guidestore.heads.decoders.common.surviving import Surviving, baseline_of
from guidestore.heads.decoders.of_value.xgboost import BoostingSettings
from guidestore.heads.model import Tensors
from guidestore.heads.onnx_graph.graph import Value
from guidestore.heads.onnx_graph.trees import boosted
from guidestore.heads.protocol import DecoderProblem

type _State = tuple[Boosted, Baseline]


@dataclass(frozen=True, slots=True, kw_only=True)
class XgboostSettings(BoostingSettings):
    """Hyper-parameters of `Xgboost`."""

    distribution: Literal["normal", "logistic", "extreme"] = "normal"
    """Of the error of the logarithm of the time."""
    spread: float = 1.0
    """Of that error."""

    def __post_init__(self) -> None:
        BoostingSettings.__post_init__(self)
        check_choice(self.distribution, "xgboost: distribution", ("normal", "logistic", "extreme"))
        check_number(self.spread, "xgboost: spread", 0, open_low=True)


class Xgboost(Surviving[_State]):
    """Trees foretell the logarithm of the time, on codes as they are; the risk is minus that."""

    name: ClassVar[str] = "xgboost"
    Settings = XgboostSettings
    settings: XgboostSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[_State, dict[str, float]]]:
        from xgboost import DMatrix, train

        use = self.settings
        centre = float(np.exp(np.log(problem.labels[:, 0]).mean()))
        rows = []
        for codes_nd, y_n2 in ((problem.x_nd, problem.labels), (problem.x_val_nd, problem.labels_val)):
            time_n = y_n2[:, 0] / centre
            of_part: Any = DMatrix(codes_nd, nthread=1)
            of_part.set_float_info("label_lower_bound", time_n)
            of_part.set_float_info("label_upper_bound", np.where(y_n2[:, 1] == 1, time_n, np.inf))
            rows.append(of_part)
        objective = {
            "objective": "survival:aft",
            "eval_metric": "aft-nloglik",
            "aft_loss_distribution": use.distribution,
            "aft_loss_distribution_scale": use.spread,
            "base_score": 1.0,
        }
        booster = train(
            use.params(problem.x_nd.shape[1], problem.seed) | objective,
            rows[0],
            use.rounds,
            evals=[(rows[1], "val")],
            early_stopping_rounds=use.patience,
            verbose_eval=False,
        )
        rounds = booster.best_iteration + 1
        trees = kept(booster[:rounds])
        risk_n, risk_val_n = (_risk(trees, codes_nd) for codes_nd in (problem.x_nd, problem.x_val_nd))
        facts = {"rounds": float(rounds), "val_loss": float(booster.best_score)}
        yield (trees, baseline_of(risk_n, risk_val_n, problem)), facts

    def baseline(self, fitted: _State) -> Baseline:
        return fitted[1]

    def say(self, fitted: _State, x_nd: np.ndarray) -> np.ndarray:
        return _risk(fitted[0], x_nd)

    def code_dim(self, fitted: _State) -> int:
        return fitted[0][0].num_features()

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        return boosted_to_tensors(fitted[0]) | fitted[1].tensors()

    def unpack(self, tensors: Tensors) -> _State:
        return boosted_from_tensors(tensors, self.name), Baseline.from_tensors(tensors, self.name)

    def onnx(self, x: Value) -> Value:
        """The risk."""
        return boosted(x, self.fitted[0][0]) * np.array([-1.0])


def _risk(trees: Boosted, x_nd: np.ndarray) -> np.ndarray:
    return -trees[0].inplace_predict(x_nd, predict_type="margin").astype(np.float64)
