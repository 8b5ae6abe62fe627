"""Variational guidance: a mean and a variance of z_S from z_I, through a latent bottleneck (Sonsbeek et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from guidestore.heads.checks import check_number
from guidestore.heads.guidance.common.autograd import AutogradGuidance, AutogradSettings
from guidestore.heads.networks import Networked, check_finite_predictions, run_layers
from guidestore.heads.onnx_graph.graph import Value, layered, standardised, unstandardised

if TYPE_CHECKING:
    import torch

    from guidestore.heads.guidance.common.networks import Networks

LOG_VARIANCES = (-8.0, 8.0)
"""Of standardised codes: below 0.0003 or above 3,000 says nothing that helps, and exp of more overflows."""


DRAWS = 64
"""Of t for a variance: its relative error is then about sqrt(2 / 64), 18 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationalSettings(AutogradSettings):
    """Hyper-parameters of `Variational`."""

    latent: int = 32
    """Width of the bottleneck."""
    beta: float = 1.0
    """Weight of the KL divergence against the likelihood, both per case; 1 is the bound itself."""
    likelihood: float = 1.0
    """Weight of that bound per dimension of z_S, beside the terms of `loss`."""
    kind: ClassVar[str] = "variational"

    def __post_init__(self) -> None:
        AutogradSettings.__post_init__(self)
        check_number(self.latent, "variational: latent", 1, integer=True)
        check_number(self.beta, "variational: beta", 0)
        check_number(self.likelihood, "variational: likelihood", 0, open_low=True)


class Variational(AutogradGuidance):
    """A prior p(t | z_I) learns to be the posterior q(t | z_S), which is there in training alone:

        loss = E_q[-log N(z_S; mean(t), variance(t))] + beta KL(q(t | z_S) || p(t | z_I))

    ("Variational knowledge distillation for disease classification in chest X-rays", IPMI 2021, whose report is our
    z_S). G(z_I) is mean(t) at the mean of the prior, so it draws nothing; the terms of `loss` apply to it, which also
    keeps what is trained (t from q) and what is used (t from p) together.
    """

    name: ClassVar[str] = "variational"
    Settings = VariationalSettings
    settings: VariationalSettings

    def widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        hidden, latent = self.settings.hidden, self.settings.latent
        return {
            "prior": (d_inferior, *hidden, 2 * latent),
            "posterior": (d_superior, *hidden, 2 * latent),
            "likelihood": (latent, *reversed(hidden), 2 * d_superior),
        }

    def kept_widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        widths = self.widths(d_inferior, d_superior)
        return {name: widths[name] for name in ("prior", "likelihood")}

    def loss_of(self, networks: Networks, x_bd: torch.Tensor, y_bd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean_p, log_var_p = _halves(networks("prior", x_bd))
        mean_q, log_var_q = _halves(networks("posterior", y_bd))
        drawn = mean_q + (0.5 * log_var_q).exp() * networks.normal_like(mean_q)
        mean, log_var = _halves(networks("likelihood", drawn))
        surprise = 0.5 * (log_var + (y_bd - mean).square() / log_var.exp()).sum(dim=1)
        divergence = 0.5 * (
            log_var_p - log_var_q + ((mean_q - mean_p).square() + log_var_q.exp()) / log_var_p.exp() - 1.0
        ).sum(dim=1)
        bound = (surprise + self.settings.beta * divergence).mean() / y_bd.shape[1]
        return _halves(networks("likelihood", mean_p))[0], self.settings.likelihood * bound

    def run(self, networks: Networked, x_nd: np.ndarray) -> np.ndarray:
        mean_nd, _ = np.split(run_layers(networks["prior"], x_nd), 2, axis=1)
        return self._likelihood(networks, mean_nd)[0]

    def onnx(self, z: Value) -> Value:
        tensors = self.tensors()
        prior = layered(standardised(z, tensors, "inferior"), tensors, "prior_")
        likelihood = layered(prior.columns(0, self.settings.latent), tensors, "likelihood_")
        return unstandardised(likelihood.columns(0, len(tensors["superior_mean"])), tensors, "superior")

    def predict_variance(self, z_inferior_nd: np.ndarray) -> np.ndarray:
        """(n, d_I) -> (n, d_S) float32: the variance of z_S given z_I, in squared units of z_S.

        The mean over draws of t from the prior of the likelihood's variance, plus the variance of its mean; every row
        and every call has the same DRAWS standard normal draws.
        """
        networks, x_nd, scale_out = self._standardised(z_inferior_nd)
        mean_nd, log_variance_nd = np.split(run_layers(networks["prior"], x_nd), 2, axis=1)
        deviation_nd = np.exp(0.5 * np.clip(log_variance_nd, *LOG_VARIANCES))
        means, variances = [], []
        for normal_d in np.random.default_rng(0).standard_normal((DRAWS, self.settings.latent)):
            drawn_nd, log_nd = self._likelihood(networks, mean_nd + deviation_nd * normal_d)
            means.append(drawn_nd)
            variances.append(np.exp(np.clip(log_nd, *LOG_VARIANCES)))
        variance_nd = np.mean(variances, axis=0) + np.var(means, axis=0)
        with np.errstate(over="ignore"):
            return check_finite_predictions((variance_nd * scale_out.scale**2).astype(np.float32), self.name)

    def _likelihood(self, networks: Networked, latent_nd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and log variance of standardised z_S at t."""
        mean_nd, log_variance_nd = np.split(run_layers(networks["likelihood"], latent_nd), 2, axis=1)
        return mean_nd, log_variance_nd


def _halves(values_bd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A mean and a log variance."""
    mean, log_variance = values_bd.chunk(2, dim=1)
    return mean, log_variance.clamp(*LOG_VARIANCES)
