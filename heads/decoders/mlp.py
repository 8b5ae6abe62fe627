"""The paper's combined decoder D_c: at most one hidden layer, trained by SGD with early stopping on the val loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np

from guidestore.heads.checks import check_codes, check_fit, check_flag, check_number, check_seed
from guidestore.heads.decoders.common.class_weights import ClassWeights, check_class_weights, weights_as_given_k
from guidestore.heads.errors import DivergedError
from guidestore.heads.model import Model, Tensors, fitted_alone
from guidestore.heads.networks import (
    Layers,
    check_finite_predictions,
    diverged,
    layers_from_tensors,
    layers_to_tensors,
    run_layers,
    softmax,
)
from guidestore.heads.onnx_graph.graph import Value, layered, standardised
from guidestore.heads.presets import demo, derm7pt, radpath
from guidestore.heads.presets.preset import Preset
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    from guidestore.heads.training.head import Head


type _State = tuple[Standardiser, Layers]
type _Standardised = dict[tuple[int, int, bool], tuple[Standardiser, np.ndarray, np.ndarray]]
"""(object of the train codes, of the val codes, whether standardised) -> the scaling, train and val codes after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpSettings:
    """Hyper-parameters of `Mlp`; heads.presets holds the paper's."""

    hidden_units: int = 50
    """Width of the one hidden layer (released code: 1536-50-3); 0 for none, which is a linear decoder."""
    dropout: float = 0.3
    """After the hidden layer (released code); on the codes where there is none."""
    standardise: bool = True
    """Codes to zero mean and unit variance on train. The paper feeds raw codes, so that lr means another thing per
    encoder."""
    class_weights: ClassWeights = "balanced"
    """Of the cross-entropy; see heads.decoders.common.class_weights."""
    weighted_sampler: bool = False
    """Draw each epoch's n rows with replacement, each class equally often. Off by default: `balanced` does the same
    once, both together favour rare classes twice."""
    learning_rate: float = 0.005
    """For standardised codes. At 0.02 wide codes (1,536 and 4,096) ended in logits so large that the val loss read 0,
    and test accuracy fell (.81 to .84 against .83 to .91 at 0.005); lower, 1,280 codes of 6 dimensions need more than
    500 epochs."""
    weight_decay: float = 1e-6
    """As in the released code."""
    epochs: int = 500
    """At most."""
    patience: int = 200
    """Epochs without a lower val loss before the fit stops; the best epoch is restored either way."""
    batch_size: int = 50
    """Cases in a step."""
    relu_dropout_on_logits: bool = False
    """The released code's slip: ReLU and dropout on the logits, the ReLU at prediction too."""

    def __post_init__(self) -> None:
        check_number(self.hidden_units, "mlp: hidden_units", 0, integer=True)
        check_number(self.dropout, "mlp: dropout", 0, 0.95)
        check_flag(self.standardise, "mlp: standardise")
        check_class_weights(self.class_weights, "mlp")
        check_flag(self.weighted_sampler, "mlp: weighted_sampler")
        check_number(self.learning_rate, "mlp: learning_rate", 0, open_low=True)
        check_number(self.weight_decay, "mlp: weight_decay", 0)
        check_number(self.epochs, "mlp: epochs", 1, integer=True)
        check_number(self.patience, "mlp: patience", 1, integer=True)
        check_number(self.batch_size, "mlp: batch_size", 1, integer=True)
        check_flag(self.relu_dropout_on_logits, "mlp: relu_dropout_on_logits")

    @property
    def hidden(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return (self.hidden_units,) if self.hidden_units else ()


class Mlp(Model[_State]):
    """D_c of the paper (eq. 5; supplementary table of hyper-parameters). Contract: heads.protocol.BatchDecoder.

    The val loss is the same weighted cross-entropy, over all val rows at once, without dropout.
    """

    name: ClassVar[str] = "mlp"
    Settings = MlpSettings
    settings: MlpSettings

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
        from guidestore.heads.training.head import Diverged
        from guidestore.heads.training.train import train

        models = [cast(Self, problem.decoder) for problem in problems]
        standardised: _Standardised = {}
        heads = [model._head(problem, standardised) for model, problem in zip(models, problems, strict=True)]
        results: list[Self | DivergedError] = []
        for model, problem, head, trained in zip(models, problems, heads, train(heads, device=device), strict=True):
            if isinstance(trained, Diverged):
                results.append(diverged(cls.name, trained.epoch, trained.loss, head.learning_rate))
                continue
            model._fitted = (standardised[model._codes_key(problem)][0], trained.layers)
            model.facts = {"best_epoch": float(trained.epoch), "val_loss": trained.loss}
            results.append(model)
        return results

    def _codes_key(self, problem: DecoderProblem) -> tuple[int, int, bool]:
        return (id(problem.x_nd), id(problem.x_val_nd), self.settings.standardise)

    def _head(self, problem: DecoderProblem, standardised: _Standardised) -> Head:
        """What to train. `standardised` holds the codes of earlier problems, so that those that share go on sharing."""
        from guidestore.heads.training.head import Classes, Head

        self.forget()
        use, k = self.settings, problem.n_classes
        x_nd, labels, x_val_nd, labels_val = check_fit(
            problem.x_nd, problem.labels, problem.x_val_nd, problem.labels_val, k, self.name
        )
        key = self._codes_key(problem)
        if key not in standardised:
            scale = Standardiser.fit(x_nd) if use.standardise else Standardiser.identity(x_nd.shape[1])
            x_nd, x_val_nd = (scale.apply(part).astype(np.float32) for part in (x_nd, x_val_nd))
            standardised[key] = (scale, x_nd, x_val_nd)
        _, x_nd, x_val_nd = standardised[key]
        task = Classes(
            labels=labels,
            x_val_nd=x_val_nd,
            labels_val=labels_val,
            class_weights=weights_as_given_k(use.class_weights, labels, k, self.name),
            weighted_sampler=use.weighted_sampler,
            patience=use.patience,
            relu_dropout_on_logits=use.relu_dropout_on_logits,
        )
        return Head(
            x_nd=x_nd,
            task=task,
            hidden=use.hidden,
            dropout=use.dropout,
            learning_rate=use.learning_rate,
            weight_decay=use.weight_decay,
            epochs=use.epochs,
            batch_size=use.batch_size,
            seed=check_seed(problem.seed),
        )

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        scale, layers = self.fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=len(scale.mean))
        logits_nk = run_layers(layers, scale.apply(x_nd))
        if self.settings.relu_dropout_on_logits:
            logits_nk = np.maximum(logits_nk, 0.0)
        return softmax(check_finite_predictions(logits_nk, self.name))

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale, layers = fitted
        return scale.tensors("input") | layers_to_tensors(layers)

    def unpack(self, tensors: Tensors) -> _State:
        layers = layers_from_tensors(tensors, self.settings.hidden, self.name)
        return Standardiser.from_tensors(tensors, "input", layers[0][0].shape[1], self.name), layers

    def layers(self) -> Layers:
        """Without the ReLU that the released code puts on its logits."""
        scale, layers = self.fitted
        return scale.into_layers(layers)

    def onnx(self, x: Value) -> Value:
        logits = layered(standardised(x, self.tensors(), "input"), self.tensors())
        return (logits.relu() if self.settings.relu_dropout_on_logits else logits).softmax()


PRESETS: dict[str, Preset] = radpath.DECODERS | derm7pt.DECODERS | demo.DECODERS
"""D_c as published, as released, and that of the experiments' preset demo."""
