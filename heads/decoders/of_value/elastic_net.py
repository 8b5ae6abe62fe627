"""Elastic net: ridge that leaves columns out; both penalties chosen on val."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from guidestore.heads.checks import check_number, check_numbers
from guidestore.heads.decoders.common.affine_value import AffineForeteller, AffineState, squared_error
from guidestore.heads.protocol import DecoderProblem
from guidestore.heads.scaling import Standardiser

WEAKEST = 300
"""Parts of the penalty that leaves every column out, which the weakest is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticNetSettings:
    """Hyper-parameters of `ElasticNet`."""

    l1_ratios: tuple[float, ...] = (0.1, 0.5, 0.9)
    """Shares of the penalty on |w|; the rest is on w² / 2."""
    alphas: int = 12
    """Penalties on the path of each, from that which leaves every column out down to a 300th of it."""
    max_iter: int = 2000
    """Of coordinate descent for one penalty."""

    def __post_init__(self) -> None:
        check_numbers(self.l1_ratios, "elastic_net: l1_ratios", 0, open_low=True)
        check_number(self.alphas, "elastic_net: alphas", 1, integer=True)
        check_number(self.max_iter, "elastic_net: max_iter", 1, integer=True)


class ElasticNet(AffineForeteller):
    """scikit-learn's enet_path on codes and values standardised on train; of the least mean squared val error, of
    equals the strongest penalty. The seed is not used."""

    name: ClassVar[str] = "elastic_net"
    Settings = ElasticNetSettings
    settings: ElasticNetSettings

    def candidates(self, problem: DecoderProblem) -> Iterator[tuple[AffineState, dict[str, float]]]:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import enet_path

        scale, use = Standardiser.fit(problem.x_nd), self.settings
        x_nd, x_val_nd = np.asfortranarray(scale.apply(problem.x_nd)), scale.apply(problem.x_val_nd)
        y_mean, y_sd = float(problem.labels.mean()), float(problem.labels.std())
        y_n = (problem.labels - y_mean) / y_sd
        for l1_ratio in use.l1_ratios:
            strongest = np.abs(x_nd.T @ y_n).max() / (len(y_n) * l1_ratio)
            alphas = np.geomspace(strongest, strongest / WEAKEST, use.alphas)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                found = enet_path(x_nd, y_n, l1_ratio=l1_ratio, alphas=alphas, max_iter=use.max_iter)
            for alpha, weight_d in zip(found[0], found[1].T, strict=True):
                weight_d = weight_d * y_sd
                loss = squared_error(problem.labels_val, x_val_nd @ weight_d + y_mean)
                facts = {"alpha": float(alpha), "l1_ratio": l1_ratio, "columns": float((weight_d != 0).sum())}
                yield (scale, weight_d[None].copy(), np.array([y_mean])), facts | {"val_loss": loss}
