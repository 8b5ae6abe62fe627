"""Guidance networks whose loss is more than a distance to z_S: torch's autograd and Adam, one fit at a time.

A model of this kind is one or several fully connected networks with names, on standardised codes. Initial weights and
the order of rows are keyed as the batched trainer's (heads.training.draws); all other draws come from one generator of
the fit's own, on the CPU, so that a GPU trains on the same ones.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import (
    check_codes,
    check_number,
    check_numbers,
    check_pairs,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.errors import DivergedError
from guidestore.heads.guidance.frozen_decoder import teacher_layers
from guidestore.heads.guidance.loss_terms import LOGITS, loss_weights
from guidestore.heads.networks import Layers, check_finite_predictions, layers_from_tensors, layers_to_tensors
from guidestore.heads.protocol import FrozenDecoder, GuidanceProblem
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    import torch

    from guidestore.heads.guidance.autograd_training import Networks

type Networked = dict[str, Layers]
"""The networks of a model by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutogradSettings:
    """What all of them share; codes are always standardised on train."""

    hidden: tuple[int, ...] = (256,)
    """Widths of the hidden layers of each network."""
    dropout: float = 0.5
    """After each hidden layer. Held-out R^2 of these models on mfeat fou -> kar was .12 to .17 with 165 pairs and .30
    to .32 with 1,280 at 0.5 for 50 epochs, .00 to .13 and .24 to .31 at the paper's 0.25 for 150; only
    where 1,280 pairs meet 6 dimensions (mor -> fou) the latter were .02 better."""
    loss: Mapping[str, float] = field(default_factory=lambda: {"mse": 1.0})
    """Term -> weight, or "mse+cosine" (heads.guidance.loss_terms): the distances of G(z_I) to z_S."""
    learning_rate: float = 1e-3
    """Of Adam; its usual default."""
    weight_decay: float = 1e-2
    """Decoupled, as AdamW has it; its usual default."""
    epochs: int = 50
    """The last one is used: G has no early stopping. For the number see dropout."""
    batch_size: int = 50
    """Cases in a step, as the paper's G."""
    kind: ClassVar[str]

    def __post_init__(self) -> None:
        check_numbers(self.hidden, f"{self.kind}: hidden", 1, integer=True)
        check_number(self.dropout, f"{self.kind}: dropout", 0, 0.95)
        object.__setattr__(self, "loss", loss_weights(self.loss, self.kind))
        check_number(self.learning_rate, f"{self.kind}: learning_rate", 0, open_low=True)
        check_number(self.weight_decay, f"{self.kind}: weight_decay", 0)
        check_number(self.epochs, f"{self.kind}: epochs", 1, integer=True)
        check_number(self.batch_size, f"{self.kind}: batch_size", 1, integer=True)


