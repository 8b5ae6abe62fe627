"""Decoders as graphs: codes -> class probabilities; each function says what the decoder's `predict_proba` computes."""

from __future__ import annotations

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.decoders.calibrated import Calibrated
from guidestore.heads.onnx_graph.fusions import fused_views
from guidestore.heads.onnx_graph.graph import Value, layered, linear, nearest, standardised
from guidestore.heads.onnx_graph.guidance import Config, Tensors, Written
from guidestore.heads.onnx_graph.trees import boosted, walked
from guidestore.heads.transfer.preparation import CLIP_SD
from guidestore.heads.transfer.targets import FLOOR


def decoded(x: Value, config: Config, tensors: Tensors) -> Value:
    """(n, d) codes -> (n, k) probabilities. Raises InvalidInputError where the decoder has no graph."""
    name = config["name"]
    if name not in DECODERS:
        raise InvalidInputError(f"decoder {name!r} has no ONNX form; export a head with {', '.join(DECODERS)}")
    return DECODERS[name](x, config, tensors)


def _linear(x: Value, config: Config, tensors: Tensors) -> Value:
    return linear(x, tensors["weight"], tensors["bias"]).softmax()


def _logistic(x: Value, config: Config, tensors: Tensors) -> Value:
    return _linear(standardised(x, tensors, "input"), config, tensors)


def _linear_svm(x: Value, config: Config, tensors: Tensors) -> Value:
    margins = linear(standardised(x, tensors, "input"), tensors["weight"], tensors["bias"])
    return (margins / tensors["temperature"]).softmax()


def _mlp(x: Value, config: Config, tensors: Tensors) -> Value:
    logits = layered(standardised(x, tensors, "input"), tensors)
    return (logits.relu() if config["relu_dropout_on_logits"] else logits).softmax()


def _prototype(x: Value, config: Config, tensors: Tensors) -> Value:
    apart = standardised(x, tensors, "input")[:, None, :] - tensors["means"]
    return ((apart * apart).mean(2) / -tensors["temperature"]).softmax()


def _knn(x: Value, config: Config, tensors: Tensors) -> Value:
    rows = nearest(standardised(x, tensors, "input"), tensors["train"], int(tensors["k"][0]))
    return (x.graph.constant(tensors["votes"]).rows_at(rows).sum(1) + 1.0).share()


def _random_forest(x: Value, config: Config, tensors: Tensors) -> Value:
    return (walked(x, tensors) + 1.0 / tensors["scores"].shape[1]).share()


def _xgboost(x: Value, config: Config, tensors: Tensors) -> Value:
    from xgboost import Booster

    booster = Booster({"nthread": 1, "verbosity": 0})
    booster.load_model(bytearray(tensors["trees"].tobytes()))
    return boosted(x, booster).softmax()


def _calibrated(x: Value, config: Config, tensors: Tensors) -> Value:
    probabilities = decoded(x, config["decoder"], tensors)
    return (probabilities.at_least(1e-300).log() / tensors["calibration_temperature"]).softmax()


def _fused(x: Value, config: Config, tensors: Tensors) -> Value:
    left, right = config["widths"]
    views = fused_views(x.columns(0, left), x.columns(left, left + right), config["fusion"], _own(tensors, "fusion_"))
    total = None
    for i, view in enumerate(views):
        probabilities = decoded(view, config["decoder"], _own(tensors, f"view{i}_"))
        total = probabilities if total is None else total + probabilities
    assert total is not None  # noqa: S101  (every fusion has a view)
    return total / float(len(views))


def _own(tensors: Tensors, prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}


def _prepared(x: Value, tensors: Tensors) -> Value:
    """As heads.transfer.preparation.Preparation.apply."""
    clipped = ((x - tensors["input_mean"]) * tensors["input_gain"]).clip(-CLIP_SD, CLIP_SD)
    return clipped @ tensors["input_components"] - tensors["input_offset"]


def _ridge_student(x: Value, config: Config, tensors: Tensors) -> Value:
    return linear(_prepared(x, tensors), tensors["weight"], tensors["bias"]).at_least(FLOOR).share()


def _logistic_student(x: Value, config: Config, tensors: Tensors) -> Value:
    return _linear(_prepared(x, tensors), config, tensors)


def _mlp_student(x: Value, config: Config, tensors: Tensors) -> Value:
    return layered(_prepared(x, tensors), tensors).softmax()


def _random_forest_student(x: Value, config: Config, tensors: Tensors) -> Value:
    return walked(_prepared(x, tensors), tensors).share()


DECODERS: dict[str, Written] = {
    Calibrated.name: _calibrated,
    "fused": _fused,
    "knn": _knn,
    "linear": _linear,
    "linear_svm": _linear_svm,
    "logistic": _logistic,
    "logistic-student": _logistic_student,
    "mlp": _mlp,
    "mlp-student": _mlp_student,
    "prototype": _prototype,
    "random_forest": _random_forest,
    "random_forest-student": _random_forest_student,
    "ridge-student": _ridge_student,
    "xgboost": _xgboost,
}
"""By the names that heads.registry.load_decoder knows."""
