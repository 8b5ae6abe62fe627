"""How long and how fast an encoder is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from guidestore.embeddings.errors import InvalidInputError


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How a classifier is trained. The optimiser is Adam, each target's loss cross-entropy, the sampler weighted by
    class."""

    epochs: int
    """At most; an epoch draws as many items as there are train rows."""
    patience: int
    """Epochs without a lower val loss before training stops."""
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    """L2 in Adam."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.patience, self.batch_size) < 1 or not self.learning_rate > 0 or self.weight_decay < 0:
            raise InvalidInputError(
                f"{self} cannot train: epochs, patience and batch_size must be at least 1, learning_rate positive, "
                "weight_decay not negative"
            )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; `TrainingSettings(**settings.as_dict()) == settings`."""
        return asdict(self)
