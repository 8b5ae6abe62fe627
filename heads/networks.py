"""Fully connected networks once trained (heads.training does that in torch): their weights and prediction in numpy.

A network of widths d_0 … d_L is the list of its layers (weight (d_out, d_in), bias (d_out,)). Prediction is float64
over the float32 weights, so that a row's result does not depend on how many rows are predicted with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import take_tensor
from guidestore.heads.errors import DivergedError

type Layers = list[tuple[np.ndarray, np.ndarray]]
type Networked = dict[str, Layers]
"""Several networks by name."""

MOMENTUM = 0.9
"""All SGD of the paper: momentum 0.9, Nesterov."""


def diverged(what: str, epoch: int, loss: float, learning_rate: float) -> DivergedError:
    """The error of a fit whose loss, or a weight, left the finite numbers."""
    return DivergedError(
        f"{what}: training diverged in epoch {epoch} (loss {loss:g}) at learning rate {learning_rate:g}; lower the "
        "learning rate, or standardise the codes"
    )


def check_finite_predictions(values: np.ndarray, what: str) -> np.ndarray:
    """`values` itself; raises DivergedError where it is not finite."""
    if not np.isfinite(values).all():
        raise DivergedError(
            f"{what}: predictions are not finite; these codes lie far outside those it was trained on, so check that "
            "they come from the same encoder"
        )
    return values


def run_layers(layers: Layers, x_nd: np.ndarray) -> np.ndarray:
    """(n, d_0) -> (n, d_L) float64: ReLU after each hidden layer, a linear output, no dropout."""
    x_nd = x_nd.astype(np.float64)
    for i, (weight, bias) in enumerate(layers):
        x_nd = x_nd @ weight.astype(np.float64).T + bias
        if i < len(layers) - 1:
            x_nd = np.maximum(x_nd, 0.0)
    return x_nd


def softmax(logits_nk: np.ndarray) -> np.ndarray:
    """(n, k) -> (n, k) float64 probabilities; rows sum to 1."""
    exp_nk = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    return exp_nk / exp_nk.sum(axis=1, keepdims=True)


def layers_to_tensors(layers: Layers) -> dict[str, np.ndarray]:
    """{layer0_weight, layer0_bias, layer1_weight, …}."""
    return {
        f"layer{i}_{part}": array
        for i, layer in enumerate(layers)
        for part, array in zip(("weight", "bias"), layer, strict=True)
    }


def layers_from_tensors(tensors: Mapping[str, np.ndarray], hidden: Sequence[int], what: str) -> Layers:
    """The inverse of `layers_to_tensors`; widths must chain through `hidden`."""
    layers: Layers = []
    d_in: int | None = None
    for i, d_out in enumerate((*hidden, None)):
        weight = take_tensor(tensors, f"layer{i}_weight", (d_out, d_in), what)
        layers.append((weight, take_tensor(tensors, f"layer{i}_bias", (weight.shape[0],), what)))
        d_in = weight.shape[0]
    if f"layer{len(layers)}_weight" in tensors:
        raise InvalidInputError(f"{what}: there are more layers than its config says; the weights are of another model")
    return layers
