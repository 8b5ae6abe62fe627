"""Trains the networks of one `AutogradGuidance` model with torch."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim.adamw import adamw

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.networks import Layers, diverged
from guidestore.heads.training.draws import initial_layer, row_uniforms

if TYPE_CHECKING:
    from guidestore.heads.guidance.autograd import AutogradGuidance, Networked

type TorchLayers = list[tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One fit, on standardised train pairs."""

    x_nd: np.ndarray
    """(n, d_I) float64."""
    y_nd: np.ndarray
    """(n, d_S) float64."""
    seed: int
    teacher: Layers | None
    """D_S on standardised z_S (heads.guidance.frozen_decoder), where the loss goes through it."""


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


def train(model: AutogradGuidance, task: Task, given: Networked, *, device: str) -> tuple[Networked, float]:
    """The trained networks by name, float32, and the mean train loss of the last epoch. Raises DivergedError."""
    if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
        raise InvalidInputError(
            f"device {device!r} is not there; train on 'cpu'{' or cuda' * torch.cuda.is_available()}"
        )
    use, n = model.settings, len(task.x_nd)
    x_nd, y_nd = (torch.from_numpy(codes.astype(np.float32)).to(device) for codes in (task.x_nd, task.y_nd))
    numbers = itertools.count()
    trained: dict[str, TorchLayers] = {
        name: [
            tuple(
                torch.from_numpy(part).to(device).requires_grad_()
                for part in initial_layer(task.seed, next(numbers), *pair)
            )
            for pair in itertools.pairwise(widths)
        ]
        for name, widths in model.widths(task.x_nd.shape[1], task.y_nd.shape[1]).items()
    }  # pyright: ignore[reportAssignmentType]
    fixed = {name: _to_torch(layers, device) for name, layers in given.items()}
    teacher = _to_torch(task.teacher or [], device)
    networks = Networks(trained | fixed, dropout=use.dropout, seed=task.seed)
    parameters = [part for layers in trained.values() for layer in layers for part in layer]
    # The function, because torch.optim.AdamW imports torch's compiler, which takes five seconds.
    means, squares = ([torch.zeros_like(part) for part in parameters] for _ in range(2))
    steps = [torch.zeros((), device=device) for _ in parameters]
    epoch_loss = 0.0
    for epoch in range(1, use.epochs + 1):
        order = torch.from_numpy(np.argsort(row_uniforms(task.seed, epoch, n), kind="stable")).to(device)
        total = torch.zeros((), device=device)
        for rows in order.split(use.batch_size):
            predicted_bd, loss = model.loss_of(networks, x_nd[rows], y_nd[rows])
            loss = loss + value_loss(predicted_bd, y_nd[rows], use.loss, teacher)
            gradients = list(torch.autograd.grad(loss, parameters))
            with torch.no_grad():
                adamw(
                    parameters, gradients, means, squares, [], steps, fused=True, amsgrad=False, beta1=0.9, beta2=0.999,
                    lr=use.learning_rate, weight_decay=use.weight_decay, eps=1e-8, maximize=False,
                )  # fmt: skip
            total += loss.detach() * (len(rows) / n)
        epoch_loss = float(total)
        if not np.isfinite(epoch_loss):
            raise diverged(model.name, epoch, epoch_loss, use.learning_rate)
    layers: Networked = {
        name: [(weight.detach().cpu().numpy(), bias.detach().cpu().numpy()) for weight, bias in own]
        for name, own in trained.items()
    }
    if not all(np.isfinite(part).all() for own in layers.values() for layer in own for part in layer):
        raise diverged(model.name, use.epochs, epoch_loss, use.learning_rate)
    return layers, epoch_loss


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


def _to_torch(layers: Layers, device: str) -> TorchLayers:
    return [
        (torch.from_numpy(weight.astype(np.float32)).to(device), torch.from_numpy(bias.astype(np.float32)).to(device))
        for weight, bias in layers
    ]
