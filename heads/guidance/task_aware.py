"""Task-aware guidance: G trained through the frozen D_S, so that it keeps what D_S reads in z_S (paper, Fig. 1c)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from guidestore.embeddings.errors import InvalidInputError
from guidestore.heads.guidance.autoencoder import Autoencoder, AutoencoderSettings
from guidestore.heads.guidance.common.loss_terms import LOGITS


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAwareSettings(AutoencoderSettings):
    """Hyper-parameters of `TaskAware`: those of the autoencoder with another loss."""

    loss: Mapping[str, float] = field(default_factory=lambda: {"mse": 1.0, LOGITS: 1.0})
    """As the autoencoder's, with logits among its terms. The logits alone leave open what D_S does not read, so that
    G(z_I) would be no code of the superior modality."""

    def __post_init__(self) -> None:
        AutoencoderSettings.__post_init__(self)
        if LOGITS not in self.loss:
            raise InvalidInputError(
                f"task_aware: loss is {'+'.join(self.loss)}; add logits, or use autoencoder, which needs no D_S"
            )


class TaskAware(Autoencoder):
    """The autoencoder with the logits of D_S in its loss. Contract: heads.protocol.DecoderGuidedModel."""

    name: ClassVar[str] = "task_aware"
    Settings: ClassVar[type[AutoencoderSettings]] = TaskAwareSettings
