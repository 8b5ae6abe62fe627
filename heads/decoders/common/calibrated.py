"""Temperature scaling of any decoder (Guo et al., ICML 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

import numpy as np

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.checks import check_choice, not_fitted, take_tensor
from guidestore.heads.decoders.common.temperature import fit_temperature
from guidestore.heads.networks import softmax
from guidestore.heads.onnx_graph.graph import Value, onnx_of
from guidestore.heads.protocol import Decoder, DecoderProblem

_TENSOR = "calibration_temperature"


class Calibrated:
    """softmax(ln p / T) of the probabilities p of the decoder within. Contract: heads.protocol.Decoder.

    One T > 0 for all rows and classes, so the likeliest class stays the likeliest. It is fitted on the val rows
    (heads.decoders.common.temperature), which the decoder within has already stopped or chosen on; on fewer than 2 it
    is 1. heads.fitting fits the decoders within together with all others.
    """

    name: ClassVar[str] = "calibrated"

    def __init__(self, decoder: Decoder) -> None:
        self.decoder = decoder
        self.facts: dict[str, float] = {}
        self._temperature: np.ndarray | None = None
        """(1,) float64."""

    @property
    def config(self) -> dict[str, Any]:
        return {"name": self.name, "calibration": "temperature", "decoder": self.decoder.config}

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
        problem = self.problem_within(DecoderProblem(self, x_nd, labels, x_val_nd, labels_val, n_classes, seed))
        problem.decoder.fit(x_nd, labels, x_val_nd, labels_val, n_classes=n_classes, seed=seed)
        return self.calibrate(problem)

    def problem_within(self, problem: DecoderProblem) -> DecoderProblem:
        """What is to be fitted before `calibrate`."""
        self._temperature, self.facts = None, {}
        return replace(problem, decoder=self.decoder)

    def calibrate(self, problem: DecoderProblem) -> Self:
        """Fits T on val of the problem that the decoder within was fitted to. Raises DivergedError."""
        log_p_nk = _log(self.decoder.predict_proba(problem.x_val_nd))
        self._temperature = np.array([fit_temperature(log_p_nk, np.asarray(problem.labels_val))])
        self.facts = self.decoder.facts | {_TENSOR: float(self._temperature[0])}
        return self

    def predict_proba(self, x_nd: np.ndarray) -> np.ndarray:
        if self._temperature is None:
            raise not_fitted(self.name)
        return softmax(_log(self.decoder.predict_proba(x_nd)) / self._temperature)

    def tensors(self) -> dict[str, np.ndarray]:
        """Those of the decoder within, and the temperature."""
        if self._temperature is None:
            raise not_fitted(self.name)
        return self.decoder.tensors() | {_TENSOR: self._temperature}

    def onnx(self, x: Value) -> Value:
        probabilities = onnx_of(self.decoder, x)
        return (probabilities.at_least(1e-300).log() / self.tensors()[_TENSOR]).softmax()

    @classmethod
    def from_tensors(cls, config: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> Self:
        from guidestore.heads.registry import load_decoder

        if config.get("name") != cls.name:
            raise InvalidInputError(
                f"a config of {config.get('name')!r} cannot make a {cls.name}; load it by its own name"
            )
        missing = [key for key in ("calibration", "decoder") if key not in config]
        if missing:
            raise InvalidInputError(
                f"the config of {cls.name} lacks {', '.join(missing)}; it does not say what was calibrated"
            )
        check_choice(config["calibration"], "calibration", ("temperature",))
        model = cls(cast(Decoder, load_decoder(config["decoder"], tensors)))
        model._temperature = take_tensor(tensors, _TENSOR, (1,), cls.name)
        return model


def _log(probabilities_nk: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities_nk, 1e-300))
