"""Fully connected networks: their training state in torch, their prediction in numpy.

A network of widths d_0 … d_L is the list of its layers (weight (d_out, d_in), bias (d_out,)). Training is float32 with
everything resident; prediction is float64 over the float32 weights, so that a row's result does not depend on how many
rows are predicted with it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from embeddings.errors import InvalidInputError
from heads.checks import take_tensor
from heads.errors import DivergedError

if TYPE_CHECKING:
    import torch

type Layers = list[tuple[np.ndarray, np.ndarray]]

MOMENTUM = 0.9
"""All SGD of the paper: momentum 0.9, Nesterov."""


class Network:
    """A trainable network on the CPU: ReLU and dropout after each hidden layer, a linear output."""

    def __init__(self, widths: Sequence[int], *, dropout: float, generator: torch.Generator) -> None:
        """Weights and biases uniform in +- 1 / sqrt(d_in), which is torch.nn.Linear's own start."""
        import torch

        self.dropout = dropout
        self.generator = generator
        self.parameters: list[torch.Tensor] = []
        for d_in, d_out in itertools.pairwise(widths):
            bound = d_in**-0.5
            for shape in ((d_out, d_in), (d_out,)):
                values = torch.empty(shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
                self.parameters.append(values.requires_grad_())

    def optimiser(self, learning_rate: float, weight_decay: float) -> torch.optim.SGD:
        """Fused SGD: the optimiser's memory traffic dominates at these sizes (1.4 s against 2.5 s for one G)."""
        import torch

        return torch.optim.SGD(
            self.parameters, lr=learning_rate, momentum=MOMENTUM, nesterov=True, weight_decay=weight_decay, fused=True
        )

    def drop(self, x_nd: torch.Tensor) -> torch.Tensor:
        """Inverted dropout from the fit's own generator (torch's dropout reads the global one)."""
        import torch

        keep = 1.0 - self.dropout
        return x_nd * torch.empty_like(x_nd).bernoulli_(keep, generator=self.generator).div_(keep)

    def forward(self, x_nd: torch.Tensor, *, train: bool) -> torch.Tensor:
        """(n, d_0) -> (n, d_L); dropout only where `train`."""
        import torch

        last = len(self.parameters) - 2
        for i in range(0, last + 2, 2):
            x_nd = torch.addmm(self.parameters[i + 1], x_nd, self.parameters[i].t())
            if i < last:
                x_nd = x_nd.relu()
                if train and self.dropout > 0:
                    x_nd = self.drop(x_nd)
        return x_nd

    def layers(self) -> Layers:
        """The weights as numpy copies."""
        arrays = [parameter.detach().numpy().copy() for parameter in self.parameters]
        return list(zip(arrays[::2], arrays[1::2], strict=True))


def check_converged(loss: float, layers: Layers | None, what: str, epoch: int, learning_rate: float) -> None:
    """Raises DivergedError where the loss, or a weight, is not finite."""
    finite = np.isfinite(loss) and all(np.isfinite(array).all() for layer in layers or [] for array in layer)
    if not finite:
        raise DivergedError(
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
