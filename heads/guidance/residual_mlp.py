"""A linear map plus a network: ridge says what is linear, the network only what is left."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from guidestore.heads.checks import check_numbers
from guidestore.heads.guidance.common.autograd import AutogradGuidance, AutogradSettings
from guidestore.heads.guidance.ridge import Ridge, RidgeSettings
from guidestore.heads.networks import Networked, run_layers
from guidestore.heads.onnx_graph.graph import Value, layered, standardised, unstandardised

if TYPE_CHECKING:
    import torch

    from guidestore.heads.guidance.common.networks import Networks


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualMlpSettings(AutogradSettings):
    """Hyper-parameters of `ResidualMlp`."""

    alphas: tuple[float, ...] = field(default_factory=lambda: RidgeSettings().alphas)
    """Penalties of the linear map to choose among, as ridge does."""
    kind: ClassVar[str] = "residual_mlp"

    def __post_init__(self) -> None:
        AutogradSettings.__post_init__(self)
        check_numbers(self.alphas, "residual_mlp: alphas", 0, open_low=True)


class ResidualMlp(AutogradGuidance):
    """G(z_I) = ridge(z_I) + MLP(z_I), on standardised codes: a skip connection (He et al. 2016) that is linear.

    The map is ridge's own and stays as it is while the network trains on the sum of both.
    """

    name: ClassVar[str] = "residual_mlp"
    Settings = ResidualMlpSettings
    settings: ResidualMlpSettings

    def widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        return {"mlp": (d_inferior, *self.settings.hidden, d_superior)}

    def kept_widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        return self.widths(d_inferior, d_superior) | {"linear": (d_inferior, d_superior)}

    def given(self, x_nd: np.ndarray, y_nd: np.ndarray) -> tuple[Networked, dict[str, float]]:
        weight_nd, facts = Ridge(alphas=self.settings.alphas).solve(x_nd, y_nd)
        return {"linear": [(np.ascontiguousarray(weight_nd.T), np.zeros(y_nd.shape[1]))]}, facts

    def loss_of(self, networks: Networks, x_bd: torch.Tensor, y_bd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return networks("linear", x_bd) + networks("mlp", x_bd), x_bd.new_zeros(())

    def run(self, networks: Networked, x_nd: np.ndarray) -> np.ndarray:
        return run_layers(networks["linear"], x_nd) + run_layers(networks["mlp"], x_nd)

    def onnx(self, z: Value) -> Value:
        tensors = self.tensors()
        x = standardised(z, tensors, "inferior")
        return unstandardised(layered(x, tensors, "linear_") + layered(x, tensors, "mlp_"), tensors, "superior")
