"""Fully connected networks of outcomes that are no class: one hidden layer, SGD, stopped early on the val loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

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

type Codes = dict[tuple[int, int, int], tuple[Standardiser, np.ndarray, np.ndarray]]
"""(object of the train codes, of the val codes, of the lesson) -> the scaling, train and val codes after it."""


@dataclass(frozen=True, slots=True, eq=False)
class Network:
    """What a fit leaves: `extra` is what the kind adds, by tensor."""

    scale: Standardiser
    layers: Layers
    extra: dict[str, np.ndarray]

    def __call__(self, x_nd: np.ndarray) -> np.ndarray:
        """(n, d) codes -> (n, c) float64 outputs."""
        return run_layers(self.layers, self.scale.apply(x_nd))


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What a teacher adds to a problem (heads.baselines)."""

    more_nd: np.ndarray
    """(m, d) codes of cases without an outcome, which the teacher alone says something of."""
    says_nk: np.ndarray
    """(n + m, k) what it says of the problem's train rows, then of these, as heads.outcomes.said without curves; NaN
    where it saw nothing."""
    imitation: float
    """Weight of the teacher against the outcome, from 0 to 1."""
    heat_of_teacher: float
    """What the logits of the teacher's probabilities are divided by, where it says some."""
    heat: float
    """The same of the student's."""


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
    can_be_taught: ClassVar[bool] = False
    """Whether it learns what a teacher says too (`taught`)."""

    @abstractmethod
    def task(self, problem: DecoderProblem, x_val_nd: np.ndarray) -> Outcomes:
        """Of a checked problem. x_val_nd: float32, standardised."""

    def taught(self, problem: DecoderProblem, says_nk: np.ndarray, heat: float) -> tuple[np.ndarray, np.ndarray]:
        """(n, c) what a teacher that says (n, k) would have the network give, of `binary` probabilities softened by
        `heat`; and the weight of each."""
        raise NotImplementedError

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
    def fit_many(
        cls, problems: Sequence[DecoderProblem], *, device: str = "cpu", taught: Sequence[Taught] = ()
    ) -> list[Self | DivergedError]:
        """As heads.protocol.BatchDecoder.fit_many. taught: one for each problem where there are teachers."""
        from guidestore.heads.training.head import Diverged, Head
        from guidestore.heads.training.train import train

        models = [cast(Self, problem.decoder) for problem in problems]
        codes: Codes = {}
        given: list[tuple[DecoderProblem, Standardiser]] = []
        heads: list[Head] = []
        for model, problem, lesson in zip(models, problems, taught or [None] * len(problems), strict=True):
            model.forget()
            more_nd = problem.x_nd[:0] if lesson is None else lesson.more_nd
            key, use = (id(problem.x_nd), id(problem.x_val_nd), id(lesson)), model.settings
            problem = replace(checked(problem, cls.kind(), cls.name), seed=check_seed(problem.seed))
            if key not in codes:
                every_nd = np.vstack([problem.x_nd, more_nd])
                scale = Standardiser.fit(every_nd)
                x_nd, x_val_nd = (scale.apply(part).astype(np.float32) for part in (every_nd, problem.x_val_nd))
                codes[key] = (scale, x_nd, x_val_nd)
            scale, x_nd, x_val_nd = codes[key]
            given.append((problem, scale))
            heads.append(
                Head(
                    x_nd=x_nd,
                    task=model.task(problem, x_val_nd) if lesson is None else model._lesson(problem, x_val_nd, lesson),
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

    def _lesson(self, problem: DecoderProblem, x_val_nd: np.ndarray, lesson: Taught) -> Outcomes:
        """The task of a problem with what a teacher adds."""
        from guidestore.heads.training.head import TaughtOutcomes

        task, n_more = self.task(problem, x_val_nd), len(lesson.more_nd)
        seen_n = ~np.isnan(lesson.says_nk).any(axis=1)
        given, weight = self.taught(problem, lesson.says_nk[seen_n], lesson.heat_of_teacher)
        taught_nc, soft_nc = np.zeros((2, len(seen_n), task.d_out))
        taught_nc[seen_n], soft_nc[seen_n] = given, weight * lesson.imitation
        own = 1.0 - lesson.imitation * (np.ones(len(problem.x_nd)) if task.loss == "cox" else seen_n[: -n_more or None])
        return TaughtOutcomes(
            x_val_nd=task.x_val_nd,
            patience=task.patience,
            y_nc=np.vstack([task.y_nc, np.zeros((n_more, task.y_nc.shape[1]))]),
            y_val_nc=task.y_val_nc,
            loss=task.loss,
            hard_n=np.append(own, np.zeros(n_more)),
            soft_nc=soft_nc,
            taught_nc=taught_nc,
            temperature=lesson.heat if task.loss == "binary" else 1.0,
        )

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
