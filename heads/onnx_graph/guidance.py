"""G: z_I -> z_S as a graph, from config and tensors alone; each function says what the model's `predict` computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.onnx_graph.graph import Value, layered, nearest, squared_distances, standardised, unstandardised

type Config = Mapping[str, Any]
type Tensors = Mapping[str, np.ndarray]
type Written = Callable[[Value, Config, Tensors], Value]
"""(n, d) float64 codes, config and tensors of a model -> what it predicts, float64."""


def guided(z_inferior: Value, config: Config, tensors: Tensors) -> Value:
    """(n, d_S) G(z_I), rounded to float32. Raises InvalidInputError where the model has no graph."""
    name = config["name"]
    if name not in GUIDANCE:
        raise InvalidInputError(
            f"guidance model {name!r} has no ONNX form; export a head with {', '.join(GUIDANCE)}, or without G"
        )
    return GUIDANCE[name](z_inferior, config, tensors).rounded()


def _affine(z: Value, config: Config, tensors: Tensors) -> Value:
    return standardised(z, tensors, "inferior") @ tensors["weight"] + tensors["bias"]


def _autoencoder(z: Value, config: Config, tensors: Tensors) -> Value:
    value = layered(standardised(z, tensors, "inferior"), tensors)
    return unstandardised(value.relu() if config["output"] == "relu" else value, tensors, "superior")


def _contrastive(z: Value, config: Config, tensors: Tensors) -> Value:
    return unstandardised(layered(standardised(z, tensors, "inferior"), tensors, "guide_"), tensors, "superior")


def _residual_mlp(z: Value, config: Config, tensors: Tensors) -> Value:
    x = standardised(z, tensors, "inferior")
    return unstandardised(layered(x, tensors, "linear_") + layered(x, tensors, "mlp_"), tensors, "superior")


def _variational(z: Value, config: Config, tensors: Tensors) -> Value:
    prior = layered(standardised(z, tensors, "inferior"), tensors, "prior_")
    likelihood = layered(prior.columns(0, config["latent"]), tensors, "likelihood_")
    return unstandardised(likelihood.columns(0, len(tensors["superior_mean"])), tensors, "superior")


def _kernel_ridge(z: Value, config: Config, tensors: Tensors) -> Value:
    squares = squared_distances(standardised(z, tensors, "inferior"), tensors["train"])
    kernel = (squares / (-2.0 * float(tensors["deviation"][0]) ** 2)).exp()
    return unstandardised(kernel @ tensors["dual"], tensors, "superior")


def _retrieval(z: Value, config: Config, tensors: Tensors) -> Value:
    k = float(tensors["k"][0])
    train_nd = (tensors["train_inferior"].astype(np.float64) - tensors["inferior_mean"]) / tensors["inferior_scale"]
    rows = nearest(standardised(z, tensors, "inferior"), train_nd, int(k))
    return z.graph.constant(tensors["train_superior"]).rows_at(rows).sum(1) / k


GUIDANCE: dict[str, Written] = {
    "autoencoder": _autoencoder,
    "cca": _affine,
    "contrastive": _contrastive,
    "kernel_ridge": _kernel_ridge,
    "linear": _affine,
    "pls": _affine,
    "residual_mlp": _residual_mlp,
    "retrieval": _retrieval,
    "ridge": _affine,
    "task_aware": _autoencoder,
    "variational": _variational,
}
"""By the names of heads.registry.GUIDANCE."""
