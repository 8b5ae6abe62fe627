"""Nearest class mean: one prototype per class, its temperature chosen on val (Snell et al., NeurIPS 2017, without the
learnt embedding)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from guidestore.heads.checks import (
    check_codes,
    check_fit,
    check_numbers,
    check_seed,
    make_settings,
    not_fitted,
    settings_from_config,
    settings_to_config,
    take_tensor,
)
from guidestore.heads.metrics import balanced_log_loss
from guidestore.heads.networks import check_finite_predictions, softmax
from guidestore.heads.scaling import Standardiser


@dataclass(frozen=True, slots=True, kw_only=True)
class PrototypeSettings:
    """Hyper-parameters of `Prototype`."""

    temperatures: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    """To choose among by the val loss: what squared distances, as a mean over dimensions, are divided by."""

    def __post_init__(self) -> None:
        check_numbers(self.temperatures, "prototype: temperatures", 0, open_low=True)


class Prototype:
    """Softmax over minus the squared distance to each class's mean, on codes standardised on train. Contract:
    heads.protocol.Decoder.

    Every class counts alike, whatever its share of train. The temperature is that with the least val cross-entropy,
    rows weighted by their class; of equals the smallest. The seed is not used.
    """

    name: ClassVar[str] = "prototype"
    Settings = PrototypeSettings

    def __init__(self, **params: Any) -> None:
        self.settings = make_settings(PrototypeSettings, params, self.name)
        self.facts: dict[str, float] = {}
        self._fitted: tuple[Standardiser, np.ndarray, np.ndarray] | None = None
        """Scale, means (k, d) and temperature (1,)."""

    @property
    def config(self) -> dict[str, Any]:
        return settings_to_config(self.name, self.settings)

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
        self._fitted, self.facts = None, {}
        check_seed(seed)
        x_nd, labels, x_val_nd, labels_val = check_fit(x_nd, labels, x_val_nd, labels_val, n_classes, self.name)
        scale = Standardiser.fit(x_nd)
        scaled_nd = scale.apply(x_nd)
        means_kd = np.stack([scaled_nd[labels == c].mean(axis=0) for c in range(n_classes)])
        distances_nk = _distances(scale.apply(x_val_nd), means_kd)
        for temperature in sorted(self.settings.temperatures):
            loss = balanced_log_loss(labels_val, softmax(-distances_nk / temperature))
            if self._fitted is None or loss < self.facts["val_loss"]:
                self._fitted = (scale, means_kd, np.array([temperature]))
                self.facts = {"temperature": temperature, "val_loss": loss}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, means_kd, temperature = self._fitted
        x_nd = check_codes(x_nd, f"{self.name}: codes", code_dim=means_kd.shape[1])
        logits_nk = -_distances(scale.apply(x_nd), means_kd) / temperature
        return softmax(check_finite_predictions(logits_nk, self.name))

    def tensors(self) -> dict[str, np.ndarray]:
        if self._fitted is None:
            raise not_fitted(self.name)
        scale, means_kd, temperature = self._fitted
        return scale.tensors("input") | {"means": means_kd, "temperature": temperature}

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        model = cls()
        model.settings = settings_from_config(PrototypeSettings, config, cls.name)
        means_kd = take_tensor(tensors, "means", (None, None), cls.name)
        scale = Standardiser.from_tensors(tensors, "input", means_kd.shape[1], cls.name)
        model._fitted = (scale, means_kd, take_tensor(tensors, "temperature", (1,), cls.name))
        return model


def _distances(x_nd: np.ndarray, means_kd: np.ndarray) -> np.ndarray:
    """(n, k): squared, the mean over dimensions."""
    return np.stack([((x_nd - mean) ** 2).mean(axis=1) for mean in means_kd], axis=1)
