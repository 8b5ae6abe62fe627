"""The paper's guidance model: a fully connected network z_I -> z_S, trained on the mean squared error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np

from embeddings.errors import InvalidInputError
from heads.checks import (
    check_choice,
    check_codes,
    check_flag,
    check_number,
    check_numbers,
    check_pairs,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
)
from heads.networks import (
    Layers,
    Network,
    check_converged,
    check_finite_predictions,
    layers_from_tensors,
    layers_to_tensors,
    run_layers,
)
from heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderSettings:
    """Hyper-parameters of `Autoencoder`; the preset `radpath-paper` holds the paper's."""

    hidden: tuple[int, ...] = (512, 256, 256)
    """Widths between d_I and d_S (released code: 1024-512-256-256-512)."""
    dropout: float = 0.25
    """After each hidden layer, never on the output (released code)."""
    standardise: bool = True
    """z_I and z_S to zero mean and unit variance on train. The paper trains on raw codes; with imported ones at lr 0.5
    that gave NaN within 3 steps."""
    output: Literal["linear", "relu"] = "linear"
    """`relu` fits non-negative z_S alone (the paper's both are); on signed codes it left 58 % of the variance."""
    learning_rate: float | None = None
    """None: min(0.05, 0.02 * sqrt(d_S)), for standardised codes. The loss is a mean over d_S, so narrow z_S make larger
    steps: at 0.05 four of nine fits with d_S of 1 or 2 diverged, at 0.02 none of nine; at 0.02 and d_S = 512 the
    paper's 150 epochs were too few (R^2 .53 against .77 at 0.05). The paper's 0.5 is for its raw codes."""
    weight_decay: float = 1e-6
    """As in the released code."""
    epochs: int = 150
    """The last one is used: G has no early stopping."""
    batch_size: int = 50
    """Cases in a step."""

    def __post_init__(self) -> None:
        check_numbers(self.hidden, "autoencoder: hidden", 1, integer=True)
        check_number(self.dropout, "autoencoder: dropout", 0, 0.95)
        check_flag(self.standardise, "autoencoder: standardise")
        check_choice(self.output, "autoencoder: output", ("linear", "relu"))
        if self.standardise and self.output == "relu":
            raise InvalidInputError(
                "autoencoder: a relu output cannot reach standardised codes below their mean; set standardise to false "
                "or output to linear"
            )
        if self.learning_rate is not None:
            check_number(self.learning_rate, "autoencoder: learning_rate", 0, open_low=True)
        check_number(self.weight_decay, "autoencoder: weight_decay", 0)
        check_number(self.epochs, "autoencoder: epochs", 1, integer=True)
        check_number(self.batch_size, "autoencoder: batch_size", 1, integer=True)


class Autoencoder:
    """G of the paper (eq. 4; supplementary table of hyper-parameters). Contract: heads.protocol.GuidanceModel."""

    name: ClassVar[str] = "autoencoder"
    Settings = AutoencoderSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(AutoencoderSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, Layers, Standardiser] | None = None

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

    def fit(self, z_inferior_nd: np.ndarray, z_superior_nd: np.ndarray, *, seed: int) -> Self:
        import torch

        self._fitted, self.facts = None, {}
        z_inferior_nd, z_superior_nd = check_pairs(z_inferior_nd, z_superior_nd, self.name)
        use, d_in, d_out = self.settings, z_inferior_nd.shape[1], z_superior_nd.shape[1]
        scale_in = Standardiser.fit(z_inferior_nd) if use.standardise else Standardiser.identity(d_in)
        scale_out = Standardiser.fit(z_superior_nd) if use.standardise else Standardiser.identity(d_out)
        x_nd = torch.from_numpy(scale_in.apply(z_inferior_nd).astype(np.float32))
        y_nd = torch.from_numpy(scale_out.apply(z_superior_nd).astype(np.float32))

        generator = torch.Generator().manual_seed(check_seed(seed))
        network = Network((d_in, *use.hidden, d_out), dropout=use.dropout, generator=generator)
        learning_rate = min(0.05, 0.02 * d_out**0.5) if use.learning_rate is None else use.learning_rate
        optimiser = network.optimiser(learning_rate, use.weight_decay)
        loss_mean = np.inf
        for epoch in range(1, use.epochs + 1):
            loss_sum = torch.zeros(())
            for rows in torch.randperm(len(x_nd), generator=generator).split(use.batch_size):
                optimiser.zero_grad(set_to_none=True)
                predicted_nd = network.forward(x_nd[rows], train=True)
                if use.output == "relu":
                    predicted_nd = predicted_nd.relu()
                loss = torch.nn.functional.mse_loss(predicted_nd, y_nd[rows])
                loss.backward()
                optimiser.step()
                loss_sum += loss.detach() * len(rows)
            loss_mean = float(loss_sum) / len(x_nd)
            check_converged(loss_mean, None, self.name, epoch, learning_rate)
        layers = network.layers()
        check_converged(loss_mean, layers, self.name, use.epochs, learning_rate)
        self._fitted = (scale_in, layers, scale_out)
        self.facts = {"train_loss": loss_mean, "learning_rate": learning_rate}
        return self

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, layers, scale_out = self._fitted
        z_inferior_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=len(scale_in.mean))
        predicted_nd = run_layers(layers, scale_in.apply(z_inferior_nd))
        if self.settings.output == "relu":
            predicted_nd = np.maximum(predicted_nd, 0.0)
        with np.errstate(over="ignore"):
            predicted_nd = scale_out.invert(predicted_nd).astype(np.float32)
        return check_finite_predictions(predicted_nd, self.name)

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, layers, scale_out = self._fitted
        return scale_in.tensors("inferior") | layers_to_tensors(layers) | scale_out.tensors("superior")

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(AutoencoderSettings, config, cls.name)
        layers = layers_from_tensors(tensors, model.settings.hidden, cls.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", layers[0][0].shape[1], cls.name)
        scale_out = Standardiser.from_tensors(tensors, "superior", layers[-1][0].shape[0], cls.name)
        model._fitted = (scale_in, layers, scale_out)
        return model
