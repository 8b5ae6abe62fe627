"""Contrastive guidance: what z_I and z_S of one case share and others do not (InfoNCE), read out as z_S."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from guidestore.heads.checks import check_number
from guidestore.heads.guidance.common.autograd import AutogradGuidance, AutogradSettings
from guidestore.heads.networks import Networked, run_layers
from guidestore.heads.onnx_graph.graph import Value, layered, standardised, unstandardised

if TYPE_CHECKING:
    import torch

    from guidestore.heads.guidance.common.networks import Networks


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastiveSettings(AutogradSettings):
    """Hyper-parameters of `Contrastive`."""

    projection: int = 64
    """Width of the space in which G(z_I) and z_S are compared."""
    temperature: float = 0.1
    """What cosines are divided by; 0.07 to 0.5 are usual."""
    contrast: float = 0.1
    """Weight of InfoNCE beside the terms of `loss`, which read z_S out."""
    kind: ClassVar[str] = "contrastive"

    def __post_init__(self) -> None:
        AutogradSettings.__post_init__(self)
        check_number(self.projection, "contrastive: projection", 1, integer=True)
        check_number(self.temperature, "contrastive: temperature", 0, open_low=True)
        check_number(self.contrast, "contrastive: contrast", 0, open_low=True)


class Contrastive(AutogradGuidance):
    """InfoNCE (van den Oord et al. 2018), in both directions as CLIP (Radford et al. 2021), over the cases of a step.

    G(z_I) and z_S are projected into one space, by a linear map each; cosines there, over the temperature, are the
    logits of which case of the step is one's own. G reads z_S out by the terms of `loss`.
    """

    name: ClassVar[str] = "contrastive"
    Settings = ContrastiveSettings
    settings: ContrastiveSettings

    def widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        return {
            "guide": (d_inferior, *self.settings.hidden, d_superior),
            "guided_side": (d_superior, self.settings.projection),
            "superior_side": (d_superior, self.settings.projection),
        }

    def kept_widths(self, d_inferior: int, d_superior: int) -> dict[str, tuple[int, ...]]:
        return {"guide": self.widths(d_inferior, d_superior)["guide"]}

    def loss_of(self, networks: Networks, x_bd: torch.Tensor, y_bd: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch

        functional = torch.nn.functional
        guided_bd = networks("guide", x_bd)
        guided_side, superior_side = (
            functional.normalize(networks(name, codes), dim=1)
            for name, codes in (("guided_side", guided_bd), ("superior_side", y_bd))
        )
        logits_bb = guided_side @ superior_side.T / self.settings.temperature
        own = torch.arange(len(x_bd), device=x_bd.device)
        loss = 0.5 * (functional.cross_entropy(logits_bb, own) + functional.cross_entropy(logits_bb.T, own))
        return guided_bd, self.settings.contrast * loss

    def run(self, networks: Networked, x_nd: np.ndarray) -> np.ndarray:
        return run_layers(networks["guide"], x_nd)

    def onnx(self, z: Value) -> Value:
        tensors = self.tensors()
        return unstandardised(layered(standardised(z, tensors, "inferior"), tensors, "guide_"), tensors, "superior")