class AutogradGuidance(ABC):
    """Contract: heads.protocol.BatchGuidanceModel (one after the other, on the device that is asked for), and with
    logits in its loss DecoderGuidedModel."""

    name: ClassVar[str]
    Settings: ClassVar[type[AutogradSettings]]
    settings: Any

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(self.Settings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, Networked, Standardiser] | None = None

    @abstractmethod
    def widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        """Name -> widths d_0 … d_L of each network that is trained."""

    @abstractmethod
    def kept_widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        """Those of the networks that `run` reads, given ones among them: only they are kept."""

    @abstractmethod
    def loss_of(self, networks: Networks, x_bd: torch.Tensor, y_bd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What G predicts (b, d_S), to which the terms of `loss` apply, and what else is to be small ()."""

    @abstractmethod
    def run(self, networks: Networked, x_nd: np.ndarray) -> np.ndarray:
        """(n, d_I) standardised z_I -> (n, d_S) standardised G(z_I), float64: as `loss_of` without dropout."""

    def given(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[Networked, dict[str, float]]:
        """Networks that are not trained, from standardised train pairs, and facts about them."""
        return {}, {}

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

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
        fitted = self.fit_many([GuidanceProblem(self, z_inferior_nd, z_superior_nd, seed, decoder)])[0]
        if isinstance(fitted, DivergedError):
            raise fitted
        return self

    @classmethod
    def fit_many(cls, problems: Sequence[GuidanceProblem], *, device: str = "cpu") -> list[Self | DivergedError]:
        from guidestore.heads.guidance.autograd_training import Task, train

        models = [cast(Self, problem.model) for problem in problems]
        tasks: list[Task] = []
        scales: list[tuple[Standardiser, Standardiser]] = []
        for model, problem in zip(models, problems, strict=True):
            model._fitted, model.facts = None, {}
            both = check_pairs(problem.z_inferior_nd, problem.z_superior_nd, cls.name)
            scale_in, scale_out = (Standardiser.fit(codes_nd) for codes_nd in both)
            x_nd, y_nd = scale_in.apply(both[0]), scale_out.apply(both[1])
            teacher = None
            if model.needs_decoder:
                teacher = teacher_layers(problem.decoder, scale_out, y_nd, cls.name)
            tasks.append(Task(x_nd, y_nd, check_seed(problem.seed), teacher))
            scales.append((scale_in, scale_out))
        results: list[Self | DivergedError] = []
        for model, task, (scale_in, scale_out) in zip(models, tasks, scales, strict=True):
            given, facts = model.given(task.x_nd, task.y_nd)
            try:
                trained, loss = train(model, task, given, device=device)
            except DivergedError as error:
                results.append(error)
                continue
            kept = model.kept_widths(task.x_nd.shape[1], task.y_nd.shape[1])
            model._fitted = (scale_in, {name: (given | trained)[name] for name in kept}, scale_out)
            model.facts = facts | {"train_loss": loss}
            results.append(model)
        return results

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        networks, x_nd, scale_out = self._standardised(z_inferior_nd)
        with np.errstate(over="ignore", invalid="ignore"):
            predicted_nd = scale_out.invert(self.run(networks, x_nd)).astype(np.float32)
        return check_finite_predictions(predicted_nd, self.name)

    def _standardised(self, z_inferior_nd: np.ndarray) -> tuple[Networked, np.ndarray, Standardiser]:
        """The networks, what they read, and the scaling of z_S."""
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, networks, scale_out = self._fitted
        z_inferior_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=len(scale_in.mean))
        return networks, scale_in.apply(z_inferior_nd), scale_out

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale_in, networks, scale_out = self._fitted
        kept = {
            f"{name}_{part}": array
            for name, layers in networks.items()
            for part, array in layers_to_tensors(layers).items()
        }
        return scale_in.tensors("inferior") | kept | scale_out.tensors("superior")

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(cls.Settings, config, cls.name)
        d_inferior, d_superior = (
            len(take_tensor(tensors, f"{side}_mean", (None,), cls.name)) for side in ("inferior", "superior")
        )
        networks: Networked = {}
        for name, widths in model.kept_widths(d_inferior, d_superior).items():
            own = {key.removeprefix(f"{name}_"): array for key, array in tensors.items() if key.startswith(f"{name}_")}
            networks[name] = layers_from_tensors(own, widths[1:-1], f"{cls.name}: {name}")
            ends = (networks[name][0][0].shape[1], networks[name][-1][0].shape[0])
            if ends != (widths[0], widths[-1]):
                raise InvalidInputError(
                    f"{cls.name}: network {name} is {ends[0]} to {ends[1]} wide, but its codes and settings make it "
                    f"{widths[0]} to {widths[-1]}; the weights are of another model"
                )
        scales = (
            Standardiser.from_tensors(tensors, "inferior", d_inferior, cls.name),
            Standardiser.from_tensors(tensors, "superior", d_superior, cls.name),
        )
        model._fitted = (scales[0], networks, scales[1])
        return model
