"""Fully connected networks of outcomes that are no class: one hidden layer, SGD, stopped early on the val loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np

from guidestore.heads.checks import check_number, check_seed
from guidestore.heads.decoders.common.foretelling import Foretelling, checked
from guidestore.heads.errors import DivergedError
from guidestore.heads.model import Tensors, fitted_alone
from guidestore.heads.networks import Layers, diverged, layers_from_tensors, layers_to_tensors, run_layers
from guidestore.heads.onnx_graph.graph import Value, layered, standardised
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    from guidestore.heads.training.head import Outcomes

type Codes = dict[tuple[int, int], tuple[Standardiser, np.ndarray, np.ndarray]]
"""(object of the train codes, of the val codes) -> the scaling, train and val codes after it."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """What a fit leaves: `extra` is what the kind adds, by tensor."""

    scale: Standardiser
    layers: Layers
    extra: dict[str, np.ndarray]

    def __call__(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) codes -> (n, c) float64 outputs."""
        return run_layers(self.layers, self.scale.apply(x_nd))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Hyper-parameters; as those of the mlp of classes where nothing is said."""

    hidden_units: int = 50
    """Width of the one hidden layer; 0 for none, which is a linear decoder."""
    dropout: float = 0.3
    """After the hidden layer; on the codes where there is none."""
    learning_rate: float = 0.005
    """Codes and values are standardised on train."""
    weight_decay: float = 1e-4
    epochs: int = 500
    """At most."""
    patience: int = 100
    """Epochs without a lower val loss before the fit stops; the best epoch is restored either way."""
    batch_size: int = 50
    """Cases in a step; at most all."""

    def __post_init__(self) -> None:
        check_number(self.hidden_units, "mlp: hidden_units", 0, integer=True)
        check_number(self.dropout, "mlp: dropout", 0, 0.95)
        check_number(self.learning_rate, "mlp: learning_rate", 0, open_low=True)
        check_number(self.weight_decay, "mlp: weight_decay", 0)
        check_number(self.epochs, "mlp: epochs", 1, integer=True)
        check_number(self.patience, "mlp: patience", 1, integer=True)
        check_number(self.batch_size, "mlp: batch_size", 1, integer=True)


class NetworkForeteller(Foretelling[Network]):
    """Contract: heads.protocol.Foreteller, and BatchDecoder's fit_many. A kind says what its network is trained on."""

    settings: Any

    @abstractmethod
    def task(self, problem: DecoderProblem, x_val_nd: np.ndarray) -> Outcomes:
        """Of a checked problem. x_val_nd: float32, standardised."""

    def extra(self, problem: DecoderProblem, network: Network) -> dict[str, np.ndarray]:
        """What the fit keeps beside the layers, by tensor."""
        return {}

    def unpack_extra(self, tensors: Tensors, network: Network) -> dict[str, np.ndarray]:
        """The same from a file. Raises InvalidInputError."""
        return {}

    def fit(
        self,
        x_nd: np.ndarray,
        labels: np.ndarray,
        x_val_nd: np.ndarray,
        labels_val: np.ndarray,
        *,
        n_classes: int,
        seed: int,
    ) -> Self:
        return fitted_alone(self.fit_many([DecoderProblem(self, x_nd, labels, x_val_nd, labels_val, n_classes, seed)]))

    @classmethod
    def fit_many(cls, problems: Sequence[DecoderProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        """As heads.protocol.BatchDecoder.fit_many."""
        from guidestore.heads.training.head import Diverged, Head
        from guidestore.heads.training.train import train

        models = [cast(Self, problem.decoder) for problem in problems]
        codes: Codes = {}
        given: list[tuple[DecoderProblem, Standardiser]] = []
        heads: list[Head] = []
        for model, problem in zip(models, problems, strict=True):
            model.forget()
            key, use = (id(problem.x_nd), id(problem.x_val_nd)), model.settings
            problem = replace(checked(problem, cls.kind(), cls.name), seed=check_seed(problem.seed))
            if key not in codes:
                scale = Standardiser.fit(problem.x_nd)
                x_nd, x_val_nd = (scale.apply(part).astype(np.float32) for part in (problem.x_nd, problem.x_val_nd))
                codes[key] = (scale, x_nd, x_val_nd)
            scale, x_nd, x_val_nd = codes[key]
            given.append((problem, scale))
            heads.append(
                Head(
                    x_nd=x_nd,
                    task=model.task(problem, x_val_nd),
                    hidden=(use.hidden_units,) if use.hidden_units else (),
                    dropout=use.dropout,
                    learning_rate=use.learning_rate,
                    weight_decay=use.weight_decay,
                    epochs=use.epochs,
                    batch_size=min(use.batch_size, len(x_nd)),
                    seed=problem.seed,
                )
            )
        results: list[Self | DivergedError] = []
        for model, (problem, scale), head, trained in zip(
            models, given, heads, train(heads, device=device), strict=True
        ):
            if isinstance(trained, Diverged):
                results.append(diverged(cls.name, trained.epoch, trained.loss, head.learning_rate))
                continue
            network = Network(scale, trained.layers, {})
            model._fitted = replace(network, extra=model.extra(problem, network))
            model.facts = {"best_epoch": float(trained.epoch), "val_loss": trained.loss}
            results.append(model)
        return results

    def code_dim(self, fitted: Network) -> int:
        return len(fitted.scale.mean)

    def pack(self, fitted: Network) -> dict[str, np.ndarray]:
        return fitted.scale.tensors("input") | layers_to_tensors(fitted.layers) | fitted.extra

    def unpack(self, tensors: Tensors) -> Network:
        hidden = (self.settings.hidden_units,) if self.settings.hidden_units else ()
        layers = layers_from_tensors(tensors, hidden, self.name)
        scale = Standardiser.from_tensors(tensors, "input", layers[0][0].shape[1], self.name)
        network = Network(scale, layers, {})
        return replace(network, extra=self.unpack_extra(tensors, network))

    def layers(self) -> Layers:
        """As heads.protocol.LayeredDecoder has it: codes as they come -> outputs."""
        return self.fitted.scale.into_layers(self.fitted.layers)

    def outputs_onnx(self, x: Value) -> Value:
        """What the network gives, as a graph."""
        tensors = self.tensors()
        return layered(standardised(x, tensors, "input"), tensors)
