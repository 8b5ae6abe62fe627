"""Trains the named networks of one guidance model with torch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.networks import Layers, Networked
from guidestore.heads.training.descent import Schedule, descend
from guidestore.heads.training.draws import initial_layer

type TorchLayers = list[tuple[torch.Tensor, torch.Tensor]]


class Networks:
    """The networks of a model in training, and the fit's random numbers."""

    def __init__(self, layers: Mapping[str, TorchLayers], *, dropout: float, seed: int) -> None:
        self._layers, self._dropout = layers, dropout
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, name: str, x_bd: torch.Tensor) -> torch.Tensor:
        """(b, d_0) -> (b, d_L): ReLU and dropout after each hidden layer, a linear output."""
        *hidden, (weight, bias) = self._layers[name]
        for inner_weight, inner_bias in hidden:
            x_bd = torch.nn.functional.linear(x_bd, inner_weight, inner_bias).relu()
            if self._dropout:
                kept = torch.rand(x_bd.shape, generator=self._generator) >= self._dropout
                x_bd = x_bd * kept.to(x_bd.device) / (1.0 - self._dropout)
        return torch.nn.functional.linear(x_bd, weight, bias)

    def normal_like(self, x_bd: torch.Tensor) -> torch.Tensor:
        """Standard normal draws."""
        return torch.randn(x_bd.shape, generator=self._generator).to(x_bd.device)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NetworksFit:
    """One fit, on standardised train pairs."""

    what: str
    """Name of the model, for errors."""
    x_nd: np.ndarray
    """(n, d_I) float64."""
    y_nd: np.ndarray
    """(n, d_S) float64."""
    seed: int
    widths: Mapping[str, tuple[int, ...]]
    """Name -> widths d_0 … d_L of each network that is trained."""
    given: Networked
    """Networks that are not."""
    loss_of: Callable[[Networks, torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    """What G predicts (b, d_S), to which `terms` apply, and what else is to be small ()."""
    terms: Mapping[str, float]
    """Term -> weight (heads.guidance.common.loss_terms)."""
    teacher: Layers | None
    """D_S on standardised z_S (heads.guidance.common.frozen_decoder), where the loss goes through it."""
    dropout: float
    schedule: Schedule


def train(fit: NetworksFit, *, device: str) -> tuple[Networked, float]:
    """The trained networks by name, float32, and the mean train loss of the last epoch. Raises DivergedError."""
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise InvalidInputError(
            f"device {device!r} is not there; train on 'cpu'{' or cuda' * torch.cuda.is_available()}"
        )
    x_nd, y_nd = (torch.from_numpy(codes.astype(np.float32)).to(device) for codes in (fit.x_nd, fit.y_nd))
    numbers = itertools.count()
    trained: dict[str, TorchLayers] = {}
    for name, widths in fit.widths.items():
        drawn = [initial_layer(fit.seed, next(numbers), *pair) for pair in itertools.pairwise(widths)]
        trained[name] = [(_parameter(weight, device), _parameter(bias, device)) for weight, bias in drawn]
    fixed = {name: _to_torch(layers, device) for name, layers in fit.given.items()}
    teacher = _to_torch(fit.teacher or [], device)
    networks = Networks(trained | fixed, dropout=fit.dropout, seed=fit.seed)

    def step_loss(epoch: int, rows: torch.Tensor) -> torch.Tensor:
        predicted_bd, loss = fit.loss_of(networks, x_nd[rows], y_nd[rows])
        return loss + value_loss(predicted_bd, y_nd[rows], fit.terms, teacher)

    parameters = [part for layers in trained.values() for layer in layers for part in layer]
    descended = descend(parameters, step_loss, len(x_nd), fit.schedule, seed=fit.seed, what=fit.what)
    arrays = iter(descended.parameters)
    return {name: [(next(arrays), next(arrays)) for _ in own] for name, own in trained.items()}, descended.loss


def value_loss(
    predicted_bd: torch.Tensor, wanted_bd: torch.Tensor, weights: Mapping[str, float], teacher: TorchLayers
) -> torch.Tensor:
    """() the weighted sum of distances that heads.training.losses.ValueLoss writes out, left to autograd."""
    functional = torch.nn.functional
    total = predicted_bd.new_zeros(())
    for name, weight in weights.items():
        if name == "cosine":
            term = 1.0 - functional.cosine_similarity(predicted_bd, wanted_bd, dim=1).mean()
        elif name == "smooth_l1":
            term = functional.smooth_l1_loss(predicted_bd, wanted_bd)
        elif name == "logits":
            term = functional.mse_loss(_taught(teacher, predicted_bd), _taught(teacher, wanted_bd))
        else:
            term = functional.mse_loss(predicted_bd, wanted_bd)
        total = total + weight * term
    return total


def _taught(teacher: TorchLayers, values_bd: torch.Tensor) -> torch.Tensor:
    for number, (weight, bias) in enumerate(teacher):
        values_bd = torch.nn.functional.linear(values_bd.relu() if number else values_bd, weight, bias)
    return values_bd


def _parameter(array: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(array).to(device).requires_grad_()


def _to_torch(layers: Layers, device: str) -> TorchLayers:
    return [
        (torch.from_numpy(weight.astype(np.float32)).to(device), torch.from_numpy(bias.astype(np.float32)).to(device))
        for weight, bias in layers
    ]
