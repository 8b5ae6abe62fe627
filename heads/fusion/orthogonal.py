"""Deep Orthogonal Fusion: Kronecker fusion whose two embeddings are pushed to say different things."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from guidestore.heads.checks import check_number
from guidestore.heads.fusion.common.learnt import LearntSettings
from guidestore.heads.fusion.kronecker import Kronecker, KroneckerSettings

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthogonalSettings(KroneckerSettings):
    """Hyper-parameters of `Orthogonal`."""

    mmo_weight: float = 0.5
    """Of the MMO loss beside the cross-entropy."""
    kind: ClassVar[str] = "orthogonal"

    def __post_init__(self) -> None:
        KroneckerSettings.__post_init__(self)
        check_number(self.mmo_weight, "orthogonal: mmo_weight", 0)


class Orthogonal(Kronecker):
    """Attention-gated tensor fusion with the multimodal orthogonalization (MMO) loss on the embeddings h_m.

    Braman et al. 2021, "Deep Orthogonal Fusion: Multimodal Prognostic Biomarker Discovery Integrating Radiology,
    Pathology, Genomic, and Clinical Data" (MICCAI), with a cross-entropy where they have a survival loss. facts of
    Kronecker's overlap say what it did.
    """

    name: ClassVar[str] = "orthogonal"
    Settings: ClassVar[type[LearntSettings]] = OrthogonalSettings

    def penalty(self, left_bd: torch.Tensor, right_bd: torch.Tensor) -> torch.Tensor | float:
        weight = self.settings.mmo_weight
        return weight * mmo_loss(left_bd, right_bd) if weight else 0.0


def mmo_loss(*embeddings: torch.Tensor) -> torch.Tensor:
    """() 1 / (M N) * (sum over m of max(1, ||h_m||_*) - ||H||_*) of M embeddings (N, d): the MMO loss.

    ||.||_* is the nuclear norm, H (M N, d) has the embeddings of all modalities one below the other. It is 0 where the
    spaces that they span are orthogonal (and no norm is below 1), positive elsewhere.
    """
    import torch

    apart = sum(torch.linalg.matrix_norm(h_nd, ord="nuc").clamp(min=1.0) for h_nd in embeddings)
    together = torch.linalg.matrix_norm(torch.vstack(embeddings), ord="nuc")
    return (apart - together) / (len(embeddings) * len(embeddings[0]))
