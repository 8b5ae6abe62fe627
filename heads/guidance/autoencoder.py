"""The paper's guidance model: a fully connected network z_I -> z_S, trained on the squared error or other losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Self, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import (
    check_choice,
    check_codes,
    check_flag,
    check_number,
    check_numbers,
    check_pairs,
    check_seed,
)
from guidestore.heads.errors import DivergedError
from guidestore.heads.guidance.common.frozen_decoder import teacher_layers
from guidestore.heads.guidance.common.loss_terms import LOGITS, loss_weights
from guidestore.heads.model import Model, Tensors, fitted_alone
from guidestore.heads.networks import (
    Layers,
    check_finite_predictions,
    diverged,
    layers_from_tensors,
    layers_to_tensors,
    run_layers,
)
from guidestore.heads.onnx_graph.graph import Value, layered, standardised, unstandardised
from guidestore.heads.presets import derm7pt, radpath
from guidestore.heads.presets.preset import Preset
from guidestore.heads.protocol import FrozenDecoder, GuidanceProblem
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    from guidestore.heads.training.head import Head


type _State = tuple[Standardiser, Layers, Standardiser]
type _Standardised = dict[tuple[int, bool], tuple[Standardiser, np.ndarray]]
"""(object of the codes, whether standardised) -> the scaling, and the codes after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoencoderSettings:
    """Hyper-parameters of `Autoencoder`; heads.presets holds the paper's."""

    hidden: tuple[int, ...] = (512, 256, 256)
    """Widths between d_I and d_S (released code: 1024-512-256-256-512)."""
    dropout: float = 0.25
    """After each hidden layer, never on the output (released code)."""
    standardise: bool = True
    """z_I and z_S to zero mean and unit variance on train. The paper trains on raw codes; with imported ones at lr 0.5
    that gave NaN within 3 steps."""
    output: Literal["linear", "relu"] = "linear"
    """`relu` fits non-negative z_S alone (the paper's both are); on signed codes it left 58 % of the variance."""
    loss: Mapping[str, float] = field(default_factory=lambda: {"mse": 1.0})
    """Term -> weight; also given as "mse+cosine" (heads.guidance.common.loss_terms). The paper's is the mse. The cosine
    alone leaves the length of G(z_I) open."""
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
        object.__setattr__(self, "loss", loss_weights(self.loss, "autoencoder"))
        if self.learning_rate is not None:
            check_number(self.learning_rate, "autoencoder: learning_rate", 0, open_low=True)
        check_number(self.weight_decay, "autoencoder: weight_decay", 0)
        check_number(self.epochs, "autoencoder: epochs", 1, integer=True)
        check_number(self.batch_size, "autoencoder: batch_size", 1, integer=True)


class Autoencoder(Model[_State]):
    """G of the paper (eq. 4; supplementary table of hyper-parameters).

    Contract: heads.protocol.BatchGuidanceModel, and with logits in its loss DecoderGuidedModel.
    """

    name: ClassVar[str] = "autoencoder"
    Settings: ClassVar[type[AutoencoderSettings]] = AutoencoderSettings
    settings: AutoencoderSettings

    @property
    def needs_decoder(self) -> bool:
        return LOGITS in self.settings.loss

    def fit(
        self,
        z_inferior_nd: np.ndarray,
        z_superior_nd: np.ndarray,
        *,
        seed: int,
        decoder: FrozenDecoder | None = None,
    ) -> Self:
        return fitted_alone(self.fit_many([GuidanceProblem(self, z_inferior_nd, z_superior_nd, seed, decoder)]))

    @classmethod
    def fit_many(cls, problems: Sequence[GuidanceProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        from guidestore.heads.training.head import Diverged
        from guidestore.heads.training.train import train

        models = [cast(Self, problem.model) for problem in problems]
        standardised: _Standardised = {}
        heads = [model._head(problem, standardised) for model, problem in zip(models, problems, strict=True)]
        results: list[Self | DivergedError] = []
        for model, problem, head, trained in zip(models, problems, heads, train(heads, device=device), strict=True):
            if isinstance(trained, Diverged):
                results.append(diverged(cls.name, trained.epoch, trained.loss, head.learning_rate))
                continue
            scale_in, scale_out = (standardised[key][0] for key in model._codes_keys(problem))
            model._fitted = (scale_in, trained.layers, scale_out)
            model.facts = {"train_loss": trained.loss, "learning_rate": head.learning_rate}
            results.append(model)
        return results

    def _codes_keys(self, problem: GuidanceProblem) -> list[tuple[int, bool]]:
        """Of z_I and of z_S."""
        return [
            (id(codes_nd), self.settings.standardise) for codes_nd in (problem.z_inferior_nd, problem.z_superior_nd)
        ]

    def _head(self, problem: GuidanceProblem, standardised: _Standardised) -> Head:
        """What to train. `standardised` holds the codes of earlier problems, so that those that share go on sharing."""
        from guidestore.heads.training.head import Head, Values

        self.forget()
        use = self.settings
        both = check_pairs(problem.z_inferior_nd, problem.z_superior_nd, self.name)
        keys = self._codes_keys(problem)
        for key, codes_nd in zip(keys, both, strict=True):
            if key not in standardised:
                scale = Standardiser.fit(codes_nd) if use.standardise else Standardiser.identity(codes_nd.shape[1])
                standardised[key] = (scale, scale.apply(codes_nd).astype(np.float32))
        x_nd, y_nd = (standardised[key][1] for key in keys)
        teacher = None
        if self.needs_decoder:
            teacher = teacher_layers(problem.decoder, standardised[keys[1]][0], y_nd, self.name)
        task = Values(y_nd=y_nd, relu_output=use.output == "relu", loss=tuple(use.loss.items()), teacher=teacher)
        default_rate = min(0.05, 0.02 * y_nd.shape[1] ** 0.5)
        return Head(
            x_nd=x_nd,
            task=task,
            hidden=use.hidden,
            dropout=use.dropout,
            learning_rate=default_rate if use.learning_rate is None else use.learning_rate,
            weight_decay=use.weight_decay,
            epochs=use.epochs,
            batch_size=use.batch_size,
            seed=check_seed(problem.seed),
        )

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        scale_in, layers, scale_out = self.fitted
        z_inferior_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=len(scale_in.mean))
        predicted_nd = run_layers(layers, scale_in.apply(z_inferior_nd))
        if self.settings.output == "relu":
            predicted_nd = np.maximum(predicted_nd, 0.0)
        with np.errstate(over="ignore"):
            predicted_nd = scale_out.invert(predicted_nd).astype(np.float32)
        return check_finite_predictions(predicted_nd, self.name)

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale_in, layers, scale_out = fitted
        return scale_in.tensors("inferior") | layers_to_tensors(layers) | scale_out.tensors("superior")

    def unpack(self, tensors: Tensors) -> _State:
        layers = layers_from_tensors(tensors, self.settings.hidden, self.name)
        scale_in = Standardiser.from_tensors(tensors, "inferior", layers[0][0].shape[1], self.name)
        return scale_in, layers, Standardiser.from_tensors(tensors, "superior", layers[-1][0].shape[0], self.name)

    def onnx(self, z: Value) -> Value:
        tensors = self.tensors()
        value = layered(standardised(z, tensors, "inferior"), tensors)
        return unstandardised(value.relu() if self.settings.output == "relu" else value, tensors, "superior")


PRESETS: dict[str, Preset] = radpath.GUIDANCE | derm7pt.GUIDANCE
"""G as published, and as released."""
