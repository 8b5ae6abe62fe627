"""Guidance networks whose loss is more than a distance to z_S: torch's autograd and Adam, one fit at a time.

A model of this kind is one or several fully connected networks with names, on standardised codes. Initial weights and
the order of rows are keyed as the batched trainer's (heads.training.draws); all other draws come from one generator of
the fit's own, on the CPU, so that a GPU trains on the same ones.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_codes, check_number, check_numbers, check_pairs, check_seed, take_tensor
from guidestore.heads.errors import DivergedError
from guidestore.heads.guidance.common.frozen_decoder import teacher_layers
from guidestore.heads.guidance.common.loss_terms import LOGITS, loss_weights
from guidestore.heads.model import Model, Tensors, fitted_alone
from guidestore.heads.networks import (
    Layers,
    Networked,
    check_finite_predictions,
    layers_from_tensors,
    layers_to_tensors,
)
from guidestore.heads.protocol import FrozenDecoder, GuidanceProblem
from guidestore.heads.scaling import Standardiser

if TYPE_CHECKING:
    import torch

    from guidestore.heads.guidance.common.networks import Networks, NetworksFit

type _State = tuple[Standardiser, Networked, Standardiser]


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
    """Term -> weight, or "mse+cosine" (heads.guidance.common.loss_terms): the distances of G(z_I) to z_S."""
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


class AutogradGuidance(Model[_State]):
    """Contract: heads.protocol.BatchGuidanceModel (one after the other, on the device that is asked for), and with
    logits in its loss DecoderGuidedModel."""

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
        from guidestore.heads.guidance.common.networks import train

        models = [cast(Self, problem.model) for problem in problems]
        scales: list[tuple[Standardiser, Standardiser]] = []
        prepared: list[tuple[np.ndarray, np.ndarray, Layers | None]] = []
        for model, problem in zip(models, problems, strict=True):
            model.forget()
            both = check_pairs(problem.z_inferior_nd, problem.z_superior_nd, cls.name)
            check_seed(problem.seed)
            scale_in, scale_out = (Standardiser.fit(codes_nd) for codes_nd in both)
            y_nd = scale_out.apply(both[1])
            teacher = teacher_layers(problem.decoder, scale_out, y_nd, cls.name) if model.needs_decoder else None
            scales.append((scale_in, scale_out))
            prepared.append((scale_in.apply(both[0]), y_nd, teacher))
        results: list[Self | DivergedError] = []
        for model, problem, (scale_in, scale_out), own in zip(models, problems, scales, prepared, strict=True):
            given, facts = model.given(*own[:2])
            try:
                trained, loss = train(model._fit_of(*own, check_seed(problem.seed), given), device=device)
            except DivergedError as error:
                results.append(error)
                continue
            kept = model.kept_widths(own[0].shape[1], own[1].shape[1])
            model._fitted = (scale_in, {name: (given | trained)[name] for name in kept}, scale_out)
            model.facts = facts | {"train_loss": loss}
            results.append(model)
        return results

    def _fit_of(
        self, x_nd: np.ndarray, y_nd: np.ndarray, teacher: Layers | None, seed: int, given: Networked
    ) -> NetworksFit:
        from guidestore.heads.guidance.common.networks import NetworksFit
        from guidestore.heads.training.descent import Schedule

        use = self.settings
        return NetworksFit(
            what=self.name,
            x_nd=x_nd,
            y_nd=y_nd,
            seed=seed,
            widths=self.widths(x_nd.shape[1], y_nd.shape[1]),
            given=given,
            loss_of=self.loss_of,
            terms=use.loss,
            teacher=teacher,
            dropout=use.dropout,
            schedule=Schedule(
                learning_rate=use.learning_rate,
                weight_decay=use.weight_decay,
                epochs=use.epochs,
                batch_size=use.batch_size,
            ),
        )

    def predict(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        networks, x_nd, scale_out = self._standardised(z_inferior_nd)
        with np.errstate(over="ignore", invalid="ignore"):
            predicted_nd = scale_out.invert(self.run(networks, x_nd)).astype(np.float32)
        return check_finite_predictions(predicted_nd, self.name)

    def _standardised(self, z_inferior_nd: np.ndarray) -> tuple[Networked, np.ndarray, Standardiser]:
        """The networks, what they read, and the scaling of z_S."""
        scale_in, networks, scale_out = self.fitted
        z_inferior_nd = check_codes(z_inferior_nd, f"{self.name}: z_I", code_dim=len(scale_in.mean))
        return networks, scale_in.apply(z_inferior_nd), scale_out

    def pack(self, fitted: _State) -> dict[str, np.ndarray]:
        scale_in, networks, scale_out = fitted
        kept = {
            f"{name}_{part}": array
            for name, layers in networks.items()
            for part, array in layers_to_tensors(layers).items()
        }
        return scale_in.tensors("inferior") | kept | scale_out.tensors("superior")

    def unpack(self, tensors: Tensors) -> _State:
        d_inferior, d_superior = (
            len(take_tensor(tensors, f"{side}_mean", (None,), self.name)) for side in ("inferior", "superior")
        )
        networks: Networked = {}
        for name, widths in self.kept_widths(d_inferior, d_superior).items():
            own = {key.removeprefix(f"{name}_"): array for key, array in tensors.items() if key.startswith(f"{name}_")}
            networks[name] = layers_from_tensors(own, widths[1:-1], f"{self.name}: {name}")
            ends = (networks[name][0][0].shape[1], networks[name][-1][0].shape[0])
            if ends != (widths[0], widths[-1]):
                raise InvalidInputError(
                    f"{self.name}: network {name} is {ends[0]} to {ends[1]} wide, but its codes and settings make it "
                    f"{widths[0]} to {widths[-1]}; the weights are of another model"
                )
        scale_in = Standardiser.from_tensors(tensors, "inferior", d_inferior, self.name)
        return scale_in, networks, Standardiser.from_tensors(tensors, "superior", d_superior, self.name)
