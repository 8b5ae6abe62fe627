"""A network of one hidden layer on soft targets; its regularisation is how long it trains."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import (
    check_number,
    check_numbers,
    take_tensor,
)
from guidestore.heads.model import Tensors
from guidestore.heads.networks import (
    check_finite_predictions,
    layers_from_tensors,
    layers_to_tensors,
    run_layers,
    softmax,
)
from guidestore.heads.onnx_graph.graph import Value, layered
from guidestore.heads.transfer.students.common.family import Family
from guidestore.heads.transfer.targets import balanced


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings:
    """Hyper-parameters of `Mlp`."""

    hidden_units: int = 64
    """Width of the hidden layer."""
    dropout: float = 0.3
    """After the hidden layer, as the paper's D_c."""
    learning_rate: float = 0.01
    """Of Adam, on all rows at once: with at most some thousand rows of 60 dimensions a step takes about 1 ms."""
    weight_decay: float = 1e-3
    """Decoupled from the gradient (AdamW)."""
    steps: tuple[int, ...] = (10, 20, 40, 80)
    """When the training may stop: the fewest steps, the strongest regularisation, first."""

    def __post_init__(self) -> None:
        check_number(self.hidden_units, "mlp-student: hidden_units", 1, integer=True)
        check_number(self.dropout, "mlp-student: dropout", 0, 0.95)
        check_number(self.learning_rate, "mlp-student: learning_rate", 0, open_low=True)
        check_number(self.weight_decay, "mlp-student: weight_decay", 0)
        check_numbers(self.steps, "mlp-student: steps", 1, integer=True)


class Mlp(Family):
    """One hidden layer of ReLU, weighted cross-entropy against soft targets (of scores
    the squared error), Adam. Contract: Student."""

    name: ClassVar[str] = "mlp-student"
    Settings = MlpSettings
    settings: MlpSettings

    @property
    def regularisations(self) -> tuple[float, ...]:
        return self.settings.steps

    def fit_path(
        self, x_nr: np.ndarray, targets_nk: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[dict[str, np.ndarray]]:
        return self._path(x_nr, targets_nk, balanced(targets_nk, weights_n), seed, of_classes=True)

    def fit_scores(
        self, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, *, seed: int
    ) -> list[dict[str, np.ndarray]]:
        return self._path(x_nr, targets_nc, weights_n / weights_n.sum(), seed, of_classes=False)

    def _path(
        self, x_nr: np.ndarray, targets_nc: np.ndarray, weights_n: np.ndarray, seed: int, *, of_classes: bool
    ) -> list[dict[str, np.ndarray]]:
        import torch

        from guidestore.heads.training.descent import AdamW

        use, generator = self.settings, torch.Generator().manual_seed(seed)
        weights = torch.from_numpy(weights_n).float()
        # Prepared codes have norm 1; a network starts best from columns of variance 1.
        columns = float(np.sqrt(x_nr.shape[1]))
        x, targets = torch.from_numpy(x_nr * columns).float(), torch.from_numpy(targets_nc).float()
        widths = (x_nr.shape[1], use.hidden_units, targets_nc.shape[1])
        parameters = []
        for d_in, d_out in pairwise(widths):
            for shape in ((d_out, d_in), (d_out,)):
                drawn = torch.empty(shape).uniform_(-(d_in**-0.5), d_in**-0.5, generator=generator)
                parameters.append(drawn.requires_grad_())
        hidden_weight, hidden_bias, weight, bias = parameters
        optimiser = AdamW(parameters, learning_rate=use.learning_rate, weight_decay=use.weight_decay, fused=False)
        path: dict[int, dict[str, np.ndarray]] = {}
        for step in range(1, max(use.steps) + 1):
            hidden = torch.relu(x @ hidden_weight.T + hidden_bias)
            kept = torch.rand(hidden.shape, generator=generator) >= use.dropout
            outputs = (hidden * kept / (1.0 - use.dropout)) @ weight.T + bias
            if of_classes:
                losses = -(targets * torch.log_softmax(outputs, dim=1)).sum(dim=1)
            else:
                losses = (outputs - targets).square().sum(dim=1)
            optimiser.step((weights * losses).sum())
            if step in use.steps:
                arrays = [parameter.detach().numpy().copy() for parameter in parameters]
                arrays[0] *= np.float32(columns)
                path[step] = layers_to_tensors([(arrays[0], arrays[1]), (arrays[2], arrays[3])])
        return [path[step] for step in use.steps]

    def probabilities(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        return softmax(self.scores(tensors, x_nr))

    def scores(self, tensors: Tensors, x_nr: np.ndarray) -> np.ndarray:
        layers = layers_from_tensors(tensors, (self.settings.hidden_units,), self.name)
        return check_finite_predictions(run_layers(layers, x_nr), self.name)

    def check(self, tensors: Tensors, n_dims: int) -> dict[str, np.ndarray]:
        layers = layers_from_tensors(tensors, (self.settings.hidden_units,), self.name)
        take_tensor(tensors, "layer0_weight", (self.settings.hidden_units, n_dims), self.name)
        return layers_to_tensors(layers)

    def onnx(self, tensors: Tensors, x: Value) -> Value:
        return self.scores_onnx(tensors, x).softmax()

    def scores_onnx(self, tensors: Tensors, x: Value) -> Value:
        return layered(x, tensors)
